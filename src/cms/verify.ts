import { isFault } from '../base/errors.ts';
import type { Floor } from '../pki/algorithms.ts';
import { type Certificate, publicKeyOf } from '../pki/certificate.ts';
import type { Reason } from '../pki/reasons.ts';
import {
  digestWeakness,
  keyWeakness,
  type SignatureScheme,
  signatureSchemeOf,
  verifySignature,
} from '../pki/signatures.ts';
import { attributesAsSet } from './attributes.ts';
import { identifies } from './identifier.ts';
import { attributeFaults, isBoundTo } from './signed-attributes.ts';
import type { EncryptionKeyPreference, SignedData, SignerId, SignerInfo } from './signed-data.ts';

/** What cryptography says about one signer. Trust in the certificate is another question (`pki/path`). */
export interface SignerReport {
  /** The content is what the holder of the certificate's key signed. */
  readonly intact: boolean;
  /** The certificate whose key verifies the signature value; null if none does. It means nothing unless `intact`. */
  readonly certificate: Certificate | null;
  /**
   * All certificates in question whose key verifies it, `certificate` first. More than one is a renewal with the same
   * key, or a forgery around a known key: only a path to a trust anchor tells which is right.
   */
  readonly certificates: readonly Certificate[];
  /** The digest's name, or its object identifier if it is not known. */
  readonly digest: string;
  /** Such as `rsa-pss-sha256`, or the object identifier. */
  readonly algorithm: string;
  /** Digest or key is below the floor: reasons say which. An intact weak signature counts as none (RULES 5). */
  readonly weak: boolean;
  /** Why it is not intact, or weak; empty if all is well. */
  readonly reasons: readonly Reason[];
  readonly id: SignerId;
  readonly signatureSha256: string;
  /** From signed attributes; null unless intact. Milliseconds, claimed by the signer. */
  readonly signingTime: number | null;
  readonly capabilities: Buffer | null;
  readonly preference: EncryptionKeyPreference | null;
}

/**
 * Verifies one signature (RFC 5652 5.4, 5.6) over `content`, in pieces: the eContent, or the octets of the part that
 * a detached signature covers. The signer's certificate is found by cryptography: every certificate of the message and
 * of `more` (from the store) that the identifier names is tried, so a forged one of the same name changes nothing.
 * Never throws on what a message holds.
 */
export function verifySigner(
  data: SignedData,
  signer: SignerInfo,
  content: readonly Buffer[],
  more: readonly Certificate[],
  floor: Floor,
): SignerReport {
  const scheme = signer.digest && signatureSchemeOf(signer.signatureAlgorithm.der, signer.digest);
  const faults = new Set<Reason>();
  let verifying: Certificate[] = [];
  if (scheme === null) faults.add('unsupported');
  else {
    for (const fault of attributeFaults(data.contentType, signer, content)) faults.add(fault);
    const named = namedCertificates(signer.id, [...data.certificates, ...more]);
    const tried = tryCertificates(scheme, named, signer, content);
    verifying = tried.verifying;
    if (tried.fault) faults.add(tried.fault);
    // RFC 5035 3: the signature is invalid if it names another certificate than the one that verifies it.
    const bound = verifying.filter((certificate) => isBoundTo(signer, certificate));
    if (bound.length > 0) verifying = bound;
    else if (verifying.length > 0) faults.add('certificate-binding');
  }
  const certificate = verifying[0] ?? null;
  const intact = faults.size === 0;
  const weaknesses = [
    ...digestWeakness(signer.digest, floor),
    ...(certificate ? keyWeakness(certificate, floor) : []),
  ];
  return {
    intact,
    certificate,
    certificates: verifying,
    digest: signer.digest ?? signer.digestOid,
    algorithm: scheme?.name ?? signer.signatureAlgorithm.oid,
    weak: weaknesses.length > 0,
    reasons: [...faults, ...weaknesses],
    id: signer.id,
    signatureSha256: signer.signatureSha256,
    signingTime: intact ? signer.signingTime : null,
    capabilities: intact ? signer.capabilities : null,
    preference: intact ? signer.preference : null,
  };
}

/** The certificates that `id` names, each once. */
function namedCertificates(id: SignerId, certificates: readonly Certificate[]): Certificate[] {
  const named = new Map<string, Certificate>();
  for (const certificate of certificates)
    if (identifies(id, certificate) && !named.has(certificate.sha256))
      named.set(certificate.sha256, certificate);
  return [...named.values()];
}

function tryCertificates(
  scheme: SignatureScheme,
  named: readonly Certificate[],
  signer: SignerInfo,
  content: readonly Buffer[],
): { verifying: Certificate[]; fault: Reason | null } {
  if (named.length === 0) return { verifying: [], fault: 'signer-unknown' };
  const covered = coveredOctets(signer, content);
  const verifying: Certificate[] = [];
  let usable = 0;
  for (const certificate of named) {
    try {
      const key = publicKeyOf(certificate);
      usable++;
      if (covered.some((octets) => verifySignature(scheme, key, octets, signer.signature)))
        verifying.push(certificate);
    } catch (error) {
      if (!isFault(error, 'key-unsupported')) throw error;
    }
  }
  if (verifying.length > 0) return { verifying, fault: null };
  return { verifying, fault: usable > 0 ? 'bad-signature' : 'unsupported' };
}

/**
 * What the signature value covers (RFC 5652 5.4): the signed attributes as a SET, else the content. Attributes that did
 * not come in DER are tried as they came and in DER: senders differ in which of the two they signed.
 */
function coveredOctets(signer: SignerInfo, content: readonly Buffer[]): (readonly Buffer[])[] {
  if (signer.signedAttrs === null) return [content];
  const { received, der } = attributesAsSet(signer.signedAttrs);
  return received.equals(der) ? [[received]] : [[received], [der]];
}
