import type { Floor } from './algorithms.ts';
import { type Certificate, publicKeyOf } from './certificate.ts';
import type { EvidenceReader } from './evidence.ts';
import { digestWeakness, keyWeakness, signatureSchemeOf, verifySignature } from './signatures.ts';

/** What evidence says of one certificate; all but the first two leave it open. */
export type Status = 'good' | 'revoked' | 'crl-missing' | 'crl-expired' | 'crl-invalid' | 'path-budget';

/** A certificate whose status is asked, and the valid path above it: its issuer first, the anchor last. */
export interface Target {
  readonly certificate: Certificate;
  readonly above: readonly [Certificate, ...Certificate[]];
}

/** What may be verified for the revocation of one validation, RULES 7. */
export const inquiryLimits = {
  /** Signatures of lists, answers and responders' certificates. */
  signatures: 60,
  /** Octets under those signatures. */
  octets: 300_000_000,
} as const;

/** One validation's look at revocation. */
export interface Inquiry {
  readonly evidence: EvidenceReader;
  /** The instant that is judged, in milliseconds. */
  readonly at: number;
  readonly floor: Floor;
  /** Certificates with this subject, for those that sign lists. */
  readonly named: (subjectName: string) => readonly Certificate[];
  /** Whether a certificate has a valid path of its own to this anchor (RFC 5280 6.3.3 f). */
  readonly leadsTo: (certificate: Certificate, anchor: Certificate) => boolean;
  /** Whether a signature is right, by fingerprints. */
  readonly verified: Map<string, boolean>;
  readonly spent: { signatures: number; octets: number };
  exhausted: boolean;
}

interface Signed {
  readonly sha256: string;
  readonly tbsDer: Buffer;
  readonly signatureAlgorithmDer: Buffer;
  readonly signature: Buffer;
}

/**
 * Whether a certificate's key signed a list, an answer or another certificate, with cryptography that the floor allows.
 * Verifies each pair once; false where the budget is used up, which `exhausted` tells.
 */
export function isSignedWith(inquiry: Inquiry, signed: Signed, signer: Certificate): boolean {
  const { floor, spent, verified } = inquiry;
  const scheme = signatureSchemeOf(signed.signatureAlgorithmDer);
  if (!scheme || [...digestWeakness(scheme.digest, floor), ...keyWeakness(signer, floor)].length > 0)
    return false;
  const pair = `${signed.sha256} ${signer.spkiSha256}`;
  const known = verified.get(pair);
  if (known !== undefined) return known;
  spent.signatures++;
  spent.octets += signed.tbsDer.length;
  if (spent.signatures > inquiryLimits.signatures || spent.octets > inquiryLimits.octets) {
    inquiry.exhausted = true;
    return false;
  }
  let right = false;
  try {
    right = verifySignature(scheme, publicKeyOf(signer), [signed.tbsDer], signed.signature);
  } catch {
    // A key that cannot be used verifies nothing.
  }
  verified.set(pair, right);
  return right;
}
