import { Plaintext } from '../base/bytes.ts';
import { Fault, isFault } from '../base/errors.ts';
import { openAuthEnveloped } from '../cms/auth-enveloped-data.ts';
import { openCompressed } from '../cms/compressed-data.ts';
import { type ContentKind, contentOid, parseContentInfo } from '../cms/content-info.ts';
import { type DecryptionKey, type OpenResult, openEnveloped } from '../cms/enveloped-data.ts';
import { cmsFault } from '../cms/faults.ts';
import { type CmsLimits, cmsLimits } from '../cms/limits.ts';
import { parseSignedData, type SignedData } from '../cms/signed-data.ts';
import { type SignerReport, verifySigner } from '../cms/verify.ts';
import { decodedBody, type Entity, entityBytes, parseEntity } from '../mime/entity.ts';
import type { Floor } from '../pki/algorithms.ts';
import type { Ber } from '../pki/ber.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { Reason } from '../pki/reasons.ts';
import { classify } from './classify.ts';
import type { CompressedLayer, EncryptedLayer } from './layers.ts';
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
  /** Revocation lists and OCSP responses that came with it: anybody's word, as the bag is. */
  readonly crls: readonly Buffer[];
  readonly ocsp: readonly Buffer[];
  readonly reasons: readonly Reason[];
}

export type PeeledLayer = EncryptedLayer | CompressedLayer | CheckedSignature;

export interface Peeled {
  readonly layers: readonly PeeledLayer[];
  /** Why peeling stopped before the content, or null. */
  readonly failure: { readonly verdict: 'unopened' | 'malformed'; readonly reason: Reason } | null;
  /** The entity inside the innermost encryption; the message itself if it is not encrypted. */
  readonly entity: Entity;
  /** The content below the last layer: the cryptographic payload of RFC 9788. */
  readonly payload: Entity;
  /** What decryption made, outermost first; `entity` points into the last of them. */
  readonly plaintexts: readonly Plaintext[];
  /** What decompression made; `payload` may point into the last of them. Plaintext too, if there was encryption around it. */
  readonly inflated: readonly Plaintext[];
}

/** One layer removed. `content` null: there is nothing to read below it. */
type Step =
  | { readonly layer: EncryptedLayer; readonly plaintext: Plaintext | null; readonly operations: number }
  | { readonly layer: CompressedLayer; readonly inflated: Plaintext | null }
  /** `copied`: octets that the content takes beside what it came in. */
  | { readonly layer: CheckedSignature; readonly content: Entity | null; readonly copied: number };

/**
 * Removes the layers of a message from outside in, verifying each signature over the bytes as received
 * (RFC 8551 3.7: any nesting, within limits). Decryption failures are reported, not thrown; a message whose
 * structure cannot be read is `malformed`. Throws nothing on hostile input.
 */
export function peel(message: Entity, request: PeelRequest): Peeled {
  const layers: PeeledLayer[] = [];
  const plaintexts: Plaintext[] = [];
  const inflated: Plaintext[] = [];
  let entity = message;
  let payload = message;
  /** What is left to the layers further in (RULES 7). */
  let limits: CmsLimits = { ...cmsLimits, ...openLimits, openedSize: request.openedSize };
  const stopped = (failure: Peeled['failure']): Peeled => ({
    layers,
    failure,
    entity,
    payload,
    plaintexts,
    inflated,
  });
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
        limits = {
          ...limits,
          openedSize: limits.openedSize - step.plaintext.length,
          privateKeyOperations: limits.privateKeyOperations - step.operations,
        };
        entity = parseEntity(step.plaintext.expose());
        payload = entity;
      } else if ('inflated' in step) {
        if (step.inflated === null)
          return stopped({ verdict: 'unopened', reason: step.layer.reason ?? 'unsupported' });
        inflated.push(step.inflated);
        limits = { ...limits, openedSize: limits.openedSize - step.inflated.length };
        // `entity` stays: what goes on to the members is compressed as its author made it, and as it was signed.
        payload = parseEntity(step.inflated.expose());
      } else {
        if (step.content === null) return stopped(null);
        const signers = limits.signers - step.layer.signers.length;
        limits = { ...limits, signers, openedSize: limits.openedSize - step.copied };
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
    return { layer, content: wrapping.content, copied: 0 };
  }
  const info = parseContentInfo(decodedBody(entity));
  if (info.kind === 'signed-data') return peelOpaque(info.content, request, limits);
  if (info.kind === 'enveloped-data')
    return peelEncrypted('enveloped', openEnveloped(info.content, request.keys, limits));
  if (info.kind === 'auth-enveloped-data')
    return peelEncrypted('auth-enveloped', openAuthEnveloped(info.content, request.keys, limits));
  if (info.kind === 'compressed-data') return peelCompressed(info.content, limits);
  return null; // digested, encrypted with a shared key, and other types are content here
}

