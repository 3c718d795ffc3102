import { findMessage } from '../../store/messages.ts';
import { finishPosting, idlePostings, tallyOf, undeliveredOf } from '../../store/posting-end.ts';
import { findPosting } from '../../store/postings.ts';
import type { DeliveryRow } from '../../store/schema.ts';
import { missingReasons } from '../certificates/member-certificate.ts';
import { listOf } from '../lists/list-context.ts';
import { queueIf, type SpooledMail } from '../mail/local-mail.ts';
import { addressesOf, noticesTo, tryNotice } from '../mail/notices-to.ts';
import { type SummaryParts, tellAuthor } from './author-summary.ts';
import { type JudgeParts, judgeRefusals } from './judge-refusals.ts';

export type EndParts = SummaryParts & JudgeParts;

/** Members named in one report; `explain` has all of them. */
const mostNamed = 20;
/** Postings ended at a time; each is ended after its last batch, so that few are left. */
const atOnce = 10_000;

/**
 * Ends a posting whose last copy was settled, and tells its author how it was delivered if the list does. If nobody got
 * a post, or by `report.failures` some did not, the owners get one report with the relay's words (RULES 12: not a bounce
 * for each), in the transaction that marks it done: a posting that a crash, or a report that cannot be written, left
 * idle is for `endPostings`. What waited in vain for a certificate is for the weekly report. Whether it was ended.
 */
export async function endPosting(parts: EndParts, postingId: number): Promise<boolean> {
  const { q } = parts.database;
  await judgeRefusals(parts, postingId);
  // Asked after each batch, so it has to be cheap.
  if ((await idlePostings(q, { id: postingId, limit: 1 })).length === 0) return false;
  await tellAuthor(parts, postingId);
  const failed = (await undeliveredOf(q, postingId)).filter(
    (row) => row.state === 'failed' || !isMissing(row.reason),
  );
  const mails = failed.length === 0 ? [] : await reportTo(parts, postingId, failed);
  return mails !== null && queueIf(parts, mails, (tx) => finishPosting(tx, postingId));
}

const isMissing = (reason: string | null): boolean =>
  (missingReasons as readonly string[]).includes(reason ?? '');

/** Ends all postings whose copies are over and whose end nobody has written down. Gives their number. */
export async function endPostings(parts: EndParts): Promise<number> {
  let ended = 0;
  // Those that cannot be ended now stay idle: each is looked at once.
  for (const id of await idlePostings(parts.database.q, { limit: atOnce }))
    if (await endPosting(parts, id)) ended++;
  return ended;
}

/** The mails, none if nobody is to be told, or null if they cannot be written. */
async function reportTo(
  parts: SummaryParts,
  postingId: number,
  failed: readonly DeliveryRow[],
): Promise<SpooledMail[] | null> {
  const { q } = parts.database;
  const posting = await findPosting(q, postingId);
  const message = posting && (await findMessage(q, posting.messageId));
  const list = posting && (await listOf(q, posting.listId, parts.defaults));
  if (posting?.kind !== 'post' || !message || !list) return [];
  const { copies, encrypted, clear } = await tallyOf(q, postingId);
  const isDelivered = encrypted + clear > 0;
  const when = list.policy['report.failures'];
  if (when === 'never' || (when === 'daily' && isDelivered)) return [];
  const named = failed
    .slice(0, mostNamed)
    .map((row) => `${row.member}: ${row.detail ?? row.reason ?? ''}`.slice(0, 200));
  const more =
    failed.length > named.length
      ? [`and ${failed.length - named.length} more: reseal explain ${message.id}`]
      : [];
  const variables = {
    event: 'copies of a post were not delivered',
    reason: 'failed',
    reason_text: `${failed.length} of ${copies} copies of "${message.subject ?? ''}" from ${message.fromAddress ?? ''} were not delivered`,
    details: [...named, ...more],
  };
  return tryNotice(parts, { id: message.id, list: list.address }, async () => {
    const owners = await addressesOf(q, list.id, 'owner');
    return noticesTo(parts, list, owners, { template: 'owner-alert', variables });
  });
}
