import { sql } from 'kysely';
import { type Queries, requireTransaction } from './database.ts';

/** Members whose copies a fan-out makes at a time. */
export interface FanOutChunk {
  readonly postingId: number;
  readonly listId: number;
  /** The last address of the chunk before, null for the first. */
  readonly after: string | null;
  readonly limit: number;
  /** When the fan-out began: who became a member later gets no copy. */
  readonly begunAt: number;
  /** When the copies are due. */
  readonly at: number;
  readonly expiresAt: number;
}

/** When the fan-out of a posting began that a crash may have ended; null if it made no copy. */
export async function fanOutBegun(q: Queries, postingId: number): Promise<number | null> {
  const { at } = await q
    .selectFrom('deliveries')
    .select((e) => e.fn.min<number | null>('createdAt').as('at'))
    .where('postingId', '=', postingId)
    .executeTakeFirstOrThrow();
  return at;
}

/**
 * Adds a pending row for each active member of then among the next `limit` in the order of their addresses; who has a row for
 * the posting is passed over. Gives the last of these addresses, or null if there were fewer than `limit`: no more
 * follow. Nothing of the members comes into memory. Fault: 'transaction-required'.
 */
export async function insertForMembers(tx: Queries, d: FanOutChunk): Promise<string | null> {
  requireTransaction(tx, 'insertForMembers');
  const after = d.after ?? '';
  const { rows } = await sql<{ address: string }>`
    SELECT address FROM members WHERE list_id = ${d.listId} AND address > ${after}
    ORDER BY address LIMIT 1 OFFSET ${d.limit - 1}`.execute(tx);
  const last = rows[0]?.address ?? null;
  await sql`
    INSERT INTO deliveries (posting_id, member, state, next_at, attempts, created_at, expires_at)
    SELECT ${d.postingId}, address, 'pending', ${d.at}, 0, ${d.begunAt}, ${d.expiresAt} FROM members
    WHERE list_id = ${d.listId} AND state = 'active' AND since <= ${d.begunAt}
      AND address > ${after} AND address <= coalesce(${last}, address)
    ORDER BY address ON CONFLICT (posting_id, member) DO NOTHING`.execute(tx);
  return last;
}