function peelEncrypted(form: EncryptedLayer['form'], result: OpenResult): Step {
  const { cipher, recipients } = result;
  const layer = { kind: 'encrypted', form, cipher, recipients } as const;
  const isMail = result.opened && result.contentType === contentOid.data;
  if (isMail) {
    const { keyTransport: management, kdf, wrap, keySha256, operations } = result;
    const isRsa = management.startsWith('rsa');
    const keyTransport = isRsa ? management : null;
    const keyAgreement = isRsa ? null : management;
    return {
      layer: { ...layer, keyTransport, keyAgreement, kdf, wrap, keySha256, opened: true, reason: null },
      plaintext: result.content,
      operations,
    };
  }
  // RFC 8551 2.4.1: what calls itself something else is no MIME entity, and must not be read as one.
  if (result.opened) result.content.wipe();
  const reason = result.opened ? 'unsupported' : result.reason;
  const unknown = { keyTransport: null, keyAgreement: null, kdf: null, wrap: null, keySha256: null };
  return {
    layer: { ...layer, ...unknown, opened: false, reason },
    plaintext: null,
    operations: 0,
  };
}

/** RFC 3274; RFC 8551 3.6: compression may stand inside or around the other layers. */
function peelCompressed(content: Ber, limits: CmsLimits): Step {
  const layer = { kind: 'compressed' } as const;
  try {
    const { algorithm, contentType, content: bytes } = openCompressed(content, limits);
    if (contentType !== contentOid.data) {
      bytes.fill(0);
      throw cmsFault('cms-unsupported', { what: `compressed content of the type ${contentType}` });
    }
    return { layer: { ...layer, algorithm, opened: true, reason: null }, inflated: new Plaintext(bytes) };
  } catch (error) {
    if (!isFault(error, 'cms-unsupported')) throw error;
    return { layer: { ...layer, algorithm: null, opened: false, reason: 'unsupported' }, inflated: null };
  }
}

function checkDetached(
  kind: ContentKind,
  content: Ber,
  covered: Buffer,
  request: PeelRequest,
  limits: CmsLimits,
): CheckedSignature {
  const nobody = { kind: 'signed', form: 'detached', signers: [], bag: [], crls: [], ocsp: [] } as const;
  if (kind !== 'signed-data') return { ...nobody, reasons: ['malformed'] };
  const data = parseSignedData(content, limits);
  // An eContent beside a detached part could be what was signed while another text is shown: refused whole.
  if (data.content !== null)
    return { ...nobody, bag: data.certificates, reasons: ['content-beside-detached'] };
  return checkSigners('detached', data, [covered], request);
}

function peelOpaque(content: Ber, request: PeelRequest, limits: CmsLimits): Step {
  const data = parseSignedData(content, limits);
  if (data.content === null) {
    const layer = checkSigners('opaque', data, [], request);
    // RFC 8551 3.8: certs-only carries certificates and signs nothing. A signature whose content is missing proves nothing.
    const reasons: readonly Reason[] = data.signers.length > 0 ? ['malformed'] : layer.reasons;
    return { layer: { ...layer, reasons }, content: null, copied: 0 };
  }
  const size = data.content.reduce((sum, segment) => sum + segment.length, 0);
  if (size > limits.openedSize)
    throw new Fault('mime-budget', 'the signed content is too large to open', { size });
  const [whole] = data.content;
  const isWhole = data.content.length === 1 && whole !== undefined;
  const joined = isWhole ? whole : Buffer.concat(data.content);
  const layer = checkSigners('opaque', data, data.content, request);
  return { layer, content: parseEntity(joined), copied: isWhole ? 0 : size };
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
  const { certificates: bag, crls, ocsp } = data;
  return { kind: 'signed', form, signers, bag, crls, ocsp, reasons: layerReasons(data) };
}

function layerReasons(data: SignedData): Reason[] {
  if (data.signers.length === 0) return ['no-signers'];
  // RFC 8551 2.4.2: mail is id-data. What was signed as something else (a time stamp, a program) was not signed as mail.
  return data.contentType === contentOid.data ? [] : ['content-type-mismatch'];
}
