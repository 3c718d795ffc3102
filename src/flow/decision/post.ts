import { dayMs, dayOf } from '../../base/day.ts';
import { parseEntity } from '../../mime/entity.ts';
import type { Envelope } from '../../mime/envelope.ts';
import { mayLeaveClear } from '../../policy/clear.ts';
import { mostHops } from '../../policy/outer.ts';
import type { Findings } from '../../smime/open.ts';
import type { MessageRow } from '../../store/messages.ts';
import { duplicateOf, type PostingRow } from '../../store/postings.ts';
import type { SpooledMessage } from '../../store/spool.ts';
import { type ListContext, rolesOn } from '../lists/list-context.ts';
import type { SpooledMail } from '../mail/local-mail.ts';
import { authorize, type Decision, type DropReason } from '../post/authorize.ts';
import { listSignatureFor } from '../post/list-signature.ts';
import { loopsThrough } from '../post/outer.ts';
import { type Prepared, prepareFor } from '../post/prepare.ts';
import { sentenceFor, toJson, verdictRecord } from '../post/verdict-record.ts';
import { type Conclusion, conclude } from './decide.ts';
import { harvestPost } from './harvest-post.ts';
import { judgeableUntil } from './judge-again.ts';
import type { FlowParts, PostingWork } from './posting-work.ts';
import { unlessUnfit } from './relay-fit.ts';
import { sightingOf } from './replay.ts';
import { alertOwners, answerSender, mailVariables, tellRole } from './report-mails.ts';

const duplicateWindowMs = 7 * dayMs;

/** What is asked of a message before it is opened. */
export interface BeforeOpening extends Pick<PostingWork, 'list' | 'outer'> {
  readonly message: Pick<MessageRow, 'id' | 'messageId' | 'bodySha256'> & {
    readonly envelope: Pick<Envelope, 'from'>;
  };
  readonly posting: Pick<PostingRow, 'kind'>;
  readonly spooled: Pick<SpooledMessage, 'receivedAt'>;
}

/**
 * Why a post is dropped before it is opened, or null: mail that came back to us, automatic answers, bounces, and the
 * same post again within seven days (same Message-ID and bytes below the newest Received).
 */
export async function dropBeforeOpening(
  parts: Pick<FlowParts, 'database'>,
  work: BeforeOpening,
): Promise<DropReason | null> {
  const { list, message, outer, spooled } = work;
  if (outer === null) return 'malformed';
  if (loopsThrough(outer.entity, list.address) || outer.hops > mostHops) return 'loop';
  if (message.envelope.from === '') return 'null-sender';
  if (outer.automatic !== null) return 'automatic';
  const duplicate = await duplicateOf(parts.database.q, {
    listId: list.id,
    kind: work.posting.kind,
    messageIdHeader: message.messageId,
    bodySha256: message.bodySha256,
    since: spooled.receivedAt - duplicateWindowMs,
    notMessage: message.id,
  });
  return duplicate ? 'duplicate' : null;
}

/**
 * Decides a post that was opened: harvest, authorize, and one record with its ledger line, the mails about it and, if
 * it is authorized, the parts that every copy shares. `openedSize` is that of what was inside, if it came encrypted. Gives
 * whether copies are to go out. One that was held or refused because nobody vouched for its signature comes here a second time
 * when somebody does (`judge-again`).
 */
export async function decidePost(
  parts: FlowParts,
  work: PostingWork,
  report: Findings,
  openedSize: number | null,
): Promise<boolean> {
  const { list, spooled } = work;
  const { q } = parts.database;
  const { author, claimed } = report;
  const roles = await rolesOn(q, list, claimed ?? '');
  const ofAuthor = author === null || author === claimed ? roles : await rolesOn(q, list, author);
  await harvestPost(parts, work, report, ofAuthor);
  const replay = await sightingOf(parts, work, report);
  const judged = authorize(list, {
    report,
    roles,
    replay,
    receivedAt: spooled.receivedAt,
    size: spooled.bytes.length,
  });
  const at = parts.clock.now();
  // A held post may yet be released: what its copies would share is fixed now all the same.
  const goesOn = judged.kind === 'authorized' || judged.kind === 'held';
  const fixed = goesOn ? await fixFor(parts, work, report, at) : null;
  const post = fixed && { work, prepared: fixed.prepared, openedSize, report };
  const decision = post ? await unlessUnfit(parts, judged, post) : judged;
  // Who moderates knows already of one that was held and stays so.
  const isTold = work.posting.state === 'held' && decision.kind === 'held';
  const mails = isTold ? [] : await mailsAbout(parts, work, report, decision);
  const conclusion = concludeFrom(work, report, decision, mails, fixed);
  // Copies and mails are claimed before they leave, and that waits for the disk: forgotten, it is decided once more.
  const isNew = await parts.database.hastily((tx) => conclude(tx, work, conclusion, at));
  const { rule } = decision;
  parts.log.event(conclusion.event, {
    id: work.message.id,
    list: list.address,
    posting: work.posting.id,
    rule,
    reason: conclusion.reason,
    author: report.author,
  });
  if (mails.length > 0) parts.wakeDelivery();
  return isNew && decision.kind === 'authorized';
}

