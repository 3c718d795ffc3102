import { canonicalAddress } from '../../mime/address.ts';
import type { OpenReport } from '../../smime/open.ts';
import { findMember } from '../../store/members.ts';
import { noticeDue, replyDue } from '../../store/notices.ts';
import { languageOf } from '../lists/list-context.ts';
import { type SpooledMail, spoolLocalMail } from '../mail/local-mail.ts';
import { addressesOf, noticesTo } from '../mail/notices-to.ts';
import type { Notice } from '../mail/notify.ts';
import type { FlowParts, PostingWork } from './posting-work.ts';

/** How often one address is answered about one kind of thing (RULES 20). */
const answerEveryMs = 3_600_000;

/**
 * Whether the sender may be answered (RULES 20): the envelope sender is the From address and a valid signature shows
 * that it is really his. Automatic mail and the null sender never are (RFC 3834 2).
 */
export function mayAnswer(work: PostingWork, report: Pick<OpenReport, 'author'> | null): string | null {
  const { envelope } = work.message;
  const { outer } = work;
  if (!outer || outer.automatic !== null || envelope.from === '') return null;
  // The local part keeps its case on the way (RFC 5321 2.4); addresses are compared in canonical form.
  const sender = canonicalAddress(envelope.from);
  return sender !== null && report?.author === sender && outer.from === sender ? sender : null;
}

/** The answer to a sender, composed and spooled, or null if he may not be answered or was within the hour. */
export async function answerSender(
  parts: FlowParts,
  work: PostingWork,
  report: Pick<OpenReport, 'author'> | null,
  notice: Omit<Notice, 'to' | 'kind' | 'inReplyTo' | 'language'>,
): Promise<SpooledMail | null> {
  const to = mayAnswer(work, report);
  if (to === null) return null;
  const now = parts.clock.now();
  const kind = `${work.list.address} ${notice.template}`;
  const due = await parts.database.write((tx) =>
    replyDue(tx, { address: to, kind, now, everyMs: answerEveryMs }),
  );
  if (!due) return null;
  const { list, message } = work;
  // What is the same for everybody says nothing of a membership either (RULES 20).
  const member = notice.template === 'refused' ? undefined : await findMember(parts.database.q, list.id, to);
  const language = languageOf(list, member);
  const mail = await parts.compose(
    list,
    {
      ...notice,
      to,
      language,
      kind: 'auto-replied',
      inReplyTo: message.messageId,
      variables: { ...notice.variables, user: { email: to, lang: language } },
    },
    now,
  );
  return spoolLocalMail(parts, list, mail, now);
}

/** One notice to each owner, to each moderator (else owner), or to the postmaster of the site, composed and spooled. */
export async function tellRole(
  parts: FlowParts,
  work: PostingWork,
  role: 'owner' | 'moderator' | 'postmaster',
  notice: Omit<Notice, 'to' | 'kind' | 'inReplyTo' | 'language' | 'replyTo'>,
): Promise<SpooledMail[]> {
  const { list } = work;
  const to = role === 'postmaster' ? [parts.postmaster] : await addressesOf(parts.database.q, list.id, role);
  return noticesTo(parts, list, to, {
    ...notice,
    variables: { ...notice.variables, id: work.message.id },
  });
}

/** How often the owners are told of one kind of event: the ledger has all of them. */
const alertEveryMs = 3_600_000;

/** Tells the owners of something that was decided without them, at most once an hour (`everyMs`) for each kind, and member if one is named. */
export async function alertOwners(
  parts: FlowParts,
  work: PostingWork,
  d: { event: string; reason: string; reasonText: string; member?: string; everyMs?: number },
): Promise<SpooledMail[]> {
  const { id: listId } = work.list;
  const now = parts.clock.now();
  const about = {
    listId,
    member: d.member ?? '',
    kind: `alert ${d.event}`,
    now,
    everyMs: d.everyMs ?? alertEveryMs,
  };
  if (!(await parts.database.write((tx) => noticeDue(tx, about)))) return [];
  const { sender, subject, date } = mailVariables(work);
  const details = [`From:    ${sender}`, `Subject: ${subject || '(none)'}`, `Date:    ${date}`];
  const variables = { event: d.event, reason: d.reason, reason_text: d.reasonText, details };
  return tellRole(parts, work, 'owner', { template: 'owner-alert', variables });
}

/** What every notice about a message may say of it: outer Subject and addresses only (RULES 14). */
export function mailVariables(work: PostingWork): { sender: string; subject: string; date: string } {
  return {
    sender: work.outer?.from ?? work.message.envelope.from,
    subject: work.outer?.subject ?? '',
    date: new Date(work.spooled.receivedAt).toUTCString(),
  };
}
