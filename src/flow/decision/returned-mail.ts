import { dayMs } from '../../base/day.ts';
import { Fault } from '../../base/errors.ts';
import { type FailedRecipient, readDeliveryReport } from '../../mime/delivery-report.ts';
import { parseEntity } from '../../mime/entity.ts';
import { furtherAddress } from '../../policy/list-name.ts';
import { isOwnSender, readVerp } from '../../policy/verp.ts';
import type { Queries } from '../../store/database.ts';
import { record } from '../../store/ledger.ts';
import { noteReturned, type TakenCopy, takenCopies } from '../../store/refusals.ts';
import { judgeRefusals } from '../delivery/judge-refusals.ts';
import { conclude } from './decide.ts';
import type { FlowParts, PostingWork } from './posting-work.ts';

/** A copy of a post that came back, and what is said about it. */
interface Returned {
  readonly copy: TakenCopy;
  readonly failure: FailedRecipient;
}

/**
 * Mail to -bounces: never answered (RFC 5321 6.1). A report of a mail system that names a post of the list and a member who
 * got a copy of it counts against him as a refusal by the relay does; anything else is only a line in the ledger. Each copy
 * counts once, for the day it was sent, and not for ever. With VERP only what comes to the sender of that copy counts, which
 * nobody can guess. Without, nobody proves that he may send reports: who wants to forge a member out of the list has
 * to know the Message-IDs of its posts of as many days.
 */
export async function takeReturned(parts: FlowParts, work: PostingWork): Promise<void> {
  const { list, message } = work;
  const { q } = parts.database;
  const at = parts.clock.now();
  const found = await returnedIn(q, parts.secret, work);
  const returned = typeof found === 'string' ? [] : found;
  const detail = (typeof found === 'string' ? found : found.map(wordsFor).join('; ')).slice(0, 500);
  const [only] = returned;
  const verdict = { decision: 'command', rule: 'bounces', receivedAt: work.spooled.receivedAt };
  const counted = await parts.database.write(async (tx) => {
    const member = returned.length === 1 && only ? only.copy.member : null;
    await conclude(tx, work, { state: 'done', event: 'bounce', reason: null, detail, member, verdict }, at);
    const fresh: Returned[] = [];
    for (const one of returned) if (await note(tx, work, one, at)) fresh.push(one);
    return fresh;
  });
  parts.log.event('bounce', {
    id: message.id,
    list: list.address,
    members: counted.map((one) => one.copy.member),
  });
  const postings = new Set(counted.map((one) => one.copy.postingId));
  for (const posting of postings) await judgeRefusals(parts, posting);
}

/** A copy that came back later counts no more: mail systems give up after five days (RFC 5321 4.5.4.1), and so may their reports. */
const latestMs = 14 * dayMs;

/** The copies that came back, or in words why none is known. */
async function returnedIn(
  q: Queries,
  secret: Buffer,
  { list, message, spooled }: PostingWork,
): Promise<Returned[] | string> {
  const { envelope } = message;
  const from = `a bounce from ${envelope.from || 'the null sender'} came in`;
  // RFC 3464 2: a report never has a sender that could get one.
  if (envelope.from !== '') return from;
  const report = reportIn(spooled.bytes);
  if (report === null) return `${from}, which is no delivery report (RFC 3464)`;
  const { failed, messageId } = report;
  if (failed.length === 0) return 'a report of copies that are only late, or were delivered, came in';
  if (messageId === null) return `${from}; it does not say which message came back`;
  const bounces = furtherAddress(list.address, 'bounces');
  const named = envelope.to.flatMap((one) => readVerp(one) ?? []).find((one) => one.bounces === bounces);
  if (named === undefined && list.policy['send.verp'] === 'yes')
    return `${from}; it came to ${bounces}, which by send.verp is the sender of no copy`;
  const failures = new Map(
    failed.flatMap((failure) =>
      (named?.member ? [named.member] : failure.addresses).map((address) => [address, failure] as const),
    ),
  );
  if (failures.size === 0) return `${from}; it names no recipient`;
  const members = [...failures.keys()];
  const taken = await takenCopies(q, { listId: list.id, headerId: messageId, members });
  const copies = taken.filter(
    ({ member, messageId: message }) =>
      named === undefined || isOwnSender(secret, named, { member, message }),
  );
  if (copies.length === 0 && taken.length > 0)
    return `${from}; it came to an address that was not the sender of that copy`;
  const returned = copies.flatMap((copy) => {
    if (copy.at !== null && copy.at < spooled.receivedAt - latestMs) return [];
    const failure = failures.get(copy.member);
    return failure ? [{ copy, failure }] : [];
  });
  if (returned.length > 0) return returned;
  return `${from}; it speaks of no copy that was sent lately: ${members.join(', ')}, ${messageId}`;
}

function reportIn(bytes: Buffer) {
  try {
    return readDeliveryReport(parseEntity(bytes));
  } catch (error) {
    if (error instanceof Fault) return null;
    throw error;
  }
}

/** Notes it, with a line in the ledger of the post that came back; false if that was done before. */
async function note(tx: Queries, { list }: PostingWork, one: Returned, at: number): Promise<boolean> {
  const { copy, failure } = one;
  const code = failure.status ?? 'failed';
  const ofRecipient = speaksOfRecipient(failure.status);
  const sent = { ...copy, at: copy.at ?? at };
  const isNew = await noteReturned(tx, sent, { listId: list.id, ofRecipient, code, reply: failure.words });
  if (!isNew) return false;
  const { messageId, postingId, member } = copy;
  await record(tx, {
    at,
    messageId,
    postingId,
    list: list.address,
    member,
    event: 'bounce',
    reason: failure.status,
    detail: wordsFor(one),
  });
  return true;
}

/**
 * RFC 3463 3: of addressing, the mailbox, the way there, or nothing in particular. The others speak of mail systems,
 * protocols, the content and policies.
 */
const speaksOfRecipient = (status: string | null): boolean => status === null || /^\d\.[0124]\./.test(status);

function wordsFor({ copy, failure }: Returned): string {
  const said = [failure.status, failure.words].filter(Boolean).join(' ');
  return `the copy for ${copy.member} came back${said ? `: ${said}` : ''}`;
}
