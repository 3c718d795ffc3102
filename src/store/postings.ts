import type { Selectable } from 'kysely';
import { type Queries, requireTransaction } from './database.ts';
import { record } from './ledger.ts';
import type { JsonObject, MessageState, PostingKind, PostingState, PostingsTable } from './schema.ts';

/** One message for one list. */
export interface PostingRow extends Readonly<Omit<Selectable<PostingsTable>, 'verdict' | 'prepared'>> {
  /** The record of RULES 18, made once when the posting was decided. */
  readonly verdict: JsonObject | null;
  /** What is fixed at authorisation for all copies; `flow/post/prepare` makes and reads it. */
  readonly prepared: JsonObject | null;
}

const parsed = (text: string | null): JsonObject | null => (text === null ? null : JSON.parse(text));
const text = (value: JsonObject | null): string | null => (value === null ? null : JSON.stringify(value));

const postingOf = (row: Selectable<PostingsTable>): PostingRow => ({
  ...row,
  verdict: parsed(row.verdict),
  prepared: parsed(row.prepared),
});

/** The postings of a message, by id. */
export async function postingsOf(q: Queries, messageId: string): Promise<PostingRow[]> {
  const rows = await q
    .selectFrom('postings')
    .selectAll()
    .where('messageId', '=', messageId)
    .orderBy('id')
    .execute();
  return rows.map(postingOf);
}

/** The posting with this id, or null. */
export async function findPosting(q: Queries, id: number): Promise<PostingRow | null> {
  const row = await q.selectFrom('postings').selectAll().where('id', '=', id).executeTakeFirst();
  return row ? postingOf(row) : null;
}

/** Moves a posting to a state; `reason` is left as it is unless given. */
export async function setPostingState(
  q: Queries,
  id: number,
  state: PostingState,
  reason?: string | null,
): Promise<void> {
  await q
    .updateTable('postings')
    .set({ state, ...(reason === undefined ? {} : { reason }) })
    .where('id', '=', id)
    .execute();
}

/**
 * Writes down the decision about a new posting, once: false if it has been decided before, and then nothing is
 * changed (RULES 18: an attempt does not decide again). With `again`, of one that waits to be judged again.
 */
