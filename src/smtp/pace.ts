import { notSent, type Outcome } from './outcome.ts';

/** How fast copies may be given to a relay: a bucket that fills evenly and holds what is due in a tenth of a second. */
export interface Pace {
  /** How long until another copy may go, in ms; 0 if it may now. */
  waitMs(): number;
  /** Counts copies that go. */
  count(copies: number): void;
  /**
   * Null if a copy that comes behind `waiting` others has its turn within `lineMs`; else its answer: what waits in line keeps
   * a batch from its end. Each is told a later time to come back, so that they do not come together.
   */
  turnsAway(waiting: number, lineMs: number): Outcome | null;
}

const noLimit: Pace = { waitMs: () => 0, count: () => {}, turnsAway: () => null };
const burstMs = 100;

/** A pace of so many copies a minute; null for no limit. */
export function makePace(perMinute: number | null, now: () => number = () => performance.now()): Pace {
  if (perMinute === null) return noLimit;
  const intervalMs = 60_000 / perMinute;
  const most = Math.max(1, burstMs / intervalMs);
  let tokens = most;
  let filledAt = now();
  let promisedAt = 0;
  const fill = (): void => {
    const at = now();
    tokens = Math.min(most, tokens + (at - filledAt) / intervalMs);
    filledAt = at;
  };
  return {
    waitMs() {
      fill();
      // Timers may be early by a part of a millisecond.
      return tokens >= 1 ? 0 : Math.ceil((1 - tokens) * intervalMs) + 1;
    },
    count(copies) {
      fill();
      tokens -= copies;
    },
    turnsAway(waiting, lineMs) {
      fill();
      const ahead = waiting + 1 - tokens;
      if (waiting === 0 || ahead * intervalMs <= lineMs) return null;
      promisedAt = Math.max(promisedAt, now() + lineMs) + intervalMs;
      const afterMs = Math.round(promisedAt - now());
      return {
        ...notSent('deferred', '4.3.2', 'the relay has as many copies as relay.rate allows'),
        afterMs,
      };
    },
  };
}
