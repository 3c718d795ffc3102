import type { Clock } from '../../base/clock.ts';
import { type Certificate, parseCertificate } from '../../pki/certificate.ts';
import { type CertificateRow, certificatesNamed } from '../../store/certificates.ts';
import type { Queries } from '../../store/database.ts';

/** Finds the authorities above a stored certificate among those that came with mail or with an import. */
export type FindIntermediates = (certificate: Certificate) => Promise<readonly Certificate[]>;

/** Levels of authorities looked up; real ones have one or two below the anchor. */
const levels = 3;
const rememberedMs = 600_000;

/**
 * Makes the look-up. What it finds proves nothing: the path is validated with it (RFC 5280 6). Names that were looked
 * up are remembered for ten minutes, so that a list whose members share an authority asks once.
 */
export function findIntermediatesWith(d: { q: Queries; clock: Clock }): FindIntermediates {
  const remembered = new Map<string, { readonly until: number; readonly found: readonly Certificate[] }>();

  const authoritiesNamed = async (name: string): Promise<readonly Certificate[]> => {
    const now = d.clock.now();
    const known = remembered.get(name);
    if (known && known.until > now) return known.found;
    const rows = await certificatesNamed(d.q, name);
    const found = authoritiesIn(rows);
    if (remembered.size > 10_000) remembered.clear();
    // Only what was found: an authority may come with the next mail.
    if (found.length > 0) remembered.set(name, { until: now + rememberedMs, found });
    return found;
  };

  return async (certificate) => {
    const found = new Map<string, Certificate>();
    let names = new Set([certificate.issuer]);
    for (let level = 0; level < levels && names.size > 0; level++) {
      const above = (await Promise.all([...names].map(authoritiesNamed))).flat();
      const fresh = above.filter((one) => !found.has(one.sha256));
      for (const one of fresh) found.set(one.sha256, one);
      names = new Set(fresh.filter((one) => one.issuer !== one.subject).map((one) => one.issuer));
    }
    return [...found.values()];
  };
}

/** The stored certificates that are authorities'. */
export function authoritiesIn(rows: readonly CertificateRow[]): Certificate[] {
  return rows.map((row) => parseCertificate(row.der)).filter((one) => one.isCa);
}
