import type { Queries } from '../../store/database.ts';
import { record } from '../../store/ledger.ts';
import type { LedgerEvent } from '../../store/ledger-events.ts';
import { recordVerdict } from '../../store/postings.ts';
import type { JsonObject, PostingState } from '../../store/schema.ts';
import type { SpooledMail } from '../mail/local-mail.ts';
import { openingLines } from '../post/crypto-lines.ts';
import { layersIn } from '../post/verdict-record.ts';
import type { PostingWork } from './posting-work.ts';

/** What one posting came to: its state, its record, its ledger line, and the mails that tell of it. */
export interface Conclusion {
  readonly state: PostingState;
  readonly event: LedgerEvent;
  readonly reason: string | null;
  readonly detail: string;
  /** The address that it is about, where one is. */
  readonly member?: string | null;
  readonly verdict: JsonObject;
  readonly prepared?: JsonObject;
  /** Until when its signature may be judged again (`judgeableUntil`). */
  readonly retryUntil?: number | null;
  readonly mails?: readonly SpooledMail[];
}

/**
 * Writes a posting's decision, its ledger line and the rows of the mails about it in the caller's transaction.
 * Once only: false if it has been decided before, and then nothing is written (RULES 18). One that waits to be judged
 * again is decided anew if it is still as it was: a moderator may have been quicker.
 */
export async function conclude(tx: Queries, work: PostingWork, d: Conclusion, at: number): Promise<boolean> {
  const { posting, list, message } = work;
  const isNew = await recordVerdict(tx, posting.id, {
    state: d.state,
    reason: d.reason,
    verdict: d.verdict,
    prepared: d.prepared ?? null,
    decidedAt: at,
    retryUntil: d.retryUntil ?? null,
    again: posting.retryAt === null ? null : posting.state,
  });
  if (!isNew) return false;
  const about = { at, messageId: message.id, postingId: posting.id, list: list.address };
  const { event, reason, detail, verdict, member = null } = d;
  await record(tx, [
    ...openingLines(layersIn(verdict), about),
    { ...about, member, event, reason, detail, data: verdict },
  ]);
  for (const mail of d.mails ?? []) await mail.queue(tx);
  return true;
}
