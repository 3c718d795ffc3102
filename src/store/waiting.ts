import { sql } from 'kysely';
import { type Queries, requireTransaction } from './database.ts';

// Copies that wait for their member's certificate, as his notices count them. `reasons` are those of the hold.

/** The literal text of the partial index deliveries_in_flight. */
export const inFlight = sql<boolean>`deliveries.state = 'in-flight'`;

/** The literal text of the partial index deliveries_of_members: with bound parameters SQLite would not use it. */
export const keptForMember = (table: string) =>
  sql<boolean>`${sql.ref(`${table}.state`)} IN ('held', 'deferred', 'dropped')`;

/** How many copies of a list wait for a member, and when the first of them is given up; null if none waits. */
export async function waitingFor(
  q: Queries,
  d: { listId: number; member: string; reasons: readonly string[] },
): Promise<{ readonly count: number; readonly until: number | null }> {
  return q
    .selectFrom('deliveries as d')
    .innerJoin('postings as p', 'p.id', 'd.postingId')
    .select((e) => [e.fn.countAll<number>().as('count'), e.fn.min<number | null>('d.expiresAt').as('until')])
    .where('d.member', '=', d.member)
    .where(keptForMember('d'))
    .where('d.state', '=', 'held')
    .where('d.reason', 'in', d.reasons)
    .where('p.listId', '=', d.listId)
    .executeTakeFirstOrThrow();
}

/** Notes that a member was told of all copies of a list that wait for him now. Fault: 'transaction-required'. */
export async function markTold(
  tx: Queries,
  d: { listId: number; member: string; reasons: readonly string[]; at: number },
): Promise<void> {
  requireTransaction(tx, 'markTold');
  await tx
    .updateTable('deliveries')
    .set({ notifiedAt: d.at })
    .where('member', '=', d.member)
    .where(keptForMember('deliveries'))
    .where('state', '=', 'held')
    .where('reason', 'in', d.reasons)
    .where('notifiedAt', 'is', null)
    .where('postingId', 'in', (e) => e.selectFrom('postings').select('id').where('listId', '=', d.listId))
    .execute();
}

/** A member of a list who was not told yet of copies that wait for him, or were dropped for want of a certificate. */
export interface Untold {
  readonly listId: number;
  readonly member: string;
  readonly count: number;
  /** The newest of these copies. */
  readonly deliveryId: number;
}

/** The literal text of the partial index deliveries_expiring: with bound parameters SQLite would not use it. */
const isWaiting = sql<boolean>`d.state in ('held', 'deferred')`;

/** Who has copies waiting, of posts, that no notice told of; by list and member. */
export async function untoldHeld(q: Queries, reasons: readonly string[]): Promise<Untold[]> {
  return q
    .selectFrom('deliveries as d')
    .innerJoin('postings as p', 'p.id', 'd.postingId')
    .select((e) => ['p.listId', 'd.member', e.fn.countAll<number>().as('count')])
    .select((e) => e.fn.max<number>('d.id').as('deliveryId'))
    .where(isWaiting)
    .where('d.state', '=', 'held')
    .where('d.reason', 'in', reasons)
    .where('d.notifiedAt', 'is', null)
    .where('p.kind', '=', 'post')
    .groupBy(['p.listId', 'd.member'])
    .orderBy('p.listId')
    .orderBy('d.member')
    .execute();
}

/** Who lost copies of posts since the last notice of this kind to him; of one list and member if given. */
export async function droppedSinceTold(
  q: Queries,
  d: { kind: string; reasons: readonly string[]; listId?: number; member?: string },
): Promise<Untold[]> {
  let query = q
    .selectFrom('notices as n')
    .innerJoin('deliveries as d', 'd.member', 'n.member')
    .innerJoin('postings as p', (j) => j.onRef('p.id', '=', 'd.postingId').onRef('p.listId', '=', 'n.listId'))
    .select((e) => ['n.listId', 'n.member', e.fn.countAll<number>().as('count')])
    .select((e) => e.fn.max<number>('d.id').as('deliveryId'))
    .where('n.kind', '=', d.kind)
    .where(keptForMember('d'))
    .where('d.state', '=', 'dropped')
    .where('d.reason', 'in', d.reasons)
    .where('p.kind', '=', 'post')
    .whereRef('d.finishedAt', '>', 'n.lastAt')
    .groupBy(['n.listId', 'n.member'])
    .orderBy('n.listId')
    .orderBy('n.member');
  if (d.listId !== undefined) query = query.where('n.listId', '=', d.listId);
  if (d.member !== undefined) query = query.where('n.member', '=', d.member);
  return query.execute();
}

/** Members for whom copies wait for one of these reasons. */
export async function membersWaiting(q: Queries, reasons: readonly string[]): Promise<string[]> {
  const rows = await q
    .selectFrom('deliveries as d')
    .select('d.member')
    .distinct()
    .where(isWaiting)
    .where('d.state', '=', 'held')
    .where('d.reason', 'in', reasons)
    .execute();
  return rows.map((row) => row.member);
}
