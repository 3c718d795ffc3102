import { dayMs } from '../../base/day.ts';
import type { OpenReport } from '../../smime/open.ts';
import { record } from '../../store/ledger.ts';
import { setMessageState } from '../../store/messages.ts';
import { noticeDue } from '../../store/notices.ts';
import { setPostingState } from '../../store/postings.ts';
import type { Keyring } from '../lists/keyring.ts';
import { type ListContext, rolesOn } from '../lists/list-context.ts';
import type { SpooledMail } from '../mail/local-mail.ts';
import { mayGoOnUnopened } from '../post/authorize.ts';
import { openingLines } from '../post/crypto-lines.ts';
import { prepareFor } from '../post/prepare.ts';
import { sentenceFor, toJson, verdictRecord } from '../post/verdict-record.ts';
import { conclude } from './decide.ts';
import type { FlowParts, PostingWork } from './posting-work.ts';
import { mailVariables, tellRole } from './report-mails.ts';

const retryEveryMs = 3_600_000;

/** What hinders us, and not the message: while it lasts the message waits and is not judged. */
export interface Obstacle {
  readonly reason: 'key-locked' | 'trust-unreadable';
  readonly words: string;
}

/** The list's key or its authorities cannot be read, and without them nothing can be said about this message. */
export async function obstacleTo(
  keyring: Keyring,
  list: ListContext,
  report: Pick<OpenReport, 'verdict'>,
): Promise<Obstacle | null> {
  if (report.verdict === 'unopened') {
    const [problem] = (await keyring.keysOf(list)).problems;
    return problem ? { reason: 'key-locked', words: problem.message } : null;
  }
  if (report.verdict !== 'untrusted') return null;
  const problem = await keyring.trustProblemOf(list);
  return problem && { reason: 'trust-unreadable', words: problem.message };
}

/**
 * A message that could not be opened: to the owners, intact and with the reason, once; or to all members as it came
 * (`unopened.action`). It is kept and tried again when a key or an authority changes, until `unopened.retry-days`
 * are over. While there is an obstacle (a passphrase, the mode of a key) it only waits: the time limit does not run.
 */
export async function leaveUnopened(
  parts: FlowParts,
  work: PostingWork,
  report: OpenReport,
  obstacle: Obstacle | null,
): Promise<'distribute' | 'unopened' | 'done'> {
  const { list, message, spooled } = work;
  const at = parts.clock.now();
  const reason = obstacle?.reason ?? report.reasons[0] ?? report.verdict;
  const detail = `${sentenceFor(reason, report)}${obstacle ? `: ${obstacle.words}` : ''}`;

  if (report.verdict === 'unopened' && obstacle === null && work.posting.kind === 'post') {
    const roles = await rolesOn(parts.database.q, list, report.claimed ?? '');
    if (mayGoOnUnopened(list, { report, roles })) return sendIntact(parts, work, report, reason, detail);
  }
  // Mail for owners and moderators is theirs to read as it is; commands that cannot be read are not followed. Anybody
  // may write there, so neither is kept, nor are the owners told.
  if (obstacle === null && (work.posting.kind === 'owner' || work.posting.kind === 'editor'))
    return sendIntact(parts, work, report, reason, detail);
  const isCommand = work.posting.kind !== 'post' && obstacle === null;
  const deadline = spooled.receivedAt + list.policy['unopened.retry-days'] * dayMs;
  if (report.verdict === 'malformed' || isCommand || (obstacle === null && at >= deadline)) {
    const verdict = toJson(
      verdictRecord(report, { decision: 'unopened', rule: reason, receivedAt: spooled.receivedAt }),
    );
    const mails =
      work.posting.reason === null && !isCommand ? await tell(parts, work, report, reason, detail) : null;
    const event = report.verdict === 'malformed' ? 'malformed' : 'unopened';
    await parts.database.write((tx) =>
      conclude(tx, work, { state: 'refused', event, reason, detail, verdict, mails: mails ?? [] }, at),
    );
    parts.log.warn(event, { id: message.id, list: list.address, reason, detail });
    parts.wakeDelivery();
    return 'done';
  }
  // The posting's own reason: another list of the same message may have another.
  const isNews = work.posting.reason !== reason && work.posting.reason !== untold;
  const mails = work.posting.reason === reason ? null : await tell(parts, work, report, reason, detail);
  await parts.database.write(async (tx) => {
    await setMessageState(tx, message.id, { state: 'unopened', reason, detail, nextAt: at + retryEveryMs });
    if (mails !== null) for (const mail of mails) await mail.queue(tx);
    if (mails !== null || isNews)
      await setPostingState(tx, work.posting.id, 'new', mails === null ? untold : reason);
    if (!isNews) return;
    const about = { at, messageId: message.id, postingId: work.posting.id, list: list.address };
    // With an obstacle nobody tried in earnest.
    const tried = obstacle === null ? openingLines(report.layers, about) : [];
    await record(tx, [...tried, { ...about, event: 'unopened', reason, detail }]);
  });
  if (isNews) parts.log.warn('unopened', { id: message.id, list: list.address, reason, detail });
  parts.wakeDelivery();
  return 'unopened';
}

async function sendIntact(
  parts: FlowParts,
  work: PostingWork,
  report: OpenReport,
  reason: string,
  detail: string,
): Promise<'distribute'> {
  const { list, message, spooled } = work;
  const at = parts.clock.now();
  const { envelope, receivedAt } = spooled;
  const prepared = prepareFor(list, {
    mode: 'intact',
    spoolId: message.id,
    hostname: parts.hostname,
    envelope,
    receivedAt,
    decidedAt: at,
  });
  const verdict = toJson(
    verdictRecord(report, { decision: 'unopened', rule: 'unopened.action', receivedAt }),
  );
  const conclusion = {
    state: 'fanning-out' as const,
    event: 'unopened' as const,
    reason,
    detail: `${detail}; passed on to the ${work.posting.kind === 'post' ? 'members' : `${work.posting.kind}s`} as it came`,
    verdict,
    prepared: { ...prepared },
  };
  await parts.database.write((tx) => conclude(tx, work, conclusion, at));
  return 'distribute';
}

/** How often the owners get what one From address sent and could not be opened: From is not proven, and mail is big. */
const tellEveryMs = 60_000;

/** The reason of a posting whose owners were not told yet because they had just been told of another: its next try does. */
const untold = 'untold';

async function tell(
  parts: FlowParts,
  work: PostingWork,
  report: Pick<OpenReport, 'encrypted'>,
  reason: string,
  detail: string,
): Promise<SpooledMail[] | null> {
  const member = work.outer?.from ?? '';
  const about = {
    listId: work.list.id,
    member,
    kind: 'unopened',
    now: parts.clock.now(),
    everyMs: tellEveryMs,
  };
  if (!(await parts.database.write((tx) => noticeDue(tx, about)))) return null;
  const mail = mailVariables(work);
  const attachments = [
    { fileName: 'message.eml', contentType: 'message/rfc822', content: work.spooled.bytes },
  ];
  const { requireTls } = work.message.envelope;
  // What is broken may not be readable as encrypted any more, though its header says so.
  const encrypted = report.encrypted || work.outer?.encrypted === true;
  const variables = { mail, encrypted, reason, reason_text: detail };
  const notice = { template: 'unopened', variables };
  const mails = await tellRole(parts, work, 'owner', { ...notice, attachments, requireTls });
  // RULES 18: a key that is locked is for the postmaster to mend.
  return reason === 'key-locked' ? [...mails, ...(await tellRole(parts, work, 'postmaster', notice))] : mails;
}
