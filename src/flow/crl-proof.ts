import { type Certificate, publicKeyOf } from '../pki/certificate.ts';
import type { Crl } from '../pki/crl.ts';
import { type TrustAnchors, validatePath } from '../pki/path.ts';
import { signatureSchemeOf, verifySignature } from '../pki/signatures.ts';
import type { ListContext } from './list-context.ts';

/** By whom a revocation list may have been signed, and at what instant that is judged. */
export interface Authorities {
  readonly list: Pick<ListContext, 'floor'>;
  readonly anchors: TrustAnchors;
  /** Certificates that may be an authority's or lead to an anchor; nothing in them is believed. */
  readonly others: readonly Certificate[];
  readonly at: number;
}

const clockSkewMs = 3_600_000;

/**
 * The authority that signed a list, if a path leads from it to an anchor and the list holds now; else null. Only such a
 * list is kept: it came with mail or over HTTP, and anybody can have made it (RFC 5280 6.3.3 f, g).
 */
export function issuerOf(crl: Crl, d: Authorities): Certificate | null {
  if (crl.unknownCritical.length > 0 || crl.thisUpdate > d.at + clockSkewMs) return null;
  if (crl.nextUpdate !== null && crl.nextUpdate < d.at) return null;
  const anchors = new Set(d.anchors.certificates.map((one) => one.sha256));
  const named = [...d.anchors.certificates, ...d.others].filter(
    (one) => one.subjectName === crl.issuerName && (one.keyUsage?.has('cRLSign') ?? true),
  );
  const isTrusted = (one: Certificate): boolean =>
    anchors.has(one.sha256) ||
    validatePath(one, {
      anchors: d.anchors,
      intermediates: d.others,
      at: d.at,
      purpose: 'any',
      floor: d.list.floor,
    }).valid;
  return named.find((one) => isSignedBy(crl, one) && isTrusted(one)) ?? null;
}

function isSignedBy(crl: Crl, issuer: Certificate): boolean {
  const scheme = signatureSchemeOf(crl.signatureAlgorithmDer);
  if (scheme === null) return false;
  try {
    return verifySignature(scheme, publicKeyOf(issuer), [crl.tbsDer], crl.signature);
  } catch {
    return false;
  }
}
