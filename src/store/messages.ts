import type { Selectable } from 'kysely';
import type { Envelope } from '../mime/envelope.ts';
import { chunksOf } from './chunks.ts';
import { type Queries, requireTransaction } from './database.ts';
import type { MessageState, MessagesTable, PostingKind } from './schema.ts';

export interface MessageRow extends Readonly<Omit<Selectable<MessagesTable>, 'envelope'>> {
  readonly envelope: Envelope;
}

/** A message as intake makes it: opened never, due at once. */
export type NewMessage = Omit<MessageRow, 'state' | 'opens' | 'reason' | 'detail' | 'nextAt' | 'removedAt'> &
  Partial<Pick<MessageRow, 'state' | 'nextAt'>>;

const messageOf = (row: Selectable<MessagesTable>): MessageRow => ({
  ...row,
  envelope: JSON.parse(row.envelope),
});

/** A message with the lists and purposes that it is for. */
export interface TakenIn {
  readonly message: NewMessage;
  readonly postings: readonly { readonly listId: number; readonly kind: PostingKind }[];
}

/**
 * Takes messages in with their postings and gives the ids of those that are new. The row of any other was there already (a
 * crash between this and the rename of its file), and stays as it is. Faults: 'transaction-required'.
 */
export async function insertMessages(tx: Queries, all: readonly TakenIn[]): Promise<ReadonlySet<string>> {
  requireTransaction(tx, 'insertMessages');
  const rows = all.map(({ message: { state = 'queued', envelope, ...rest } }) => ({
    nextAt: rest.receivedAt,
    ...rest,
    envelope: JSON.stringify(envelope),
    state,
    opens: 0,
    reason: null,
    detail: null,
    removedAt: null,
  }));
  const inserted = await tx
    .insertInto('messages')
    .values(rows)
    .onConflict((c) => c.column('id').doNothing())
    .returning('id')
    .execute();
  const fresh = new Set(inserted.map((row) => row.id));
  const postings = all
    .filter(({ message }) => fresh.has(message.id))
    .flatMap(({ message, postings }) =>
      postings.map((p) => ({ ...p, messageId: message.id, state: 'new' as const })),
    );
  for (const chunk of chunksOf(postings)) await tx.insertInto('postings').values(chunk).execute();
  return fresh;
}

/** The message with this spool id, or null. */
export async function findMessage(q: Queries, id: string): Promise<MessageRow | null> {
  const row = await q.selectFrom('messages').selectAll().where('id', '=', id).executeTakeFirst();
  return row ? messageOf(row) : null;
}

/** All messages whose Message-ID header field is this, oldest first. */
export async function messagesByHeaderId(q: Queries, messageId: string): Promise<MessageRow[]> {
  const rows = await q
    .selectFrom('messages')
    .selectAll()
    .where('messageId', '=', messageId)
    .orderBy('receivedAt')
    .orderBy('id')
    .execute();
  return rows.map(messageOf);
}

/** Moves a message to a state. `nextAt` is when to look at it again, null for never by itself. */
export async function setMessageState(
  q: Queries,
  id: string,
  d: { state: MessageState; reason: string | null; detail: string | null; nextAt: number | null },
): Promise<void> {
  await q.updateTable('messages').set(d).where('id', '=', id).execute();
}

/**
 * Counts one opening of a message and gives its row, or null if there is nothing to open any more. Committed before the bytes
 * are touched, it survives what they do to the process; no message cuts the power, so nobody need wait for the disk.
 */
export async function countOpen(q: Queries, id: string): Promise<MessageRow | null> {
  const row = await q
    .updateTable('messages')
    .set((e) => ({ opens: e('opens', '+', 1) }))
    .where('id', '=', id)
    .where('state', 'not in', ['done', 'quarantine'])
    .returningAll()
    .executeTakeFirst();
  return row ? messageOf(row) : null;
}

