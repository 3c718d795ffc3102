import { sql } from 'kysely';
import { chunksOf } from './chunks.ts';
import { type Queries, requireTransaction } from './database.ts';
import type { LedgerEvent } from './ledger-events.ts';
import type { DeliveryRow, FinalDeliveryState } from './schema.ts';
import { inFlight, keptForMember } from './waiting.ts';

// How deliveries change state after they were claimed. Each function writes the rows and their ledger entries
// through the same `tx`, so that a row never says something that the ledger does not know.

/** What an attempt learnt and the row keeps; what is left out stays as it is. */
export interface AttemptDetails {
  readonly certificate?: string | null;
  readonly cipher?: string | null;
  readonly keyTransport?: string | null;
  /** The name of the relay that answered. */
  readonly relay?: string | null;
  /** The relay's words. */
  readonly reply?: string | null;
}

export interface Outcome extends AttemptDetails {
  readonly id: number;
  readonly state: FinalDeliveryState;
  readonly reason: string | null;
  readonly detail: string | null;
}

export interface Deferral extends AttemptDetails {
  readonly id: number;
  readonly reason: string;
  readonly detail: string | null;
  readonly nextAt: number;
  /** The number of attempts, where the last does not count. */
  readonly attempts?: number;
}

export interface Hold extends AttemptDetails {
  readonly id: number;
  readonly reason: string;
  readonly detail: string | null;
  /** When the hold ends. */
  readonly expiresAt: number;
}

/**
 * Ends deliveries, each with a ledger entry; gives the number of rows ended. A row that is final already stays as it
 * is and adds nothing to the ledger; one whose lease was lost meanwhile is still ended: what the relay took is taken.
 * Fault: 'transaction-required'.
 */
export async function finish(tx: Queries, outcomes: readonly Outcome[], at: number): Promise<number> {
  requireTransaction(tx, 'finish');
  // One statement for all: an UPDATE a row takes longer to build than to run, and every copy comes by here.
  const { rows } = await sql<{ id: number }>`
    UPDATE deliveries SET
      state = j.value ->> 'state', reason = j.value ->> 'reason', detail = j.value ->> 'detail',
      certificate = ${told('certificate')}, cipher = ${told('cipher')},
      key_transport = ${told('keyTransport', 'key_transport')}, relay = ${told('relay')}, reply = ${told('reply')},
      lease = NULL, finished_at = ${at}
    FROM json_each(${JSON.stringify(outcomes)}) AS j
    WHERE deliveries.id = j.value ->> 'id' AND finished_at IS NULL
    RETURNING deliveries.id`.execute(tx);
  const changed = rows.map((row) => row.id);
  await recordDeliveries(tx, changed, at);
  return changed.length;
}

/** A detail of an attempt, or what the row has where it is left out. */
function told(name: keyof AttemptDetails, column: string = name) {
  const path = sql.lit(`$.${name}`);
  return sql`iif(json_type(j.value, ${path}) IS NULL, ${sql.ref(column)}, j.value ->> ${path})`;
}

/**
 * Puts claimed rows off until `nextAt`. The ledger tells the first deferral and every new reason, not each try of a
 * relay that says the same for hours. Fault: 'transaction-required'.
 */
export async function defer(tx: Queries, deferrals: readonly Deferral[], at: number): Promise<void> {
  requireTransaction(tx, 'defer');
  const before = await rowsById(
    tx,
    deferrals.map((d) => d.id),
  );
  const told: number[] = [];
  for (const { id, ...set } of deferrals) {
    const result = await tx
      .updateTable('deliveries')
      .set({ ...set, state: 'deferred', lease: null })
      .where('id', '=', id)
      .where('state', '=', 'in-flight')
      .executeTakeFirst();
    const row = before.get(id);
    const news = row?.reason !== set.reason || row.detail !== set.detail;
    if (result.numUpdatedRows > 0n && news) told.push(id);
  }
  await recordDeliveries(tx, told, at);
}

/** The lease of a row in flight that `releaseHeld` would have let go, had it been held already. */
const releasedLease = 'released';

/**
 * Makes claimed rows wait for something named; gives the number of them. A row whose hold was over before it began (what it
 * lacks came after the attempt had looked) is due again instead, and the attempt is not counted. Fault:
 * 'transaction-required'.
 */
export async function hold(tx: Queries, holds: readonly Hold[], at: number): Promise<number> {
  requireTransaction(tx, 'hold');
  const changed: number[] = [];
  for (const { id, ...set } of holds) {
    const result = await tx
      .updateTable('deliveries')
      .set({ ...set, state: 'held', lease: null, nextAt: at })
      .where('id', '=', id)
      .where('state', '=', 'in-flight')
      .where('lease', '!=', releasedLease)
      .executeTakeFirst();
    if (result.numUpdatedRows > 0n) changed.push(id);
    else await giveBack(tx, [id], at);
  }
  await recordDeliveries(tx, changed, at);
  return changed.length;
}

/** Gives back claimed rows whose attempt did not begin (shutdown, `relay.rate`), due at `nextAt`: it is not counted. */
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

/**
 * Lets held copies go, of one member or of all, for some reasons or for all: pending and due at once, so the oldest
 * leave first. Gives the number of those whose member may get them; the attempt ends the others (he was suspended, the list
 * closed). `expiresAt` starts a new lifetime. Copies in flight, whose attempt may be about to
 * hold them for what has come now, are marked for `hold`. Fault: 'transaction-required'.
 */
