import { sql } from 'kysely';
import type { Queries } from './database.ts';
import type { DeliveryRow } from './schema.ts';

/**
 * Postings whose copies are all over and that were not finished yet, oldest first; only the one with this id if it is
 * given. One whose fan-out goes on is never among them, however many of its copies are over: its other members have no
 * row yet.
 */
export async function idlePostings(
  q: Queries,
  d: { readonly id?: number; readonly limit: number },
): Promise<number[]> {
  let query = q
    .selectFrom('postings')
    .select('id')
    .where('state', '=', 'distributing')
    .where((e) =>
      e.not(
        e.exists(
          e
            .selectFrom('deliveries as d')
            .select('d.id')
            .whereRef('d.postingId', '=', 'postings.id')
            .where('d.finishedAt', 'is', null),
        ),
      ),
    )
    .orderBy('id')
    .limit(d.limit);
  if (d.id !== undefined) query = query.where('id', '=', d.id);
  return (await query.execute()).map((row) => row.id);
}

/** Marks an idle posting done; false if another was as quick. */
export async function finishPosting(tx: Queries, id: number): Promise<boolean> {
  const result = await tx
    .updateTable('postings')
    .set({ state: 'done' })
    .where('id', '=', id)
    .where('state', '=', 'distributing')
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

/** How many copies a posting has, and what became of them. */
export interface Tally {
  readonly copies: number;
  /** Delivered, encrypted for their members. */
  readonly encrypted: number;
  /** Delivered in clear. */
  readonly clear: number;
  /** Not at their end. */
  readonly waiting: number;
}

/** The copies of a posting, counted where they are: a list may have ten thousand members. */
export async function tallyOf(q: Queries, postingId: number): Promise<Tally> {
  const { rows } = await sql<Tally>`
    SELECT count(*) AS copies,
      count(*) FILTER (WHERE state = 'delivered' AND cipher IS NOT NULL) AS encrypted,
      count(*) FILTER (WHERE state = 'delivered' AND cipher IS NULL) AS clear,
      count(*) FILTER (WHERE finished_at IS NULL) AS waiting
    FROM deliveries WHERE posting_id = ${postingId}`.execute(q);
  return rows[0] ?? { copies: 0, encrypted: 0, clear: 0, waiting: 0 };
}

/** The copies of a posting that were not delivered for good, by member. */
export async function undeliveredOf(q: Queries, postingId: number): Promise<DeliveryRow[]> {
  return q
    .selectFrom('deliveries')
    .selectAll()
    .where('postingId', '=', postingId)
    .where('state', 'in', ['failed', 'expired'])
    .orderBy('member')
    .execute();
}
