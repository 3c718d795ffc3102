import { orNone } from '../base/errors.ts';
import { type Crl, crlIssuerNameOf, parseCrl } from './crl.ts';
import { type OcspResponse, parseOcspResponse } from './ocsp.ts';

/** What is known about revocation, from files, caches and messages: DER, not yet believed, not yet read. */
export interface Evidence {
  /** CertificateLists (RFC 5280 5), full, delta and indirect. */
  readonly crls: readonly Uint8Array[];
  /** OCSPResponses (RFC 6960 4.2.1). */
  readonly ocsp: readonly Uint8Array[];
}

export const noEvidence: Evidence = { crls: [], ocsp: [] };

/** What one validation may look at; all of it is in one place, so that a message cannot bring more. */
export const evidenceLimits = { crls: 5_000, ocsp: 100 } as const;

/** Evidence that is read as far as it is asked for: a list is parsed only if its issuer's name matters. */
export interface EvidenceReader {
  /** The lists of one issuer, newest first (RFC 8550 6: a sender may attach an old one on purpose). */
  crlsOf(issuerName: string): readonly Crl[];
  /** Whether a list with this issuer's name could not be read. */
  hasBrokenCrl(issuerName: string): boolean;
  ocsp(): readonly OcspResponse[];
  /** There was more than the limits allow: what was left out may have said `revoked`. */
  readonly isCut: boolean;
}

/** Makes a reader of evidence; what cannot be read is left out. */
export function readEvidence({ crls, ocsp }: Evidence): EvidenceReader {
  const waiting = new Map<string, Uint8Array[]>();
  for (const der of crls.slice(0, evidenceLimits.crls)) {
    const name = crlIssuerNameOf(der);
    if (name === null) continue;
    const same = waiting.get(name);
    if (same) same.push(der);
    else waiting.set(name, [der]);
  }
  const read = new Map<string, { readonly crls: readonly Crl[]; readonly broken: boolean }>();
  const ofIssuer = (name: string) => {
    const known = read.get(name);
    if (known) return known;
    const ders = waiting.get(name) ?? [];
    const parsed = ders.flatMap((der) => orNone(() => parseCrl(der)));
    const fresh = { crls: parsed.sort(newerFirst), broken: parsed.length < ders.length };
    read.set(name, fresh);
    return fresh;
  };
  let responses: readonly OcspResponse[] | null = null;
  return {
    crlsOf: (name) => ofIssuer(name).crls,
    hasBrokenCrl: (name) => ofIssuer(name).broken,
    ocsp: () => {
      responses ??= ocsp.slice(0, evidenceLimits.ocsp).flatMap((der) => orNone(() => parseOcspResponse(der)));
      return responses;
    },
    isCut: crls.length > evidenceLimits.crls || ocsp.length > evidenceLimits.ocsp,
  };
}

function newerFirst(a: Crl, b: Crl): number {
  const numbers = (b.number ?? 0n) - (a.number ?? 0n);
  return b.thisUpdate - a.thisUpdate || (numbers > 0n ? 1 : numbers < 0n ? -1 : 0);
}
