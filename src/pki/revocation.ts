import type { Floor } from './algorithms.ts';
import type { Certificate } from './certificate.ts';
import { crlStatus } from './crl-status.ts';
import { type Evidence, noEvidence, readEvidence } from './evidence.ts';
import type { Inquiry, Status, Target } from './inquiry.ts';
import { ocspStatus } from './ocsp-status.ts';
import type { Flaw } from './path-rules.ts';
import type { Reason } from './reasons.ts';

export { type Evidence, noEvidence } from './evidence.ts';

/**
 * `off`: not looked at. `soft`: a revoked certificate makes the path invalid, open questions are remarks. `hard`: so do
 * missing, outdated and invalid lists (RFC 8550 4.1, 6).
 */
export interface RevocationPolicy {
  readonly mode: 'off' | 'soft' | 'hard';
  readonly evidence: Evidence;
}

export const revocationOff: RevocationPolicy = { mode: 'off', evidence: noEvidence };

/** The revocation of one validation, with what was found out so far. */
export interface Revocation {
  readonly mode: 'soft' | 'hard';
  readonly inquiry: Inquiry;
  /** Status by certificate, issuer's key and anchor, once it is good or revoked. */
  readonly settled: Map<string, Status>;
  /** Certificates that are being judged: one that signs the list about itself proves nothing. */
  readonly open: Set<string>;
}

/** Starts looking at revocation for one validation; null where it is off. */
export function startRevocation(
  policy: RevocationPolicy,
  d: { at: number; floor: Floor } & Pick<Inquiry, 'named' | 'leadsTo'>,
): Revocation | null {
  if (policy.mode === 'off') return null;
  const evidence = readEvidence(policy.evidence);
  const spent = { signatures: 0, octets: 0 };
  const inquiry = { ...d, evidence, verified: new Map(), spent, exhausted: evidence.isCut };
  return { mode: policy.mode, inquiry, settled: new Map(), open: new Set() };
}

/** What the revocation of a path's certificates means for the path. */
export interface Judgement {
  readonly flaws: readonly Flaw[];
  readonly remarks: readonly Reason[];
  readonly unchecked: readonly Certificate[];
}

/**
 * Judges every certificate of an otherwise valid path, leaf first and anchor last, but the anchor, which nobody revokes
 * (RFC 5280 6.3, RFC 6960). Never throws.
 */
export function judgeRevocation(revocation: Revocation, path: readonly Certificate[]): Judgement {
  const flaws: Flaw[] = [];
  const remarks = new Set<Reason>();
  const unchecked: Certificate[] = [];
  for (const [i, certificate] of path.entries()) {
    const [issuer, ...further] = path.slice(i + 1);
    if (!issuer) break;
    const status = statusOf(revocation, { certificate, above: [issuer, ...further] });
    if (status === 'good') continue;
    // A flood of false lists must not hide the right one: a used-up budget is no open question.
    const fails = status === 'revoked' || status === 'path-budget' || revocation.mode === 'hard';
    if (fails) flaws.push({ reason: status, certificate });
    else remarks.add(status);
    if (status !== 'revoked') unchecked.push(certificate);
  }
  return { flaws, remarks: [...remarks], unchecked };
}

function statusOf(revocation: Revocation, target: Target): Status {
  const { inquiry, settled, open, mode } = revocation;
  const { certificate, above } = target;
  const key = `${certificate.sha256} ${above[0].spkiSha256} ${above[above.length - 1]?.sha256}`;
  const known = settled.get(key);
  if (known) return known;
  if (open.has(certificate.sha256)) return 'crl-missing';
  open.add(certificate.sha256);
  const status = combined(
    crlStatus(inquiry, target),
    ocspStatus(inquiry, target, mode === 'hard'),
    inquiry.exhausted,
  );
  open.delete(certificate.sha256);
  if (status === 'good' || status === 'revoked') settled.set(key, status);
  return status;
}

/** Revoked by either is revoked; good by either settles it; else the more telling of the two open ones. */
function combined(crl: Status, ocsp: Status, exhausted: boolean): Status {
  if (crl === 'revoked' || ocsp === 'revoked') return 'revoked';
  if (exhausted) return 'path-budget';
  if (crl === 'good' || ocsp === 'good') return 'good';
  return crl === 'crl-missing' ? ocsp : crl;
}