/** Those of these ids that have a row. */
export async function knownMessages(q: Queries, ids: readonly string[]): Promise<ReadonlySet<string>> {
  const known = new Set<string>();
  for (const chunk of chunksOf(ids)) {
    const rows = await q.selectFrom('messages').select('id').where('id', 'in', chunk).execute();
    for (const { id } of rows) known.add(id);
  }
  return known;
}

/** Messages of this node whose time has come (queued, unopened or parked with `nextAt` ≤ now), oldest first. */
export async function dueMessages(
  q: Queries,
  node: string,
  now: number,
  limit: number,
): Promise<MessageRow[]> {
  const rows = await q
    .selectFrom('messages')
    .selectAll()
    .where('state', 'in', ['queued', 'unopened', 'parked'])
    .where('nextAt', '<=', now)
    .where('node', '=', node)
    .orderBy('nextAt')
    .orderBy('id')
    .limit(limit)
    .execute();
  return rows.map(messageOf);
}

/** Makes messages due at `now` that wait until after `latest`, which nothing sets: the clock was ahead. Gives their number. */
export async function bringBackMessages(q: Queries, d: { now: number; latest: number }): Promise<number> {
  const result = await q
    .updateTable('messages')
    .set({ nextAt: d.now })
    .where('state', 'in', ['queued', 'unopened', 'parked'])
    .where('nextAt', '>', d.latest)
    .executeTakeFirst();
  return Number(result.numUpdatedRows);
}

/** Makes messages that could not be opened due now: a key or an authority changed. */
export async function retryUnopened(q: Queries, now: number): Promise<void> {
  await q.updateTable('messages').set({ nextAt: now }).where('state', '=', 'unopened').execute();
}

/** Messages in a state, oldest first: for `queue` and reports. */
export async function messagesIn(
  q: Queries,
  states: readonly MessageState[],
  limit: number,
): Promise<MessageRow[]> {
  const rows = await q
    .selectFrom('messages')
    .selectAll()
    .where('state', 'in', states)
    .orderBy('receivedAt')
    .orderBy('id')
    .limit(limit)
    .execute();
  return rows.map(messageOf);
}

/**
 * Ids of this node's messages whose spool file serves nothing any more: done, received before `before`, no posting
 * still to be decided, kept for a moderator or to be judged again then, no delivery open. Oldest first.
 */
export async function messagesToClean(
  q: Queries,
  d: { node: string; before: number; limit: number },
): Promise<string[]> {
  const rows = await q
    .selectFrom('messages as m')
    .select('m.id')
    .where('m.removedAt', 'is', null)
    .where('m.state', '=', 'done')
    .where('m.node', '=', d.node)
    .where('m.receivedAt', '<', d.before)
    .where((e) =>
      e.not(
        e.exists(
          e
            .selectFrom('postings as p')
            .select('p.id')
            .whereRef('p.messageId', '=', 'm.id')
            .where((w) =>
              w.or([
                w('p.state', 'in', ['new', 'held', 'fanning-out', 'quarantine']),
                w.and([w('p.state', '=', 'refused'), w('p.retryUntil', '>', d.before)]),
                w.exists(
                  w
                    .selectFrom('deliveries as d')
                    .select('d.id')
                    .whereRef('d.postingId', '=', 'p.id')
                    .where('d.finishedAt', 'is', null),
                ),
              ]),
            ),
        ),
      ),
    )
    .orderBy('m.receivedAt')
    .limit(d.limit)
    .execute();
  return rows.map((row) => row.id);
}

/** Notes that the spool file is gone. */
export async function markRemoved(q: Queries, id: string, at: number): Promise<void> {
  await q.updateTable('messages').set({ removedAt: at }).where('id', '=', id).execute();
}

/**
 * Forgets up to `limit` messages, with their postings and deliveries, whose file was removed before `before`.
 * Gives their number. The ledger keeps what happened.
 */
export async function forgetMessages(q: Queries, d: { before: number; limit: number }): Promise<number> {
  const old = q.selectFrom('messages').select('id').where('removedAt', '<', d.before).limit(d.limit);
  const result = await q.deleteFrom('messages').where('id', 'in', old).executeTakeFirst();
  return Number(result.numDeletedRows);
}
