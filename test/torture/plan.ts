import type { Random } from '../fuzz/random.ts';
import { canFail } from '../kit/failing-disk.ts';
import { moods } from './relay.ts';
import { type SpecialKind, specialKinds } from './special.ts';
import type { DatabaseMoment, DiskTrouble, Kill, Order } from './victim.ts';

/** How a round's daemon ends, or what it has to live through. */
export type Fault =
  | { readonly kind: 'kill-at'; readonly order: Order }
  | { readonly kind: 'kill-after'; readonly ms: number }
  /** When all was quiet, or amid it; where it dies meanwhile, if anywhere. */
  | { readonly kind: 'terminate'; readonly ms: number | null; readonly order: Order }
  | { readonly kind: 'kill-in-database'; readonly moment: DatabaseMoment; readonly skip: number }
  | { readonly kind: 'end-worker'; readonly order: Order }
  | { readonly kind: 'disk'; readonly trouble: DiskTrouble; readonly order: Order };

export interface Round {
  readonly fault: Fault;
  /** Name of the relay's mood. */
  readonly mood: string | null;
  readonly posts: number;
  readonly sessions: number;
  readonly withWide: boolean;
  readonly withLarge: boolean;
  readonly joins: boolean;
  readonly specials: readonly SpecialKind[];
  /** Commands that are run beside the daemon. */
  readonly chores: number;
  /** What waits in vain has waited long enough. */
  readonly ages: boolean;
  /** If the daemon is killed, what was not made durable goes with it. */
  readonly powerCut: boolean;
  /** SIGHUP under load. */
  readonly reloads: boolean;
  /** How much time goes by before the daemon starts: what waited for it is due, and deaths of long ago park nothing. */
  readonly passesMs: number;
  readonly hourMs: number;
}

const minuteMs = 60_000;
/** So many points are to be died at before all rounds are for new ones. */
const few = 12;
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
  // What is put aside there is nobody's loss.
  const breaks =
    fault.kind === 'end-worker' && fault.order.endWorker !== undefined && 'each' in fault.order.endWorker;
  const powerCut = random.once(4) && fault.kind !== 'disk' && fault.kind !== 'kill-in-database';
  return {
    fault,
    // A relay that was found down is left alone for a while: then nobody could say that the disk's trouble is over.
    mood: random.once(4) && fault.kind !== 'disk' ? random.pick(Object.keys(moods)) : null,
    posts: breaks ? 0 : 3 + random.below(5),
    sessions: 2 + random.below(4),
    withWide: random.once(12),
    withLarge: random.once(6),
    joins: random.once(4),
    specials: breaks ? ['for the side list', 'for the side list'] : specialKinds.filter(() => random.once(4)),
    // What they write is not on the disk that forgets, and they are not told that the disk is in trouble.
    chores: powerCut || fault.kind === 'disk' ? 0 : 1 + random.below(3),
    ages: random.once(8),
    powerCut,
    reloads: random.once(3),
    passesMs: random.pick([0, 2, 6, 61]) * minuteMs,
    hourMs: 200 + random.below(2000),
  };
}

function planFault(random: Random, { seen, killedAt }: Known): Fault {
  // While much is left, each round is for it.
  const isYoung = killedAt.length > few && seen.length - killedAt.length > 20;
  const draw = random.below(100);
  if (draw < 70) return { kind: 'kill-at', order: { kill: planKill(random, { seen, killedAt }) } };
  if (draw < 73) return { kind: 'kill-after', ms: random.below(3000) };
  if (draw < 80) {
    // What is met only while it stops is found here.
    const order: Order = !isYoung && random.once(2) ? {} : { kill: { spared: killedAt, from: 'SIGTERM' } };
    return { kind: 'terminate', ms: random.once(2) ? null : random.below(3000), order };
  }
  if (draw < 82 && canFail) {
    const moment = random.pick(['log', 'checkpoint', 'sync'] as const);
    return { kind: 'kill-in-database', moment, skip: random.below(moment === 'log' ? 60 : 3) };
  }
  if (draw < 89) {
    if (isYoung || random.once(2)) {
      // Each opening breaks: the second time it goes to quarantine.
      const endWorker = { point: 'amid job open', each: true } as const;
      const left = seen.filter((point) => /quarantine/i.test(point) && !killedAt.includes(point));
      if (left.length > 0 && !random.once(3))
        return { kind: 'end-worker', order: { kill: { point: random.pick(left), nth: 1 }, endWorker } };
      const order: Order = random.once(2)
        ? { endWorker }
        : { kill: { spared: killedAt, from: 'worker' }, endWorker };
      return { kind: 'end-worker', order };
    }
    const jobs = seen.filter((point) => / job | worker$/.test(point));
    const point = random.pick(jobs.length > 0 ? jobs : ['before job open']);
    return { kind: 'end-worker', order: { endWorker: { point, nth: nthOf(random) } } };
  }
  const troubles: readonly DiskTrouble[] = [
    'full',
    'full',
    'fsync',
    'log',
    ...(canFail ? (['io'] as const) : []),
  ];
  const order: Order = !isYoung && random.once(2) ? {} : { kill: { spared: killedAt, from: 'disk' } };
  return { kind: 'disk', trouble: random.pick(troubles), order };
}

/** At the first new point that it meets; at one that was met and not died at yet; or at any, under load. */
function planKill(random: Random, { seen, killedAt }: Known): Kill {
  // The first are those of a start; with nothing but them there would be no load for long.
  const fresh = seen.filter((point) => !killedAt.includes(point));
  const hunts = killedAt.length > few ? !random.once(fresh.length > 20 ? 12 : 4) : random.once(2);
  if (hunts) return { spared: killedAt };
  if (fresh.length > 0 && !random.once(3)) return { point: random.pick(fresh), nth: 1 };
  return { point: random.pick(seen.length > 0 ? seen : ['before 250']), nth: nthOf(random) };
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
      return `SIGTERM ${fault.ms === null ? 'when quiet' : `after ${fault.ms} ms`}${dies(fault.order)}`;
    case 'kill-in-database':
      return `kill -9 at ${pointOf(fault.moment)} (${fault.skip + 1})`;
    case 'end-worker':
      return `worker ended ${wordsOfOrder(fault.order)}`;
    case 'disk': {
      const words = {
        full: 'disk full',
        fsync: 'fsync fails',
        log: "fdatasync of the database's log fails",
        io: 'the database cannot be written',
      }[fault.trouble];
      return `${words}${dies(fault.order)}`;
    }
  }
}

/** The name of a point inside SQLite. */
export const pointOf = (moment: DatabaseMoment): string =>
  ({
    log: 'before SQLite writes to its log',
    checkpoint: 'amid a checkpoint of SQLite',
    sync: 'before SQLite syncs the database',
  })[moment];

const dies = (order: Order): string => (order.kill ? `, kill -9 ${wordsOfOrder(order)}` : '');

function wordsOfOrder({ kill, endWorker }: Order): string {
  if (endWorker) return `${endWorker.point} (${'each' in endWorker ? 'each time' : endWorker.nth})`;
  if (kill && 'point' in kill) return `${kill.point} (${kill.nth})`;
  return 'at the first new point';
}
