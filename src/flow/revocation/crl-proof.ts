import type { Floor } from '../../pki/algorithms.ts';
import { type Certificate, publicKeyOf } from '../../pki/certificate.ts';
import type { Crl } from '../../pki/crl.ts';
import { type TrustAnchors, validatePath } from '../../pki/path.ts';
import { digestWeakness, signatureSchemeOf, verifySignature } from '../../pki/signatures.ts';
import type { ListContext } from '../lists/list-context.ts';

/** By whom a revocation list may have been signed, and at what instant that is judged. */
export interface Authorities {
  readonly list: Pick<ListContext, 'floor'>;
  readonly anchors: TrustAnchors;
  /** Certificates that may be an authority's or lead to an anchor; nothing in them is believed. */
  readonly others: readonly Certificate[];
  readonly at: number;
}

const clockSkewMs = 3_600_000;
/** Certificates that are tried as a list's signer, beside anchors: anybody may send along many of its issuer's name. */
const mostSigners = 5;

/**
 * A revocation list that was proven right: only such a one is kept, for it came with mail or over HTTP, and anybody can
 * have made it. `proveCrl` alone makes one.
 */
export class ProvenCrl {
  // Private members make the class nominal: a list as it came does not fit.
  readonly #crl: Crl;
  readonly #issuer: Certificate;

  private constructor(crl: Crl, issuer: Certificate) {
    this.#crl = crl;
    this.#issuer = issuer;
  }

  get crl(): Crl {
    return this.#crl;
  }

  /** SHA-256 of the public key that signed it: an authority's name alone is anybody's to take. */
  get issuerSpkiSha256(): string {
    return this.#issuer.spkiSha256;
  }

  /** For `proveCrl`; ask that instead. */
  static prove(crl: Crl, d: Authorities): ProvenCrl | null {
    const issuer = issuerOf(crl, d);
    return issuer && new ProvenCrl(crl, issuer);
  }
}

/** The list as proven, if a path leads from who signed it to an anchor and it holds at `at`; else null (RFC 5280 6.3.3 f, g). */
export const proveCrl = ProvenCrl.prove;

function issuerOf(crl: Crl, d: Authorities): Certificate | null {
  if (crl.unknownCritical.length > 0 || crl.thisUpdate > d.at + clockSkewMs) return null;
  if (crl.nextUpdate !== null && crl.nextUpdate < d.at) return null;
  const anchors = new Set(d.anchors.certificates.map((one) => one.sha256));
  const isNamed = (one: Certificate): boolean => one.subjectName === crl.issuerName;
  // A person whose certificate names no usage would fill the store with lists of his own.
  const others = d.others.filter((one) => isNamed(one) && (one.keyUsage?.has('cRLSign') ?? one.isCa));
  const likely = others.sort((a, b) => Number(fits(crl, b)) - Number(fits(crl, a))).slice(0, mostSigners);
  const named = [
    ...d.anchors.certificates.filter((one) => isNamed(one) && (one.keyUsage?.has('cRLSign') ?? true)),
    ...likely,
  ];
  const isTrusted = (one: Certificate): boolean =>
    anchors.has(one.sha256) ||
    validatePath(one, {
      anchors: d.anchors,
      intermediates: d.others,
      at: d.at,
      purpose: 'any',
      floor: d.list.floor,
    }).valid;
  return named.find((one) => isSignedBy(crl, one, d.list.floor) && isTrusted(one)) ?? null;
}

/** Only an order of tries: a key identifier may be anything. */
function fits(crl: Crl, issuer: Certificate): boolean {
  return crl.authorityKeyId !== null && (issuer.subjectKeyId?.equals(crl.authorityKeyId) ?? false);
}

function isSignedBy(crl: Crl, issuer: Certificate, floor: Floor): boolean {
  const scheme = signatureSchemeOf(crl.signatureAlgorithmDer);
  // One that nobody may believe must not take the place of one that counts.
  if (scheme === null || digestWeakness(scheme.digest, floor).length > 0) return false;
  try {
    return verifySignature(scheme, publicKeyOf(issuer), [crl.tbsDer], crl.signature);
  } catch {
    return false;
  }
}
