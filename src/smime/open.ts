import type { Plaintext } from '../base/bytes.ts';
import { Fault } from '../base/errors.ts';
import type { DecryptionKey } from '../cms/enveloped-data.ts';
import type { SignerId } from '../cms/signed-data.ts';
import { addressesIn, theMailbox } from '../mime/address.ts';
import { type Entity, parseEntity } from '../mime/entity.ts';
import { fieldValue } from '../mime/header.ts';
import { decodeWords } from '../mime/words.ts';
import type { Floor } from '../pki/algorithms.ts';
import { type Certificate, parseCertificate } from '../pki/certificate.ts';
import type { Reason } from '../pki/reasons.ts';
import type { RevocationPolicy } from '../pki/revocation.ts';
import { type Wanted, wantedFor, wantedKey } from '../pki/wanted.ts';
import { type ReadAnchors, readAnchors } from './anchors.ts';
import { type AuthorSignature, signatureOf, tight } from './author-signature.ts';
import { contentOf, contentSha256 } from './content.ts';
import { type ProtectedHeader, protectedHeaderOf } from './header-protection.ts';
import { type JudgedSigner, judgeSigners, type Pin, reportLayer } from './judge.ts';
import type { Layer } from './layers.ts';
import { openLimits } from './limits.ts';
import { type CheckedSignature, type PeeledLayer, peel } from './peel.ts';
import { isIntact, type Judgement, judgeClaim, type Verdict } from './verdict.ts';

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
  /** What is known of revocation; what the message itself brings is added to it. */
  readonly revocation: RevocationPolicy;
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
  /** The protected Subject inside an intact signature, else the outer one; of an encrypted post it is plaintext (RULES 14). */
  readonly subject: string | null;
  /** SHA-256 of the innermost entity with its MIME header (RULES 22); null if it was not opened. */
  readonly contentSha256: string | null;
  /** What could settle the trust of the signers that speak for From: lists, answers, issuers, by address. */
  readonly wanted: readonly Wanted[];
  /** DER of the certificates in the message, in order, each once (RFC 8550 2.3: any, in any order; nobody vouches for them). */
  readonly certificates: readonly Uint8Array[];
  /** DER that came with their signature: revocation lists and OCSP responses, not believed yet (RFC 8550 2.1). */
  readonly crls: readonly Uint8Array[];
  readonly ocsp: readonly Uint8Array[];
  /** What stayed open about their revocation where the policy lets it (`soft`). */
  readonly remarks: readonly Reason[];
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
 * Never throws on hostile input; what cannot be read is `malformed`, what cannot be decrypted `unopened`. `read` reads the
 * trust anchors of the request.
 */
export function openMessage(request: OpenRequest, read: ReadAnchors = readAnchors): OpenReport {
  const opening = { ...request, anchors: read(request.anchors) };
  const message = headerOf(request.message);
  if (message !== null) return openEntity(message, opening);
  const nothing = openEntity(parseEntity(Buffer.alloc(0)), opening);
  return { ...nothing, verdict: 'malformed', reasons: ['budget'], contentSha256: null, entity: null };
}

/** A request whose anchors are read. */
type Opening = Omit<OpenRequest, 'anchors'> & { readonly anchors: readonly Certificate[] };

/** Null if the header is beyond its limits (RULES 8): nothing of the message can be said then. */
function headerOf({ buffer, byteOffset, byteLength }: Uint8Array): Entity | null {
  try {
    return parseEntity(Buffer.from(buffer, byteOffset, byteLength));
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return null;
  }
}

