import type { Clock } from '../base/clock.ts';
import { dayMs } from '../base/day.ts';
import type { Log } from '../base/log.ts';
import type { Database } from '../store/database.ts';
import { freeExpiredLeases } from '../store/deliveries.ts';
import { forgetLedger } from '../store/ledger.ts';
import { forgetMessages, markRemoved, messagesToClean } from '../store/messages.ts';
import { forgetReplies } from '../store/notices.ts';
import { expireDue } from '../store/outcomes.ts';
import { expirePostings, finishIdlePostings } from '../store/postings.ts';
import { forgetSignatures } from '../store/signatures.ts';
import type { Spool } from '../store/spool.ts';
import { forgetStarts } from '../store/starts.ts';
import { careForListKeys, type KeyCareParts } from './key-expiry.ts';
import { everyList, type SiteDefaults } from './list-context.ts';
import { endQuarantine } from './quarantine.ts';

export interface HousekeepingParts extends KeyCareParts {
  readonly database: Database;
  readonly spool: Spool;
  readonly clock: Clock;
  readonly log: Log;
  readonly defaults: SiteDefaults;
  readonly node: string;
  /** How long finished rows are kept, ms. */
  readonly retentionMs: number;
  /** How long a message stays in quarantine, ms. */
  readonly quarantineMs: number;
}

const batch = 500;

/**
 * Ends what waited too long and forgets what is over: held and deferred copies past their time, posts that no
 * moderator answered, what stayed in quarantine, leases of attempts that nobody wrote down, spool files that serve nothing any more, rows and
 * ledger beyond `retention`.
 */
export async function keepHouse(parts: HousekeepingParts): Promise<void> {
  const { database, spool, node } = parts;
  const now = parts.clock.now();
  let expired = 0;
  for (let rows = batch; rows === batch; expired += rows)
    rows = (await database.write((tx) => expireDue(tx, { now, limit: batch }))).length;
  const lists = await everyList(database.q, parts.defaults, (list, detail) =>
    parts.log.warn('list-unreadable', { list, detail }),
  );
  for (const list of lists) {
    const before = now - list.policy['held.days'] * dayMs;
    await database.write((tx) => expirePostings(tx, { listId: list.id, before, at: now }));
  }
  expired += await endQuarantine(parts, { now, keptMs: parts.quarantineMs });
  await careForListKeys(parts, lists);
  await freeExpiredLeases(database.q, now);
  await finishIdlePostings(database.q);
  let removed = 0;
  for (;;) {
    const ids = await messagesToClean(database.q, { node, before: now, limit: batch });
    for (const id of ids) {
      await spool.remove(id);
      await markRemoved(database.q, id, now);
    }
    removed += ids.length;
    if (ids.length < batch) break;
  }
  const before = now - parts.retentionMs;
  const replayDays = Math.max(30, ...lists.map((list) => list.policy['replay.days']));
  await forgetSignatures(database.q, now - replayDays * dayMs);
  await forgetReplies(database.q, now - dayMs);
  await forgetStarts(database.q, before);
  while ((await forgetMessages(database.q, { before, limit: batch })) === batch);
  while ((await database.write((tx) => forgetLedger(tx, { before, limit: batch }))) === batch);
  parts.log.event('housekeeping', { expired, removed });
}
