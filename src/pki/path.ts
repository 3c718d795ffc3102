import type { KeyObject } from 'node:crypto';
import type { Floor } from './algorithms.ts';
import { type Certificate, publicKeyOf } from './certificate.ts';
import { checkPath, checkPlain, type Flaw, type PathPurpose } from './path-rules.ts';
import type { Reason } from './reasons.ts';
import {
  judgeRevocation,
  type Revocation,
  type RevocationPolicy,
  revocationOff,
  startRevocation,
} from './revocation.ts';
import { signatureSchemeOf, verifySignature } from './signatures.ts';

/** Certificates that are trusted by themselves: authorities, or a person's own certificate. */
export interface TrustAnchors {
  readonly certificates: readonly Certificate[];
}

export interface PathResult {
  readonly valid: boolean;
  /** Leaf first, anchor last; of an invalid result the best that was found, perhaps the leaf alone. */
  readonly path: readonly Certificate[];
  /** Empty if valid; else those of the failing path with the fewest. */
  readonly reasons: readonly Reason[];
  /** Which certificate of `path` each reason is about; `path-budget` is about none. */
  readonly flaws: readonly Flaw[];
  /** Name of the authority that is missing, if no path reaches an anchor. */
  readonly missingIssuer: string | null;
  /** Certificates of `path` whose revocation status no evidence settles; empty where revocation is off. */
  readonly unchecked: readonly Certificate[];
  /** Why revocation stayed open where it may (`soft`); never what makes the path invalid. */
  readonly remarks: readonly Reason[];
}

export interface PathRequest {
  readonly anchors: TrustAnchors;
  /** Certificates that may lead to an anchor (a message's bag, the store); nothing in them is believed. */
  readonly intermediates: readonly Certificate[];
  /** The instant that validity is judged at, in milliseconds. */
  readonly at: number;
  readonly purpose: PathPurpose;
  readonly floor: Floor;
  /** Absent: revocation is not looked at. */
  readonly revocation?: RevocationPolicy;
}

/** What one validation may cost (DESIGN, reference libraries 2.5: cross-certificates can make paths without end). */
export const pathLimits = {
  /** Certificates in a path, leaf and anchor included. */
  depth: 8,
  /** Signatures verified. */
  signatures: 50,
  /** Certificates taken from `intermediates`. */
  certificates: 100,
  /** Extensions of a path tried, verified before or not. */
  steps: 1_000,
} as const;

interface Search extends Omit<PathRequest, 'revocation'> {
  readonly anchorIds: ReadonlySet<string>;
  /** Possible issuers by subject name, anchors among them. */
  readonly issuers: ReadonlyMap<string, readonly Certificate[]>;
  /** Whether a certificate is signed by a key, by their fingerprints. */
  readonly verified: Map<string, boolean>;
  readonly spent: { steps: number; signatures: number; exhausted: boolean };
  readonly revocation: Revocation | null;
  best: PathResult | null;
  deadEnd: PathResult | null;
}

/**
 * Looks for a path from `leaf` to a trust anchor and validates it (RFC 5280 6; RFC 8550 4). Every path that the
 * certificates allow is tried, likely ones first, until one is valid or the budget is used up (`path-budget`). An anchor's
 * own signature proves nothing and is not checked; all else of it is. Revocation is judged by the evidence given, of paths
 * that are valid otherwise: one with a revoked certificate is passed over for another. Never throws.
 */
export function validatePath(leaf: Certificate, request: PathRequest): PathResult {
  const pool = new Map<string, Certificate>();
  for (const certificate of request.anchors.certificates) pool.set(certificate.sha256, certificate);
  const anchorIds = new Set(pool.keys());
  const most = pool.size + pathLimits.certificates;
  let exhausted = false;
  for (const certificate of request.intermediates) {
    if (pool.size === most && !pool.has(certificate.sha256)) exhausted = true;
    else if (!anchorIds.has(certificate.sha256)) pool.set(certificate.sha256, certificate);
  }
  const issuers = new Map<string, Certificate[]>();
  for (const certificate of pool.values()) {
    const same = issuers.get(certificate.subjectName);
    if (same) same.push(certificate);
    else issuers.set(certificate.subjectName, [certificate]);
  }
  const search: Search = {
    ...request,
    anchorIds,
    issuers,
    verified: new Map(),
    spent: { steps: 0, signatures: 0, exhausted },
    revocation: startRevocation(request.revocation ?? revocationOff, {
      at: request.at,
      floor: request.floor,
      named: (subjectName) => issuers.get(subjectName) ?? [],
      // RFC 5280 6.3.3 (f): to the same anchor; at the cost of the same budget.
      leadsTo: (certificate, anchor) => {
        const own = { ...search, purpose: 'any' as const, anchorIds: new Set([anchor.sha256]) };
        return extend(own, [certificate]) !== null;
      },
    }),
    best: null,
    deadEnd: null,
  };
  const found = extend(search, [leaf]);
  if (found) return found;
  const failed = search.best ?? search.deadEnd ?? deadEnd(search, [leaf], 'no-path');
  if (!search.spent.exhausted || failed.reasons.includes('path-budget')) return failed;
  return { ...failed, reasons: [...failed.reasons, 'path-budget'] };
}

