import { type Ber, contentOf, expect, isContext, oidOf, smallIntegerOf, tag } from './ber.ts';
import type { Certificate } from './certificate.ts';
import { extensionOid, extensionValue } from './extensions.ts';

const anyPolicy = '2.5.29.32.0';

/**
 * The nodes of the valid policy tree at one depth: policy → what it is called one certificate below. Which parent a node
 * has does not matter for whether any is left, so the tree's other levels are not kept.
 */
type Level = Map<string, Set<string>>;

/** Certificates until each rule takes effect (RFC 5280 6.1.2 d to f). */
interface Counters {
  explicitPolicy: number;
  policyMapping: number;
  inhibitAny: number;
}

/**
 * Whether a path, leaf first and anchor last, keeps the certificate policies that its authorities demand (RFC 5280 6.1.2 to
 * 6.1.5). reseal itself asks for none (initial values: any policy, nothing explicit, nothing inhibited), so only a
 * policyConstraints extension can make it fail. Throws `ber-malformed`.
 */
export function keepsPolicies(path: readonly Certificate[]): boolean {
  const below = path.slice(0, -1).reverse();
  let level: Level = new Map([[anyPolicy, new Set([anyPolicy])]]);
  const after = below.length + 1;
  const counters: Counters = { explicitPolicy: after, policyMapping: after, inhibitAny: after };
  for (const [i, certificate] of below.entries()) {
    const isLeaf = i === below.length - 1;
    const selfIssued = certificate.subjectName === certificate.issuerName;
    level = nextLevel(level, policiesOf(certificate), counters.inhibitAny > 0 || (selfIssued && !isLeaf));
    if (level.size === 0 && counters.explicitPolicy === 0) return false;
    if (isLeaf) {
      // RFC 5280 6.1.5 (a), (b).
      const required = constraintsOf(certificate).requireExplicitPolicy === 0;
      return level.size > 0 || (counters.explicitPolicy > 1 && !required);
    }
    if (!mapPolicies(level, certificate, counters.policyMapping > 0)) return false;
    count(counters, certificate, selfIssued);
  }
  return true;
}

/** RFC 5280 6.1.3 (d), (e). */
function nextLevel(level: Level, policies: ReadonlySet<string> | null, anyCounts: boolean): Level {
  const next: Level = new Map();
  if (!policies) return next;
  const expected = new Set([...level.values()].flatMap((names) => [...names]));
  for (const policy of policies) {
    if (policy !== anyPolicy && (expected.has(policy) || level.has(anyPolicy)))
      next.set(policy, new Set([policy]));
  }
  if (policies.has(anyPolicy) && anyCounts) {
    for (const policy of expected) if (!next.has(policy)) next.set(policy, new Set([policy]));
  }
  return next;
}

/** RFC 5280 6.1.4 (a), (b); false if anyPolicy is mapped. */
function mapPolicies(level: Level, certificate: Certificate, allowed: boolean): boolean {
  const node = extensionValue(certificate.extensions, extensionOid.policyMappings);
  const mapped = new Map<string, Set<string>>();
  for (const pair of node ? expect(node, tag.sequence, 'the policy mappings').children : []) {
    const [from, to] = expect(pair, tag.sequence, 'a policy mapping').children.map(oidOf);
    if (from === undefined || to === undefined || from === anyPolicy || to === anyPolicy) return false;
    mapped.set(from, (mapped.get(from) ?? new Set()).add(to));
  }
  const hasAny = level.has(anyPolicy);
  for (const [from, to] of mapped) {
    if (!allowed) level.delete(from);
    else if (level.has(from) || hasAny) level.set(from, to);
  }
  return true;
}

/** RFC 5280 6.1.4 (h) to (j). */
function count(counters: Counters, certificate: Certificate, selfIssued: boolean): void {
  if (!selfIssued) {
    counters.explicitPolicy = Math.max(0, counters.explicitPolicy - 1);
    counters.policyMapping = Math.max(0, counters.policyMapping - 1);
    counters.inhibitAny = Math.max(0, counters.inhibitAny - 1);
  }
  const { requireExplicitPolicy, inhibitPolicyMapping } = constraintsOf(certificate);
  counters.explicitPolicy = Math.min(counters.explicitPolicy, requireExplicitPolicy);
  counters.policyMapping = Math.min(counters.policyMapping, inhibitPolicyMapping);
  const inhibitAny = extensionValue(certificate.extensions, extensionOid.inhibitAnyPolicy);
  if (inhibitAny) counters.inhibitAny = Math.min(counters.inhibitAny, smallIntegerOf(inhibitAny));
}

function policiesOf(certificate: Certificate): ReadonlySet<string> | null {
  const node = extensionValue(certificate.extensions, extensionOid.certificatePolicies);
  if (!node) return null;
  const information = expect(node, tag.sequence, 'the certificate policies').children;
  return new Set(
    information.map((item) => oidOf(expect(item, tag.sequence, 'a certificate policy').children[0])),
  );
}

/** PolicyConstraints (RFC 5280 4.2.1.11); infinity where absent. */
function constraintsOf(certificate: Certificate): {
  requireExplicitPolicy: number;
  inhibitPolicyMapping: number;
} {
  const node = extensionValue(certificate.extensions, extensionOid.policyConstraints);
  const field = (number: number): number => {
    const found = node?.children.find((child: Ber) => isContext(child, number));
    if (!found) return Number.POSITIVE_INFINITY;
    const octets = contentOf(found);
    return octets.length === 1 && (octets[0] as number) < 0x80 ? (octets[0] as number) : 0;
  };
  return { requireExplicitPolicy: field(0), inhibitPolicyMapping: field(1) };
}
