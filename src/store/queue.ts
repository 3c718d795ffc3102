import { chunksOf } from './chunks.ts';
import { type Queries, requireTransaction } from './database.ts';
import { recordDeliveries } from './outcomes.ts';
import type { DeliveryRow, DeliveryState, PostingKind } from './schema.ts';

// What an operator sees of the queue, and how he moves it by hand.

/** A delivery with the message and the list that it belongs to. */
export interface QueuedDelivery extends DeliveryRow {
  readonly messageId: string;
  readonly list: string;
}

/** Deliveries in some states, oldest first; of one list, message or posting if given. */
export async function queuedDeliveries(
  q: Queries,
  d: {
    states: readonly DeliveryState[];
    listId?: number;
    messageId?: string;
    limit: number;
  },
): Promise<QueuedDelivery[]> {
  let query = q
    .selectFrom('deliveries as d')
    .innerJoin('postings as p', 'p.id', 'd.postingId')
    .innerJoin('lists as l', 'l.id', 'p.listId')
    .selectAll('d')
    .select(['p.messageId', 'l.address as list'])
    .where('d.state', 'in', d.states)
    .orderBy('d.id')
    .limit(d.limit);
  const { listId, messageId } = d;
  if (listId !== undefined) query = query.where('p.listId', '=', listId);
  if (messageId !== undefined) query = query.where('p.messageId', '=', messageId);
  return query.execute();
}

/** A posting that waits for a moderator, with its list and what its message's outer header says. */
export interface HeldPosting {
  readonly id: number;
  readonly messageId: string;
  readonly list: string;
  readonly reason: string | null;
  readonly decidedAt: number | null;
  readonly receivedAt: number;
  readonly subject: string | null;
  readonly fromAddress: string | null;
}

/** Postings that wait for a moderator, oldest first; of one list or message if given. */
export async function heldPostings(
  q: Queries,
  d: { listId?: number; messageId?: string; limit: number },
): Promise<HeldPosting[]> {
  let query = q
    .selectFrom('postings as p')
    .innerJoin('messages as m', 'm.id', 'p.messageId')
    .innerJoin('lists as l', 'l.id', 'p.listId')
    .select(['p.id', 'p.messageId', 'p.reason', 'p.decidedAt', 'l.address as list'])
    .select(['m.receivedAt', 'm.subject', 'm.fromAddress'])
    .where('p.state', '=', 'held')
    .orderBy('p.id')
    .limit(d.limit);
  const { listId, messageId } = d;
  if (listId !== undefined) query = query.where('p.listId', '=', listId);
  if (messageId !== undefined) query = query.where('p.messageId', '=', messageId);
  return query.execute();
}

/**
 * Postings that were refused because nobody vouched for their signature, and whose bytes are kept to judge it again
 * (`judge-again`), oldest first; of one list if given.
 */
export async function refusedPostings(
  q: Queries,
  d: { listId?: number; now: number; limit: number },
): Promise<(Omit<HeldPosting, 'decidedAt' | 'id'> & { readonly retryUntil: number | null })[]> {
  let query = q
    .selectFrom('postings as p')
    .innerJoin('messages as m', 'm.id', 'p.messageId')
    .innerJoin('lists as l', 'l.id', 'p.listId')
    .select(['p.messageId', 'p.reason', 'p.retryUntil', 'l.address as list'])
    .select(['m.receivedAt', 'm.subject', 'm.fromAddress'])
    .where('p.state', '=', 'refused')
    .where('p.retryUntil', '>', d.now)
    .where('m.removedAt', 'is', null)
    .orderBy('p.id')
    .limit(d.limit);
  if (d.listId !== undefined) query = query.where('p.listId', '=', d.listId);
  return query.execute();
}

/** A posting whose copies are on their way: they wait for nothing but their turn. */
export interface SendingPosting {
  readonly id: number;
  readonly messageId: string;
  readonly list: string;
  readonly kind: PostingKind;
  readonly subject: string | null;
  readonly fromAddress: string | null;
  readonly receivedAt: number;
  /** Copies that wait for their turn. */
  readonly pending: number;
  /** Copies that are being handed to the relay. */
  readonly inFlight: number;
}

/** Postings with copies that are pending or in flight, oldest first; of one list if given. */
export async function sendingPostings(
  q: Queries,
  d: { listId?: number; limit: number },
): Promise<SendingPosting[]> {
  let query = q
    .selectFrom('deliveries as d')
    .innerJoin('postings as p', 'p.id', 'd.postingId')
    .innerJoin('messages as m', 'm.id', 'p.messageId')
    .innerJoin('lists as l', 'l.id', 'p.listId')
    .select(['p.id', 'p.messageId', 'p.kind', 'l.address as list', 'm.subject', 'm.fromAddress'])
    .select('m.receivedAt')
    .select((e) => [
      e.fn.countAll<number>().filterWhere('d.state', '=', 'pending').as('pending'),
      e.fn.countAll<number>().filterWhere('d.state', '=', 'in-flight').as('inFlight'),
    ])
    .where('d.state', 'in', ['pending', 'in-flight'])
    .where('d.finishedAt', 'is', null)
    .where('m.state', 'not in', ['parked', 'quarantine'])
    .groupBy('p.id')
    .orderBy('p.id')
    .limit(d.limit);
  if (d.listId !== undefined) query = query.where('p.listId', '=', d.listId);
  return query.execute();
}

/** Makes deferred copies due now, of the ids given; gives their number. Fault: 'transaction-required'. */
export async function retryNow(tx: Queries, ids: readonly number[], now: number): Promise<number> {
  requireTransaction(tx, 'retryNow');
  let moved = 0n;
  for (const chunk of chunksOf(ids)) {
    const result = await tx
      .updateTable('deliveries')
      .set({ nextAt: now })
      .where('id', 'in', chunk)
      .where('state', '=', 'deferred')
      .where('finishedAt', 'is', null)
      .executeTakeFirst();
    moved += result.numUpdatedRows;
  }
  return Number(moved);
}

/**
 * Ends copies that wait, with a ledger entry each; a copy in flight is left to its attempt. Gives the number ended.
 * Fault: 'transaction-required'.
 */
export async function cancelWaiting(
  tx: Queries,
  ids: readonly number[],
  d: { at: number; reason: string; detail: string },
): Promise<number> {
  requireTransaction(tx, 'cancelWaiting');
  const ended: number[] = [];
  for (const chunk of chunksOf(ids)) {
    const rows = await tx
      .updateTable('deliveries')
      .set({ state: 'cancelled', reason: d.reason, detail: d.detail, finishedAt: d.at })
      .where('id', 'in', chunk)
      .where('state', 'in', ['pending', 'deferred', 'held'])
      .where('finishedAt', 'is', null)
      .returning('id')
      .execute();
    ended.push(...rows.map((row) => row.id));
  }
  await recordDeliveries(tx, ended, d.at);
  return ended.length;
}
