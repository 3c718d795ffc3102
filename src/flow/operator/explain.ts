import { postingRules } from '../../policy/scenario.ts';
import type { Layer } from '../../smime/layers.ts';
import type { Queries } from '../../store/database.ts';
import { deliveriesOf } from '../../store/deliveries.ts';
import { type LedgerRow, ledgerOf } from '../../store/ledger.ts';
import { listById } from '../../store/lists.ts';
import { findMessage, type MessageRow, messagesByHeaderId } from '../../store/messages.ts';
import { type PostingRow, postingsOf } from '../../store/postings.ts';
import type { DeliveryRow, JsonObject } from '../../store/schema.ts';
import { isSpoolId } from '../../store/spool-id.ts';
import { flawsIn, layersIn, sentenceFor } from '../post/verdict-record.ts';
import { remedyForCopy, remedyForMessage, remedyForPosting, remedyForReason } from './remedies.ts';

/** What happened to one message and why; times in ISO 8601. Outer Subject only (RULES 14). */
export interface Story {
  readonly id: string;
  /** Null for a message that was refused in its SMTP session: only the ledger knows it. */
  readonly message: StoryMessage | null;
  /** Lists that refused it in its SMTP session. */
  readonly refusals: readonly StoryRefusal[];
  readonly postings: readonly StoryPosting[];
  readonly history: readonly StoryEvent[];
}

export interface StoryMessage {
  readonly messageId: string | null;
  readonly subject: string | null;
  readonly from: string | null;
  readonly envelopeFrom: string;
  readonly to: readonly string[];
  /** Host and address of the client, as far as they are known. */
  readonly receivedFrom: string;
  /** What the client called itself. */
  readonly helo: string;
  readonly protocol: string;
  readonly receivedAt: string;
  readonly size: number;
  readonly state: string;
  readonly reason: string | null;
  readonly detail: string | null;
  readonly nextTry: string | null;
  readonly remedy: string | null;
}

export interface StoryRefusal {
  readonly at: string;
  readonly list: string | null;
  readonly reason: string | null;
  readonly detail: string | null;
  /** Host and address of the client, and what stood in From; null where the ledger does not say. */
  readonly receivedFrom: string | null;
  readonly from: string | null;
  readonly remedy: string | null;
}

export interface StoryPosting {
  readonly id: number;
  readonly list: string;
  readonly kind: string;
  readonly state: string;
  readonly reason: string | null;
  readonly why: string | null;
  readonly decidedAt: string | null;
  readonly decision: string | null;
  readonly verdict: string | null;
  readonly rule: string | null;
  readonly ruleText: string | null;
  readonly author: string | null;
  readonly reasons: readonly { readonly code: string; readonly text: string }[];
  readonly layers: readonly Layer[];
  readonly remedy: string | null;
  /** Until when it may be judged again, if an authority or a certificate comes that vouches for it. */
  readonly retryUntil: string | null;
  readonly copies: Readonly<Record<string, number>>;
  readonly members: readonly StoryCopy[];
}

export interface StoryCopy {
  readonly member: string;
  readonly state: string;
  readonly reason: string | null;
  readonly detail: string | null;
  readonly attempts: number;
  readonly certificate: string | null;
  readonly cipher: string | null;
  readonly keyTransport: string | null;
  /** The relay that answered last. */
  readonly relay: string | null;
  readonly reply: string | null;
  readonly nextTry: string | null;
  readonly until: string | null;
  readonly notifiedAt: string | null;
  readonly finishedAt: string | null;
  readonly remedy: string | null;
}

export interface StoryEvent {
  readonly at: string;
  readonly event: string;
  readonly posting: number | null;
  readonly list: string | null;
  readonly member: string | null;
  readonly reason: string | null;
  readonly detail: string | null;
  readonly data: JsonObject | null;
}

/**
 * The stories of the messages that a spool id or a Message-ID (with or without angle brackets) names, oldest first;
 * [] if nothing is known. With `member` only what concerns him.
 */
export async function storiesOf(q: Queries, name: string, member: string | null): Promise<Story[]> {
  const ids = isSpoolId(name) ? [name] : await idsOf(q, name);
  const stories: Story[] = [];
  for (const id of ids) {
    const story = await storyOf(q, id, member);
    if (story) stories.push(story);
  }
  return stories;
}

async function idsOf(q: Queries, name: string): Promise<string[]> {
  const bare = name.trim().replace(/^<|>$/g, '');
  const found = [...(await messagesByHeaderId(q, `<${bare}>`)), ...(await messagesByHeaderId(q, bare))];
  return found.map((message) => message.id);
}

