import type { Random } from '../fuzz/random.ts';
import { canFail } from '../kit/failing-disk.ts';
import { moods } from './relay.ts';
import type { DiskTrouble, Order } from './victim.ts';

/** How a round's daemon ends, or what it has to live through. */
export type Fault =
  | { readonly kind: 'kill-at'; readonly order: Order }
  | { readonly kind: 'kill-after'; readonly ms: number }
  | { readonly kind: 'terminate'; readonly ms: number; readonly order: Order | null }
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
  /** If the daemon is killed, what was not made durable goes with it. */
  readonly powerCut: boolean;
  /** How much time goes by before the daemon starts: what waited for it is due, and deaths of long ago park nothing. */
  readonly passesMs: number;
  readonly hourMs: number;
}

const minuteMs = 60_000;
/** Moments that come rarely must not be waited for long. */
const most = 8;

/** What is known of the points so far, each by its name. */
export interface Known {
  /** Those that daemons met. */
  readonly seen: readonly string[];
  /** Those that daemons died at. */
  readonly killedAt: readonly string[];
}

/** What happens in a round. */
export function planRound(random: Random, known: Known): Round {
  const fault = planFault(random, known);
  return {
    fault,
    // A relay that was found down is left alone for a while: then nobody could say that the disk's trouble is over.
    mood: random.once(4) && fault.kind !== 'disk' ? random.pick(Object.keys(moods)) : null,
    posts: 4 + random.below(6),
    sessions: 2 + random.below(4),
    withWide: random.once(12),
    withLarge: random.once(6),
    joins: random.once(4),
    powerCut: random.once(3) && fault.kind !== 'disk',
    passesMs: random.pick([0, 2, 6, 61]) * minuteMs,
    hourMs: 200 + random.below(2000),
  };
}

function planFault(random: Random, { seen, killedAt }: Known): Fault {
  const draw = random.below(100);
  if (draw < 72) return { kind: 'kill-at', order: planKill(random, { seen, killedAt }) };
  if (draw < 78) return { kind: 'kill-after', ms: random.below(3000) };
  if (draw < 84) {
    // What is met only while it stops is found here.
    const order = random.once(2) ? ({ spared: killedAt, act: 'kill' } as const) : null;
    return { kind: 'terminate', ms: random.below(3000), order };
  }
  if (draw < 90) {
    const jobs = seen.filter((point) => / job | worker$/.test(point));
    const point = random.pick(jobs.length > 0 ? jobs : ['before job open']);
    return { kind: 'end-worker', order: { point, nth: nthOf(random), act: 'end-worker' } };
  }
  return {
    kind: 'disk',
    trouble: random.pick(['full', 'full', 'fsync', 'log', ...(canFail ? (['io'] as const) : [])] as const),
  };
}

/** At the first new point that it meets; at one that was met and not died at yet; or at any, under load. */
function planKill(random: Random, { seen, killedAt }: Known): Order {
  // The first are those of a start; with nothing but them there would be no load for long.
  const hunts = killedAt.length > 40 ? !random.once(4) : random.once(2);
  if (hunts) return { spared: killedAt, act: 'kill' };
  const fresh = seen.filter((point) => !killedAt.includes(point));
  if (fresh.length > 0 && !random.once(3)) return { point: random.pick(fresh), nth: 1, act: 'kill' };
  return { point: random.pick(seen.length > 0 ? seen : ['before 250']), nth: nthOf(random), act: 'kill' };
}

const nthOf = (random: Random): number => 1 + random.below(random.once(3) ? most : 2);

/** A fault in words, for reports. */
export function wordsOfFault(fault: Fault): string {
  switch (fault.kind) {
    case 'kill-at':
      return `kill -9 ${wordsOfOrder(fault.order)}`;
    case 'kill-after':
      return `kill -9 after ${fault.ms} ms`;
    case 'terminate':
      return `SIGTERM after ${fault.ms} ms${fault.order ? `, kill -9 ${wordsOfOrder(fault.order)}` : ''}`;
    case 'end-worker':
      return `worker ended ${wordsOfOrder(fault.order)}`;
    case 'disk':
      return {
        full: 'disk full',
        fsync: 'fsync fails',
        log: "fdatasync of the database's log fails",
        io: 'the database cannot be written',
      }[fault.trouble];
  }
}

const wordsOfOrder = (order: Order): string =>
  'spared' in order ? 'at the first new point' : `${order.point} (${order.nth})`;
