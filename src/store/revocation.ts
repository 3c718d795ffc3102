import { sql } from 'kysely';
import { type Queries, requireTransaction } from './database.ts';
import type { RevocationRow } from './schema.ts';

/**
 * Keeps a CRL or an OCSP answer in place of an older one under the same key; true if it was taken. One with an earlier
 * `thisUpdate` never replaces a later: who can alter what we fetch, or attach lists to mail, must not turn time back.
 */
export async function saveRevocation(tx: Queries, row: RevocationRow): Promise<boolean> {
  const { key: _, ...change } = row;
  const result = await tx
    .insertInto('revocation')
    .values(row)
    .onConflict((c) =>
      c
        .column('key')
        .doUpdateSet(change)
        .where((e) => e('revocation.thisUpdate', '<=', row.thisUpdate)),
    )
    .executeTakeFirst();
  return result.numInsertedOrUpdatedRows !== 0n;
}

/** All CRLs that are kept, the newest first. */
export async function keptCrls(q: Queries): Promise<RevocationRow[]> {
  return q
    .selectFrom('revocation')
    .selectAll()
    .where('kind', '=', 'crl')
    .orderBy('storedAt', 'desc')
    .orderBy('key')
    .execute();
}

/** What is kept under this key, or null. */
export async function findRevocation(q: Queries, key: string): Promise<RevocationRow | null> {
  const row = await q.selectFrom('revocation').selectAll().where('key', '=', key).executeTakeFirst();
  return row ?? null;
}

/**
 * Forgets what went out of date before `before`, and of each kind the longest kept beyond `count` or `octets`; gives
 * how many. Needs a transaction.
 */
export async function forgetRevocation(
  tx: Queries,
  d: { readonly before: number; readonly count: number; readonly octets: number },
): Promise<number> {
  requireTransaction(tx, 'forgetRevocation');
  const over = await tx
    .deleteFrom('revocation')
    .where((e) => e(e.fn.coalesce('nextUpdate', 'storedAt'), '<', d.before))
    .executeTakeFirst();
  const beyond = await sql`
    DELETE FROM revocation WHERE key IN (
      SELECT key FROM (
        SELECT key, row_number() OVER newest AS place, sum(length(der)) OVER newest AS octets
        FROM revocation WINDOW newest AS (PARTITION BY kind ORDER BY stored_at DESC, key)
      ) WHERE place > ${d.count} OR octets > ${d.octets}
    )`.execute(tx);
  return Number(over.numDeletedRows) + Number(beyond.numAffectedRows ?? 0n);
}
