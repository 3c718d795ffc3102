import { wordsOf } from '../../base/errors.ts';
import { isLarge } from '../../smtp/large.ts';
import { claim, type DuePosting, duePostings, nextDueAt } from '../../store/deliveries.ts';
import { type SendParts, startBatches } from './send-batches.ts';

export interface DeliverParts extends SendParts {
  /** Holder of the rows that are claimed: node id and boot id. */
  readonly lease: string;
}

export interface Delivery {
  /** Rows may be due: look now. */
  wake(): void;
  /** Claims nothing more; resolves when the copies under way are answered and written down. */
  stop(): Promise<void>;
}

const batchSize = 100;
/** Postings that have a batch prepared or sent at a time. Each has its content in memory: of large ones there are few. */
const postingsAtATime = { small: 8, large: 2 };
/** Batches of one posting under way: in clear each is one transaction, which begins at once. */
const batchesOfPosting = 8;
/** Of them, those of which copies wait for their turn: one is prepared while the other is sent. A large copy gives time enough. */
const batchesAhead = { small: 2, large: 1 };
/** Of postings whose due copies all follow others (`claim`), so many are asked again each time, the longest due first. */
const followersAtATime = 8;
/** Longer than any attempt takes; rows of a dead daemon are freed at start, not by this. */
const leaseMs = 6 * 3_600_000;
/** At least so long between two looks at the table. */
const leastMs = 50;
/** How often it is looked at while copies are under way: they say themselves when there is room for more. */
const workingMs = 1000;
/** How often it is looked at without being woken. */
const idleMs = 60_000;
/** How long the table is left alone when it could not be read or written. */
const troubledMs = 5000;

/** A posting of which batches are under way. */
interface InWork {
  readonly posting: DuePosting;
  /** Batches under way. */
  batches: number;
  /** Of them, those of which copies wait for their turn. */
  ahead: number;
  /** Its last claim took as much as it may: more may be due, and is claimed when those copies begin. */
  isFull: boolean;
}

/**
 * Starts the delivery: postings with due rows take turns, a batch each; when the last copies of a batch begin, the next
 * one is claimed, of the same posting if no other waits. Then it waits for the next row's time.
 */
export function startDelivery(parts: DeliverParts): Delivery {
  /** Postings that wait for their turn, in that order. */
  const waiting = new Map<number, DuePosting>();
  const inWork = new Map<number, InWork>();
  /** Postings that were due and gave nothing: asking thousands again after each copy would take longer than the copies. */
  const following = new Set<number>();
  const underWay = new Set<Promise<void>>();
  let stopping = false;
  const batches = startBatches(parts, () => stopping);
  let claiming = false;
  let again = false;
  let mustLook = false;
  let claims: Promise<void> = Promise.resolve();
  let timer: NodeJS.Timeout | null = null;

  const go = (): void => {
    again = true;
    if (claiming || stopping) return;
    claiming = true;
    claims = claimUntilQuiet();
  };

  const look = (): void => {
    mustLook = true;
    go();
  };

  const claimUntilQuiet = async (): Promise<void> => {
    let troubled = false;
    while (again && !stopping && !troubled) {
      again = false;
      try {
        if (mustLook) await lookForDue();
        for (const posting of [...waiting.values()]) if (hasRoom(posting)) await claimOf(posting);
      } catch (error) {
        parts.log.error('delivery-failed', { detail: wordsOf(error) });
        mustLook = true;
        troubled = true;
      }
    }
    // In the same turn as the question above: a wake in between would be lost.
    claiming = false;
    await rest(troubled);
  };

  const lookForDue = async (): Promise<void> => {
    mustLook = false;
    const due = await duePostings(parts.database.q, { now: parts.clock.now(), node: parts.node });
    const ids = new Set(due.map((one) => one.postingId));
    for (const id of following) if (!ids.has(id)) following.delete(id);
    let followers = 0;
    for (const one of due) {
      const own = inWork.get(one.postingId);
      if (own?.isFull && own.ahead > 0) continue;
      if (following.has(one.postingId) && ++followers > followersAtATime) continue;
      waiting.set(one.postingId, one);
    }
  };

  const hasRoom = (posting: DuePosting): boolean => {
    const { postingId } = posting;
    const size = isLarge(posting.octets) ? 'large' : 'small';
    const own = inWork.get(postingId);
    if (stopping || (own && own.batches >= batchesOfPosting)) return false;
    if (own && own.ahead > 0) return own.ahead < batchesAhead[size];
    const alike = [...inWork.values()].filter(
      (one) => one.ahead > 0 && isLarge(one.posting.octets) === isLarge(posting.octets),
    );
    // A list that is flooded takes no more than half of what there is.
    const ofList = alike.filter((one) => one.posting.listId === posting.listId);
    return alike.length < postingsAtATime[size] && ofList.length < postingsAtATime[size] / 2;
  };

  const claimOf = async (posting: DuePosting): Promise<void> => {
    const { postingId } = posting;
    const now = parts.clock.now();
    const rows = await claim(parts.database.q, {
      postingId,
      lease: parts.lease,
      now,
      limit: batchSize,
      leaseMs,
    });
    waiting.delete(postingId);
    const own = inWork.get(postingId) ?? { posting, batches: 0, ahead: 0, isFull: false };
    own.isFull = rows.length === batchSize;
    if (rows.length === 0) {
      following.add(postingId);
      return;
    }
    following.delete(postingId);
    inWork.set(postingId, own);
    own.batches++;
    own.ahead++;
    const goOn = (): void => {
      if (own.isFull) waiting.set(postingId, posting);
      go();
    };
    let isSpare = false;
    const spare = (): void => {
      if (isSpare) return;
      isSpare = true;
      own.ahead--;
      goOn();
    };
    const work: Promise<void> = batches.deliver(postingId, rows, { begun: goOn, spare }).finally(() => {
      underWay.delete(work);
      if (--own.batches === 0) inWork.delete(postingId);
      spare();
      // The end of a posting may have queued a report.
      look();
    });
    underWay.add(work);
  };

  const rest = async (troubled: boolean): Promise<void> => {
    const wait = underWay.size > 0 && !troubled ? workingMs : await untilDue(troubled ? troubledMs : leastMs);
    if (stopping) return;
    if (timer) clearTimeout(timer);
    timer = setTimeout(look, wait);
    timer.unref();
  };

  const untilDue = async (atLeastMs: number): Promise<number> => {
    // A table that cannot be read now is looked at again after `idleMs`.
    const next = stopping ? null : await nextDueAt(parts.database.q).catch(() => null);
    return next === null ? idleMs : Math.min(Math.max(next - parts.clock.now(), atLeastMs), idleMs);
  };

  return {
    wake: look,
    async stop() {
      stopping = true;
      if (timer) clearTimeout(timer);
      // What is being claimed becomes a batch under way, which gives its rows back.
      await claims;
      while (underWay.size > 0) await Promise.all(underWay);
    },
  };
}
