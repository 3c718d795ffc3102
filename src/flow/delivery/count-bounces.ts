import { dayMs } from '../../base/day.ts';
import { bounceScore } from '../../policy/bounces.ts';
import type { Queries } from '../../store/database.ts';
import { record } from '../../store/ledger.ts';
import { bouncesSince, findMember, type MemberRow, setMember } from '../../store/members.ts';
import { touch } from '../../store/meta.ts';
import { noticeIsDue } from '../../store/notices.ts';
import type { RefusalRow } from '../../store/refusal-row.ts';
import { bouncesOf } from '../../store/refusals.ts';
import type { ListContext } from '../lists/list-context.ts';
import type { SpooledMail } from '../mail/local-mail.ts';
import { addressesOf, type NoticeParts, noticesTo } from '../mail/notices-to.ts';

/** What a member's score came to, and the owners are told of. */
export interface BounceTold {
  readonly address: string;
  readonly done: 'nothing' | 'suspended' | 'resumed';
  readonly score: number;
  /** What was said last; of a member who is back, what was said to all. */
  readonly refusal: RefusalRow;
}

/**
 * Does what the list wants when a member's score has come to its threshold by this refusal: null if it has not, or nobody
 * need hear of it. In the transaction of the verdict, so that none is lost, and the member is as he is now: who was
 * suspended or has left meanwhile stays so.
 */
export async function countBounce(
  tx: Queries,
  list: ListContext,
  refusal: RefusalRow,
  now: number,
): Promise<BounceTold | null> {
  const { policy } = list;
  const { address, code, reply } = refusal;
  const member = await findMember(tx, list.id, address);
  if (policy['bounce.action'] === 'count' || member?.state !== 'active') return null;
  const score = await scoreOf(tx, list, member, now);
  if (score < policy['bounce.threshold']) return null;
  if (policy['bounce.action'] === 'tell') {
    const isDue = await noticeIsDue(tx, bounceNotice(list, address, now));
    return isDue ? { address, done: 'nothing', score, refusal } : null;
  }
  const detail = `suspended by bounce.action: refused on ${score} days, last with ${code} ${reply}`;
  await change(tx, list, { address, state: 'suspended', detail, now });
  return { address, done: 'suspended', score, refusal };
}

/** The notice to owners that a member's copies are refused, as `noticeDue` counts it. */
export function bounceNotice(list: ListContext, member: string, now: number) {
  return { listId: list.id, member, kind: 'bounces', now, everyMs: list.policy['bounce.days'] * dayMs };
}

/**
 * Lets a member have posts again whom `bounce.action` suspended, if what counted against him turned out to be the relay's doing:
 * null if enough is left, or a person suspended him.
 */
export async function takeBounceBack(
  tx: Queries,
  list: ListContext,
  refusal: RefusalRow,
  now: number,
): Promise<BounceTold | null> {
  const { address } = refusal;
  const member = await findMember(tx, list.id, address);
  if (member?.state !== 'suspended' || member.suspendedBy !== 'bounces') return null;
  const score = await scoreOf(tx, list, member, now);
  if (score >= list.policy['bounce.threshold']) return null;
  const detail = 'no longer suspended by bounce.action: all copies of a post were refused alike';
  await change(tx, list, { address, state: 'active', detail, now });
  return { address, done: 'resumed', score, refusal };
}

async function scoreOf(tx: Queries, list: ListContext, member: MemberRow, now: number): Promise<number> {
  const about = { listId: list.id, address: member.address, since: bouncesSince(member) };
  return bounceScore(list.policy, await bouncesOf(tx, about), now);
}

async function change(
  tx: Queries,
  list: ListContext,
  d: {
    readonly address: string;
    readonly state: MemberRow['state'];
    readonly detail: string;
    readonly now: number;
  },
): Promise<void> {
  const { address, state, detail, now } = d;
  const suspendedBy = state === 'suspended' ? 'bounces' : null;
  await setMember(tx, { listId: list.id, address }, { state, suspendedBy });
  await record(tx, { at: now, list: list.address, member: address, event: 'member-changed', detail });
  await touch(tx);
}

/** What the owners are told, composed and spooled. */
export async function bounceMails(
  parts: NoticeParts,
  list: ListContext,
  { address, done, score, refusal: { code, reply } }: BounceTold,
): Promise<SpooledMail[]> {
  const days = list.policy['bounce.days'];
  const refused = `Copies for ${address} were refused on ${score} days of the last ${days}.`;
  const told = {
    nothing: {
      event: `mail to ${address} is refused`,
      words: `${refused} He goes on getting posts; \`reseal member remove\` or \`member set --suspend\` ends that.`,
    },
    suspended: {
      event: `mail to ${address} is refused`,
      words: `${refused} He gets no posts any more, until \`reseal member set ${list.address} ${address} --resume\`.`,
    },
    resumed: {
      event: `${address} gets posts again`,
      words: `He was suspended because copies for him were refused. All copies of a post were refused alike, which is held to be the mail server's fault: it does not count against him. What was posted meanwhile he did not get.`,
    },
  }[done];
  return noticesTo(parts, list, await addressesOf(parts.database.q, list.id, 'owner'), {
    template: 'owner-alert',
    variables: {
      event: told.event,
      reason: 'bounces',
      reason_text: told.words,
      details: [`Last reply: ${code} ${reply}`.slice(0, 200)],
    },
  });
}
