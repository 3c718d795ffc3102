import type { Clock } from '../base/clock.ts';
import { canonicalAddress } from '../mime/address.ts';
import type { OpenReport } from '../smime/open.ts';
import type { Queries } from '../store/database.ts';
import { holdersOf } from '../store/lists.ts';
import { findMember } from '../store/members.ts';
import { noticeDue, replyDue } from '../store/notices.ts';
import { type ListContext, languageOf } from './list-context.ts';
import { type LocalMailParts, type SpooledMail, spoolLocalMail } from './local-mail.ts';
import type { Compose, ComposedMail, Notice } from './notify.ts';
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

/** The same notice to each address, from the list, composed and spooled. */
export async function noticesTo(
  parts: LocalMailParts & { readonly compose: Compose; readonly clock: Clock },
  list: ListContext,
  addresses: readonly string[],
  notice: Omit<Notice, 'to' | 'kind' | 'inReplyTo' | 'language' | 'replyTo'>,
): Promise<SpooledMail[]> {
  const now = parts.clock.now();
  const composed: ComposedMail[] = [];
  for (const to of addresses) {
    const language = list.policy.language;
    const whole: Notice = {
      ...notice,
      to,
      language,
      kind: 'auto-generated',
      replyTo: 'owner',
      inReplyTo: null,
    };
    composed.push(await parts.compose(list, whole, now));
  }
  // All or none: what cannot be composed must not leave files of the others behind at each try.
  const mails: SpooledMail[] = [];
  for (const mail of composed) mails.push(await spoolLocalMail(parts, list, mail, now));
  return mails;
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

/** The addresses that hold a role; a list without moderators is moderated by its owners. */
export async function addressesOf(
  q: Queries,
  listId: number,
  role: 'owner' | 'moderator',
): Promise<string[]> {
  const holders = await holdersOf(q, listId, role);
  const found = holders.length > 0 || role === 'owner' ? holders : await holdersOf(q, listId, 'owner');
  return [...new Set(found.map((holder) => holder.address))];
}

/** What every notice about a message may say of it: outer Subject and addresses only (RULES 14). */
export function mailVariables(work: PostingWork): { sender: string; subject: string; date: string } {
  return {
    sender: work.outer?.from ?? work.message.envelope.from,
    subject: work.outer?.subject ?? '',
    date: new Date(work.spooled.receivedAt).toUTCString(),
  };
}
