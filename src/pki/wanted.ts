import type { Certificate } from './certificate.ts';
import { ocspRequest } from './ocsp.ts';
import type { PathResult } from './path.ts';

/** Something that could be fetched, and would help to judge a path. */
export type Wanted =
  | { readonly kind: 'crl'; readonly url: string }
  | {
      readonly kind: 'ocsp';
      readonly url: string;
      /** DER of the OCSPRequest to send. */
      readonly request: Uint8Array;
      /** SHA-256 of the certificate that it asks about. */
      readonly certificate: string;
    }
  | { readonly kind: 'issuer'; readonly url: string };

/** Equal for the same thing to fetch: an OCSP responder is asked about each certificate, all else is its URL. */
export function wantedKey(
  one: { kind: 'crl' | 'issuer'; url: string } | { kind: 'ocsp'; url: string; certificate: string },
): string {
  return one.kind === 'ocsp' ? `ocsp ${one.url} ${one.certificate}` : `${one.kind} ${one.url}`;
}

const mostWanted = 10;

/**
 * What to fetch for a path that is not settled: of each unchecked certificate, leaf first, its OCSP answer and revocation
 * list; of a path that ended too early, the issuer's certificate. At most ten; the URLs are the certificates' own words.
 */
export function wantedFor(result: PathResult): Wanted[] {
  const { path, unchecked } = result;
  const wanted = new Map<string, Wanted>();
  const want = (one: Wanted): void => {
    const key = wantedKey(one);
    if (wanted.size < mostWanted && !wanted.has(key)) wanted.set(key, one);
  };
  const last = path[path.length - 1];
  if (last && result.missingIssuer !== null) for (const url of last.issuerUrls) want({ kind: 'issuer', url });
  for (const certificate of unchecked) {
    const issuer = path[path.indexOf(certificate) + 1];
    for (const one of issuer ? askedOf(certificate, issuer) : []) want(one);
  }
  return [...wanted.values()];
}

function askedOf(certificate: Certificate, issuer: Certificate): Wanted[] {
  const request = certificate.ocspUrls.length > 0 ? ocspRequest(certificate, issuer) : Buffer.alloc(0);
  return [
    ...certificate.ocspUrls.map((url) => ({
      kind: 'ocsp' as const,
      url,
      request,
      certificate: certificate.sha256,
    })),
    ...certificate.crlUrls.map((url) => ({ kind: 'crl' as const, url })),
  ];
}
