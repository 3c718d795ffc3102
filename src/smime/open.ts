import { Plaintext } from '../base/bytes.ts';
import type { DecryptionKey } from '../cms/enveloped-data.ts';
import type { SignerId } from '../cms/signed-data.ts';
import { mailboxesOf, theMailbox } from '../mime/address.ts';
import { bodyBytes, type Entity, parseEntity } from '../mime/entity.ts';
import { fieldBytes } from '../mime/header.ts';
import type { Floor } from '../pki/algorithms.ts';
import { parseCertificate } from '../pki/certificate.ts';
import type { Reason } from '../pki/reasons.ts';
import { type ProtectedHeader, protectedHeaderOf } from './header-protection.ts';
import { type JudgedSigner, judgeSigners, type Pin, reportLayer } from './judge.ts';
import type { EncryptedLayer, Layer } from './layers.ts';
import { type CheckedSignature, type Peeled, peel } from './peel.ts';
import { type Judgement, judgeClaim, type Verdict } from './verdict.ts';

/** All that one opening needs, as plain data that crosses threads. Certificates are DER. */
export interface OpenRequest {
  readonly message: Uint8Array;
  readonly keys: readonly DecryptionKey[];
  readonly anchors: readonly Uint8Array[];
  /** Certificates from the store: signers that an earlier answer's `needs` asked for. */
  readonly known: readonly Uint8Array[];
  readonly pins: readonly Pin[];
  /** Verification instant, ms. */
  readonly at: number;
  readonly floor: Floor;
  /** Octets that all layers together may unfold to. */
  readonly openedSize: number;
}

/** The signature that made the verdict `signed`, and what it says about the signer's own certificates. */
export interface AuthorSignature {
  readonly certificate: Uint8Array;
  /** Certificates that came with it, unsigned (RULES 16). */
  readonly bag: readonly Uint8Array[];
  /** SHA-256 of the signature value: the replay memory's key (RULES 4). */
  readonly signatureSha256: string;
  /** Those of all intact signatures over the same content, this one too: any one of them could be left out of a replay. */
  readonly allSha256: readonly string[];
  readonly signingTime: number | null;
  /** DER of the signed SMIMECapabilities. */
  readonly capabilities: Uint8Array | null;
  /** Issuer and serial (or key identifier) that SMIMEEncryptionKeyPreference names. */
  readonly preference: SignerId | null;
}

/** What opening found. Plain data but for `entity`. */
export interface OpenReport {
  readonly verdict: Verdict;
  readonly author: string | null;
  /** Mailboxes of the outer From, for people; decisions use `author` and `claimed`. */
  readonly from: readonly string[];
  /** The one outer From mailbox, or null. */
  readonly claimed: string | null;
  readonly encrypted: boolean;
  readonly layers: readonly Layer[];
  readonly reasons: readonly Reason[];
  /** Issuer DN that was missing, for the sentence that says what to add. */
  readonly missingIssuer: string | null;
  readonly signature: AuthorSignature | null;
  readonly protected: ProtectedHeader | null;
  /** The entity to pass on: what the innermost encryption held, else the message's own content. */
  readonly entity: Plaintext | null;
  /** Signers whose certificate is not in the message: look them up and ask again with `known`. */
  readonly needs: readonly SignerId[];
}

/**
 * What opening found, without the content itself. Of an encrypted post the fields under `protected` are plaintext too:
 * decisions may use them, records, notices and logs may not (RULES 14).
 */
export type Findings = Omit<OpenReport, 'entity'>;

/**
 * Opens one message: removes its layers, verifies each signature over the bytes as received, judges trust and
 * whether From is the signer. Only a signature inside the innermost encryption counts (RULES 1).
 * Never throws on hostile input; what cannot be read is `malformed`, what cannot be decrypted `unopened`.
 */
