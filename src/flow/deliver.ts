import { wordsOf } from '../base/errors.ts';
import { claim, nextDueAt } from '../store/deliveries.ts';
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
/** Batches prepared beside each other, of different postings: a slow one does not hold up the others. */
const batchesAtATime = 3;
/** Longer than any attempt takes; rows of a dead daemon are freed at start, not by this. */
const leaseMs = 6 * 3_600_000;
/** How often the table is looked at without being woken. */
const idleMs = 60_000;
/** How long the table is left alone when it could not be read or written. */
const troubledMs = 5000;

/** Starts the delivery: claims batches of due rows as long as there are any, then waits for the next one's time. */
export function startDelivery(parts: DeliverParts): Delivery {
  const underWay = new Map<number, Promise<void>>();
  let stopping = false;
  const batches = startBatches(parts, () => stopping);
  let claiming = false;
  let again = false;
  let claims: Promise<void> = Promise.resolve();
  let timer: NodeJS.Timeout | null = null;

  const look = (): void => {
    if (claiming) {
      again = true;
      return;
    }
    claiming = true;
    claims = claimUntilQuiet();
  };

  const claimUntilQuiet = async (): Promise<void> => {
    let troubled = false;
    do {
      again = false;
      try {
        await claimWhilePossible();
      } catch (error) {
        parts.log.error('delivery-failed', { detail: wordsOf(error) });
        again = false;
        troubled = true;
      }
    } while (again && !stopping);
    // In the same turn as the question above: a wake in between would be lost.
    claiming = false;
    await rest(troubled ? troubledMs : 50);
  };

  const claimWhilePossible = async (): Promise<void> => {
    while (!stopping && underWay.size < batchesAtATime) {
      const rows = await claim(parts.database.q, {
        lease: parts.lease,
        now: parts.clock.now(),
        limit: batchSize,
        leaseMs,
        notPostings: [...underWay.keys()],
        node: parts.node,
      });
      const postingId = rows[0]?.postingId;
      if (postingId === undefined) return;
      const work = batches.deliver(postingId, rows).finally(() => {
        underWay.delete(postingId);
        look();
      });
      underWay.set(postingId, work);
    }
  };

  const rest = async (atLeastMs: number): Promise<void> => {
    if (stopping || underWay.size >= batchesAtATime) return;
    // A table that cannot be read now is looked at again after `idleMs`.
    const next = await nextDueAt(parts.database.q).catch(() => null);
    if (stopping) return;
    if (timer) clearTimeout(timer);
    const wait = next === null ? idleMs : Math.min(Math.max(next - parts.clock.now(), atLeastMs), idleMs);
    timer = setTimeout(look, wait);
    timer.unref();
  };

  return {
    wake: () => {
      if (!stopping) look();
    },
    async stop() {
      stopping = true;
      if (timer) clearTimeout(timer);
      // What is being claimed becomes a batch under way, which gives its rows back.
      await claims;
      while (underWay.size > 0) await Promise.all(underWay.values());
      await batches.end();
    },
  };
}
