import { dayMs } from '../base/day.ts';
import type { Certificate } from './certificate.ts';
import { crlStatus } from './crl-status.ts';
import { crlExtensionOid, type Extensions, extensionOid } from './extensions.ts';
import { type Inquiry, isSignedWith, type Status, type Target } from './inquiry.ts';
import { answersAbout, isResponder, type OcspAnswer, type OcspResponse } from './ocsp.ts';

const ocspSigning = '1.3.6.1.5.5.7.3.9';
const ocspExtension = '1.3.6.1.5.5.7.48.1';
/** Nonce, CRL reference, archive cutoff, service locator, extended revoke (RFC 6960 4.4); entry extensions of lists. */
const processed: ReadonlySet<string> = new Set([
  ...[2, 3, 6, 7, 9].map((arc) => `${ocspExtension}.${arc}`),
  crlExtensionOid.reason,
  crlExtensionOid.invalidityDate,
]);
/** How long an answer counts that does not say so itself: "newer information is available all the time". */
const undatedAge = dayMs;

/**
 * What OCSP responses say of a certificate (RFC 6960 3.2), the newest answer first; `unknown` is no answer. `isHard`: a
 * responder whose own status is open does not count.
 */
export function ocspStatus(inquiry: Inquiry, target: Target, isHard: boolean): Status {
  const answers = inquiry.evidence
    .ocsp()
    .flatMap((response) => response.answers.map((answer) => ({ response, answer })))
    .filter(({ answer }) => answersAbout(answer, target.certificate, target.above[0]))
    .sort((a, b) => b.answer.thisUpdate - a.answer.thisUpdate);
  const problems = new Set<Status>();
  let isGoodLater = false;
  for (const { response, answer } of answers) {
    const told = judge(inquiry, target, answer);
    if (told === null) continue;
    if (hasUnknownCritical(response.extensions) || hasUnknownCritical(answer.extensions))
      problems.add('crl-invalid');
    else if (!isFromResponder(inquiry, target, response, answer, isHard)) problems.add('crl-invalid');
    else if (told === 'crl-expired') problems.add(told);
    // As with lists: what was said later does not hide what was said at the time, a hold.
    else if (told === 'good' && answer.thisUpdate > inquiry.at) isGoodLater = true;
    else return told;
  }
  if (isGoodLater) return 'good';
  if (problems.has('crl-expired')) return 'crl-expired';
  return problems.size > 0 ? 'crl-invalid' : 'crl-missing';
}

/** What a SingleResponse says at the instant judged; null for nothing. */
function judge({ at }: Inquiry, { certificate }: Target, answer: OcspAnswer): Status | null {
  const { status, revokedAt, thisUpdate, nextUpdate } = answer;
  if (status === 'unknown') return null;
  // As with lists: from its date on, and an old answer still proves a revocation.
  if (status === 'revoked' && revokedAt !== null && revokedAt <= at) return 'revoked';
  if (at > (nextUpdate ?? thisUpdate + undatedAge)) return 'crl-expired';
  return thisUpdate <= at || thisUpdate <= certificate.notAfter ? 'good' : 'crl-expired';
}

const hasUnknownCritical = (extensions: Extensions): boolean =>
  [...extensions].some(([oid, { critical }]) => critical && !processed.has(oid));

/** RFC 6960 3.2 (2, 3), 4.2.2.2: signed by the issuer of the certificate, or by whom that issuer delegated to. */
function isFromResponder(
  inquiry: Inquiry,
  target: Target,
  response: OcspResponse,
  answer: OcspAnswer,
  isHard: boolean,
): boolean {
  const issuer = target.above[0];
  if (isResponder(response, issuer) && isSignedWith(inquiry, response, issuer)) return true;
  // An answer of after the instant judged may be signed with a key that is younger than that.
  const instant = Math.max(inquiry.at, answer.thisUpdate);
  return response.certificates.some(
    (delegate) =>
      isResponder(response, delegate) &&
      delegate.extendedKeyUsage?.has(ocspSigning) === true &&
      (delegate.keyUsage?.has('digitalSignature') ?? true) &&
      delegate.unknownCritical.length === 0 &&
      delegate.notBefore <= instant &&
      instant < delegate.notAfter + 1000 &&
      // RFC 6960 4.2.2.2: issued directly by the authority, whose key signs it.
      delegate.issuerName === issuer.subjectName &&
      isSignedWith(inquiry, response, delegate) &&
      isSignedWith(inquiry, delegate, issuer) &&
      isUnrevoked(inquiry, delegate, target, isHard),
  );
}

/** RFC 6960 4.2.2.2.1. Only lists are asked: asking OCSP about a responder would go round in circles. */
function isUnrevoked(inquiry: Inquiry, delegate: Certificate, { above }: Target, isHard: boolean): boolean {
  if (delegate.extensions.has(extensionOid.ocspNoCheck)) return true;
  const status = crlStatus(inquiry, { certificate: delegate, above });
  // With neither, the authority left it to us: such certificates are short-lived.
  const saysWhere = delegate.crlUrls.length + delegate.ocspUrls.length > 0;
  return status === 'good' || (status !== 'revoked' && !(isHard && saysWhere));
}
