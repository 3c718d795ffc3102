import type { Plaintext } from '../base/bytes.ts';
import { Fault } from '../base/errors.ts';
import { openAuthEnveloped } from '../cms/auth-enveloped-data.ts';
import { type ContentKind, parseContentInfo } from '../cms/content-info.ts';
import { type DecryptionKey, openEnveloped } from '../cms/enveloped-data.ts';
import { type CmsLimits, cmsLimits } from '../cms/limits.ts';
import { parseSignedData, type SignedData } from '../cms/signed-data.ts';
import { type SignerReport, verifySigner } from '../cms/verify.ts';
import { decodedBody, type Entity, entityBytes, parseEntity } from '../mime/entity.ts';
import type { Floor } from '../pki/algorithms.ts';
import type { Ber } from '../pki/ber.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { Reason } from '../pki/reasons.ts';
import { classify } from './classify.ts';
import type { EncryptedLayer } from './layers.ts';
import { openLimits } from './limits.ts';

export interface PeelRequest {
  readonly keys: readonly DecryptionKey[];
  /** Certificates from the store, for signers that are not in the message. */
  readonly known: readonly Certificate[];
  readonly floor: Floor;
  /** Octets that all layers together may unfold to. */
  readonly openedSize: number;
}

/** A signed layer with its cryptography checked, its trust not yet judged. */
export interface CheckedSignature {
  readonly kind: 'signed';
  readonly form: 'detached' | 'opaque';
  readonly signers: readonly SignerReport[];
  readonly bag: readonly Certificate[];
  readonly reasons: readonly Reason[];
}

export interface Peeled {
  readonly layers: readonly (EncryptedLayer | CheckedSignature)[];
  /** Why peeling stopped before the content, or null. */
  readonly failure: { readonly verdict: 'unopened' | 'malformed'; readonly reason: Reason } | null;
  /** The entity inside the innermost encryption; the message itself if it is not encrypted. */
  readonly entity: Entity;
  /** The content below the last layer. */
  readonly payload: Entity;
  /** What decryption made; `entity` and `payload` point into the last of them. */
  readonly plaintexts: readonly Plaintext[];
}

type Step =
  | { readonly layer: EncryptedLayer; readonly plaintext: Plaintext | null; readonly operations: number }
  | { readonly layer: CheckedSignature; readonly content: Entity | null };

/**
 * Removes the layers of a message from outside in, verifying each signature over the bytes as received
 * (RFC 8551 3.7: any nesting, within limits). Decryption failures are reported, not thrown; a message whose
 * structure cannot be read is `malformed`. Throws nothing on hostile input.
 */
export function peel(message: Entity, request: PeelRequest): Peeled {
  const layers: (EncryptedLayer | CheckedSignature)[] = [];
  const plaintexts: Plaintext[] = [];
  let entity = message;
  let payload = message;
  /** What is left to the layers further in (RULES 7). */
  let limits: CmsLimits = { ...cmsLimits, ...openLimits, openedSize: request.openedSize };
  const stopped = (failure: Peeled['failure']): Peeled => ({ layers, failure, entity, payload, plaintexts });
  try {
    for (;;) {
      const step = peelOne(payload, request, limits);
      if (step === null) return stopped(null);
      if (layers.length === openLimits.depth) return stopped({ verdict: 'malformed', reason: 'budget' });
      layers.push(step.layer);
      if ('plaintext' in step) {
        if (step.plaintext === null)
          return stopped({ verdict: 'unopened', reason: step.layer.reason ?? 'decrypt-failed' });
        plaintexts.push(step.plaintext);
        const openedSize = limits.openedSize - step.plaintext.length;
        limits = {
          ...limits,
          openedSize,
          privateKeyOperations: limits.privateKeyOperations - step.operations,
        };
        entity = parseEntity(step.plaintext.expose());
        payload = entity;
      } else {
        if (step.content === null) return stopped(null);
        limits = { ...limits, signers: limits.signers - step.layer.signers.length };
        payload = step.content;
      }
    }
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return stopped({ verdict: 'malformed', reason: error.code.endsWith('-budget') ? 'budget' : 'malformed' });
  }
}

function peelOne(entity: Entity, request: PeelRequest, limits: CmsLimits): Step | null {
  const wrapping = classify(entity);
  if (wrapping.kind === 'none') return null;
  if (wrapping.kind === 'malformed')
    throw new Fault('mime-malformed', 'a multipart/signed without its two parts', {});
  if (wrapping.kind === 'detached') {
    const info = parseContentInfo(decodedBody(wrapping.signature));
    const layer = checkDetached(info.kind, info.content, entityBytes(wrapping.content), request, limits);
    return { layer, content: wrapping.content };
  }
  const info = parseContentInfo(decodedBody(entity));
  if (info.kind === 'signed-data') return peelOpaque(info.content, request, limits);
  if (info.kind === 'enveloped-data')
    return peelEncrypted('enveloped', openEnveloped(info.content, request.keys, limits));
  if (info.kind === 'auth-enveloped-data')
    return peelEncrypted('auth-enveloped', openAuthEnveloped(info.content, request.keys, limits));
  return null; // compressed, digested and other types are content here
}

function peelEncrypted(form: EncryptedLayer['form'], result: ReturnType<typeof openEnveloped>): Step {
  const layer = { kind: 'encrypted', form, cipher: result.cipher } as const;
  if (result.opened) {
    const { keyTransport, keySha256, operations } = result;
    return {
      layer: { ...layer, keyTransport, keySha256, opened: true, reason: null },
      plaintext: result.content,
      operations,
    };
  }
  return {
    layer: { ...layer, keyTransport: null, keySha256: null, opened: false, reason: result.reason },
    plaintext: null,
    operations: 0,
  };
}

function checkDetached(
  kind: ContentKind,
  content: Ber,
  covered: Buffer,
  request: PeelRequest,
  limits: CmsLimits,
): CheckedSignature {
  if (kind !== 'signed-data')
    return { kind: 'signed', form: 'detached', signers: [], bag: [], reasons: ['malformed'] };
  const data = parseSignedData(content, limits);
  // An eContent beside a detached part could be what was signed while another text is shown: refused whole.
  if (data.content !== null)
    return {
      kind: 'signed',
      form: 'detached',
      signers: [],
      bag: data.certificates,
      reasons: ['content-beside-detached'],
    };
  return checkSigners('detached', data, [covered], request);
}

function peelOpaque(content: Ber, request: PeelRequest, limits: CmsLimits): Step {
  const data = parseSignedData(content, limits);
  // RFC 8551 3.8: certs-only carries certificates and signs nothing.
  if (data.content === null) return { layer: checkSigners('opaque', data, [], request), content: null };
  const size = data.content.reduce((sum, segment) => sum + segment.length, 0);
  if (size > limits.openedSize)
    throw new Fault('mime-budget', 'the signed content is too large to open', { size });
  const joined = data.content.length === 1 ? (data.content[0] as Buffer) : Buffer.concat(data.content);
  return { layer: checkSigners('opaque', data, data.content, request), content: parseEntity(joined) };
}

function checkSigners(
  form: CheckedSignature['form'],
  data: SignedData,
  covered: readonly Buffer[],
  request: PeelRequest,
): CheckedSignature {
  const signers = data.signers.map((signer) =>
    verifySigner(data, signer, covered, request.known, request.floor),
  );
  return {
    kind: 'signed',
    form,
    signers,
    bag: data.certificates,
    reasons: signers.length ? [] : ['no-signers'],
  };
}
