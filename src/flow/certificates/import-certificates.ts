import { bind } from '../../store/bindings.ts';
import type { Database, Queries } from '../../store/database.ts';
import { touch } from '../../store/meta.ts';
import type { CertificateSource, Purpose } from '../../store/schema.ts';
import { type ImportOrder, standing } from './import-order.ts';
import type { ImportVerdict } from './judge-import.ts';
import { mirrorAddresses } from './mirror.ts';
import { keepBrought, useAndRelease } from './use-certificate.ts';

/** What importing some certificates did. */
export interface Imported {
  /** Copies that were held for want of a certificate and go out now, by certificate (SHA-256). */
  readonly released: ReadonlyMap<string, number>;
  /** Addresses whose file in the directory could not be written, and why. */
  readonly unwritten: readonly string[];
}

/**
 * Takes accepted certificates into use for their addresses in one transaction, releases the copies that waited for them
 * and writes the directory. One that is older than the valid one in use is kept beside it. `lifetimeMs` is how long
 * released copies are tried.
 */
export async function importCertificates(
  parts: { readonly database: Database; readonly folder: string; readonly lifetimeMs: number },
  verdicts: readonly ImportVerdict[],
  order: ImportOrder,
): Promise<Imported> {
  const released = new Map<string, number>();
  await parts.database.write(async (tx) => {
    for (const verdict of verdicts) released.set(verdict.certificate.sha256, await importOne(tx, verdict));
    await touch(tx);
  });
  const unwritten: string[] = [];
  const addresses = verdicts.flatMap((verdict) => verdict.addresses);
  await mirrorAddresses(parts.database.q, parts.folder, addresses, (words) => unwritten.push(words));
  return { released, unwritten };

  async function importOne(tx: Queries, verdict: ImportVerdict): Promise<number> {
    const { certificate, addresses, purposes } = verdict;
    const { now, pin } = order;
    const source: CertificateSource = pin === null ? 'imported' : 'pinned';
    const by = `${source} by ${order.who}`;
    await keepBrought(tx, { certificate, chain: verdict.chain, source, now });
    const { sha256 } = certificate;
    // Who names no address says nothing about the keys that were used for it.
    const othersMayReturn = order.address === null && pin === null;
    const use = { certificate, source, now, by, othersMayReturn, lifetimeMs: parts.lifetimeMs };
    let count = 0;
    for (const address of addresses) {
      const taken: Purpose[] = [];
      for (const purpose of purposes) {
        const place = await standing(tx, { certificate, address, purpose, order });
        const row = { address, purpose, sha256, since: now, source, signingTime: null };
        if (place === 'take') taken.push(purpose);
        else if (place === 'beside') await bind(tx, { ...row, state: 'superseded' }, { by });
      }
      count += await useAndRelease(tx, { ...use, address, purposes: taken });
    }
    return count;
  }
}