/** Depth first from the last certificate of `path` upwards; the first valid path, or null. */
function extend(search: Search, path: readonly Certificate[]): PathResult | null {
  const last = path[path.length - 1] as Certificate;
  if (search.anchorIds.has(last.sha256)) {
    const result = judge(search, path);
    if (result.valid) return result;
    if (!search.best || result.reasons.length < search.best.reasons.length) search.best = result;
    return null;
  }
  let signedByNone = false;
  let signedBySome = false;
  for (const issuer of likelyFirst(search, last)) {
    // RFC 4158 2.4.2: the same name and key twice is a loop, whatever certificate carries them.
    if (path.some((c) => c.subjectName === issuer.subjectName && c.spkiSha256 === issuer.spkiSha256))
      continue;
    if (path.length >= pathLimits.depth || ++search.spent.steps > pathLimits.steps) {
      search.spent.exhausted = true;
      break;
    }
    const signed = isSignedBy(search, last, issuer);
    if (signed === null) break;
    if (!signed) {
      signedByNone ||= !differ(last.authorityKeyId, issuer.subjectKeyId);
      continue;
    }
    signedBySome = true;
    const found = extend(search, [...path, issuer]);
    if (found) return found;
  }
  if (!signedBySome && (search.deadEnd?.path.length ?? 0) < path.length) {
    const unsupported = signatureSchemeOf(last.signatureAlgorithmDer) === null;
    const failure = signedByNone ? 'bad-certificate-signature' : 'no-path';
    search.deadEnd = deadEnd(search, path, signedByNone && unsupported ? 'unsupported' : failure);
  }
  return null;
}

/** A path that reaches an anchor. Revocation comes last: of a path that is not valid anyway it is not asked. */
function judge(search: Search, path: readonly Certificate[]): PathResult {
  const broken = checkPath(path, search);
  const { flaws, remarks, unchecked } =
    search.revocation && broken.length === 0
      ? judgeRevocation(search.revocation, path)
      : { flaws: broken, remarks: [], unchecked: [] };
  const reasons = reasonsOf(flaws);
  return { valid: reasons.length === 0, path, reasons, flaws, missingIssuer: null, unchecked, remarks };
}

function deadEnd(search: Search, path: readonly Certificate[], reason: Reason): PathResult {
  const last = path[path.length - 1] as Certificate;
  const flaws = [{ reason, certificate: last }, ...checkPlain(path, search)];
  const missingIssuer = reason === 'no-path' ? last.issuer : null;
  return {
    valid: false,
    path,
    reasons: reasonsOf(flaws),
    flaws,
    missingIssuer,
    unchecked: [],
    remarks: [],
  };
}

const reasonsOf = (flaws: readonly Flaw[]): Reason[] => [...new Set(flaws.map((flaw) => flaw.reason))];

/**
 * Certificates with the issuer's name. Anchors first, so that the shortest way is taken; then those that the key
 * identifier names (a hint only: RFC 5280 4.2.1.1 lets it be anything), that are authorities, valid, and last longest.
 */
function likelyFirst(search: Search, certificate: Certificate): Certificate[] {
  const rank = (issuer: Certificate): number =>
    (search.anchorIds.has(issuer.sha256) ? 8 : 0) +
    (differ(certificate.authorityKeyId, issuer.subjectKeyId) ? 0 : 4) +
    (issuer.isCa ? 2 : 0) +
    (issuer.notBefore <= search.at && search.at <= issuer.notAfter ? 1 : 0);
  const issuers = search.issuers.get(certificate.issuerName) ?? [];
  return [...issuers].sort((a, b) => rank(b) - rank(a) || b.notAfter - a.notAfter);
}

const differ = (a: Buffer | null, b: Buffer | null): boolean => a !== null && b !== null && !a.equals(b);

/** Whether the issuer's key signed the certificate; null if the budget ends here. */
function isSignedBy(search: Search, certificate: Certificate, issuer: Certificate): boolean | null {
  const pair = `${certificate.sha256} ${issuer.spkiSha256}`;
  const known = search.verified.get(pair);
  if (known !== undefined) return known;
  if (++search.spent.signatures > pathLimits.signatures) {
    search.spent.exhausted = true;
    return null;
  }
  const key = keyOrNull(issuer);
  const scheme = signatureSchemeOf(certificate.signatureAlgorithmDer);
  const signed =
    key !== null &&
    scheme !== null &&
    verifySignature(scheme, key, [certificate.tbsDer], certificate.signature);
  search.verified.set(pair, signed);
  return signed;
}

function keyOrNull(certificate: Certificate): KeyObject | null {
  try {
    return publicKeyOf(certificate);
  } catch {
    return null;
  }
}
