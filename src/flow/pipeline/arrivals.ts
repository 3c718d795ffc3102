import { setTimeout as pause } from 'node:timers/promises';
import type { Arrival } from './intake.ts';

/** Messages that were just answered with 250. */
export interface Arrivals {
  add(arrival: Arrival): void;
  /** Whether it is still to be taken in: the look at `incoming` leaves it alone. */
  has(id: string): boolean;
  /** Resolves when none is left. */
  done(): Promise<void>;
}

/** Messages whose intake shares a transaction: readers wait while it is open. */
export const mostTogether = 20;
/** How long the intake waits, after one that came alone, for others to share the next transaction. */
const gatherMs = 10;

/**
 * Has arrivals taken in by `takeIn`, which must not reject: those that come while it works are its next group. `giveWay` is
 * awaited before each group.
 */
export function openArrivals(
  takeIn: (group: readonly Arrival[]) => Promise<void>,
  giveWay: () => Promise<void>,
): Arrivals {
  const arrived: Arrival[] = [];
  const ids = new Set<string>();
  let isTakingIn = false;
  let work = Promise.resolve();

  const takeAllIn = async (): Promise<void> => {
    isTakingIn = true;
    while (arrived.length > 0) {
      await giveWay();
      const group = arrived.splice(0, mostTogether);
      const others = pause(arrived.length > 0 ? 0 : gatherMs);
      await takeIn(group);
      for (const { id } of group) ids.delete(id);
      await others;
    }
    // Not by a promise's `finally`, which comes later: what arrives in between would stay.
    isTakingIn = false;
  };

  return {
    add(arrival) {
      ids.add(arrival.id);
      arrived.push(arrival);
      if (!isTakingIn) work = takeAllIn();
    },
    has: (id) => ids.has(id),
    async done() {
      while (isTakingIn) await work;
    },
  };
}
