import { dayMs } from '../../base/day.ts';
import type { Reason } from '../../pki/reasons.ts';
import type { Findings } from '../../smime/open.ts';
import { settleJudged } from '../../store/judge-again.ts';
import { record } from '../../store/ledger.ts';
import type { ListContext } from '../lists/list-context.ts';
import type { Decision } from '../post/authorize.ts';
import { openingLines } from '../post/crypto-lines.ts';
import { flawsIn, sentenceFor } from '../post/verdict-record.ts';
import type { FlowParts, PostingWork } from './posting-work.ts';

// RULES 18 decides once. The one decision that may be taken anew is that of a post which went nowhere because nobody
// vouched for its signature, when an authority, a revocation list, a certificate or a pin came that does. The instant of
// verification stays the receipt.

/** No authority, certificate or pin that comes later takes these back. */
const settled: ReadonlySet<Reason> = new Set(['weak', 'weak-digest', 'weak-key', 'expired', 'revoked']);
/** A pin to the address in From settles these (RULES 3). */
const byPin: ReadonlySet<Reason> = new Set(['no-address', 'no-address-match']);

/**
 * Until when the decision about a post may be taken anew, ms: `unopened.retry-days` from its receipt, as long as its bytes
 * are kept; null where its signature is not what it failed by, or nothing that comes could mend that.
 */
export function judgeableUntil(
  list: Pick<ListContext, 'policy'>,
  { verdict, reasons, layers }: Pick<Findings, 'verdict' | 'reasons' | 'layers'>,
  { decision, receivedAt }: { readonly decision: Decision; readonly receivedAt: number },
): number | null {
  if (decision.kind !== 'held' && decision.kind !== 'refused') return null;
  // Another certificate of an authority may be valid where the one that was found had ended.
  const byAuthority = flawsIn(layers).some((flaw) => flaw.reason === 'expired' && !flaw.isOwn);
  const isOpen =
    (verdict === 'untrusted' && (byAuthority || reasons.some((reason) => !settled.has(reason)))) ||
    (verdict === 'mismatch' && reasons.some((reason) => byPin.has(reason)));
  return isOpen ? receivedAt + list.policy['unopened.retry-days'] * dayMs : null;
}

/** Judged again, and still nobody vouches for it, or it cannot be opened now: it stays as it was decided. */
export async function leaveDecided(
  parts: Pick<FlowParts, 'database' | 'clock' | 'log'>,
  { posting, list, message }: PostingWork,
  report: Findings,
): Promise<void> {
  const at = parts.clock.now();
  const reason = report.reasons[0] ?? report.verdict;
  const detail = `judged again, and it stays ${posting.state}: ${sentenceFor(reason, report)}`;
  const about = { at, messageId: message.id, postingId: posting.id, list: list.address };
  await parts.database.write(async (tx) => {
    await settleJudged(tx, posting.id);
    await record(tx, [...openingLines(report.layers, about), { ...about, event: 'retry', reason, detail }]);
  });
  parts.log.event('judged-again', { id: message.id, list: list.address, posting: posting.id, reason });
}
