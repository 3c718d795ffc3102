import { sql } from 'kysely';
import { dayMs } from '../base/day.ts';
import type { Queries } from './database.ts';

/**
 * Whether a member is to get a notice of this kind now: the first time, and then when the last is at least `everyMs`
 * old (Infinity: once). If so it is counted as sent, in the same statement: two who ask get one yes.
 */
export async function noticeDue(
  tx: Queries,
  d: { listId: number; member: string; kind: string; now: number; everyMs: number },
): Promise<boolean> {
  const row = await tx
    .insertInto('notices')
    .values({ listId: d.listId, member: d.member, kind: d.kind, lastAt: d.now, count: 1 })
    .onConflict((c) =>
      c
        .columns(['listId', 'member', 'kind'])
        .doUpdateSet((e) => ({ lastAt: d.now, count: e('notices.count', '+', 1) }))
        .where(isDue('notices.lastAt', d)),
    )
    .returning('count')
    .executeTakeFirst();
  return row !== undefined;
}

/** Whether `noticeDue` would say yes now; counts nothing. For what is costly to prepare: ask again when it is sent. */
export async function noticeIsDue(
  q: Queries,
  d: { listId: number; member: string; kind: string; now: number; everyMs: number },
): Promise<boolean> {
  const row = await q
    .selectFrom('notices')
    .select('lastAt')
    .where('listId', '=', d.listId)
    .where('member', '=', d.member)
    .where('kind', '=', d.kind)
    .executeTakeFirst();
  return row === undefined || isOver(row.lastAt, d);
}

/** Whether a notice of this kind went to the address from any list. */
export async function wasNoticed(q: Queries, d: { member: string; kind: string }): Promise<boolean> {
  const row = await q
    .selectFrom('notices')
    .select('lastAt')
    .where('member', '=', d.member)
    .where('kind', '=', d.kind)
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
}

/** Forgets notices whose kind begins so and which were sent before `before`: what they told of is long over. Gives their number. */
export async function forgetNotices(q: Queries, d: { kind: string; before: number }): Promise<number> {
  const result = await q
    .deleteFrom('notices')
    .where('kind', 'like', `${d.kind}%`)
    .where('lastAt', '<', d.before)
    .executeTakeFirst();
  return Number(result.numDeletedRows);
}

/** Makes the next notice of this kind from every list due again: what it told of is over (a certificate came). */
export async function forgetNotice(tx: Queries, d: { member: string; kind: string }): Promise<void> {
  await tx.deleteFrom('notices').where('member', '=', d.member).where('kind', '=', d.kind).execute();
}

/** The same for an answer to an address that may be no member's (RULES 20). */
export async function replyDue(
  tx: Queries,
  d: { address: string; kind: string; now: number; everyMs: number },
): Promise<boolean> {
  const row = await tx
    .insertInto('replies')
    .values({ address: d.address, kind: d.kind, lastAt: d.now, count: 1 })
    .onConflict((c) =>
      c
        .columns(['address', 'kind'])
        .doUpdateSet((e) => ({ lastAt: d.now, count: e('replies.count', '+', 1) }))
        .where(isDue('replies.lastAt', d)),
    )
    .returning('count')
    .executeTakeFirst();
  return row !== undefined;
}

/** Whether `replyDue` would say yes now; counts nothing. */
export async function replyIsDue(
  q: Queries,
  d: { address: string; kind: string; now: number; everyMs: number },
): Promise<boolean> {
  const row = await q
    .selectFrom('replies')
    .select('lastAt')
    .where('address', '=', d.address)
    .where('kind', '=', d.kind)
    .executeTakeFirst();
  return row === undefined || isOver(row.lastAt, d);
}

/** Forgets answers last sent before `before`: strangers' addresses are not kept longer than the rate limit needs. */
export async function forgetReplies(q: Queries, before: number): Promise<void> {
  await q.deleteFrom('replies').where('lastAt', '<', before).execute();
}

/** An earlier time than this is no earlier one: the clock was ahead, and nobody shall wait until it is there again. */
const unheardOf = (d: { now: number; everyMs: number }): number =>
  d.everyMs === Infinity ? Infinity : d.now + dayMs;

const isOver = (lastAt: number, d: { now: number; everyMs: number }): boolean =>
  lastAt <= d.now - d.everyMs || lastAt > unheardOf(d);

const isDue = (lastAt: string, d: { now: number; everyMs: number }) =>
  sql<boolean>`(${sql.ref(lastAt)} <= ${d.now - d.everyMs} OR ${sql.ref(lastAt)} > ${unheardOf(d)})`;
