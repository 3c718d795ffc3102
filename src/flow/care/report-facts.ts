import { dayMs, dayOf } from '../../base/day.ts';
import type { Queries } from '../../store/database.ts';
import { countByState } from '../../store/deliveries.ts';
import { endingBetween } from '../../store/ending.ts';
import { findLedger, type LedgerRow } from '../../store/ledger.ts';
import type { LedgerEvent } from '../../store/ledger-events.ts';
import { memberPages } from '../../store/members.ts';
import { findMessage } from '../../store/messages.ts';
import { findPosting } from '../../store/postings.ts';
import type { Variables } from '../../template/templates.ts';
import { type FindRecipients, missingReasons } from '../certificates/member-certificate.ts';
import type { ListContext } from '../lists/list-context.ts';
import { longestWarningMs } from './expiry-stages.ts';

/** The ledger between two reports: entries after `afterId`, none of them much older than `from`. */
export interface Span {
  readonly afterId: number;
  readonly from: number;
}

/** Lines and how many more there are: a mail is no place for a thousand. */
type Lines = { readonly lines: readonly string[]; readonly more: number };

const mostLines = 50;
const mostEntries = 10_000;

const atMost = (lines: readonly string[]): Lines => ({
  lines: lines.slice(0, mostLines),
  more: Math.max(0, lines.length - mostLines),
});

/** A copy that waited in vain for a certificate; any other copy that ended undelivered is a failure. */
const waitedInVain = (row: LedgerRow): boolean =>
  row.event === 'expired' &&
  row.member !== null &&
  (missingReasons as readonly string[]).includes(row.reason ?? '');

/**
 * Posts of which copies were not delivered, with the members and the relay's words, and posts that waited in vain for
 * a person, the oldest first. Empty if there are none.
 */
export async function failuresOf(q: Queries, list: ListContext, span: Span): Promise<Variables[]> {
  const rows = (await entries(q, list, span, ['failed', 'expired'])).filter((row) => !waitedInVain(row));
  const posts = new Map<string, LedgerRow[]>();
  for (const row of rows) {
    const key = `${row.messageId} ${row.postingId}`;
    posts.set(key, [...(posts.get(key) ?? []), row]);
  }
  const found: Variables[] = [];
  for (const ofPost of [...posts.values()].slice(0, mostLines)) {
    const [{ messageId, postingId } = { messageId: null, postingId: null }] = ofPost;
    const posting = postingId === null ? null : await findPosting(q, postingId);
    // A notice that failed is no post; its member shows in what his copies came to.
    if (posting?.kind === 'local') continue;
    const message = messageId === null ? null : await findMessage(q, messageId);
    const copies = postingId === null ? {} : await countByState(q, { postingId });
    const lines = ofPost.map((row) =>
      `${row.member === null ? '' : `${row.member}: `}${row.detail ?? row.reason ?? ''}`.slice(0, 300),
    );
    found.push({
      sender: message?.fromAddress ?? '',
      subject: message?.subject ?? '',
      date: message ? new Date(message.receivedAt).toUTCString() : '',
      id: messageId ?? '',
      failed: ofPost.filter((row) => row.member !== null).length,
      copies: Object.values(copies).reduce((sum, count) => sum + count, 0),
      ...atMost(lines),
    });
  }
  return found;
}

/** Members whose copies waited in vain for a certificate, a line each. */
export async function expiredHolds(q: Queries, list: ListContext, span: Span): Promise<Lines> {
  const rows = (await entries(q, list, span, ['expired'])).filter(waitedInVain);
  const byMember = new Map<string, LedgerRow[]>();
  for (const row of rows) byMember.set(row.member ?? '', [...(byMember.get(row.member ?? '') ?? []), row]);
  const lines = [...byMember].map(([member, ofMember]) => {
    const count = ofMember.length === 1 ? '1 message' : `${ofMember.length} messages`;
    return `${member}: ${count}; ${ofMember.at(-1)?.detail ?? ''}`;
  });
  return atMost(lines);
}

/** Active members to whom nothing can be encrypted now, and why, a line each. */
export async function withoutCertificate(
  q: Queries,
  list: ListContext,
  findRecipients: FindRecipients,
): Promise<Lines> {
  const lines: string[] = [];
  for await (const page of memberPages(q, list.id)) {
    const found = await findRecipients(
      list,
      page.filter((member) => member.state === 'active'),
      0,
    );
    for (const [address, one] of found) if (!one.usable) lines.push(`${address}: ${one.detail}`);
  }
  return atMost(lines);
}

/** Certificates of members that end within a month, a line each, the soonest first. */
export async function endingSoon(q: Queries, list: ListContext, now: number): Promise<Lines> {
  const rows = await endingBetween(q, { listId: list.id, from: now, to: now + longestWarningMs });
  const ends = new Map(rows.map((row) => [`${row.address} ${row.sha256}`, row]));
  return atMost([...ends.values()].map((row) => `${row.address}: ${dayOf(row.notAfter)}`));
}

async function entries(
  q: Queries,
  list: ListContext,
  span: Span,
  events: readonly LedgerEvent[],
): Promise<LedgerRow[]> {
  // The time only helps the index; a clock that was set back a little loses nothing.
  const { afterId } = span;
  const from = span.from - dayMs;
  return findLedger(q, { list: list.address, events, afterId, from, limit: mostEntries });
}