function concludeFrom(
  work: PostingWork,
  report: Findings,
  decision: Decision,
  mails: readonly SpooledMail[],
  fixed: Fixed | null,
): Conclusion {
  const receivedAt = work.spooled.receivedAt;
  const verdict = toJson(verdictRecord(report, { decision: decision.kind, rule: decision.rule, receivedAt }));
  const kept = fixed && { prepared: { ...fixed.prepared } };
  if (decision.kind === 'authorized') {
    const author = report.author ? `signed by ${report.author}` : 'not signed';
    const again = work.posting.retryAt === null ? '' : 'judged again, ';
    const detail = `${again}accepted by the rule ${decision.rule}, ${author}${fixed?.remark ?? ''}`;
    return {
      state: 'fanning-out',
      event: 'authorized',
      reason: null,
      detail,
      verdict,
      mails,
      ...kept,
    };
  }
  const { reason } = decision;
  const detail = wordsFor(decision, report);
  const retryUntil = judgeableUntil(work.list, report, { decision, receivedAt });
  return { state: decision.kind, event: decision.kind, reason, detail, verdict, mails, retryUntil, ...kept };
}

/** The sentence of a decision against a post, with what there is to say beside it. */
function wordsFor(decision: Exclude<Decision, { kind: 'authorized' }>, report: Findings): string {
  const { reason, detail } = decision;
  return `${sentenceFor(reason, report)}${detail === undefined ? '' : ` (${detail})`}`;
}

/** What is fixed for all copies of a post at this moment (RULES 18), and words about it for the ledger. */
interface Fixed {
  readonly prepared: Prepared;
  readonly remark: string;
}

/** How the copies of a post that was opened leave. */
export function modeFor(
  { policy }: Pick<ListContext, 'policy'>,
  { encrypted }: Pick<Findings, 'encrypted'>,
): Exclude<Prepared['mode'], 'intact'> {
  if (mayLeaveClear(policy, { receivedEncrypted: encrypted }) === null) return 'sealed';
  return policy['send.encrypt'] === 'when-possible' ? 'when-possible' : 'clear';
}

async function fixFor(parts: FlowParts, work: PostingWork, report: Findings, at: number): Promise<Fixed> {
  const { list, spooled } = work;
  const { envelope, receivedAt } = spooled;
  const mode = modeFor(list, report);
  const message = work.outer?.entity ?? parseEntity(spooled.bytes);
  const { sign, problem } = await listSignatureFor(parts.keyring, list, {
    verdict: report.verdict,
    mode,
    message,
  });
  if (problem)
    parts.log.warn('not-signed-by-list', { id: work.message.id, list: list.address, detail: problem });
  const prepared = prepareFor(list, {
    mode,
    spoolId: work.message.id,
    hostname: parts.hostname,
    envelope,
    receivedAt,
    decidedAt: at,
    sign,
    hidesSubject: hidesSubject(list, report, sign),
  });
  const signed =
    sign === 'none' ? '' : `; the list signs it${sign === 'as-list' ? ' with its own From' : ''}`;
  return { prepared, remark: problem ? `; the list does not sign it: ${problem}` : signed };
}

/**
 * Whether sealed copies hide the Subject: by `send.hide-subject`, or because the author hid it, and only where it is
 * inside what they carry, below some layer or in the list's own wrapping (RFC 9788): else it would be lost.
 */
function hidesSubject(list: ListContext, report: Findings, sign: Prepared['sign']): boolean {
  const { protected: inside } = report;
  const isInside = inside !== null && inside.subject !== null && inside.form !== 'rfc8551';
  const cameHidden = inside?.hidden.includes('subject') ?? false;
  const wanted = list.policy['send.hide-subject'] === 'yes' || cameHidden;
  return wanted && (isInside || sign === 'as-list');
}

async function mailsAbout(
  parts: FlowParts,
  work: PostingWork,
  report: Findings,
  decision: Decision,
): Promise<SpooledMail[]> {
  if (decision.kind === 'authorized' || decision.kind === 'dropped') return [];
  const reasonText = wordsFor(decision, report);
  const mail = mailVariables(work);
  if (decision.rule === 'relay') {
    const variables = { mail: { date: mail.date }, reason: decision.reason, reason_text: reasonText };
    const answer = await answerSender(parts, work, report, {
      template: 'not-distributed',
      variables,
      replyTo: 'owner',
    });
    const told = { event: 'a post could not be distributed', reason: decision.reason, reasonText };
    return [...(answer ? [answer] : []), ...(await alertOwners(parts, work, told))];
  }
  if (decision.kind === 'refused') {
    const variables = { mail: { date: mail.date } };
    const answer = await answerSender(parts, work, report, {
      template: 'refused',
      variables,
      replyTo: 'owner',
    });
    // RULES 20: the sender reads one fixed text, the owners the reason.
    const told = { event: 'a post was refused', reason: decision.reason, reasonText };
    return [...(answer ? [answer] : []), ...(await alertOwners(parts, work, told))];
  }
  // RULES 5: what came weakly encrypted concerns the owners too, not only who moderates.
  const weak = { event: 'a post came with weak encryption', reason: decision.reason, reasonText };
  const alerts = decision.reason === 'weak-cipher' ? await alertOwners(parts, work, weak) : [];
  const variables = {
    mail,
    reason: decision.reason,
    reason_text: reasonText,
    expires: dayOf(parts.clock.now() + work.list.policy['held.days'] * dayMs),
  };
  return [
    ...alerts,
    ...(await tellRole(parts, work, 'moderator', { template: 'held-for-moderation', variables })),
  ];
}
