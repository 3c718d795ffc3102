import type { Queries } from '../store/database.ts';
import { record } from '../store/ledger.ts';
import { recordVerdict } from '../store/postings.ts';
import type { JsonObject, LedgerEvent, PostingState } from '../store/schema.ts';
import type { SpooledMail } from './local-mail.ts';
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
  readonly mails?: readonly SpooledMail[];
}

/**
 * Writes a posting's decision, its ledger line and the rows of the mails about it in the caller's transaction.
 * Once only: false if it has been decided before, and then nothing is written (RULES 18).
 */
export async function conclude(tx: Queries, work: PostingWork, d: Conclusion, at: number): Promise<boolean> {
  const { posting, list, message } = work;
  const isNew = await recordVerdict(tx, posting.id, {
    state: d.state,
    reason: d.reason,
    verdict: d.verdict,
    prepared: d.prepared ?? null,
    decidedAt: at,
  });
  if (!isNew) return false;
  await record(tx, {
    at,
    messageId: message.id,
    postingId: posting.id,
    list: list.address,
    member: d.member ?? null,
    event: d.event,
    reason: d.reason,
    detail: d.detail,
    data: d.verdict,
  });
  for (const mail of d.mails ?? []) await mail.queue(tx);
  return true;
}