export function openMessage(request: OpenRequest): OpenReport {
  const { message: bytes } = request;
  const message = parseEntity(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  const known = request.known.map((der) => parseCertificate(Buffer.from(der)));
  const trust = {
    anchors: { certificates: request.anchors.map((der) => parseCertificate(Buffer.from(der))) },
    known,
    pins: request.pins,
    at: request.at,
    floor: request.floor,
  };
  const peeled = peel(message, {
    keys: request.keys,
    known,
    floor: request.floor,
    openedSize: request.openedSize,
  });
  const judged = new Map<CheckedSignature, JudgedSigner[]>();
  for (const layer of peeled.layers)
    if (layer.kind === 'signed') judged.set(layer, judgeSigners(layer, trust));

  const layers = peeled.layers.map((layer) =>
    layer.kind === 'signed' ? reportLayer(layer, judged.get(layer) ?? []) : layer,
  );
  const encrypted = layers.some((layer) => layer.kind === 'encrypted');
  const inner = innerSignature(peeled.layers);
  const claimed = theMailbox(message.fields, 'From')?.address ?? null;
  const protectedHeader = peeled.failure ? null : protectedHeaderOf(peeled.payload);
  const claim = {
    from: claimed,
    sender: theMailbox(message.fields, 'Sender')?.address ?? null,
    protectedFrom: inner && protectedHeader?.hasFrom ? { address: protectedHeader.from } : null,
  };
  const judgement: Judgement = peeled.failure
    ? { verdict: peeled.failure.verdict, author: null, signer: null, reasons: [peeled.failure.reason] }
    : judgeClaim(inner ? (judged.get(inner) ?? []) : null, inner?.reasons ?? [], claim, request.pins);
  const outerOnly = !peeled.failure && !inner && encrypted && judged.size > 0;
  // Before `contentOf`, which wipes what these may point into.
  const signature = judgement.signer && inner ? signatureOf(judgement.signer, inner) : null;
  const needs = needsOf(peeled.layers);
  if (peeled.failure) for (const plaintext of peeled.plaintexts) plaintext.wipe();

  return {
    verdict: judgement.verdict,
    author: judgement.author,
    from: addressesOf(message),
    claimed,
    encrypted,
    layers,
    reasons: outerOnly ? [...judgement.reasons, 'outer-only'] : judgement.reasons,
    missingIssuer: missingIssuerOf(inner ? (judged.get(inner) ?? []) : []),
    signature,
    protected: protectedHeader,
    // Unsigned, protected header fields (RFC 9788) are the entity's own and stay.
    entity: peeled.failure ? null : contentOf(message, peeled, !inner && protectedHeader !== null),
    needs,
  };
}

/** The first signature below the last encryption: nested ones further in are content, outer ones prove nothing. */
function innerSignature(layers: readonly (EncryptedLayer | CheckedSignature)[]): CheckedSignature | null {
  let found: CheckedSignature | null = null;
  for (const layer of layers) {
    if (layer.kind === 'encrypted') found = null;
    else found ??= layer;
  }
  return found;
}

function contentOf(message: Entity, peeled: Peeled, isProtected: boolean): Plaintext {
  const last = peeled.plaintexts.at(-1);
  for (const plaintext of peeled.plaintexts) if (plaintext !== last) plaintext.wipe();
  if (!last) return new Plaintext(withoutEnvelopeFields(message));
  // A Subject or From in the header around the signed part is not signed: on a copy some clients would show it.
  const bare = peeled.entity.fields.every((field) => /^(content-.*|mime-version)$/i.test(field.name));
  if (bare || isProtected) return last;
  const stripped = new Plaintext(withoutEnvelopeFields(peeled.entity));
  last.wipe();
  return stripped;
}

/**
 * A message's own content as an entity: its Content-* fields and body, exact bytes, without From, To and so on.
 * An entity that carries only the fields below starts with them; one without any starts with the blank line.
 */
export function withoutEnvelopeFields(message: Entity): Buffer {
  const kept = message.fields.filter((field) => /^content-/i.test(field.name));
  const header = kept.map((field) => fieldBytes(message.source, field));
  const pieces = [...header, Buffer.from('\r\n'), bodyBytes(message)];
  const out = Buffer.allocUnsafeSlow(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) at += piece.copy(out, at);
  return out;
}

function signatureOf(signer: JudgedSigner, layer: CheckedSignature): AuthorSignature | null {
  const { certificate } = signer;
  const { capabilities, preference, signatureSha256, signingTime } = signer.report;
  if (!certificate) return null;
  return {
    certificate: tight(certificate.der),
    bag: layer.bag.map((one) => tight(one.der)),
    signatureSha256,
    allSha256: layer.signers.filter((one) => one.intact).map((one) => one.signatureSha256),
    signingTime,
    capabilities: capabilities && tight(capabilities),
    preference,
  };
}

/** A copy in a buffer of its own: a view into the message would drag the whole message through postMessage. */
function tight(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

function missingIssuerOf(signers: readonly JudgedSigner[]): string | null {
  return signers.find((signer) => signer.verdict.missingIssuer !== null)?.verdict.missingIssuer ?? null;
}

function needsOf(layers: readonly (EncryptedLayer | CheckedSignature)[]): SignerId[] {
  const signed = layers.filter((layer): layer is CheckedSignature => layer.kind === 'signed');
  return signed.flatMap((layer) =>
    layer.signers.filter((one) => one.reasons.includes('signer-unknown')).map((one) => copyOfId(one.id)),
  );
}

/** A copy with Buffers of its own, from Buffers or from what postMessage makes of them. */
export function copyOfId(id: SignerId): SignerId {
  return id.kind === 'key-id'
    ? { kind: 'key-id', keyId: Buffer.from(id.keyId) }
    : { kind: 'issuer-serial', issuerDer: Buffer.from(id.issuerDer), serialDer: Buffer.from(id.serialDer) };
}

function addressesOf(message: Entity): string[] {
  try {
    return mailboxesOf(message.fields, 'From').map((mailbox) => mailbox.address);
  } catch {
    return [];
  }
}
