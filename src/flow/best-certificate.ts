import type { Clock } from '../base/clock.ts';
import { dayOf } from '../base/day.ts';
import type { Log } from '../base/log.ts';
import { inUse, outlived, supersededFor } from '../store/certificates.ts';
import type { Database } from '../store/database.ts';
import type { Purpose } from '../store/schema.ts';
import { mirrorAddress } from './file-certificates.ts';
import { useFor } from './use-certificate.ts';

export interface BestParts {
  readonly database: Database;
  /** Folder of the certificate directory. */
  readonly certificates: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** Brings a certificate that the address used before in use again, for one purpose, with the reason. */
export async function useAgain(
  parts: BestParts,
  d: {
    readonly address: string;
    readonly purpose: Purpose;
    readonly sha256: string;
    readonly why: string;
  },
): Promise<void> {
  const { address, purpose } = d;
  const isUsed = await parts.database.write(async (tx) => {
    // Another may have come, or this one have been removed, since it was looked for.
    const found = await supersededFor(tx, address, purpose, 100);
    const row = found.find((one) => one.sha256 === d.sha256);
    if (!row) return false;
    const by = `because the one that took its place cannot be used: ${d.why}`;
    const now = parts.clock.now();
    await useFor(tx, { address, purpose, certificate: row, source: row.boundBy, now, by });
    return true;
  });
  if (!isUsed) return;
  await mirrorAddress(parts.database.q, parts.certificates, address);
  parts.log.event('certificate-in-use', { address, sha256: d.sha256, detail: d.why });
}

const page = 500;

/**
 * Where the certificate in use has expired and another that the address used before still holds, that one is used:
 * the directory shows it too.
 */
export async function replaceExpired(parts: BestParts): Promise<void> {
  const { q } = parts.database;
  const at = parts.clock.now();
  for (let count = page; count === page; ) {
    const found = await outlived(q, { at, limit: page });
    count = found.length;
    for (const { address, purpose } of found) {
      const others = await supersededFor(q, address, purpose, 100);
      const best = others.find((one) => one.notBefore <= at && at <= one.notAfter);
      const expired = await inUse(q, address, purpose);
      if (!best || !expired) return;
      const why = `it expired on ${dayOf(expired.notAfter)}`;
      await useAgain(parts, { address, purpose, sha256: best.sha256, why });
    }
  }
}
