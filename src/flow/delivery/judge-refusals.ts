import { dayMs } from '../../base/day.ts';
import { bounceScore } from '../../policy/bounces.ts';
import { countByState, isUnderWay } from '../../store/deliveries.ts';
import { record } from '../../store/ledger.ts';
import { findMember, setMember } from '../../store/members.ts';
import { touch } from '../../store/meta.ts';
import { noticeDue, noticeIsDue, replyDue, replyIsDue } from '../../store/notices.ts';
import { findPosting } from '../../store/postings.ts';
import type { RefusalRow } from '../../store/refusal-row.ts';
import { bouncesOf, countStayed, judge, refusalsOf, unjudgedPostings } from '../../store/refusals.ts';
import { type ListContext, listOf, type SiteDefaults } from '../lists/list-context.ts';
import { queueIf } from '../mail/local-mail.ts';
import { addressesOf, type NoticeParts, noticesTo, tryNotice } from '../mail/notices-to.ts';

export interface JudgeParts extends NoticeParts {
  readonly defaults: SiteDefaults;
  readonly postmaster: string;
}

/** How often the postmaster is told of one kind of refusal by the relay. */
const alertEveryMs = dayMs;

/**
 * Judges the refused copies of a posting, when none of its copies is under way: a refusal counts against its member, unless it
 * speaks of the message or our session, or all copies were refused alike; that is the relay's doing, and the postmaster is told, once
 * a day for each reply code. Each refusal is judged once.
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
  // Copies come back one by one: the last of them shows what those before it, counted against members, have in common.
  const ofRelay = nobody && areAlike(all) ? all : open.filter((one) => one.ofRecipient === 0);
  const ofMembers = open.filter((one) => !ofRelay.includes(one) && one.ofRecipient === 1);
  const copies = Object.values(await countByState(q, { postingId })).reduce((sum, count) => sum + count, 0);
  const ids = (rows: readonly RefusalRow[]): number[] => rows.map((row) => row.deliveryId);
  const judged = await database.write(async (tx) => {
    await judge(tx, ids(ofRelay), 'relay');
    return new Set(await judge(tx, ids(ofMembers), 'member'));
  });
  if (nobody && ofRelay[0])
    await tryNotice(parts, { list: list.address }, () =>
      alertPostmaster(parts, list, posting.messageId, { refusals: ofRelay, copies }),
    );
  for (const one of ofMembers) if (judged.has(one.deliveryId)) await countBounce(parts, list, one);
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

const mostReplies = 5;

/** Of a post's copies those that were refused. */
function counted(refused: number, copies: number): string {
  if (refused === copies)
    return refused === 1 ? 'The only copy of a post was' : `All ${refused} copies of a post were`;
  return refused === 1 ? 'A copy of a post was' : `${refused} copies of a post were`;
}

/** Tells the owners, and suspends the member if the list does, when his score has come to the threshold. */
async function countBounce(parts: JudgeParts, list: ListContext, refusal: RefusalRow): Promise<void> {
  const { database, clock } = parts;
  const { policy } = list;
  const { address, code, reply } = refusal;
  const member = await findMember(database.q, list.id, address);
  if (policy['bounce.action'] === 'count' || member?.state !== 'active') return;
  const now = clock.now();
  const bounces = await bouncesOf(database.q, { listId: list.id, address, since: member.since });
  const score = bounceScore(policy, bounces, now);
  if (score < policy['bounce.threshold']) return;
  const suspends = policy['bounce.action'] === 'suspend';
  const everyMs = policy['bounce.days'] * dayMs;
  const about = { listId: list.id, member: address, kind: 'bounces', now, everyMs };
  if (!suspends && !(await noticeIsDue(database.q, about))) return;
  const done = suspends
    ? `He gets no posts any more, until \`reseal member set ${list.address} ${address} --resume\`.`
    : `He goes on getting posts; \`reseal member remove\` or \`member set --suspend\` ends that.`;
  const mails = await tryNotice(parts, { list: list.address, member: address }, async () =>
    noticesTo(parts, list, await addressesOf(database.q, list.id, 'owner'), {
      template: 'owner-alert',
      variables: {
        event: `mail to ${address} is refused`,
        reason: 'bounces',
        reason_text: `Copies for ${address} were refused on ${score} days of the last ${policy['bounce.days']}. ${done}`,
        details: [`Last reply: ${code} ${reply}`.slice(0, 200)],
      },
    }),
  );
  // He is suspended whether or not the owners can be told; what only tells is tried again with his next refusal.
  if (mails === null && !suspends) return;
  const isDone = await queueIf(parts, mails ?? [], async (tx) => {
    if (!suspends) return noticeDue(tx, about);
    await setMember(tx, { listId: list.id, address }, { state: 'suspended' });
    const detail = `suspended by bounce.action: refused on ${score} days, last with ${code} ${reply}`;
    await record(tx, { at: now, list: list.address, member: address, event: 'member-changed', detail });
    await touch(tx);
    return true;
  });
  if (isDone)
    parts.log.warn('member-bounces', { list: list.address, member: address, score, suspended: suspends });
}
