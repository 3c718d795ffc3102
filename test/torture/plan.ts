import type { Random } from '../fuzz/random.ts';
import { moods } from './relay.ts';
import type { DiskTrouble, Order } from './victim.ts';

/** How a round's daemon ends, or what it has to live through. */
export type Fault =
  | { readonly kind: 'kill-at'; readonly order: Order }
  | { readonly kind: 'kill-after'; readonly ms: number }
  | { readonly kind: 'terminate'; readonly ms: number }
  | { readonly kind: 'end-worker'; readonly order: Order }
  | { readonly kind: 'disk'; readonly trouble: DiskTrouble };

export interface Round {
  readonly fault: Fault;
  /** Name of the relay's mood. */
  readonly mood: string | null;
  readonly posts: number;
  readonly sessions: number;
  readonly withWide: boolean;
  readonly withLarge: boolean;
  readonly joins: boolean;
  readonly retries: boolean;
  readonly hourMs: number;
  /** Whether earlier deaths count against what was in work: it is parked after three. */
  readonly remembers: boolean;
}

/** Points that are met at every start; others are learnt from what daemons met. */
const firstPoints = ['before fsync spool/tmp/*', 'after rename to spool/incoming/*', 'before 250'];

/** Moments that come rarely must not be waited for long. */
const most = 8;

/** What happens in a round. `seen` are the points that were met so far; `least` those that were killed at least often. */
export function planRound(random: Random, seen: readonly string[], least: readonly string[]): Round {
  const fault = planFault(random, seen, least);
  return {
    fault,
    // A relay that was found down is left alone for a while: then nobody could say that the disk's trouble is over.
    mood: random.once(4) && fault.kind !== 'disk' ? random.pick(Object.keys(moods)) : null,
    posts: 4 + random.below(6),
    sessions: 2 + random.below(4),
    withWide: random.once(12),
    withLarge: random.once(6),
    joins: random.once(4),
    retries: random.once(2),
    hourMs: 200 + random.below(2000),
    remembers: random.once(4),
  };
}

function planFault(random: Random, seen: readonly string[], least: readonly string[]): Fault {
  const points = seen.length > 0 ? seen : firstPoints;
  const nth = 1 + random.below(random.once(3) ? most : 2);
  const draw = random.below(100);
  if (draw < 72) {
    const point = random.pick(least.length > 0 && !random.once(3) ? least : points);
    return { kind: 'kill-at', order: { point, nth, act: 'kill' } };
  }
  if (draw < 78) return { kind: 'kill-after', ms: random.below(3000) };
  if (draw < 84) return { kind: 'terminate', ms: random.below(3000) };
  if (draw < 90) {
    const jobs = points.filter((point) => / job | worker$/.test(point));
    const point = random.pick(jobs.length > 0 ? jobs : ['before job open']);
    return { kind: 'end-worker', order: { point, nth, act: 'end-worker' } };
  }
  return { kind: 'disk', trouble: random.pick(['full', 'full', 'fsync', 'log'] as const) };
}

/** A fault in words, for reports. */
export function wordsOfFault(fault: Fault): string {
  switch (fault.kind) {
    case 'kill-at':
      return `kill -9 ${fault.order.point} (${fault.order.nth})`;
    case 'kill-after':
      return `kill -9 after ${fault.ms} ms`;
    case 'terminate':
      return `SIGTERM after ${fault.ms} ms`;
    case 'end-worker':
      return `worker ended ${fault.order.point} (${fault.order.nth})`;
    case 'disk':
      return { full: 'disk full', fsync: 'fsync fails', log: "fdatasync of the database's log fails" }[
        fault.trouble
      ];
  }
}
