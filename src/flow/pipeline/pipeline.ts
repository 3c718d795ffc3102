import { Fault, isFault, wordsOf } from '../../base/errors.ts';
import { type AfterOpening, afterOpening } from '../../policy/opening.ts';
import type { Findings, OpenReport } from '../../smime/open.ts';
import { countOpen, type MessageRow, setMessageState } from '../../store/messages.ts';
import { findPosting, postingsOf } from '../../store/postings.ts';
import { answerCommand, answeredToken, takeCertificate } from '../decision/commands.ts';
import { conclude } from '../decision/decide.ts';
import { forwardToRole } from '../decision/forward.ts';
import { leaveDecided } from '../decision/judge-again.ts';
import { decidePost, dropBeforeOpening } from '../decision/post.ts';
import type { FlowParts, PostingWork } from '../decision/posting-work.ts';
import { sightingOf } from '../decision/replay.ts';
import { takeReturned } from '../decision/returned-mail.ts';
import { leaveUnopened, obstacleTo } from '../decision/unopened.ts';
import { listOf } from '../lists/list-context.ts';
import { openPosting } from '../post/open-posting.ts';
import { sentenceFor } from '../post/verdict-record.ts';
import { fanOut } from './fan-out.ts';
import { tryReadOuter } from './intake.ts';
import { quarantine } from './quarantine.ts';

/**
 * Takes one message that was taken in, or could not be opened before, to the decision of each of its postings and
 * the start of their fan-out. Repeated after a crash it goes on where it was. Never throws for what is in a message:
 * what breaks its opening twice goes to quarantine.
 */
export async function processMessage(parts: FlowParts, messageId: string): Promise<void> {
  const message = await countOpen(parts.database.hasty, messageId);
  if (!message) return;
  try {
    const allOpened = await processPostings(parts, message);
    const finished = { state: 'done', reason: null, detail: null, nextAt: null } as const;
    // Forgotten, it would be found that nothing is left to do.
    if (allOpened) await setMessageState(parts.database.hasty, messageId, finished);
    // Its copies were left alone meanwhile.
    if (message.state === 'parked') parts.wakeDelivery();
  } catch (error) {
    if (isFault(error, 'worker-closed')) return;
    if (error instanceof BrokenOpening) await afterBrokenOpening(parts, message, error.fault);
    else await wait(parts, message, error);
  }
}

/** The message broke its budget or its worker while it was opened. */
class BrokenOpening extends Error {
  readonly fault: Fault;

  constructor(fault: Fault) {
    super(fault.message);
    this.fault = fault;
  }
}

/** Whether every posting was decided; false if one waits to be opened later. */
async function processPostings(parts: FlowParts, message: MessageRow): Promise<boolean> {
  const { q } = parts.database;
  let allOpened = true;
  for (const posting of await postingsOf(q, message.id)) {
    if (posting.state === 'fanning-out') await fanOut(parts, posting, parts.clock.now());
    const isAgain = posting.retryAt !== null;
    if (posting.state !== 'new' && !isAgain) continue;
    const list = await listOf(q, posting.listId, parts.defaults);
    if (!list) continue;
    const spooled = await parts.spool.read(message.id);
    const work: PostingWork = { posting, list, message, spooled, outer: tryReadOuter(spooled.bytes) };
    const step = isAgain ? await processAgain(parts, work) : await processPosting(parts, work);
    if (step === 'unopened') allOpened = false;
    if (step !== 'distribute') continue;
    const decided = await findPosting(q, posting.id);
    if (decided?.state === 'fanning-out') await fanOut(parts, decided, parts.clock.now());
  }
  return allOpened;
}

async function processPosting(
  parts: FlowParts,
  work: PostingWork,
): Promise<'distribute' | 'unopened' | 'done'> {
  const { posting } = work;
  if (posting.kind === 'bounces') return done(takeReturned(parts, work));
  const dropped = await dropBeforeOpening(parts, work);
  if (dropped !== null) return done(drop(parts, work, dropped));

  const report = await open(parts, work);
  const obstacle = await obstacleTo(parts.keyring, work.list, report);
  if (report.verdict === 'unopened' || report.verdict === 'malformed' || obstacle !== null) {
    report.entity?.wipe();
    return leaveUnopened(parts, work, report, obstacle);
  }
  return decide(parts, work, report);
}

