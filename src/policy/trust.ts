import type { ListPolicy } from './settings.ts';

/** Where trust anchors are read from: a PEM file, a folder of PEM files, both, or nothing. */
export interface TrustSource {
  readonly cafile: string | null;
  readonly capath: string | null;
}

/**
 * Where a list's trust anchors are read from: its own `trust.*` if it sets either, else the site's. The two are never
 * mixed: a list with its own CA must not go on trusting the site's.
 */
export function trustOf(policy: ListPolicy, site: TrustSource): TrustSource {
  const own = { cafile: policy['trust.cafile'], capath: policy['trust.capath'] };
  return own.cafile !== null || own.capath !== null ? own : { cafile: site.cafile, capath: site.capath };
}
