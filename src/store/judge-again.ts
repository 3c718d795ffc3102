import { chunksOf } from './chunks.ts';
import { type Queries, requireTransaction } from './database.ts';

/**
 * Makes decided postings wait to be judged again, and their messages due: of one message or of all whose bytes are still
 * in the spool. A held one may be as long as it waits, a refused one until its time is over. Gives the number of postings. Fault: 'transaction-required'.
 */
export async function judgeAgain(
  tx: Queries,
  d: { readonly messageId?: string; readonly now: number },
): Promise<number> {
  requireTransaction(tx, 'judgeAgain');
  const { now, messageId } = d;
  let update = tx
    .updateTable('postings')
    .set({ retryAt: now })
    .where('retryUntil', 'is not', null)
    .where((e) =>
      e.or([e('state', '=', 'held'), e.and([e('state', '=', 'refused'), e('retryUntil', '>', now)])]),
    )
    .where('messageId', 'in', tx.selectFrom('messages').select('id').where('removedAt', 'is', null));
  if (messageId !== undefined) update = update.where('messageId', '=', messageId);
  const rows = await update.returning('messageId').execute();
  for (const ids of chunksOf([...new Set(rows.map((row) => row.messageId))])) {
    const due = (state: 'done' | 'unopened') =>
      tx.updateTable('messages').where('id', 'in', ids).where('state', '=', state);
    await due('done').set({ state: 'queued', reason: null, detail: null, nextAt: now }).execute();
    await due('unopened').set({ nextAt: now }).execute();
  }
  return rows.length;
}

/** Notes that a posting was judged again and stays as it was decided. */
export async function settleJudged(q: Queries, id: number): Promise<void> {
  await q.updateTable('postings').set({ retryAt: null }).where('id', '=', id).execute();
}
