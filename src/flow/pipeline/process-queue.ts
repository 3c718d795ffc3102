import { wordsOf } from '../../base/errors.ts';
import { openGiveWay } from '../../base/give-way.ts';
import { chunksOf } from '../../store/chunks.ts';
import { judgeAgain } from '../../store/judge-again.ts';
import { dueMessages, retryUnopened } from '../../store/messages.ts';
import { changesCounter } from '../../store/meta.ts';
import { releaseHeld } from '../../store/outcomes.ts';
import { postingsIn } from '../../store/postings.ts';
import { type MissingReason, missingReasons } from '../certificates/member-certificate.ts';
import type { FlowParts } from '../decision/posting-work.ts';
import { mostTogether, openArrivals } from './arrivals.ts';
import { atOnce } from './at-once.ts';
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

/** Starts processing. `atOnce` messages at a time; each is its own, so one that fails delays no other. */
export function startProcessing(
  parts: FlowParts & { readonly intake: IntakeParts },
  d: { atOnce: number },
): ProcessQueue {
  let looking: Promise<void> | null = null;
  let changes: { readonly keys: number; readonly rest: number } | null = null;

  const guarded = async (event: string, id: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      // The row is unchanged or says what failed; the next look finds it again.
      parts.log.error(event, { id, detail: wordsOf(error) });
    }
  };
  const giveWay = openGiveWay();
  const messages = atOnce(d.atOnce, (id) =>
    guarded('processing-failed', id, async () => {
      // Clients that wait for their 250 come first.
      await giveWay();
      await processMessage(parts, id);
    }),
  );
  const takeIn = async (group: readonly Arrival[]): Promise<void> => {
    try {
      await intake(parts.intake, group);
    } catch {
      // What is wrong with one must not keep the others out.
      for (const one of group) await guarded('intake-failed', one.id, () => intake(parts.intake, [one]));
    }
    for (const { id } of group) messages.take(id);
  };
  const arrivals = openArrivals(takeIn, giveWay);

  const lookOnce = async (): Promise<void> => {
    const { q } = parts.database;
    const seen = { keys: await changesCounter(q, 'keys'), rest: await changesCounter(q, 'rest') };
    if (changes !== null && seen.keys !== changes.keys) await tryAgain(parts);
    // A certificate, a retry, a membership: copies may be due.
    if (changes !== null && seen.rest !== changes.rest) parts.wakeDelivery();
    changes = seen;
    const left = (await parts.spool.incoming()).filter((id) => !arrivals.has(id) && !messages.has(id));
    for (const group of chunksOf(left, mostTogether)) await takeIn(group.map((id) => ({ id, refused: [] })));
    for (const message of await dueMessages(q, parts.node, parts.clock.now(), atOnceFromTable))
      messages.take(message.id);
    for (const posting of await postingsIn(q, ['fanning-out'], atOnceFromTable)) {
      if (messages.has(posting.messageId)) continue;
      await guarded('fan-out-failed', posting.messageId, () => fanOut(parts, posting, parts.clock.now()));
    }
  };

  const look = (): Promise<void> => {
    looking ??= guarded('look-failed', '', lookOnce).finally(() => {
      looking = null;
    });
    return looking;
  };

  const timer = setInterval(() => void look(), tickMs);
  return {
    accept: (id, refused) => arrivals.add({ id, refused }),
    look,
    reload: () => tryAgain(parts),
    async stop() {
      clearInterval(timer);
      const ended = messages.stop();
      await looking;
      await arrivals.done();
      await ended;
    },
  };
}

/** Reads keys and authorities again, and tries what they may have kept from being opened, verified or sealed. */
async function tryAgain(parts: FlowParts): Promise<void> {
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
}
