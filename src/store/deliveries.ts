import { sql } from 'kysely';
import { chunksOf } from './chunks.ts';
import { type Queries, requireTransaction } from './database.ts';
import { recordDeliveries } from './outcomes.ts';
import type { DeliveryRow, DeliveryState } from './schema.ts';

/** One member's copy as the fan-out makes it. */
export interface NewDelivery {
  readonly postingId: number;
  readonly member: string;
  readonly state: 'pending' | 'held' | 'dropped';
  readonly reason: string | null;
  readonly detail: string | null;
  /** When it is due; for a held one, when it began to wait. */
  readonly nextAt: number;
  readonly createdAt: number;
  /** When the copy is given up; of a held one, when the hold ends. */
  readonly expiresAt: number;
  readonly notifiedAt?: number | null;
}

/**
 * Adds one row per member, and a ledger entry for each that does not simply wait for its turn (held, dropped).
 * Members who have a row for the posting are passed over, so a repeated chunk changes nothing. Gives the number of
 * rows added. Fault: 'transaction-required'.
 */
export async function insertDeliveries(tx: Queries, rows: readonly NewDelivery[]): Promise<number> {
  requireTransaction(tx, 'insertDeliveries');
  let added = 0;
  for (const chunk of chunksOf(rows)) {
    const inserted = await tx
      .insertInto('deliveries')
      .values(
        chunk.map((row) => ({
          ...row,
          attempts: 0,
          notifiedAt: row.notifiedAt ?? null,
          finishedAt: row.state === 'dropped' ? row.createdAt : null,
        })),
      )
      .onConflict((c) => c.columns(['postingId', 'member']).doNothing())
      .returning(['id', 'state', 'createdAt'])
      .execute();
    added += inserted.length;
    const told = inserted.filter((row) => row.state !== 'pending');
    await recordDeliveries(
      tx,
      told.map((row) => row.id),
      chunk[0]?.createdAt ?? 0,
    );
  }
  return added;
}

export interface Claim {
  /** Who holds the rows until they are finished: node id + boot id. */
  readonly lease: string;
  readonly now: number;
  /** At most so many rows. */
  readonly limit: number;
  /** After this time an attempt that said nothing counts as lost; longer than any attempt can take. */
  readonly leaseMs: number;
  /** Postings that are passed over, because a batch of them is under way: gives every posting its turn. */
  readonly notPostings?: readonly number[];
  /** Only messages whose spool file this node has; any if absent. */
  readonly node?: string;
}

/** The literal text of the partial index deliveries_due: with bound parameters SQLite would not use it. */
const waiting = sql<boolean>`state in ('pending', 'deferred')`;

/**
 * Takes a batch of due rows of one posting, the one that has been due longest: they become in flight, with one
 * attempt more. One UPDATE statement, so two claimers never get the same row, and the attempt is on record before
 * it begins. Empty if nothing is due.
 */
export async function claim(q: Queries, d: Claim): Promise<DeliveryRow[]> {
  let oldest = q
    .selectFrom('deliveries as o')
    .select('o.postingId')
    .where(waiting)
    .where('o.nextAt', '<=', d.now)
    .orderBy('o.nextAt')
    .orderBy('o.postingId')
    .limit(1);
  if (d.notPostings?.length) oldest = oldest.where('o.postingId', 'not in', d.notPostings);
  const { node } = d;
  if (node !== undefined) {
    oldest = oldest.where((e) =>
      e.exists(
        e
          .selectFrom('postings as p')
          .innerJoin('messages as m', 'm.id', 'p.messageId')
          .select('p.id')
          .whereRef('p.id', '=', 'o.postingId')
          .where('m.node', '=', node),
      ),
    );
  }
  const batch = q
    .selectFrom('deliveries')
    .select('id')
    .where('postingId', '=', oldest)
    .where('state', 'in', ['pending', 'deferred'])
    .where('finishedAt', 'is', null)
    .where('nextAt', '<=', d.now)
    .limit(d.limit);
  const rows = await q
    .updateTable('deliveries')
    .set((e) => ({
      state: 'in-flight',
      lease: d.lease,
      nextAt: d.now + d.leaseMs,
      attempts: e('attempts', '+', 1),
    }))
    .where('id', 'in', batch)
    .returningAll()
    .execute();
  return rows.sort((a, b) => a.id - b.id);
}

