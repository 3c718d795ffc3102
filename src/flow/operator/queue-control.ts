import { faultsOf } from '../../base/errors.ts';
import type { Database, Queries } from '../../store/database.ts';
import { judgeAgain } from '../../store/judge-again.ts';
import { record } from '../../store/ledger.ts';
import { findMessage, type MessageRow, messagesIn, setMessageState } from '../../store/messages.ts';
import { touch } from '../../store/meta.ts';
import { postingsOf, setPostingState } from '../../store/postings.ts';
import { cancelWaiting, queuedDeliveries, retryNow } from '../../store/queue.ts';
import type { Spool } from '../../store/spool.ts';

export const queueFault = faultsOf({
  'queue-message-unknown': (d: { id: string }) =>
    `there is no message ${d.id} here: \`reseal queue list\` shows what waits; what is older than \`retention\` is forgotten`,
  'queue-quarantine-ownerless': (d: { id: string }) =>
    `${d.id} is a file in quarantine that no row of the database knows, so nobody can say whom it is for: look at the file, then hand it in again with \`reseal inject\` or drop it`,
});

export interface QueueParts {
  readonly database: Database;
  readonly spool: Spool;
}

interface Doer {
  readonly who: string;
  readonly now: number;
}

const all = 1_000_000;

/**
 * What a retry moved: messages that will be opened again now, decided postings whose signature will be judged again now,
 * copies that will be tried again now.
 */
export interface Retried {
  readonly messages: number;
  readonly postings: number;
  readonly copies: number;
}

/**
 * Makes everything due now that waits for its next try: messages that could not be opened or were parked, or whose processing
 * failed (a full disk), posts that are held or refused because nobody vouched for their signature, and deferred copies.
 * Quarantine is left alone: what is there is brought back one by one.
 */
export async function retryAll(parts: QueueParts, d: Doer): Promise<Retried> {
  return parts.database.write(async (tx) => {
    const waiting = await messagesIn(tx, ['queued', 'unopened', 'parked'], all);
    const messages = waiting.filter((one) => one.state !== 'queued' || (one.nextAt ?? 0) > d.now);
    for (const message of messages) await dueNow(tx, message, message.state, d.now);
    const postings = await judgeAgain(tx, { now: d.now });
    const copies = await retryCopies(tx, { limit: all }, d.now);
    await record(tx, { at: d.now, event: 'retry', detail: `${d.who} made everything due that waited` });
    await touch(tx);
    return { messages: messages.length, postings, copies };
  });
}

/** The same for one message, which may also be in quarantine. Faults: 'queue-message-unknown', 'queue-quarantine-ownerless'. */
export async function retryMessage(parts: QueueParts, id: string, d: Doer): Promise<Retried> {
  const message = await findMessage(parts.database.q, id);
  if (!message) {
    const isFile = (await parts.spool.quarantined()).some((one) => one.id === id);
    throw isFile
      ? queueFault('queue-quarantine-ownerless', { id })
      : queueFault('queue-message-unknown', { id });
  }
  // The file first: a row that is due would be opened wherever its file is, but the folder should tell the truth.
  if (message.state === 'quarantine') await parts.spool.restore(id);
  return parts.database.write(async (tx) => {
    const waits = message.state !== 'done';
    if (waits) await dueNow(tx, message, message.state === 'unopened' ? 'unopened' : 'queued', d.now);
    const postings = await judgeAgain(tx, { messageId: id, now: d.now });
    const copies = await retryCopies(tx, { messageId: id, limit: all }, d.now);
    await record(tx, { at: d.now, messageId: id, event: 'retry', detail: `${d.who} made it due` });
    await touch(tx);
    return { messages: waits ? 1 : 0, postings, copies };
  });
}

async function dueNow(
  tx: Queries,
  { id, reason, detail }: MessageRow,
  state: MessageRow['state'],
  nextAt: number,
): Promise<void> {
  await setMessageState(tx, id, { state, reason, detail, nextAt });
}

async function retryCopies(
  tx: Queries,
  d: { messageId?: string; limit: number },
  now: number,
): Promise<number> {
  const rows = await queuedDeliveries(tx, { states: ['deferred'], ...d });
  return retryNow(
    tx,
    rows.map((row) => row.id),
    now,
  );
}

/** What a drop ended. */
export interface Dropped {
  readonly postings: number;
  readonly copies: number;
}

/**
 * Gives a message up: what is undecided or held is dropped, copies that wait are cancelled, each with a ledger line;
 * what was delivered stays delivered. The file goes with the next housekeeping; one that no row knows goes at once.
 * Fault 'queue-message-unknown'.
 */
export async function dropMessage(parts: QueueParts, id: string, d: Doer): Promise<Dropped> {
  const { database, spool } = parts;
  const detail = `dropped by ${d.who}`;
  const base = { at: d.now, messageId: id, event: 'dropped', reason: 'by-operator', detail } as const;
  const message = await findMessage(database.q, id);
  if (!message) {
    if (!(await spool.quarantined()).some((one) => one.id === id))
      throw queueFault('queue-message-unknown', { id });
    await database.write((tx) => record(tx, base));
    await spool.remove(id);
    return { postings: 0, copies: 0 };
  }
  return database.write(async (tx) => {
    const open = (await postingsOf(tx, id)).filter((one) =>
      ['new', 'held', 'fanning-out', 'quarantine'].includes(one.state),
    );
    for (const posting of open) {
      await setPostingState(tx, posting.id, 'dropped', 'by-operator');
      await record(tx, { ...base, postingId: posting.id });
    }
    const rows = await queuedDeliveries(tx, {
      states: ['pending', 'deferred', 'held'],
      messageId: id,
      limit: all,
    });
    const ids = rows.map((row) => row.id);
    const copies = await cancelWaiting(tx, ids, { at: d.now, reason: 'by-operator', detail });
    if (open.length === 0) await record(tx, base);
    await setMessageState(tx, id, { state: 'done', reason: 'by-operator', detail, nextAt: null });
    await touch(tx);
    return { postings: open.length, copies };
  });
}
