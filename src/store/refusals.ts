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

/** Judges refusals, once each: gives the ids of those that had not been. Fault: 'transaction-required'. */
export async function judge(
  tx: Queries,
  deliveryIds: readonly number[],
  verdict: 'member' | 'relay',
): Promise<number[]> {
  requireTransaction(tx, 'judge');
  const { rows } = await sql<{ id: number }>`
    UPDATE refusals SET verdict = ${verdict}
    WHERE delivery_id IN (SELECT value FROM json_each(${JSON.stringify(deliveryIds)})) AND verdict IS NULL
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

/** Forgets what counts against a member: he is given another chance. */
export async function forgetBounces(tx: Queries, d: { listId: number; address: string }): Promise<void> {
  await tx.deleteFrom('refusals').where('listId', '=', d.listId).where('address', '=', d.address).execute();
}

/** Forgets refusals from before `before`. */
export async function forgetRefusals(q: Queries, before: number): Promise<void> {
  await q.deleteFrom('refusals').where('at', '<', before).execute();
}