function openEntity(message: Entity, request: Opening): OpenReport {
  const known = request.known.map((der) => parseCertificate(Buffer.from(der)));
  const { keys, floor, openedSize } = request;
  const peeled = peel(message, { keys, known, floor, openedSize });
  const { failure, payload } = peeled;
  const { layers, inner, signers, isSigned } = judgeLayers(peeled.layers, request, known);
  const encrypted = layers.some((layer) => layer.kind === 'encrypted');
  const authenticated = inner !== null && isIntact(signers, inner.reasons);
  const protectedHeader = failure ? null : protectedHeaderOf(payload, { message, encrypted, authenticated });
  const claimed = theMailbox(message.fields, 'From')?.address ?? null;
  const claim = {
    from: claimed,
    sender: theMailbox(message.fields, 'Sender')?.address ?? null,
    protectedFrom: protectedHeader?.hasFrom ? { address: protectedHeader.from } : null,
  };
  const judgement: Judgement = failure
    ? { verdict: failure.verdict, author: null, signer: null, speaking: [], reasons: [failure.reason] }
    : judgeClaim(inner && signers, inner?.reasons ?? [], claim, request.pins);
  const { verdict, author, speaking } = judgement;
  const outerOnly = !failure && !inner && encrypted && isSigned;
  const brought = speaking.length > 0 ? inner : null;
  // Unsigned, protected header fields (RFC 9788) are the entity's own and stay.
  const keepHeader = !inner && protectedHeader !== null && payload === peeled.entity;
  // Copied out of the plaintexts before they are wiped.
  const found: Findings = {
    verdict,
    author,
    from: addressesIn(message.fields, 'From'),
    claimed,
    encrypted,
    layers,
    reasons: outerOnly ? [...judgement.reasons, 'outer-only'] : judgement.reasons,
    missingIssuer: missingIssuerOf(signers),
    signature: judgement.signer && inner ? signatureOf(judgement.signer, inner, signers, speaking) : null,
    protected: protectedHeader,
    subject: (authenticated ? protectedHeader?.subject : null) ?? outerSubjectOf(message),
    contentSha256: failure ? null : contentSha256(message, payload),
    wanted: wantedBy(speaking, layers.some(isMalleable)),
    certificates: certificatesIn(peeled.layers),
    crls: brought?.crls.map(tight) ?? [],
    ocsp: brought?.ocsp.map(tight) ?? [],
    remarks: [...new Set(speaking.flatMap((signer) => signer.verdict.remarks))],
    needs: needsOf(peeled.layers),
  };
  const entity = failure
    ? null
    : contentOf(message, peeled, keepHeader && protectedHeader.form !== 'rfc8551');
  for (const plaintext of peeled.inflated) plaintext.wipe();
  if (failure) for (const plaintext of peeled.plaintexts) plaintext.wipe();
  return { ...found, entity };
}

/** What is found of the signatures of all layers, and the one that counts. */
interface JudgedLayers {
  readonly layers: readonly Layer[];
  /** The signature inside the innermost encryption (RULES 1). */
  readonly inner: CheckedSignature | null;
  /** Those of `inner`; none without it. */
  readonly signers: readonly JudgedSigner[];
  /** Whether there is a signature in any place, outside the encryption too. */
  readonly isSigned: boolean;
}

function judgeLayers(
  peeled: readonly PeeledLayer[],
  request: Opening,
  known: readonly Certificate[],
): JudgedLayers {
  const { pins, at, floor, revocation } = request;
  const anchors = { certificates: request.anchors };
  const trust = { anchors, known, pins, at, floor, revocation };
  const judged = new Map<CheckedSignature, JudgedSigner[]>();
  for (const layer of peeled) if (layer.kind === 'signed') judged.set(layer, judgeSigners(layer, trust));
  const signersOf = (layer: CheckedSignature) => judged.get(layer) ?? [];
  const inner = innerSignature(peeled);
  return {
    layers: peeled.map((layer) => (layer.kind === 'signed' ? reportLayer(layer, signersOf(layer)) : layer)),
    inner,
    signers: inner ? signersOf(inner) : [],
    isSigned: judged.size > 0,
  };
}

/** The first signature below the last encryption: nested ones further in are content, outer ones prove nothing. */
function innerSignature(layers: readonly PeeledLayer[]): CheckedSignature | null {
  let found: CheckedSignature | null = null;
  for (const layer of layers) {
    if (layer.kind === 'encrypted') found = null;
    else if (layer.kind === 'signed') found ??= layer;
  }
  return found;
}

/** EnvelopedData: nothing tells whether somebody changed the ciphertext. */
const isMalleable = (layer: Layer): boolean => layer.kind === 'encrypted' && layer.form === 'enveloped';

/**
 * Of all signers together, each once. What stands in a certificate that no authority signed can be pieced together from
 * a captured ciphertext: asking for that URL would tell its host somebody else's plaintext (EFAIL, section 6).
 */
function wantedBy(signers: readonly JudgedSigner[], malleable: boolean): Wanted[] {
  const found = signers.flatMap(({ path }) => (path ? wantedFor(path) : []));
  const all = malleable ? found.filter((one) => one.kind !== 'issuer') : found;
  return [...new Map(all.map((one) => [wantedKey(one), one])).values()].slice(0, openLimits.wanted);
}

function certificatesIn(layers: readonly PeeledLayer[]): Uint8Array[] {
  const bags = layers.flatMap((layer) => (layer.kind === 'signed' ? layer.bag : []));
  return [...new Map(bags.map((one) => [one.sha256, one])).values()].map((one) => tight(one.der));
}

function outerSubjectOf(message: Entity): string | null {
  const subject = fieldValue(message.fields, 'Subject');
  return subject === null ? null : decodeWords(subject);
}

function missingIssuerOf(signers: readonly JudgedSigner[]): string | null {
  return signers.find((signer) => signer.verdict.missingIssuer !== null)?.verdict.missingIssuer ?? null;
}

function needsOf(layers: readonly PeeledLayer[]): SignerId[] {
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