export async function releaseHeld(
  tx: Queries,
  d: {
    member?: string;
    reasons?: readonly string[];
    listId?: number;
    now: number;
    expiresAt?: number;
    /** Why, in a sentence: it takes the place of what the copies waited for. */
    why?: string;
  },
): Promise<number> {
  requireTransaction(tx, 'releaseHeld');
  const { listId, member } = d;
  const open = (state: 'held' | 'in-flight') => {
    let rows = tx
      .updateTable('deliveries')
      .where('state', '=', state)
      .where(state === 'held' ? keptForMember('deliveries') : inFlight)
      .where('finishedAt', 'is', null);
    if (member !== undefined) rows = rows.where('member', '=', member);
    if (listId === undefined) return rows;
    return rows.where('postingId', 'in', (e) =>
      e.selectFrom('postings').select('id').where('listId', '=', listId),
    );
  };
  await open('in-flight').set({ lease: releasedLease }).execute();
  let update = open('held').set({
    state: 'pending',
    detail: d.why ?? null,
    nextAt: d.now,
    ...(d.expiresAt === undefined ? {} : { expiresAt: d.expiresAt }),
  });
  if (d.reasons) update = update.where('reason', 'in', d.reasons);
  const released = (await update.returning('id').execute()).map((row) => row.id);
  await recordDeliveries(tx, released, d.now, 'released');
  return countWanted(tx, released);
}

async function countWanted(tx: Queries, ids: readonly number[]): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    SELECT count(*) AS count FROM deliveries AS d
    JOIN postings AS p ON p.id = d.posting_id JOIN lists AS l ON l.id = p.list_id
    LEFT JOIN members AS m ON m.list_id = p.list_id AND m.address = d.member
    WHERE d.id IN (SELECT value FROM json_each(${JSON.stringify(ids)}))
    AND (p.kind <> 'post' OR (l.state = 'open' AND m.state IS NOT 'suspended'))`.execute(tx);
  return rows[0]?.count ?? 0;
}

/**
 * Ends what waits for a member of a list (he left, the list was closed) or for all its members. A copy in flight is
 * left to its attempt. Gives the number. Fault: 'transaction-required'.
 */
export async function cancelFor(
  tx: Queries,
  d: { listId: number; member?: string; at: number; reason: string; detail?: string | null },
): Promise<number> {
  requireTransaction(tx, 'cancelFor');
  let update = tx
    .updateTable('deliveries')
    .set({ state: 'cancelled', reason: d.reason, detail: d.detail ?? null, finishedAt: d.at })
    .where('state', 'in', ['pending', 'deferred', 'held'])
    .where('finishedAt', 'is', null)
    .where('postingId', 'in', (e) =>
      // Notices to him are not copies of posts: that he left is no reason to keep them from him.
      e.selectFrom('postings').select('id').where('listId', '=', d.listId).where('kind', '!=', 'local'),
    );
  if (d.member !== undefined) update = update.where('member', '=', d.member);
  const cancelled = (await update.returning('id').execute()).map((row) => row.id);
  await recordDeliveries(tx, cancelled, d.at);
  return cancelled.length;
}

/**
 * Ends up to `limit` held copies whose time is over and gives their rows, as they are now. Those that wait for the relay
 * get one more attempt however long reseal was down, or however far the clock jumped, and end by it. Fault: 'transaction-required'.
 */
export async function expireDue(tx: Queries, d: { now: number; limit: number }): Promise<DeliveryRow[]> {
  requireTransaction(tx, 'expireDue');
  const old = tx
    .selectFrom('deliveries')
    .select('id')
    .where('state', '=', 'held')
    .where('expiresAt', '<=', d.now)
    .orderBy('expiresAt')
    .limit(d.limit);
  const rows = await tx
    .updateTable('deliveries')
    .set({ state: 'expired', finishedAt: d.now })
    .where('id', 'in', old)
    .returningAll()
    .execute();
  await recordDeliveries(
    tx,
    rows.map((row) => row.id),
    d.now,
  );
  return rows.sort((a, b) => a.id - b.id);
}

/** Writes one ledger entry per delivery as its row is now; `event` is its state unless given. */
export async function recordDeliveries(
  tx: Queries,
  ids: readonly number[],
  at: number,
  event?: LedgerEvent,
): Promise<void> {
  if (ids.length === 0) return;
  await sql`
    INSERT INTO ledger (at, message_id, posting_id, list, member, event, reason, detail, data)
    SELECT ${at}, p.message_id, d.posting_id, l.address, d.member, coalesce(${event ?? null}, d.state), d.reason, d.detail,
      -- A patch leaves out what is null.
      json_patch('{}', json_object('attempts', d.attempts, 'certificate', d.certificate, 'cipher', d.cipher,
        'keyTransport', d.key_transport, 'relay', d.relay, 'reply', d.reply))
    FROM deliveries AS d JOIN postings AS p ON p.id = d.posting_id JOIN lists AS l ON l.id = p.list_id
    WHERE d.id IN (SELECT value FROM json_each(${JSON.stringify(ids)}))
    ORDER BY d.id`.execute(tx);
}

async function rowsById(
  tx: Queries,
  ids: readonly number[],
): Promise<Map<number, Pick<DeliveryRow, 'reason' | 'detail'>>> {
  const found = new Map<number, Pick<DeliveryRow, 'reason' | 'detail'>>();
  for (const chunk of chunksOf(ids)) {
    const rows = await tx
      .selectFrom('deliveries')
      .select(['id', 'reason', 'detail'])
      .where('id', 'in', chunk)
      .execute();
    for (const row of rows) found.set(row.id, row);
  }
  return found;
}
