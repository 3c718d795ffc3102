import { sql } from 'kysely';
import { type Queries, requireTransaction } from './database.ts';
import type { RefusalRow } from './refusal-row.ts';

/** A copy that the relay refused for good. */
export interface Refusal {
  readonly deliveryId: number;
  /** Whether the answer speaks of the recipient, or of the message and our session. */
  readonly ofRecipient: boolean;
  /** Reply code and enhanced code, e.g. `550 5.1.1`: what two refusals have in common. */
  readonly code: string;
  /** The relay's words. */
  readonly reply: string;
}

/** Notes refused copies of posts, to be judged; of reseal's own mail nothing is noted. Fault: 'transaction-required'. */
export async function noteRefusals(tx: Queries, refusals: readonly Refusal[], at: number): Promise<void> {
  requireTransaction(tx, 'noteRefusals');
  if (refusals.length === 0) return;
  const rows = refusals.map((one) => ({ ...one, ofRecipient: one.ofRecipient ? 1 : 0 }));
  await sql`
    INSERT INTO refusals (delivery_id, posting_id, list_id, address, at, of_recipient, code, reply, verdict)
    SELECT d.id, d.posting_id, p.list_id, d.member, ${at}, j.value ->> 'ofRecipient', j.value ->> 'code', j.value ->> 'reply', NULL
    FROM json_each(${JSON.stringify(rows)}) AS j
    JOIN deliveries AS d ON d.id = j.value ->> 'deliveryId' JOIN postings AS p ON p.id = d.posting_id
    WHERE p.kind = 'post'
    ON CONFLICT (delivery_id) DO UPDATE SET
      posting_id = excluded.posting_id, list_id = excluded.list_id, address = excluded.address, at = excluded.at,
      of_recipient = excluded.of_recipient, code = excluded.code, reply = excluded.reply, verdict = NULL`.execute(
    tx,
  );
}

/** A copy of a post that a relay took. */
export interface TakenCopy {
  readonly deliveryId: number;
  readonly postingId: number;
  /** Spool id. */
  readonly messageId: string;
  readonly member: string;
  /** When it was taken; null if that is just being written down. */
  readonly at: number | null;
}

/** The copies for these members of posts to a list that have this Message-ID, and that the relay took, or has in hand. */
export async function takenCopies(
  q: Queries,
  d: { readonly listId: number; readonly headerId: string; readonly members: readonly string[] },
): Promise<TakenCopy[]> {
  const rows = await q
    .selectFrom('messages as m')
    .innerJoin('postings as p', 'p.messageId', 'm.id')
    .innerJoin('deliveries as d', 'd.postingId', 'p.id')
    .select([
      'd.id as deliveryId',
      'p.id as postingId',
      'm.id as messageId',
      'd.member',
      'd.finishedAt as at',
    ])
    .where('m.messageId', '=', d.headerId)
    .where('p.listId', '=', d.listId)
    .where('p.kind', '=', 'post')
    .where('d.member', 'in', [...d.members])
    .where('d.state', 'in', ['delivered', 'in-flight'])
    .execute();
  return rows;
}

/**
 * Notes a copy that came back after the relay had taken it, as of the day it was sent, to be judged. Each copy counts once,
 * however often it comes back: false if it was noted before. Fault: 'transaction-required'.
 */
export async function noteReturned(
  tx: Queries,
  { deliveryId, postingId, member: address, at }: TakenCopy & { readonly at: number },
  d: {
    readonly listId: number;
    readonly ofRecipient: boolean;
    readonly code: string;
    readonly reply: string;
  },
): Promise<boolean> {
  requireTransaction(tx, 'noteReturned');
  const row = await tx
    .insertInto('refusals')
    .values({ deliveryId, postingId, address, at, ...d, ofRecipient: d.ofRecipient ? 1 : 0, verdict: null })
    .onConflict((c) => c.column('deliveryId').doNothing())
    .returning('deliveryId')
    .executeTakeFirst();
  return row !== undefined;
}

/** Postings with refusals that nobody judged yet, oldest first. */
export async function unjudgedPostings(q: Queries, limit: number): Promise<number[]> {
  const rows = await q
    .selectFrom('refusals')
    .select('postingId')
    .distinct()
    .where('verdict', 'is', null)
    .orderBy('postingId')
    .limit(limit)
    .execute();
  return rows.map((row) => row.postingId);
}

/** The refused copies of a posting, by address; only those that nobody judged yet if asked so. */
export async function refusalsOf(
  q: Queries,
  postingId: number,
  d: { readonly unjudged?: boolean } = {},
): Promise<RefusalRow[]> {
  const all = q.selectFrom('refusals').selectAll().where('postingId', '=', postingId).orderBy('address');
  return (d.unjudged ? all.where('verdict', 'is', null) : all).execute();
}

/** How many copies of a posting the relay took that did not come back. */
export async function countStayed(q: Queries, postingId: number): Promise<number> {
  const { n } = await q
    .selectFrom('deliveries as d')
    .leftJoin('refusals as r', 'r.deliveryId', 'd.id')
    .select((e) => e.fn.countAll<number>().as('n'))
    .where('d.postingId', '=', postingId)
    .where('d.state', '=', 'delivered')
    .where('r.deliveryId', 'is', null)
    .executeTakeFirstOrThrow();
  return n;
}

/** Whether a copy of a posting was put off, and not tried again since: it may be greylisted. */
export async function isPutOffOnce(q: Queries, postingId: number): Promise<boolean> {
  const row = await q
    .selectFrom('deliveries')
    .select('id')
    .where('postingId', '=', postingId)
    .where('state', '=', 'deferred')
    // As the index `deliveries_open` says it.
    .where('finishedAt', 'is', null)
    .where('attempts', '<=', 1)
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
}

/**
 * Judges refusals, once each, but for what shows later to be the relay's doing: gives the ids of those whose verdict is new. Fault:
 * 'transaction-required'.
 */
export async function judge(
  tx: Queries,
  deliveryIds: readonly number[],
  verdict: 'member' | 'relay',
): Promise<number[]> {
  requireTransaction(tx, 'judge');
  const { rows } = await sql<{ id: number }>`
    UPDATE refusals SET verdict = ${verdict}
    WHERE delivery_id IN (SELECT value FROM json_each(${JSON.stringify(deliveryIds)}))
      AND (verdict IS NULL OR (verdict = 'member' AND ${verdict} = 'relay'))
    RETURNING delivery_id AS id`.execute(tx);
  return rows.map((row) => row.id);
}

/** The refusals that count against a member since `since`, newest first. */
export async function bouncesOf(
  q: Queries,
  d: { readonly listId: number; readonly address: string; readonly since: number },
): Promise<RefusalRow[]> {
  return q
    .selectFrom('refusals')
    .selectAll()
    .where('listId', '=', d.listId)
    .where('address', '=', d.address)
    .where('at', '>=', d.since)
    .where('verdict', '=', 'member')
    .orderBy('at', 'desc')
    .execute();
}

/** Forgets refusals from before `before`. */
export async function forgetRefusals(q: Queries, before: number): Promise<void> {
  await q.deleteFrom('refusals').where('at', '<', before).execute();
}