async function storyOf(q: Queries, id: string, member: string | null): Promise<Story | null> {
  const message = await findMessage(q, id);
  const ledger = await ledgerOf(q, id);
  if (!message && ledger.length === 0) return null;
  const postings: StoryPosting[] = [];
  for (const posting of message ? await postingsOf(q, id) : [])
    postings.push(await postingStory(q, posting, { member, isGone: message?.removedAt !== null }));
  const history = ledger.filter((line) => member === null || line.member === null || line.member === member);
  return {
    id,
    message: message && messageStory(message, postings[0]?.list ?? 'LIST'),
    refusals: ledger.filter((line) => line.event === 'refused' && line.postingId === null).map(refusalStory),
    postings,
    history: history.map(eventStory),
  };
}

const iso = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
const isoOrNull = (ms: number | null): string | null => (ms === null ? null : iso(ms));

function messageStory(row: MessageRow, list: string): StoryMessage {
  const { envelope } = row;
  return {
    messageId: row.messageId,
    subject: row.subject,
    from: row.fromAddress,
    envelopeFrom: envelope.from,
    to: envelope.to,
    receivedFrom: envelope.client,
    helo: envelope.helo,
    protocol: envelope.protocol,
    receivedAt: iso(row.receivedAt),
    size: row.size,
    state: row.state,
    reason: row.reason,
    detail: row.detail,
    nextTry: isoOrNull(row.nextAt),
    remedy: remedyForMessage({ ...row, list }),
  };
}

async function postingStory(
  q: Queries,
  posting: PostingRow,
  d: { readonly member: string | null /** Its bytes are not kept any more. */; readonly isGone: boolean },
): Promise<StoryPosting> {
  const row = await listById(q, posting.listId);
  const list = row?.address ?? `list ${posting.listId}`;
  const verdict = posting.verdict ?? {};
  const rows = await deliveriesOf(q, posting.id);
  const copies: Record<string, number> = {};
  for (const { state } of rows) copies[state] = (copies[state] ?? 0) + 1;
  const rule = textIn(verdict, 'rule');
  const layers = layersIn(verdict);
  const report = {
    missingIssuer: textIn(verdict, 'missingIssuer'),
    claimed: textIn(verdict, 'from'),
    layers,
  };
  const reasons = Array.isArray(verdict.reasons) ? verdict.reasons.map(String) : [];
  const retryUntil = d.isGone ? null : posting.retryUntil;
  const isJudgeable = retryUntil !== null;
  return {
    id: posting.id,
    list,
    kind: posting.kind,
    state: posting.state,
    reason: posting.reason,
    why: posting.reason === null ? null : sentenceFor(posting.reason, report),
    decidedAt: isoOrNull(posting.decidedAt),
    decision: textIn(verdict, 'decision'),
    verdict: textIn(verdict, 'verdict'),
    rule,
    ruleText:
      rule !== null && Object.hasOwn(postingRules, rule)
        ? postingRules[rule as keyof typeof postingRules]
        : null,
    author: textIn(verdict, 'author'),
    reasons: reasons.map((code) => ({ code, text: sentenceFor(code, report) })),
    layers,
    remedy: remedyForPosting({ ...posting, list, reasons, flaws: flawsIn(layers), isJudgeable }),
    retryUntil: isoOrNull(retryUntil),
    copies,
    members: rows
      .filter((one) => d.member === null || one.member === d.member)
      .map((one) => copyStory(one, { list, messageId: posting.messageId })),
  };
}

function textIn(record: JsonObject, name: string): string | null {
  const value = record[name];
  return typeof value === 'string' ? value : null;
}

function copyStory(row: DeliveryRow, of: { list: string; messageId: string }): StoryCopy {
  const isOpen = row.finishedAt === null;
  const waits = row.state === 'pending' || row.state === 'deferred';
  return {
    member: row.member,
    state: row.state,
    reason: row.reason,
    detail: row.detail,
    attempts: row.attempts,
    certificate: row.certificate,
    cipher: row.cipher,
    keyTransport: row.keyTransport,
    relay: row.relay,
    reply: row.reply,
    nextTry: waits ? iso(row.nextAt) : null,
    until: isOpen ? iso(row.expiresAt) : null,
    notifiedAt: isoOrNull(row.notifiedAt),
    finishedAt: isoOrNull(row.finishedAt),
    remedy: remedyForCopy({ ...row, ...of }),
  };
}

function eventStory(line: LedgerRow): StoryEvent {
  const { at, event, postingId: posting, list, member, reason, detail, data } = line;
  return { at: iso(at), event, posting, list, member, reason, detail, data };
}

function refusalStory({ at, list, reason, detail, data }: LedgerRow): StoryRefusal {
  return {
    at: iso(at),
    list,
    reason,
    detail,
    receivedFrom: data && textIn(data, 'client'),
    from: data && textIn(data, 'from'),
    remedy: reason === null ? null : remedyForReason(reason, list ?? 'LIST'),
  };
}
