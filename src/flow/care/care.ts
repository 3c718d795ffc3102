import { eachAlone } from '../../base/alone.ts';
import { dayMs } from '../../base/day.ts';
import { wordsOf } from '../../base/errors.ts';
import { forgetNotices } from '../../store/notices.ts';
import { type BestParts, replaceExpired } from '../certificates/best-certificate.ts';
import { releaseNowValid } from '../certificates/release.ts';
import { tellAuthors } from '../delivery/author-summary.ts';
import { type JudgeParts, judgeAllRefusals } from '../delivery/judge-refusals.ts';
import { askAboutWaiting } from '../harvest/ask-owners.ts';
import { everyList, type ListContext } from '../lists/list-context.ts';
import type { EvidenceCare } from '../revocation/keep-evidence.ts';
import { jumpOfClock } from './clock-jump.ts';
import { endingNotice, warnOfEnding } from './expiry-care.ts';
import { type HousekeepingParts, houseWork } from './housekeeping.ts';
import { careForListKeys, type KeyCareParts } from './key-expiry.ts';
import { type ReportParts, reportToOwners } from './owner-report.ts';
import { tellWaiting } from './tell-waiting.ts';

export interface CareParts extends HousekeepingParts, BestParts, JudgeParts, Omit<KeyCareParts, 'keyring'> {
  readonly keyring: KeyCareParts['keyring'] & ReportParts['keyring'];
  readonly findRecipients: ReportParts['findRecipients'];
  readonly evidence: Pick<EvidenceCare, 'keep'>;
  readonly wakeDelivery: () => void;
}

/** What `takeCare` did: how much of each piece of work, and what failed and why. */
export interface Cared {
  readonly counts: Readonly<Record<string, number>>;
  readonly failed: readonly { readonly work: string; readonly detail: string }[];
  /** When the clock jumped, if nothing was ended or forgotten by age for that; else null. */
  readonly jumpedTo: number | null;
}

/** A record of a warning is of no use when the certificate has long ended. */
const warningKeptMs = 90 * dayMs;

/**
 * All that the clock asks for and no mail: certificates that come in use or give way, what members, authors and owners
 * are to be told, then `houseWork`: an author is told of his post while it is not over. Each piece for itself: one that
 * fails is logged and keeps no other from its turn. The daemon does this each hour,
 * `reseal housekeeping` by hand.
 */
export async function takeCare(parts: CareParts): Promise<Cared> {
  const { database, clock, log } = parts;
  const { q } = database;
  const now = clock.now();
  const lists = await everyList(q, parts.defaults, (list, detail) =>
    log.warn('list-unreadable', { list, detail }),
  );
  const open = lists.filter((list) => list.open);
  const ofLists = async (work: (list: ListContext) => Promise<number>): Promise<number> => {
    let sum = 0;
    for (const list of lists) sum += await work(list);
    return sum;
  };
  const expiresAt = now + parts.lifetimeMs;
  const jumpedTo = await jumpOfClock(q, now);
  const isTimeSure = jumpedTo === null;
  if (jumpedTo !== null) log.event('clock-jumped', { detail: wordsOfJump(jumpedTo) });
  const failed: { work: string; detail: string }[] = [];
  const counts = await eachAlone(
    {
      replaced: () => replaceExpired(parts),
      released: () => database.write((tx) => releaseNowValid(tx, { now, expiresAt })),
      asked: () => askAboutWaiting(parts),
      waiting: () => tellWaiting(parts),
      ending: () => warnOfEnding(parts, open),
      keys: () => careForListKeys(parts, lists),
      refusals: () => judgeAllRefusals(parts),
      authors: () => ofLists((list) => tellAuthors(parts, list)),
      reports: () => ofLists((list) => reportToOwners(parts, list)),
      warnings: async () =>
        isTimeSure ? forgetNotices(q, { kind: endingNotice, before: now - warningKeptMs }) : 0,
      ...houseWork(parts, lists, { now, isTimeSure }),
      // Last: what is fetched may be long in coming.
      evidence: parts.evidence.keep,
    },
    (work, error) => {
      const failure = { work, detail: wordsOf(error) };
      failed.push(failure);
      log.error('housekeeping-failed', failure);
    },
  );
  log.event('housekeeping', counts);
  if (Object.values(counts).some((count) => count > 0)) parts.wakeDelivery();
  return { counts, failed, jumpedTo };
}

/** Of a jump of the clock, for the log and a person. */
export function wordsOfJump(jumpedTo: number): string {
  return `the clock went on for more than two hours without housekeeping, to ${new Date(jumpedTo).toISOString()}: it jumped, or nothing ran; nothing ends by age or is forgotten until half an hour later`;
}
