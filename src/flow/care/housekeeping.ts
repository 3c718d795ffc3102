import { dayMs } from '../../base/day.ts';
import { removeTemporary } from '../../base/files.ts';
import type { Log } from '../../base/log.ts';
import { longestDelayMs } from '../../policy/retry.ts';
import type { Database } from '../../store/database.ts';
import { bringBack, freeExpiredLeases } from '../../store/deliveries.ts';
import { forgetLedger } from '../../store/ledger.ts';
import { bringBackMessages, forgetMessages, markRemoved, messagesToClean } from '../../store/messages.ts';
import { forgetReplies } from '../../store/notices.ts';
import { expireDue } from '../../store/outcomes.ts';
import { expirePostings } from '../../store/postings.ts';
import { forgetRefusals } from '../../store/refusals.ts';
import { forgetSignatures } from '../../store/signatures.ts';
import type { Spool } from '../../store/spool.ts';
import { forgetStarts } from '../../store/starts.ts';
import { forgetTokens } from '../../store/tokens.ts';
import { type EndParts, endPostings } from '../delivery/failure-report.ts';
import type { ListContext } from '../lists/list-context.ts';
import { endQuarantine } from '../pipeline/quarantine.ts';

export interface HousekeepingParts extends EndParts {
  readonly database: Database;
  readonly spool: Spool;
  readonly log: Log;
  readonly node: string;
  /** The certificate directory. */
  readonly certificates: string;
  /** How long a copy is tried, ms. */
  readonly lifetimeMs: number;
  /** How long finished rows are kept, ms. */
  readonly retentionMs: number;
  /** How long a message stays in quarantine, ms. */
  readonly quarantineMs: number;
}

const batch = 500;
/** No file takes longer to write: a temporary one that is older is nobody's. */
const writtenWithinMs = 60_000;
/** The longest that `bounce.days` can be. */
const longestBounceMs = 365 * dayMs;

/**
 * The work that ends what waited too long and forgets what is over, in order: held copies past their time, posts that no
 * moderator answered, what stayed in quarantine, leases of attempts that nobody wrote down, copies put off by a clock that
 * was ahead, postings that are over, files that serve nothing any more, rows and ledger beyond `retention`. Each piece gives
 * how much. Unless `isTimeSure` (`jumpOfClock`) nothing ends, is freed or forgotten by its age at `now`: the time that was
 * judged, for the clock may have jumped since.
 */
export function houseWork(
  parts: HousekeepingParts,
  lists: readonly ListContext[],
  { now, isTimeSure }: { readonly now: number; readonly isTimeSure: boolean },
) {
  const { database, spool, node } = parts;
  const before = now - parts.retentionMs;
  const byAge = (work: () => Promise<number>) => (isTimeSure ? work : async () => 0);
  return {
    expired: byAge(async () => {
      let sum = 0;
      for (let rows = batch; rows === batch; sum += rows)
        rows = (await database.write((tx) => expireDue(tx, { now, limit: batch }))).length;
      return sum;
    }),
    unmoderated: byAge(async () => {
      let sum = 0;
      for (const { id: listId, policy } of lists) {
        const d = { listId, before: now - policy['held.days'] * dayMs, at: now };
        sum += await database.write((tx) => expirePostings(tx, d));
      }
      return sum;
    }),
    temporary: async () => {
      // What a killed `inject` left; no client takes a day for a message.
      if (isTimeSure) await spool.cleanTmp(now - dayMs);
      return removeTemporary(parts.certificates, writtenWithinMs);
    },
    quarantine: byAge(() => endQuarantine(parts, { now, keptMs: parts.quarantineMs })),
    leases: byAge(() => freeExpiredLeases(database.q, now)),
    broughtBack: async () => {
      const d = { now, latest: now + longestDelayMs, expiresBy: now + parts.lifetimeMs };
      return (await bringBack(database.q, d)) + (await bringBackMessages(database.q, d));
    },
    ended: () => endPostings(parts),
    removed: byAge(async () => {
      for (let sum = 0; ; ) {
        const ids = await messagesToClean(database.q, { node, before: now, limit: batch });
        for (const id of ids) {
          await spool.remove(id);
          await markRemoved(database.q, id, now);
        }
        sum += ids.length;
        if (ids.length < batch) return sum;
      }
    }),
    forgotten: byAge(async () => {
      const replayDays = Math.max(30, ...lists.map((list) => list.policy['replay.days']));
      await forgetSignatures(database.q, now - replayDays * dayMs);
      await forgetRefusals(database.q, now - longestBounceMs);
      await forgetReplies(database.q, now - dayMs);
      await forgetStarts(database.q, before);
      await forgetTokens(database.q, now);
      let sum = 0;
      for (let rows = batch; rows === batch; sum += rows)
        rows = await forgetMessages(database.q, { before, limit: batch });
      for (let rows = batch; rows === batch; )
        rows = await database.write((tx) => forgetLedger(tx, { before, limit: batch }));
      return sum;
    }),
  } satisfies Record<string, () => Promise<number>>;
}
