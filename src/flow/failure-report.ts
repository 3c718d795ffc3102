import { Fault, wordsOf } from '../base/errors.ts';
import { deliveriesOf } from '../store/deliveries.ts';
import { findMessage } from '../store/messages.ts';
import { findPosting, finishIdlePostings } from '../store/postings.ts';
import type { DeliveryRow } from '../store/schema.ts';
import { type SummaryParts, tellAuthor } from './author-summary.ts';
import { listOf } from './list-context.ts';
import type { SpooledMail } from './local-mail.ts';
import { addressesOf, noticesTo } from './report-mails.ts';

/** Members named in one report; `explain` has all of them. */
const mostNamed = 20;

/**
 * Ends a posting whose last copy was settled, and tells its author how it was delivered if the list does. If nobody got
 * a post, or by `report.failures` some did not, the owners get one report with the relay's words (RULES 12: not a bounce
 * for each). A crash in between loses this report, not the ledger, which the daily one is made from.
 */
export async function endPosting(parts: SummaryParts, postingId: number): Promise<void> {
  const { database } = parts;
  // Asked after each batch, so it has to be cheap: the copies are read once, when the last of them ended.
  if ((await finishIdlePostings(database.q, postingId)) === 0) return;
  const rows = await deliveriesOf(database.q, postingId);
  await tellAuthor(parts, postingId);
  const failed = rows.filter((row) => row.state === 'failed' || row.state === 'expired');
  if (failed.length === 0) return;
  const isDelivered = rows.some((row) => row.state === 'delivered');
  const mails = await reportTo(parts, postingId, { copies: rows.length, isDelivered }, failed);
  await database.write(async (tx) => {
    for (const mail of mails) await mail.queue(tx);
  });
}

async function reportTo(
  parts: SummaryParts,
  postingId: number,
  { copies, isDelivered }: { copies: number; isDelivered: boolean },
  failed: readonly DeliveryRow[],
): Promise<SpooledMail[]> {
  const { q } = parts.database;
  const posting = await findPosting(q, postingId);
  const message = posting && (await findMessage(q, posting.messageId));
  const list = posting && (await listOf(q, posting.listId, parts.defaults));
  if (posting?.kind !== 'post' || !message || !list) return [];
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
  try {
    const owners = await addressesOf(q, list.id, 'owner');
    return await noticesTo(parts, list, owners, { template: 'owner-alert', variables });
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    parts.log.error('notice-failed', { id: message.id, list: list.address, detail: wordsOf(error) });
    return [];
  }
}