export async function recordVerdict(
  q: Queries,
  id: number,
  d: {
    state: PostingState;
    reason: string | null;
    verdict: JsonObject;
    prepared: JsonObject | null;
    decidedAt: number;
    retryUntil?: number | null;
    /** The state that it must still have to be decided a second time; null for the first time. */
    again?: PostingState | null;
  },
): Promise<boolean> {
  const { again = null, retryUntil = null, ...set } = d;
  const update = q
    .updateTable('postings')
    .set({ ...set, retryUntil, verdict: text(d.verdict), prepared: text(d.prepared), retryAt: null })
    .where('id', '=', id);
  const result = await (again === null
    ? update.where('decidedAt', 'is', null)
    : update.where('state', '=', again).where('retryAt', 'is not', null)
  ).executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

/**
 * A moderator's answer to a held posting: moves it on and may replace the composed parts. False if it is not held
 * any more (two moderators answered, or it ran out). The verdict stays.
 */
export async function releasePosting(
  q: Queries,
  id: number,
  d: { state: PostingState; reason: string | null; prepared?: JsonObject | null },
): Promise<boolean> {
  const { prepared, ...rest } = d;
  // A person decided: no authority that comes later changes that.
  const final = { retryUntil: null, retryAt: null };
  const result = await q
    .updateTable('postings')
    .set({ ...rest, ...final, ...(prepared === undefined ? {} : { prepared: text(prepared) }) })
    .where('id', '=', id)
    .where('state', '=', 'held')
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

/** Keeps how far the fan-out has come: the last address that has a row. */
export async function setCursor(q: Queries, id: number, cursor: string | null): Promise<void> {
  await q.updateTable('postings').set({ cursor }).where('id', '=', id).execute();
}

/**
 * The posting that already brought the same bytes (and the same Message-ID) to this address of the list since `since`,
 * the oldest of them, or null. Mail to the list and to its owners are two, in whatever order they come. Postings that
 * wait for their decision do not count: of two equal ones that wait together each would be the other's duplicate and
 * none would be distributed. Nor do refused and dropped ones: they reached nobody.
 */
export async function duplicateOf(
  q: Queries,
  d: {
    listId: number;
    kind: PostingKind;
    messageIdHeader: string | null;
    bodySha256: string;
    since: number;
    notMessage: string;
  },
): Promise<PostingRow | null> {
  const row = await q
    .selectFrom('messages as m')
    .innerJoin('postings as p', 'p.messageId', 'm.id')
    .selectAll('p')
    .where('m.bodySha256', '=', d.bodySha256)
    .where('m.messageId', 'is', d.messageIdHeader)
    .where('m.receivedAt', '>=', d.since)
    .where('m.id', '!=', d.notMessage)
    .where('p.listId', '=', d.listId)
    .where('p.kind', '=', d.kind)
    .where('p.state', 'in', ['held', 'fanning-out', 'distributing', 'done'])
    .orderBy('p.id')
    .limit(1)
    .executeTakeFirst();
  return row ? postingOf(row) : null;
}

/** Notes that the author of a posting is told how it was delivered; false if he was already. */
export async function markAuthorTold(tx: Queries, id: number, at: number): Promise<boolean> {
  const result = await tx
    .updateTable('postings')
    .set({ authorToldAt: at })
    .where('id', '=', id)
    .where('authorToldAt', 'is', null)
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

/** Ids of posts of a list that were decided before `before`, still have open copies, and whose author was not told. */
export async function untoldPostings(q: Queries, d: { listId: number; before: number }): Promise<number[]> {
  const rows = await q
    .selectFrom('postings')
    .select('id')
    .where('listId', '=', d.listId)
    .where('state', '=', 'distributing')
    .where('kind', '=', 'post')
    .where('decidedAt', '<=', d.before)
    .where('authorToldAt', 'is', null)
    .execute();
  return rows.map((row) => row.id);
}

/** Postings in these states, oldest first. */
export async function postingsIn(
  q: Queries,
  states: readonly PostingState[],
  limit: number,
): Promise<PostingRow[]> {
  const rows = await q
    .selectFrom('postings')
    .selectAll()
    .where('state', 'in', states)
    .orderBy('id')
    .limit(limit)
    .execute();
  return rows.map(postingOf);
}

/** Ends posts that waited for a moderator since before `before`, each with a ledger line; gives their number. */
export async function expirePostings(
  tx: Queries,
  d: { listId: number; before: number; at: number },
): Promise<number> {
  requireTransaction(tx, 'expirePostings');
  const rows = await tx
    .updateTable('postings')
    .set({ state: 'dropped', reason: 'moderation-expired' })
    .where('listId', '=', d.listId)
    .where('state', '=', 'held')
    .where('decidedAt', '<', d.before)
    .returning(['id', 'messageId'])
    .execute();
  const list = await tx.selectFrom('lists').select('address').where('id', '=', d.listId).executeTakeFirst();
  const detail = 'no moderator answered in time (held.days)';
  await record(
    tx,
    rows.map((row) => ({
      at: d.at,
      messageId: row.messageId,
      postingId: row.id,
      list: list?.address ?? null,
      event: 'expired',
      reason: 'moderation-expired',
      detail,
    })),
  );
  return rows.length;
}

/** A posting that is not over, with what its message waits for. */
export interface OpenPosting extends Pick<PostingRow, 'id' | 'messageId' | 'state' | 'verdict'> {
  readonly messageState: MessageState;
  readonly messageReason: string | null;
  /** How many lists the message went to: its reason is of one of them. */
  readonly lists: number;
}

/** The next postings of a list, by id, whose message is still needed: all but those that are over and our own mail. */
export async function openPostingsAfter(
  q: Queries,
  d: { readonly listId: number; readonly after: number; readonly limit: number },
): Promise<OpenPosting[]> {
  const rows = await q
    .selectFrom('postings as p')
    .innerJoin('messages as m', 'm.id', 'p.messageId')
    .select([
      'p.id',
      'p.messageId',
      'p.state',
      'p.verdict',
      'm.state as messageState',
      'm.reason as messageReason',
    ])
    .select((e) =>
      e
        .selectFrom('postings as o')
        .select((of) => of.fn.countAll<number>().as('count'))
        .whereRef('o.messageId', '=', 'p.messageId')
        .as('lists'),
    )
    .where('p.listId', '=', d.listId)
    .where('p.id', '>', d.after)
    .where('p.kind', '!=', 'local')
    .where('p.state', 'not in', ['done', 'refused', 'dropped'])
    .where('m.removedAt', 'is', null)
    .orderBy('p.id')
    .limit(d.limit)
    .execute();
  return rows.map((row) => ({ ...row, lists: row.lists ?? 0, verdict: parsed(row.verdict) }));
}