/**
 * Gives back what earlier starts left in flight: due again at `now`. `except` is the lease that stays, null at start
 * when none does. Gives their number.
 */
export async function freeLeases(q: Queries, except: string | null, now: number): Promise<number> {
  const result = await q
    .updateTable('deliveries')
    .set({ state: 'pending', lease: null, nextAt: now })
    .where('state', '=', 'in-flight')
    .where('finishedAt', 'is', null)
    .where('lease', '!=', except ?? '')
    .executeTakeFirst();
  return Number(result.numUpdatedRows);
}

/** Gives back rows whose lease ran out while the daemon lived: their attempt was lost. Gives their number. */
export async function freeExpiredLeases(q: Queries, now: number): Promise<number> {
  const result = await q
    .updateTable('deliveries')
    .set({ state: 'pending', lease: null, nextAt: now })
    .where('state', '=', 'in-flight')
    .where('finishedAt', 'is', null)
    .where('nextAt', '<=', now)
    .executeTakeFirst();
  return Number(result.numUpdatedRows);
}

/** Gives back claimed rows whose attempt did not begin (shutdown, relay gone): the attempt is not counted. */
export async function giveBack(q: Queries, ids: readonly number[], nextAt: number): Promise<void> {
  for (const chunk of chunksOf(ids)) {
    await q
      .updateTable('deliveries')
      .set((e) => ({ state: 'pending', lease: null, nextAt, attempts: e('attempts', '-', 1) }))
      .where('id', 'in', chunk)
      .where('state', '=', 'in-flight')
      .execute();
  }
}

/** The delivery with this id, or null. */
export async function findDelivery(q: Queries, id: number): Promise<DeliveryRow | null> {
  return (await q.selectFrom('deliveries').selectAll().where('id', '=', id).executeTakeFirst()) ?? null;
}

/** All deliveries of a posting, by member. */
export async function deliveriesOf(q: Queries, postingId: number): Promise<DeliveryRow[]> {
  return q
    .selectFrom('deliveries')
    .selectAll()
    .where('postingId', '=', postingId)
    .orderBy('member')
    .execute();
}

/** A member's deliveries in one state, oldest first; of one list if given. */
export async function deliveriesFor(
  q: Queries,
  d: { member: string; state: DeliveryState; listId?: number; limit: number },
): Promise<DeliveryRow[]> {
  let query = q
    .selectFrom('deliveries as d')
    .innerJoin('postings as p', 'p.id', 'd.postingId')
    .selectAll('d')
    .where('d.member', '=', d.member)
    .where('d.state', '=', d.state)
    .orderBy('d.id')
    .limit(d.limit);
  if (d.listId !== undefined) query = query.where('p.listId', '=', d.listId);
  return query.execute();
}

/** How many deliveries of a posting, or of all postings, are in each state; states with none are left out. */
export async function countByState(
  q: Queries,
  d: { postingId?: number; listId?: number; openOnly?: boolean } = {},
): Promise<Partial<Record<DeliveryState, number>>> {
  let query = q
    .selectFrom('deliveries as d')
    .select((e) => ['d.state', e.fn.countAll<number>().as('count')])
    .groupBy('d.state');
  const { postingId, listId } = d;
  if (postingId !== undefined) query = query.where('d.postingId', '=', postingId);
  if (listId !== undefined) {
    query = query.where('d.postingId', 'in', (e) =>
      e.selectFrom('postings').select('id').where('listId', '=', listId),
    );
  }
  if (d.openOnly) query = query.where('d.finishedAt', 'is', null);
  return Object.fromEntries((await query.execute()).map((row) => [row.state, row.count]));
}

/** When the next delivery is due (may be past), or null if none waits. */
export async function nextDueAt(q: Queries): Promise<number | null> {
  const row = await q
    .selectFrom('deliveries')
    .select('nextAt')
    .where(waiting)
    .orderBy('nextAt')
    .limit(1)
    .executeTakeFirst();
  return row?.nextAt ?? null;
}

/** Whether more rows of the posting wait for their turn now. */
export async function hasDueDeliveries(q: Queries, postingId: number, now: number): Promise<boolean> {
  const row = await q
    .selectFrom('deliveries')
    .select('id')
    .where('postingId', '=', postingId)
    .where('state', 'in', ['pending', 'deferred'])
    .where('finishedAt', 'is', null)
    .where('nextAt', '<=', now)
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
}
