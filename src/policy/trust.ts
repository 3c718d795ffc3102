import type { ListPolicy } from './settings.ts';

/** Where trust anchors and revocation lists are read from: of each a file, a folder of files, both, or nothing. */
export interface TrustSource {
  readonly cafile: string | null;
  readonly capath: string | null;
  readonly crlfile: string | null;
  readonly crlpath: string | null;
}

/**
 * Where a list's trust anchors are read from: its own `trust.cafile` and `trust.capath` if it sets either, else the
 * site's. The two are never mixed: a list with its own CA must not go on trusting the site's. The same holds, by itself,
 * for `trust.crlfile` and `trust.crlpath`: what a list says of a certificate counts by its signature, not by its place.
 */
export function trustOf(policy: ListPolicy, site: TrustSource): TrustSource {
  const own = {
    cafile: policy['trust.cafile'],
    capath: policy['trust.capath'],
    crlfile: policy['trust.crlfile'],
    crlpath: policy['trust.crlpath'],
  };
  const anchors = own.cafile !== null || own.capath !== null ? own : site;
  const crls = own.crlfile !== null || own.crlpath !== null ? own : site;
  return {
    cafile: anchors.cafile,
    capath: anchors.capath,
    crlfile: crls.crlfile,
    crlpath: crls.crlpath,
  };
}
