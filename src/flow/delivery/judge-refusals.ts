import { dayMs } from '../../base/day.ts';
import { countByState, isUnderWay } from '../../store/deliveries.ts';
import { noticeDue, replyDue, replyIsDue } from '../../store/notices.ts';
import { findPosting } from '../../store/postings.ts';
import type { RefusalRow } from '../../store/refusal-row.ts';
import { countStayed, isPutOffOnce, judge, refusalsOf, unjudgedPostings } from '../../store/refusals.ts';
import { type ListContext, listOf, type SiteDefaults } from '../lists/list-context.ts';
import { queueIf } from '../mail/local-mail.ts';
import { type NoticeParts, noticesTo, tryNotice } from '../mail/notices-to.ts';
import { type BounceTold, bounceMails, bounceNotice, countBounce, takeBounceBack } from './count-bounces.ts';

export interface JudgeParts extends NoticeParts {
  readonly defaults: SiteDefaults;
  readonly postmaster: string;
}

/** How long a copy that was not tried again keeps the others from being judged: where its relay is down, it counts no tries. */
const patienceMs = 3_600_000;
/** How often the postmaster is told of one kind of refusal by the relay. */
const alertEveryMs = dayMs;
/** Replies that he reads; `explain` has all. */
const mostReplies = 5;

/**
 * Judges the refused copies of a posting, when none of its copies is under way: a refusal counts against its member, unless it
 * speaks of the message or our session, or all copies that the relay answered for good, and there are two at least, were refused
 * alike while those that were put off were tried again, or an hour went by; that is the relay's doing, and the postmaster is told, once
 * a day for each reply code. Each refusal is judged once, but for those that counted against members until the last copy
 * showed what they have in common: what followed from them is taken back.
 */
export async function judgeRefusals(parts: JudgeParts, postingId: number): Promise<void> {
  const { database } = parts;
  const { q } = database;
  const open = await refusalsOf(q, postingId, { unjudged: true });
  if (open.length === 0 || (await isUnderWay(q, postingId))) return;
  const posting = await findPosting(q, postingId);
  const list = posting && (await listOf(q, posting.listId, parts.defaults));
  if (!posting || !list) return;
  const nobody = (await countStayed(q, postingId)) === 0;
  const all = await refusalsOf(q, postingId);
  const isAllAlike = nobody && areAlike(all);
  const now = parts.clock.now();
  // Two unknown mailboxes beside a greylisted one are no fault of the relay: the next try shows whether it takes that copy. Not
  // longer: of one that is put off for days the postmaster would hear as late that nothing goes.
  const mayWait = isAllAlike && all.some((one) => one.ofRecipient === 1);
  if (mayWait && open.every((one) => now < one.at + patienceMs) && (await isPutOffOnce(q, postingId))) return;
  // Copies come back one by one: the last of them shows what those before it, counted against members, have in common.
  const ofRelay = isAllAlike ? all : open.filter((one) => one.ofRecipient === 0);
  const ofMembers = open.filter((one) => !ofRelay.includes(one) && one.ofRecipient === 1);
  const copies = Object.values(await countByState(q, { postingId })).reduce((sum, count) => sum + count, 0);
  const ids = (rows: readonly RefusalRow[]): number[] => rows.map((row) => row.deliveryId);
  const told = await database.write(async (tx) => {
    const acquitted = ofRelay.filter((one) => one.verdict === 'member');
    await judge(tx, ids(ofRelay), 'relay');
    const judged = new Set(await judge(tx, ids(ofMembers), 'member'));
    const each: (BounceTold | null)[] = [];
    for (const one of acquitted) each.push(await takeBounceBack(tx, list, one, now));
    for (const one of ofMembers)
      if (judged.has(one.deliveryId)) each.push(await countBounce(tx, list, one, now));
    return each.filter((one) => one !== null);
  });
  if (nobody && ofRelay[0])
    await tryNotice(parts, { list: list.address }, () =>
      alertPostmaster(parts, list, posting.messageId, { refusals: ofRelay, copies }),
    );
  for (const one of told) await tellOwners(parts, list, one, now);
}

/** The same for all postings: what a crash left, and copies that were refused while others of the posting went on. */
export async function judgeAllRefusals(parts: JudgeParts): Promise<number> {
  const ids = await unjudgedPostings(parts.database.q, 1000);
  for (const id of ids) await judgeRefusals(parts, id);
  return ids.length;
}

/** One refusal alone shows nothing about the others. */
function areAlike(refusals: readonly RefusalRow[]): boolean {
  return refusals.length > 1 && new Set(refusals.map((one) => one.code)).size === 1;
}

async function alertPostmaster(
  parts: JudgeParts,
  list: ListContext,
  messageId: string,
  { refusals, copies }: { readonly refusals: readonly RefusalRow[]; readonly copies: number },
): Promise<void> {
  const { database, postmaster, clock, log } = parts;
  const [{ code, reply } = { code: '', reply: '' }] = refusals;
  log.warn('relay-refuses', {
    id: messageId,
    list: list.address,
    reply: `${code} ${reply}`,
    remedy: '`reseal check`',
  });
  const about = {
    address: postmaster,
    kind: `relay-refuses ${code}`,
    now: clock.now(),
    everyMs: alertEveryMs,
  };
  if (!(await replyIsDue(database.q, about))) return;
  const how = areAlike(refusals) ? ' in the same way' : '';
  const replies = new Set(refusals.map((one) => `Reply:   ${one.code} ${one.reply}`.slice(0, 200)));
  const mails = await noticesTo(parts, list, [postmaster], {
    template: 'owner-alert',
    variables: {
      event: 'the relay refuses posts',
      reason: 'relay-refuses',
      reason_text: `${counted(refusals.length, copies)} refused${how}, so this is held to be the fault of the mail server or of what it thinks of us, and counts against no member. The same reply is not told of again today.`,
      details: [...[...replies].slice(0, mostReplies), `Message: reseal explain ${messageId}`],
    },
  });
  await queueIf(parts, mails, (tx) => replyDue(tx, about));
}

/** Of a post's copies those that were refused. */
function counted(refused: number, copies: number): string {
  if (refused === copies)
    return refused === 1 ? 'The only copy of a post was' : `All ${refused} copies of a post were`;
  return refused === 1 ? 'A copy of a post was' : `${refused} copies of a post were`;
}

async function tellOwners(
  parts: JudgeParts,
  list: ListContext,
  told: BounceTold,
  now: number,
): Promise<void> {
  const { address: member, done, score } = told;
  parts.log.warn('member-bounces', { list: list.address, member, score, done });
  await tryNotice(parts, { list: list.address, member }, async () => {
    const mails = await bounceMails(parts, list, told);
    await queueIf(
      parts,
      mails,
      async (tx) => done !== 'nothing' || noticeDue(tx, bounceNotice(list, member, now)),
    );
  });
}