/** A posting that was held or refused because nobody vouched for its signature: decided anew only if somebody does now. */
async function processAgain(parts: FlowParts, work: PostingWork): Promise<'distribute' | 'done'> {
  const report = await open(parts, work);
  if (report.verdict === 'signed') return decide(parts, work, report);
  report.entity?.wipe();
  return done(leaveDecided(parts, work, report));
}

async function decide(
  parts: FlowParts,
  work: PostingWork,
  report: OpenReport,
): Promise<'distribute' | 'done'> {
  const distribute = await decideByKind(parts, work, report);
  if (distribute && report.encrypted && report.entity) parts.cache.put(work.posting.id, report.entity);
  else report.entity?.wipe();
  return distribute ? 'distribute' : 'done';
}

async function open(parts: FlowParts, { list, spooled }: PostingWork): Promise<OpenReport> {
  const { workers, keyring, revocation, clock, openedSize } = parts;
  try {
    return await openPosting(
      { q: parts.database.q, workers, keyring, revocation, clock, openedSize },
      list,
      spooled.bytes,
      spooled.receivedAt,
    );
  } catch (error) {
    if (!(error instanceof Fault) || /^(worker-closed|database-)/.test(error.code)) throw error;
    throw new BrokenOpening(error);
  }
}

async function decideByKind(parts: FlowParts, work: PostingWork, report: OpenReport): Promise<boolean> {
  const { entity, ...facts } = report;
  switch (work.posting.kind) {
    case 'post':
      return decidePost(parts, work, facts, report.encrypted ? (entity?.length ?? null) : null);
    case 'owner':
    case 'editor':
      return forwardToRole(parts, work, facts);
    case 'sendcert': {
      const isReplay = await wasSeen(parts, work, facts);
      await takeCertificate(parts, work, facts, {
        token: await answeredToken(work, facts, entity),
        isReplay,
      });
      return false;
    }
    case 'request':
    case 'service': {
      const isReplay = await wasSeen(parts, work, facts);
      const token = await answeredToken(work, facts, entity);
      if (token === null) await answerCommand(parts, work, facts, { entity, isReplay });
      else await takeCertificate(parts, work, facts, { token, isReplay });
      return false;
    }
    case 'bounces':
    case 'local':
      return false;
  }
}

/** Whether somebody sent a mail again that was seen before: he need not be who signed it. */
async function wasSeen(parts: FlowParts, work: PostingWork, facts: Findings): Promise<boolean> {
  const sighting = await sightingOf(parts, work, facts);
  return sighting !== null && sighting !== 'new';
}

async function done(work: Promise<unknown>): Promise<'done'> {
  await work;
  return 'done';
}

async function drop(parts: FlowParts, work: PostingWork, reason: string): Promise<void> {
  const at = parts.clock.now();
  const verdict = { decision: 'dropped', rule: reason, receivedAt: work.spooled.receivedAt };
  const detail = sentenceFor(reason, null);
  await parts.database.write((tx) =>
    conclude(tx, work, { state: 'dropped', event: 'dropped', reason, detail, verdict }, at),
  );
  parts.log.event('dropped', { id: work.message.id, list: work.list.address, reason });
}

/** What a message's row says between its first broken opening and the next. */
const brokenOnce = 'opening-broken';

/** Once more, then quarantine. Openings that ended, with whatever result, do not count. */
async function afterBrokenOpening(parts: FlowParts, message: MessageRow, fault: Fault): Promise<void> {
  const now = parts.clock.now();
  const detail = wordsOf(fault);
  const opens = message.reason === brokenOnce ? 2 : 1;
  const next: AfterOpening = afterOpening({ cause: 'broken', opens, crashes: 0, now });
  parts.log.error('opening-failed', { id: message.id, code: fault.code, detail, next: next.next });
  if (next.next === 'quarantine') return quarantine(parts, message, { reason: fault.code, detail });
  const again = { state: 'queued', reason: brokenOnce, detail, nextAt: next.at } as const;
  await setMessageState(parts.database.q, message.id, again);
}

/** Not the message's fault (a setting, a template, the disk, a bug): it waits, longer each time, and says why. */
async function wait(parts: FlowParts, message: MessageRow, error: unknown): Promise<void> {
  const reason = error instanceof Fault ? error.code : 'internal';
  const detail = wordsOf(error);
  const nextAt = parts.clock.now() + Math.min(10_000 * 4 ** Math.min(message.opens - 1, 5), 3_600_000);
  parts.log.error('processing-failed', { id: message.id, code: reason, detail });
  await setMessageState(parts.database.q, message.id, { state: 'queued', reason, detail, nextAt });
}
