import type { Floor } from './algorithms.ts';
import { allowsEmail, allowsUsage, type Certificate } from './certificate.ts';
import { keepsPolicies } from './certificate-policies.ts';
import { keepsTo, type NameConstraints, nameConstraintsOf } from './name-constraints.ts';
import type { Reason } from './reasons.ts';
import { digestWeakness, keyWeakness, signatureSchemeOf } from './signatures.ts';

/** What the leaf's key is wanted for; `any` looks at no usage. */
export type PathPurpose = 'sign' | 'encrypt' | 'any';

/** What is wrong with one certificate of a path. */
export interface Flaw {
  readonly reason: Reason;
  readonly certificate: Certificate;
}

interface Rules {
  readonly at: number;
  readonly purpose: PathPurpose;
  readonly floor: Floor;
}

/**
 * What makes a path, leaf first and anchor last, not valid (RFC 5280 6.1.3 to 6.1.5); nothing if it is. That each
 * certificate is named and signed by the next one must have been checked before.
 */
export function checkPath(path: readonly Certificate[], rules: Rules): Flaw[] {
  const flaws = checkPlain(path, rules);
  const constraints: NameConstraints[] = [];
  let mostBelow = Number.POSITIVE_INFINITY;
  for (let i = path.length - 1; i >= 0; i--) {
    const certificate = path[i] as Certificate;
    const object = (reason: Reason) => flaws.push({ reason, certificate });
    const isLeaf = i === 0;
    const selfIssued = certificate.subjectName === certificate.issuerName;
    // RFC 5280 6.1.3 (b): a self-issued authority (key rollover) is not bound, a leaf always is.
    if ((isLeaf || !selfIssued) && !holds(() => keepsTo(certificate, constraints))) object('name-constraint');
    if (isLeaf) break;
    const isAnchor = i === path.length - 1;
    if (!isAuthority(certificate, isAnchor)) object('not-a-ca');
    if (certificate.keyUsage && !certificate.keyUsage.has('keyCertSign')) object('wrong-usage');
    // RFC 5280 6.1.4 (l), (m). The anchor's own length counts too, as OpenSSL does.
    if (!isAnchor && !selfIssued && mostBelow-- <= 0) object('path-too-long');
    if (certificate.pathLength !== null) mostBelow = Math.min(mostBelow, certificate.pathLength);
    try {
      const own = nameConstraintsOf(certificate);
      if (own) constraints.push(own);
    } catch {
      object('name-constraint');
    }
  }
  if (!holds(() => keepsPolicies(path)))
    flaws.push({ reason: 'policy', certificate: path[0] as Certificate });
  return flaws;
}

/** What is wrong with each certificate by itself, wherever the path leads: time, strength, extensions, usage. */
export function checkPlain(path: readonly Certificate[], { at, purpose, floor }: Rules): Flaw[] {
  const flaws: Flaw[] = [];
  const leaf = path[0] as Certificate;
  for (const [i, certificate] of path.entries()) {
    const object = (...reasons: Reason[]) =>
      flaws.push(...reasons.map((reason) => ({ reason, certificate })));
    if (at < certificate.notBefore) object('not-yet-valid');
    // RFC 5280 4.1.2.5: valid through notAfter, which has no fractions.
    if (at >= certificate.notAfter + 1000) object('expired');
    if (certificate.unknownCritical.length > 0) object('unknown-critical');
    if (purpose !== 'any' && !allowsEmail(certificate)) object('wrong-extended-usage');
    const scheme = signatureSchemeOf(certificate.signatureAlgorithmDer);
    // The last one's signature is an anchor's, or was verified by nobody.
    const digest = i < path.length - 1 ? (scheme?.digest ?? null) : null;
    const weak = [...digestWeakness(digest, floor), ...keyWeakness(certificate, floor)];
    if (weak.length > 0) object('weak', ...weak);
  }
  if (purpose !== 'any' && !allowsUsage(leaf, purpose))
    flaws.push({ reason: 'wrong-usage', certificate: leaf });
  return flaws;
}

/** RFC 5280 6.1.4 (k); an anchor from before version 3 has no extensions, and was chosen by the site. */
function isAuthority(certificate: Certificate, isAnchor: boolean): boolean {
  return certificate.isCa || (isAnchor && certificate.extensions.size === 0);
}

/** What cannot be read does not hold. */
function holds(rule: () => boolean): boolean {
  try {
    return rule();
  } catch {
    return false;
  }
}
