import { findDelivery } from '../../store/deliveries.ts';
import { findMember } from '../../store/members.ts';
import { findMessage } from '../../store/messages.ts';
import { noticeDue, noticeIsDue } from '../../store/notices.ts';
import { findPosting } from '../../store/postings.ts';
import { droppedSinceTold, markTold, type Untold, untoldHeld, waitingFor } from '../../store/waiting.ts';
import { missingReasons } from '../certificates/member-certificate.ts';
import { missingNotice, spoolMissingNotice } from '../delivery/missing-notice.ts';
import { languageOf, listOf, type SiteDefaults } from '../lists/list-context.ts';
import { queueIf } from '../mail/local-mail.ts';
import type { NoticeParts } from '../mail/notices-to.ts';

/**
 * Tells members of copies that came to wait, or were dropped, after their last notice, all of a list in one mail and
 * not before `missing.notice-every` is over: without it, nobody would tell them unless another post came. Gives the
 * number of notices.
 */
export async function tellWaiting(parts: NoticeParts & { readonly defaults: SiteDefaults }): Promise<number> {
  const { q } = parts.database;
  const dropped = await droppedSinceTold(q, { kind: missingNotice, reasons: missingReasons });
  const held = await untoldHeld(q, missingReasons);
  const heldFor = new Set(held.map((one) => `${one.listId} ${one.member}`));
  const others = dropped.filter((one) => !heldFor.has(`${one.listId} ${one.member}`));
  let told = 0;
  for (const one of held) if (await tell(parts, one, 'hold')) told++;
  for (const one of others) if (await tell(parts, one, 'notify')) told++;
  return told;
}

async function tell(
  parts: NoticeParts & { readonly defaults: SiteDefaults },
  one: Untold,
  action: 'hold' | 'notify',
): Promise<boolean> {
  const { clock } = parts;
  const { q } = parts.database;
  const { listId, member } = one;
  const list = await listOf(q, listId, parts.defaults);
  const membership = await findMember(q, listId, member);
  if (!list?.open || membership?.state !== 'active' || member === list.address) return false;
  // Copies that wait are told of whatever the list does by now; dropped ones only where it still tells.
  if (action === 'notify' && list.policy['missing.action'] === 'drop') return false;
  const now = clock.now();
  const everyMs = list.policy['missing.notice-every'];
  const about = { listId, member, kind: missingNotice, now, everyMs };
  if (!(await noticeIsDue(q, about))) return false;
  const row = await findDelivery(q, one.deliveryId);
  const posting = row && (await findPosting(q, row.postingId));
  const message = posting && (await findMessage(q, posting.messageId));
  if (!row || !message) return false;
  const { count, until } = await waitingFor(q, { listId, member, reasons: missingReasons });
  const mail = await spoolMissingNotice(parts, {
    list,
    member,
    language: languageOf(list, membership),
    message,
    reason: row.reason ?? 'no-certificate',
    detail: row.detail ?? '',
    waiting: count,
    dropped: action === 'notify' ? one.count : 0,
    until,
  });
  if (mail === null) return false;
  return queueIf(parts, [mail], async (tx) => {
    const due = await noticeDue(tx, about);
    if (due) await markTold(tx, { listId, member, reasons: missingReasons, at: now });
    return due;
  });
}
