import type { Certificate } from './certificate.ts';
import { type Crl, entryFor } from './crl.ts';
import { allReasons, covers, type DistributionPoint, distributionPointsOf } from './distribution-points.ts';
import { type Inquiry, isSignedWith, type Status, type Target } from './inquiry.ts';

/** Certificates of one name that are tried as the signer of one list. */
const mostSigners = 5;

/**
 * What the revocation lists say of a certificate (RFC 5280 6.3.3). Lists that are not signed as they must be, or that hold
 * something critical and unknown, count for nothing; of the others the newest one of each scope decides.
 */
export function crlStatus(inquiry: Inquiry, target: Target): Status {
  let points: readonly DistributionPoint[];
  try {
    points = distributionPointsOf(target.certificate);
  } catch {
    return 'crl-invalid';
  }
  // The reasons for which the certificate is known not to be revoked: from current lists, and from ones of later.
  let current = 0;
  let later = 0;
  const problems = new Set<Status>();
  for (const { crl, reasons, delegated } of listsFor(inquiry, target.certificate, points)) {
    if ((reasons & ~current) === 0) continue;
    const told = ask(inquiry, crl, target, delegated);
    if (told === 'revoked') return 'revoked';
    if (told === 'good') current |= reasons;
    else if (told === 'good-later') later |= reasons;
    else problems.add(told);
  }
  if ((current | later) === allReasons) return 'good';
  if (problems.has('crl-expired')) return 'crl-expired';
  const broken = problems.size > 0 || inquiry.evidence.hasBrokenCrl(target.certificate.issuerName);
  return broken ? 'crl-invalid' : 'crl-missing';
}

/** The complete lists whose issuer and scope fit, with the reasons they speak of (RFC 5280 6.3.3 b, d). */
function* listsFor({ evidence }: Inquiry, certificate: Certificate, points: readonly DistributionPoint[]) {
  for (const point of points) {
    for (const issuer of point.crlIssuers ?? [certificate.issuerName]) {
      for (const crl of evidence.crlsOf(issuer)) {
        if (crl.isDelta || (point.crlIssuers !== null && !crl.isIndirect)) continue;
        if (covers(crl.scope, point, certificate)) {
          const delegated = point.crlIssuers !== null;
          yield { crl, reasons: crl.scope.reasons & point.reasons, delegated };
        }
      }
    }
  }
}

/** One complete list, with the newest delta that fits it. */
function ask(inquiry: Inquiry, crl: Crl, target: Target, delegated: boolean): Status | 'good-later' {
  if (crl.unknownCritical.length > 0) return 'crl-invalid';
  const signer = signerOf(inquiry, crl, target, delegated);
  if (!signer) return 'crl-invalid';
  const { at } = inquiry;
  const delta = deltaOf(inquiry, crl, signer);
  try {
    // RFC 5280 6.3.3 i, j: the delta first.
    const listed = (delta && effectiveEntry(delta, target, at)) ?? effectiveEntry(crl, target, at);
    if (listed && !listed.removed) return 'revoked';
  } catch {
    return 'crl-invalid';
  }
  // RFC 5280 5.2.4: a list made of a base and a delta has the delta's times.
  const { thisUpdate, nextUpdate } = delta ?? crl;
  if (nextUpdate === null || at > nextUpdate) return 'crl-expired';
  if (thisUpdate <= at) return 'good';
  // RFC 5280 3.3: an authority may leave out who has expired since.
  return thisUpdate <= target.certificate.notAfter ? 'good-later' : 'crl-expired';
}

/**
 * The entry that counts at the instant judged. RFC 5280 knows no instant but now. Mail is judged at its receipt (RFC 8550 6),
 * with lists that may be from after it, so an entry counts from its date on, or from the date that the key was lost on if
 * that is earlier. The date is the authority's, which a thief of the key cannot choose. A list that is out of date still
 * proves what it lists: it only cannot prove that somebody is not on it.
 */
function effectiveEntry(crl: Crl, { certificate }: Target, at: number) {
  const entry = entryFor(crl, certificate);
  return entry && entry.revokedAt <= at ? entry : null;
}

/** RFC 5280 6.3.3 c, h and 5.2.4. */
function deltaOf(inquiry: Inquiry, base: Crl, signer: Certificate): Crl | null {
  const fits = (delta: Crl): boolean =>
    delta.baseNumber !== null &&
    base.number !== null &&
    delta.number !== null &&
    delta.baseNumber <= base.number &&
    base.number < delta.number &&
    delta.unknownCritical.length === 0 &&
    delta.nextUpdate !== null &&
    inquiry.at <= delta.nextUpdate &&
    (delta.scopeDer === null
      ? base.scopeDer === null
      : base.scopeDer !== null && delta.scopeDer.equals(base.scopeDer)) &&
    isSignedWith(inquiry, delta, signer);
  return inquiry.evidence.crlsOf(base.issuerName).find(fits) ?? null;
}

/**
 * The certificate that the list is signed with (RFC 5280 6.3.3 f, g): of the path itself, or another one of the list's
 * issuer with a path of its own to the same anchor; null if there is none. `delegated`: the certificate itself names who
 * signs its list, which may be its own holder (PKITS 4.14.30); otherwise nobody vouches for himself.
 */
function signerOf(
  inquiry: Inquiry,
  crl: Crl,
  { certificate, above }: Target,
  delegated: boolean,
): Certificate | null {
  const anchor = above[above.length - 1] as Certificate;
  const inPath = above.filter((authority) => authority.subjectName === crl.issuerName);
  const others = inquiry.named(crl.issuerName).filter((authority) => !inPath.includes(authority));
  const likely = [...others].sort((a, b) => Number(fits(crl, b)) - Number(fits(crl, a)));
  for (const signer of [...inPath, ...likely.slice(0, mostSigners)]) {
    if (signer.keyUsage && !signer.keyUsage.has('cRLSign')) continue;
    if (!isSignedWith(inquiry, crl, signer)) continue;
    const vouches = signer.sha256 === certificate.sha256;
    if (vouches ? delegated : inPath.includes(signer) || inquiry.leadsTo(signer, anchor)) return signer;
  }
  return null;
}

/** Only an order of tries: a key identifier may be anything. */
function fits(crl: Crl, signer: Certificate): boolean {
  return crl.authorityKeyId !== null && (signer.subjectKeyId?.equals(crl.authorityKeyId) ?? false);
}
