import { dayMs } from '../../base/day.ts';
import { canonicalAddress } from '../../mime/address.ts';
import { findMessage, type MessageRow } from '../../store/messages.ts';
import { type Tally, tallyOf } from '../../store/posting-end.ts';
import { findPosting, markAuthorTold, type PostingRow, untoldPostings } from '../../store/postings.ts';
import type { Variables } from '../../template/templates.ts';
import { type ListContext, listOf, type SiteDefaults } from '../lists/list-context.ts';
import { queueIf, spoolLocalMail } from '../mail/local-mail.ts';
import { type NoticeParts, tryNotice } from '../mail/notices-to.ts';

export type SummaryParts = NoticeParts & { readonly defaults: SiteDefaults };

/**
 * Tells the author of a post, once, how many members got it, without names (`report.author`). Only one whose signature
 * was verified and who sent it himself is told (RULES 20). Whether it was sent.
 */
export async function tellAuthor(parts: SummaryParts, postingId: number): Promise<boolean> {
  const { database, clock } = parts;
  const { q } = database;
  const posting = await findPosting(q, postingId);
  const list = posting && (await listOf(q, posting.listId, parts.defaults));
  if (!posting || posting.authorToldAt !== null || list?.policy['report.author'] !== 'yes') return false;
  const message = await findMessage(q, posting.messageId);
  const to = message && verifiedAuthor(posting, message);
  if (!message || !to) return false;
  const at = clock.now();
  const variables = { ...countsOf(await tallyOf(q, postingId)), ...wordsAbout(message, list, to) };
  const isTold = await tryNotice(parts, { id: message.id, list: list.address }, async () => {
    const { language } = list.policy;
    const notice = { template: 'author-summary', to, language, replyTo: 'owner', variables } as const;
    const answer = { ...notice, kind: 'auto-replied', inReplyTo: message.messageId } as const;
    const mail = await spoolLocalMail(parts, list, await parts.compose(list, answer, at), at);
    return queueIf(parts, [mail], (tx) => markAuthorTold(tx, postingId, at));
  });
  return isTold ?? false;
}

/** The same for the posts of a list whose copies still wait a day after they were accepted. Gives the number told. */
export async function tellAuthors(parts: SummaryParts, list: ListContext): Promise<number> {
  if (list.policy['report.author'] !== 'yes') return 0;
  const before = parts.clock.now() - dayMs;
  let told = 0;
  for (const id of await untoldPostings(parts.database.q, { listId: list.id, before }))
    if (await tellAuthor(parts, id)) told++;
  return told;
}

/** Who signed a post and sent it himself, by its record; null for anything less, and for a post that is not distributed. */
function verifiedAuthor(posting: PostingRow, message: MessageRow): string | null {
  if (posting.kind !== 'post' || (posting.state !== 'distributing' && posting.state !== 'done')) return null;
  const { author, verdict } = posting.verdict ?? {};
  if (typeof author !== 'string' || verdict !== 'signed') return null;
  const isSender = canonicalAddress(message.envelope.from) === author && message.fromAddress === author;
  return isSender ? author : null;
}

function countsOf({ copies, encrypted, clear, waiting }: Tally): Variables {
  return { copies, encrypted, clear, waiting, undelivered: copies - encrypted - clear - waiting };
}

function wordsAbout(message: MessageRow, list: ListContext, to: string): Variables {
  const date = new Date(message.receivedAt).toUTCString();
  return {
    mail: { subject: message.subject ?? '', date },
    user: { email: to, lang: list.policy.language },
  };
}
