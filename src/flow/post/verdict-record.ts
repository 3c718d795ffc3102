import { createHash } from 'node:crypto';
import { type OpeningCipher, openingCiphers, strengthOf } from '../../pki/algorithms.ts';
import { isReason, type Reason, sentenceOf } from '../../pki/reasons.ts';
import type { Layer, SignerFlaw } from '../../smime/layers.ts';
import type { Findings, OpenReport } from '../../smime/open.ts';
import type { JsonObject } from '../../store/schema.ts';
import { type Decision, type DecisionReason, type DropReason, weakestCipher } from './authorize.ts';

/** What is recorded once about an accepted, held or refused posting (RULES 18). No text of the message is in it. */
export interface VerdictRecord {
  readonly receivedAt: number;
  readonly verdict: OpenReport['verdict'];
  readonly author: string | null;
  readonly from: string | null;
  readonly reasons: readonly Reason[];
  readonly decision: Decision['kind'] | 'unopened' | 'forwarded' | 'command';
  readonly rule: string;
  readonly encrypted: boolean;
  /** The cipher the post came with, and its strength in bits. */
  readonly receivedCipher: OpeningCipher | null;
  readonly receivedBits: number | null;
  readonly listKey: string | null;
  readonly signer: {
    readonly certificate: string;
    readonly subject: string | null;
    readonly signatureSha256: string;
  } | null;
  readonly layers: readonly Layer[];
  readonly missingIssuer: string | null;
}

/** The record of one decision about an opened message. */
export function verdictRecord(
  report: Findings,
  d: { readonly decision: VerdictRecord['decision']; readonly rule: string; readonly receivedAt: number },
): VerdictRecord {
  const encrypted = report.layers.filter((layer) => layer.kind === 'encrypted');
  const innermost = encrypted.at(-1) ?? null;
  const signers = report.layers.flatMap((layer) => (layer.kind === 'signed' ? layer.signers : []));
  const certificate =
    report.signature && createHash('sha256').update(report.signature.certificate).digest('hex');
  const signer = signers.find((one) => one.trusted && one.certificate === certificate);
  const bits = weakestCipher(report);
  return {
    ...d,
    verdict: report.verdict,
    author: report.author,
    from: report.claimed,
    reasons: report.reasons,
    encrypted: report.encrypted,
    receivedCipher: cipherOf(innermost?.cipher ?? null),
    receivedBits: Number.isFinite(bits) ? bits : null,
    listKey: innermost?.keySha256 ?? null,
    signer: report.signature
      ? {
          certificate: certificate ?? '',
          subject: signer?.subject ?? null,
          signatureSha256: report.signature.signatureSha256,
        }
      : null,
    layers: report.layers,
    missingIssuer: report.missingIssuer,
  };
}

function cipherOf(name: string | null): OpeningCipher | null {
  return openingCiphers.find((cipher) => cipher === name) ?? null;
}

/** As a JSON column. */
export function toJson(record: VerdictRecord): JsonObject {
  return { ...record };
}

/** The layers of a record as it was written. */
export function layersIn({ layers }: JsonObject): readonly Layer[] {
  // `toJson` wrote them.
  return Array.isArray(layers) ? (layers as Layer[]) : [];
}

/** What is wrong with the certificates of the signers in some layers. */
export function flawsIn(layers: readonly Layer[]): readonly SignerFlaw[] {
  return layers.flatMap((layer) =>
    layer.kind === 'signed' ? layer.signers.flatMap((signer) => signer.flaws) : [],
  );
}

/** Whether the post came encrypted, by its record. One that does not say counts as encrypted: it never leaves in clear. */
export function cameEncrypted(posting: { readonly verdict: JsonObject | null }): boolean {
  return posting.verdict?.encrypted !== false;
}

