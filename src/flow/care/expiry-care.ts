import { dayMs, dayOf } from '../../base/day.ts';
import { type Ending, endingBetween } from '../../store/ending.ts';
import { findMember } from '../../store/members.ts';
import { noticeDue, noticeIsDue, wasNoticed } from '../../store/notices.ts';
import type { Variables } from '../../template/templates.ts';
import { type ListContext, languageOf } from '../lists/list-context.ts';
import { queueIf, type SpooledMail, spoolLocalMail } from '../mail/local-mail.ts';
import { addressesOf, type NoticeParts, noticesTo, tryNotice } from '../mail/notices-to.ts';
import { longestWarningMs, stageOf } from './expiry-stages.ts';

/** What the kinds of these notices begin with. */
export const endingNotice = 'ending';

/** A certificate that reached a stage of which somebody is to be told. */
interface Warning extends Ending {
  readonly stage: number;
}

/**
 * Warns members, and the owners of their lists, of certificates in use that end in 30, 7 and 1 days: each once, also
 * where reseal was down meanwhile or the certificate came late. A member of several lists is told by one of them.
 * Gives the number of mails.
 */
export async function warnOfEnding(parts: NoticeParts, lists: readonly ListContext[]): Promise<number> {
  const now = parts.clock.now();
  const rows = await endingBetween(parts.database.q, { from: now, to: now + longestWarningMs });
  const ending = rows.flatMap((row) => {
    const stage = stageOf(row.notAfter, now);
    return stage === null ? [] : [{ ...row, stage }];
  });
  let told = 0;
  for (const list of lists) {
    const ofList = ending.filter((row) => row.listId === list.id);
    for (const address of new Set(ofList.map((row) => row.address))) {
      const mine = ofList.filter((row) => row.address === address);
      told += await guarded(parts, list, () => warnMember(parts, list, address, mine));
    }
    told += await guarded(parts, list, () => warnOwners(parts, list, ofList));
  }
  return told;
}

async function warnMember(
  parts: NoticeParts,
  list: ListContext,
  member: string,
  ending: readonly Warning[],
): Promise<number> {
  const { q } = parts.database;
  const now = parts.clock.now();
  const due: Warning[] = [];
  for (const one of ending) if (!(await wasNoticed(q, { member, kind: kindOf(one) }))) due.push(one);
  if (due.length === 0) return 0;
  const language = languageOf(list, (await findMember(q, list.id, member)) ?? undefined);
  const variables = {
    user: { email: member, lang: language },
    certificates: described(due, now),
    ...soonest(due, now),
  };
  const notice = { template: 'cert-expiring', to: member, language, variables } as const;
  const whole = { ...notice, kind: 'auto-generated', replyTo: 'sendcert', inReplyTo: null } as const;
  const mail = await spoolLocalMail(parts, list, await parts.compose(list, whole, now), now);
  return queueOnce(parts, list, { member, kinds: due.map(kindOf), mails: [mail] });
}

async function warnOwners(
  parts: NoticeParts,
  list: ListContext,
  ending: readonly Warning[],
): Promise<number> {
  const { q } = parts.database;
  const now = parts.clock.now();
  const due: Warning[] = [];
  for (const one of ending) {
    const about = { listId: list.id, member: '', kind: ownerKindOf(one), now, everyMs: Infinity };
    if (await noticeIsDue(q, about)) due.push(one);
  }
  const owners = await addressesOf(q, list.id, 'owner');
  if (due.length === 0 || owners.length === 0) return 0;
  const variables = { members: described(due, now), ...soonest(due, now) };
  const mails = await noticesTo(parts, list, owners, { template: 'cert-expiring', variables });
  return queueOnce(parts, list, { member: '', kinds: due.map(ownerKindOf), mails });
}

const kindOf = ({ sha256, stage }: Warning): string => `${endingNotice} ${sha256} ${stage}`;
const ownerKindOf = (one: Warning): string => `${kindOf(one)} ${one.address}`;

/** The record that they are told and the mails in one transaction; a second process that was as quick queues nothing. */
async function queueOnce(
  parts: NoticeParts,
  list: ListContext,
  d: { member: string; kinds: readonly string[]; mails: readonly SpooledMail[] },
): Promise<number> {
  const about = { listId: list.id, member: d.member, now: parts.clock.now(), everyMs: Infinity };
  const isQueued = await queueIf(parts, d.mails, async (tx) => {
    let news = false;
    for (const kind of new Set(d.kinds)) if (await noticeDue(tx, { ...about, kind })) news = true;
    return news;
  });
  return isQueued ? d.mails.length : 0;
}

/** One entry per certificate and address, with what it is used for. */
function described(ending: readonly Warning[], now: number): Variables[] {
  const first = new Map(ending.map((one) => [`${one.address} ${one.sha256}`, one]));
  return [...first.values()].map((one) => ({
    email: one.address,
    subject: one.subject,
    issuer: one.issuer,
    signs: ending.some((other) => isSame(one, other) && other.purpose === 'sign'),
    reads: ending.some((other) => isSame(one, other) && other.purpose === 'enc'),
    expires: dayOf(one.notAfter),
    days: daysLeft(one, now),
  }));
}

const isSame = (a: Warning, b: Warning): boolean => a.address === b.address && a.sha256 === b.sha256;
const daysLeft = (one: Warning, now: number): number => Math.ceil((one.notAfter - now) / dayMs);

function soonest(due: readonly Warning[], now: number): Variables {
  const [first] = due;
  return first ? { expires: dayOf(first.notAfter), days: daysLeft(first, now) } : {};
}

/** One list whose mail cannot be written keeps no other from being warned; the next housekeeping tries again. */
async function guarded(parts: NoticeParts, list: ListContext, work: () => Promise<number>): Promise<number> {
  return (await tryNotice(parts, { list: list.address }, work)) ?? 0;
}
