import { dayMs } from '../base/day.ts';
import { wordsOf } from '../base/errors.ts';
import { forgetNotices } from '../store/notices.ts';
import { tellAuthors } from './author-summary.ts';
import { endingNotice, warnOfEnding } from './expiry-care.ts';
import { everyList, type SiteDefaults } from './list-context.ts';
import { type ReportParts, reportToOwners } from './owner-report.ts';
import { releaseNowValid } from './release.ts';
import { tellWaiting } from './tell-waiting.ts';

export interface CareParts extends ReportParts {
  readonly defaults: SiteDefaults;
  readonly wakeDelivery: () => void;
}

/** A record of a warning is of no use when the certificate has long ended. */
const warningKeptMs = 90 * dayMs;

/**
 * What members, authors and owners are told by the clock and not because a mail came: copies that wait, certificates
 * that end, reports. Each part for itself: one that fails is logged and keeps no other from its turn. Before
 * `keepHouse`, which ends what waits: an author is told of his post while it is not over.
 */
export async function takeCare(parts: CareParts): Promise<void> {
  const { database, clock, log } = parts;
  const now = clock.now();
  const lists = await everyList(database.q, parts.defaults, (list, detail) =>
    log.warn('list-unreadable', { list, detail }),
  );
  const open = lists.filter((list) => list.open);
  const guarded = async (work: string, run: () => Promise<number>): Promise<number> => {
    try {
      return await run();
    } catch (error) {
      log.error('care-failed', { work, detail: wordsOf(error) });
      return 0;
    }
  };
  const ofLists = async (work: (list: (typeof lists)[number]) => Promise<number>): Promise<number> => {
    let sum = 0;
    for (const list of lists) sum += await work(list);
    return sum;
  };
  const expiresAt = now + parts.lifetimeMs;
  const done = {
    released: await guarded('release', () => database.write((tx) => releaseNowValid(tx, { now, expiresAt }))),
    waiting: await guarded('waiting', () => tellWaiting(parts)),
    ending: await guarded('ending', () => warnOfEnding(parts, open)),
    authors: await guarded('authors', () => ofLists((list) => tellAuthors(parts, list))),
    reports: await guarded('reports', () => ofLists((list) => reportToOwners(parts, list))),
  };
  await forgetNotices(database.q, { kind: endingNotice, before: now - warningKeptMs });
  log.event('care', done);
  if (Object.values(done).some((count) => count > 0)) parts.wakeDelivery();
}