/** Strength in bits of the encryption that the post came with, the innermost one of several; 0 in clear. */
export function receivedBits(posting: { readonly verdict: JsonObject | null }): number {
  const { receivedCipher, receivedBits: bits } = posting.verdict ?? {};
  const cipher = typeof receivedCipher === 'string' ? cipherOf(receivedCipher) : null;
  if (cipher) return strengthOf(cipher);
  return typeof bits === 'number' ? bits : 0;
}

/** Why a posting is where it is: the codes of the flow itself, beside the engine's (`Reason`). */
type FlowReason =
  | Exclude<DecisionReason, Reason>
  | DropReason
  | 'weak-cipher'
  | 'key-locked'
  | 'trust-unreadable'
  | 'weaker-than-received'
  | 'moderation-expired'
  | 'quarantine-expired';

/** One sentence for ledger, notices and logs: why a post is not distributed by itself. A code of old rows stays as it is. */
export function sentenceFor(
  reason: string,
  report:
    | (Pick<OpenReport, 'missingIssuer' | 'claimed'> & Partial<Pick<OpenReport, 'reasons' | 'layers'>>)
    | null,
): string {
  const flaws = flawsIn(report?.layers ?? []);
  const sentence = (one: Reason): string => {
    const flaw = flaws.find((of) => of.reason === one);
    const about = flaw ?? { issuer: report?.missingIssuer ?? null };
    return sentenceOf(one, { ...about, address: report?.claimed ?? null });
  };
  const why = report?.reasons?.map(sentence).join('; ') ?? '';
  if (reason === 'encrypted-unsigned' && why !== '')
    return `it is encrypted, and the signature with it gives no rights: ${why}`;
  if (isFlowReason(reason)) return flowSentences[reason];
  return isReason(reason) ? sentence(reason) : reason;
}

const flowSentences: Readonly<Record<FlowReason, string>> = {
  'may-not-post': 'the address in From may not post to this list',
  'list-closed': 'the list is closed',
  'not-encrypted': 'the list accepts only encrypted posts (accept.encryption: required)',
  'not-signed': 'the list accepts only signed posts (accept.signature: required)',
  'encrypted-unsigned': 'it was encrypted without a valid signature inside, so nobody knows who wrote it',
  replay: 'the same signature was distributed by this list before',
  'replay-elsewhere':
    'the same signature was seen on another list, or at another address of this one, before',
  'not-for-this-list': 'its protected To and Cc do not name this list',
  undated: 'its signature does not say when it was made, so it may be a replay',
  'from-not-one': 'From does not name exactly one author',
  'too-big': 'it is larger than the list accepts (accept.max-size)',
  'too-large-for-relay': 'its copies are larger than the mail server that sends them takes',
  'needs-smtputf8': 'the mail server that sends the copies does not offer SMTPUTF8, which they need',
  'needs-8bitmime':
    'it has 8-bit text, which is never recoded because that breaks signatures, and the mail server that sends the copies does not offer 8BITMIME',
  'needs-tls':
    'its author requires TLS all the way (REQUIRETLS), and the mail server that sends the copies does not promise that',
  'weak-cipher': 'it came with weaker encryption than the list accepts (minimum.cipher)',
  loop: 'it has been distributed by this list before',
  automatic: 'it is an automatic answer',
  duplicate: 'the same message came before',
  'key-locked': 'the private key of the list cannot be used now; `reseal check` says why',
  'trust-unreadable': 'the authorities that the list trusts cannot be read now',
  'weaker-than-received':
    'it left with a weaker cipher than it came with: this member is pinned to it, or reads no better',
  'moderation-expired': 'no moderator answered in time (held.days)',
  'quarantine-expired': 'nobody took it out of quarantine in time (quarantine.days)',
  malformed: 'its MIME or S/MIME structure is broken or cut off, so nobody got it',
  'null-sender': 'it has the null sender: a bounce, which is not a post',
};

function isFlowReason(reason: string): reason is FlowReason {
  return Object.hasOwn(flowSentences, reason);
}
