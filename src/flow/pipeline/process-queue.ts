import { wordsOf } from '../../base/errors.ts';
import { judgeAgain } from '../../store/judge-again.ts';
import { dueMessages, retryUnopened } from '../../store/messages.ts';
import { changesCounter } from '../../store/meta.ts';
import { releaseHeld } from '../../store/outcomes.ts';
import { postingsIn } from '../../store/postings.ts';
import { type MissingReason, missingReasons } from '../certificates/member-certificate.ts';
import type { FlowParts } from '../decision/posting-work.ts';
import { fanOut } from './fan-out.ts';
import { type Arrival, type IntakeParts, intake } from './intake.ts';
import { processMessage } from './pipeline.ts';

/** The way from the spool to the fan-out, for many messages at a time. */
export interface ProcessQueue {
  /** Takes in a message that was just answered with 250; `refused` addresses were told no in the session. */
  accept(spoolId: string, refused: readonly string[]): void;
  /** Looks at once for what a command, a crash or time left to do. */
  look(): Promise<void>;
  /** Keys or authorities may have changed: what could not be opened or verified is tried again. */
  reload(): Promise<void>;
  /** Begins nothing more; resolves when the messages in work are done. */
  stop(): Promise<void>;
}

/** What no key, authority or setting of the list changes. */
const ofMembers: ReadonlySet<MissingReason> = new Set([
  'no-certificate',
  'expired',
  'not-yet-valid',
  'wrong-usage',
]);

const tickMs = 1000;
const atOnceFromTable = 200;
/** Messages whose intake shares a transaction: readers wait while it is open. */
const arrivalsTogether = 20;

/** Starts processing. `atOnce` messages at a time; each is its own, so one that fails delays no other (promise 4). */
export function startProcessing(
  parts: FlowParts & { readonly intake: IntakeParts },
  d: { atOnce: number },
): ProcessQueue {
  const waiting: string[] = [];
  const known = new Set<string>();
  const working = new Set<Promise<void>>();
  /** Ids whose intake this process does itself: the look at `incoming` leaves them alone. */
  const accepting = new Set<string>();
  let stopping = false;
  let looking: Promise<void> | null = null;
  let changes: { readonly keys: number; readonly rest: number } | null = null;

  const track = (work: Promise<void>): void => {
    const tracked = work.finally(() => working.delete(tracked));
    working.add(tracked);
  };

  const take = (id: string): void => {
    if (known.has(id) || stopping) return;
    known.add(id);
    waiting.push(id);
    begin();
  };

  let busy = 0;
  const begin = (): void => {
    while (busy < d.atOnce && !stopping) {
      const id = waiting.shift();
      if (id === undefined) return;
      busy++;
      track(
        guarded('processing-failed', id, () => processMessage(parts, id)).then(() => {
          busy--;
          known.delete(id);
          begin();
        }),
      );
    }
  };

  const guarded = async (event: string, id: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      // The row is unchanged or says what failed; the next look finds it again.
      parts.log.error(event, { id, detail: wordsOf(error) });
    }
  };

  const arrived: Arrival[] = [];
  let takingIn = false;
  const takeAllIn = async (): Promise<void> => {
    takingIn = true;
    while (arrived.length > 0) {
      const group = arrived.splice(0, arrivalsTogether);
      try {
        await intake(parts.intake, group);
      } catch {
        // What is wrong with one must not keep the others out.
        for (const one of group) await guarded('intake-failed', one.id, () => intake(parts.intake, [one]));
      }
      for (const { id } of group) {
        accepting.delete(id);
        take(id);
      }
    }
    takingIn = false;
  };

  const lookOnce = async (): Promise<void> => {
    const { q } = parts.database;
    const seen = { keys: await changesCounter(q, 'keys'), rest: await changesCounter(q, 'rest') };
    if (changes !== null && seen.keys !== changes.keys) await reload();
    // A certificate, a retry, a membership: copies may be due.
    if (changes !== null && seen.rest !== changes.rest) parts.wakeDelivery();
    changes = seen;
    for (const id of await parts.spool.incoming())
      if (!accepting.has(id) && !known.has(id)) {
        await guarded('intake-failed', id, () => intake(parts.intake, [{ id, refused: [] }]));
        take(id);
      }
    for (const message of await dueMessages(q, parts.node, parts.clock.now(), atOnceFromTable))
      take(message.id);
    for (const posting of await postingsIn(q, ['fanning-out'], atOnceFromTable)) {
      if (known.has(posting.messageId)) continue;
      await guarded('fan-out-failed', posting.messageId, () => fanOut(parts, posting, parts.clock.now()));
    }
  };

  const look = (): Promise<void> => {
    looking ??= guarded('look-failed', '', lookOnce).finally(() => {
      looking = null;
    });
    return looking;
  };

  const reload = async (): Promise<void> => {
    parts.keyring.reload();
    const now = parts.clock.now();
    await retryUnopened(parts.database.q, now);
    await parts.database.write(async (tx) => {
      await judgeAgain(tx, { now });
      await releaseHeld(tx, {
        // Which settings decide about these is of no matter: what waits still waits again.
        reasons: ['key-locked', 'trust-unreadable', ...missingReasons.filter((one) => !ofMembers.has(one))],
        now,
        expiresAt: now + parts.lifetimeMs,
        why: 'keys and authorities were read again',
      });
    });
    parts.wakeDelivery();
  };

  const timer = setInterval(() => void look(), tickMs);
  return {
    accept(id, refused) {
      accepting.add(id);
      arrived.push({ id, refused });
      if (!takingIn) track(takeAllIn());
    },
    look,
    reload,
    async stop() {
      stopping = true;
      clearInterval(timer);
      await looking;
      while (working.size > 0) await Promise.all(working);
    },
  };
}
