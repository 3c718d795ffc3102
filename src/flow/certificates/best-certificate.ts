import type { Clock } from '../../base/clock.ts';
import { dayOf } from '../../base/day.ts';
import type { Log } from '../../base/log.ts';
import { inUse, outlived, supersededFor } from '../../store/certificates.ts';
import type { Database } from '../../store/database.ts';
import type { Purpose } from '../../store/schema.ts';
import { mirrorAddress } from './mirror.ts';
import { useFor } from './use-certificate.ts';

export interface BestParts {
  readonly database: Database;
  /** Folder of the certificate directory. */
  readonly certificates: string;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Brings a certificate that the address used before in use again, for one purpose, with the reason; whether it is. Never
 * one that was replaced by one with another key: whoever lost the old key cannot read by it, and whoever took it can
 * (RULES 15).
 */
export async function useAgain(
  parts: BestParts,
  d: {
    readonly address: string;
    readonly purpose: Purpose;
    readonly sha256: string;
    readonly why: string;
  },
): Promise<boolean> {
  const { address, purpose } = d;
  const isUsed = await parts.database.write(async (tx) => {
    // Another may have come, or this one have been removed, since it was looked for.
    const found = await supersededFor(tx, address, purpose, 100);
    const row = found.find((one) => one.sha256 === d.sha256);
    if (!row) return false;
    const by = `because the one that took its place cannot be used: ${d.why}`;
    const now = parts.clock.now();
    const use = { address, purpose, certificate: row, source: row.boundBy, now, by };
    await useFor(tx, { ...use, othersMayReturn: true });
    return true;
  });
  if (!isUsed) return false;
  await mirrorAddress(parts.database.q, parts.certificates, address);
  parts.log.event('certificate-in-use', { address, sha256: d.sha256, detail: d.why });
  return true;
}

const page = 500;

/**
 * Where the certificate in use has expired and another that the address used before still holds, that one is used:
 * the directory shows it too. Gives their number.
 */
export async function replaceExpired(parts: BestParts): Promise<number> {
  const { q } = parts.database;
  const at = parts.clock.now();
  let replaced = 0;
  for (let goesOn = true; goesOn; ) {
    const before = replaced;
    const found = await outlived(q, { at, limit: page });
    for (const { address, purpose } of found) {
      const others = await supersededFor(q, address, purpose, 100);
      const best = others.find((one) => one.notBefore <= at && at <= one.notAfter);
      const expired = await inUse(q, address, purpose);
      if (!best || !expired) continue;
      const why = `it expired on ${dayOf(expired.notAfter)}`;
      if (await useAgain(parts, { address, purpose, sha256: best.sha256, why })) replaced++;
    }
    // A page of which nothing could be replaced would come again and again.
    goesOn = found.length === page && replaced > before;
  }
  return replaced;
}
