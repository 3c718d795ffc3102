import { sql } from 'kysely';
import { chunksOf } from './chunks.ts';
import { type Queries, requireTransaction } from './database.ts';
import { recordDeliveries } from './outcomes.ts';
import type { DeliveryRow, DeliveryState } from './schema.ts';
import { inFlight, keptForMember } from './waiting.ts';

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

/** A copy that is due at once, and given up after `lifetimeMs`. `at` in ms. */
export function pendingDelivery(
  postingId: number,
  member: string,
  { at, lifetimeMs }: { readonly at: number; readonly lifetimeMs: number },
): NewDelivery {
  const expiresAt = at + lifetimeMs;
  return {
    postingId,
    member,
    state: 'pending',
    reason: null,
    detail: null,
    nextAt: at,
    createdAt: at,
    expiresAt,
  };
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

/** A posting with deliveries that are due. */
export interface DuePosting {
  readonly postingId: number;
  readonly listId: number;
  /** Size of its message as received, in octets. */
  readonly octets: number;
}

/** The literal text of the partial index deliveries_due: with bound parameters SQLite would not use it. */
const waiting = sql.raw("state IN ('pending', 'deferred')");

/** Postings in the index deliveries_due, each found by a seek: the queue may hold a hundred thousand rows of one. */
const queued = sql`queued (id) AS (
  SELECT min(posting_id) FROM deliveries WHERE ${waiting}
  UNION ALL
  SELECT (SELECT min(d.posting_id) FROM deliveries AS d WHERE ${waiting} AND d.posting_id > queued.id)
  FROM queued WHERE queued.id IS NOT NULL)`;

const dueAt = sql`(SELECT min(d.next_at) FROM deliveries AS d WHERE ${waiting} AND d.posting_id = queued.id)`;

/** What was put aside is not sent: a message that may have killed the daemon. */
const isLeftAlone = sql.raw("m.state = 'parked'");

/** Postings with deliveries that are due, the longest due first; of one node's messages if given. */
export async function duePostings(q: Queries, d: { now: number; node?: string }): Promise<DuePosting[]> {
  const { rows } = await sql<DuePosting>`
    WITH RECURSIVE ${queued}, due AS (SELECT id, ${dueAt} AS at FROM queued WHERE id IS NOT NULL)
    SELECT due.id AS posting_id, p.list_id, m.size AS octets
    FROM due JOIN postings AS p ON p.id = due.id JOIN messages AS m ON m.id = p.message_id
    WHERE due.at <= ${d.now} AND m.node = coalesce(${d.node ?? null}, m.node) AND NOT ${isLeftAlone}
    ORDER BY due.at, due.id`.execute(q);
  return rows;
}

export interface Claim {
  readonly postingId: number;
  /** Who holds the rows until they are finished: node id + boot id. */
  readonly lease: string;
  readonly now: number;
  /** At most so many rows. */
  readonly limit: number;
  /** After this time an attempt that said nothing counts as lost; longer than any attempt can take. */
  readonly leaseMs: number;
}

/**
 * A copy that was held leaves after the copies of earlier posts that its member waits for: those in flight, and those
 * released and due. Asked of the rows of a batch, not of all: where many are released together, postings follow each
 * other batch by batch. What this node does not send holds nothing up. The literal texts of two partial indices.
 */
const mustFollow = (now: number) => sql<boolean>`(
  deliveries.state = 'pending' AND deliveries.reason IS NOT NULL AND (
    EXISTS (SELECT 1 FROM deliveries AS earlier WHERE earlier.state = 'in-flight'
      AND earlier.reason IS NOT NULL AND earlier.member = deliveries.member AND earlier.posting_id < deliveries.posting_id)
    OR EXISTS (SELECT 1 FROM deliveries AS earlier
      JOIN postings AS p ON p.id = earlier.posting_id JOIN messages AS m ON m.id = p.message_id
      JOIN postings AS own ON own.id = deliveries.posting_id JOIN messages AS o ON o.id = own.message_id
      WHERE earlier.state = 'pending' AND earlier.reason IS NOT NULL AND earlier.member = deliveries.member
      AND earlier.posting_id < deliveries.posting_id AND earlier.next_at <= ${now}
      AND m.node = o.node AND NOT ${isLeftAlone})))`;

/** A copy in flight: what its attempt asks of the row. */
export type ClaimedRow = Pick<
  DeliveryRow,
  'id' | 'postingId' | 'member' | 'attempts' | 'createdAt' | 'expiresAt'
>;

/**
 * Takes a batch of due rows of a posting: they become in flight, with one attempt more. One UPDATE statement, so two
 * claimers never get the same row, and the attempt is on record before it begins. Empty if nothing is due, or only what
 * must follow another copy.
 */
export async function claim(q: Queries, d: Claim): Promise<ClaimedRow[]> {
  const batch = q
    .selectFrom('deliveries')
    .select('id')
    .where('postingId', '=', d.postingId)
    .where(sql<boolean>`${waiting}`)
    .where('nextAt', '<=', d.now)
    .orderBy('nextAt')
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
    .where((e) => e.not(mustFollow(d.now)))
    .returning(['id', 'postingId', 'member', 'attempts', 'createdAt', 'expiresAt'])
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
    .where(inFlight)
    .where('lease', '!=', except ?? '')
    .executeTakeFirst();
  return Number(result.numUpdatedRows);
}

/** Spool ids of messages with copies that earlier starts left in flight. */
export async function messagesInFlight(q: Queries): Promise<string[]> {
  const rows = await q
    .selectFrom('deliveries as d')
    .innerJoin('postings as p', 'p.id', 'd.postingId')
    .select('p.messageId')
    .distinct()
    .where('d.state', '=', 'in-flight')
    .where('d.finishedAt', 'is', null)
    .execute();
  return rows.map((row) => row.messageId);
}

/** Gives back rows whose lease ran out while the daemon lived: their attempt was lost. Gives their number. */
export async function freeExpiredLeases(q: Queries, now: number): Promise<number> {
  const result = await q
    .updateTable('deliveries')
    .set({ state: 'pending', lease: null, nextAt: now })
    .where(inFlight)
    .where('nextAt', '<=', now)
    .executeTakeFirst();
  return Number(result.numUpdatedRows);
}

/**
 * Makes copies due at `now` that are due after `latest`, which no retry sets: the clock was ahead when they were put off.
 * Nor do they live longer than until `expiresBy`. Gives their number.
 */
export async function bringBack(
  q: Queries,
  d: { now: number; latest: number; expiresBy: number },
): Promise<number> {
  const result = await q
    .updateTable('deliveries')
    .set((e) => ({ nextAt: d.now, expiresAt: e.fn('min', ['expiresAt', e.val(d.expiresBy)]) }))
    .where(sql<boolean>`${waiting}`)
    .where('nextAt', '>', d.latest)
    .executeTakeFirst();
  return Number(result.numUpdatedRows);
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

/** A member's deliveries that did not simply leave, oldest first; of one list if given. */
export async function deliveriesFor(
  q: Queries,
  d: { member: string; state: 'held' | 'deferred' | 'dropped'; listId?: number; limit: number },
): Promise<DeliveryRow[]> {
  let query = q
    .selectFrom('deliveries as d')
    .innerJoin('postings as p', 'p.id', 'd.postingId')
    .selectAll('d')
    .where('d.member', '=', d.member)
    .where(keptForMember('d'))
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
  const { rows } = await sql<{ at: number | null }>`
    WITH RECURSIVE ${queued} SELECT min(${dueAt}) AS at
    FROM queued JOIN postings AS p ON p.id = queued.id JOIN messages AS m ON m.id = p.message_id
    WHERE NOT ${isLeftAlone}`.execute(q);
  return rows[0]?.at ?? null;
}

/** Whether copies of a posting are still on their way the first time, or being sent: those that were put off or held are not. */
export async function isUnderWay(q: Queries, postingId: number): Promise<boolean> {
  const row = await q
    .selectFrom('deliveries')
    .select('id')
    .where('postingId', '=', postingId)
    .where('state', 'in', ['pending', 'in-flight'])
    .where('finishedAt', 'is', null)
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
}
