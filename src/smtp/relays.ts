import { type Copy, misfitOf, type Needs } from './capabilities.ts';
import { isLarge } from './large.ts';
import type { Outcome } from './outcome.ts';
import { type PoolTimes, RelayPool, type RelayTarget } from './pool.ts';
import { Turns } from './turns.ts';

/** A relay of the site. */
export interface RelayChoice {
  /** What it is called in messages. */
  readonly name: string;
  /** Recipients' domains, canonical; `*.example.org` for what is below it. Empty: all that no other relay names. */
  readonly domains: readonly string[];
  readonly target: RelayTarget;
}

/** What became of a copy for one recipient, and by which relay. */
export interface RelayedOutcome extends Outcome {
  readonly to: string;
  readonly relay: string;
  /** A refusal that speaks of this recipient: the answer to his RCPT, or in LMTP to the content for him (RFC 2033 4.2). */
  readonly ofRecipient: boolean;
}

/** A copy that waits for its turn. */
export interface Turn {
  /** Its recipient, or one of them. */
  readonly to: string;
  /** Who takes turns: the list's id. */
  readonly list: number;
  /** Size of the message as it came. */
  readonly octets: number;
}

/** All relays of a site. */
export interface Relays {
  /** Connections to all of them. */
  readonly connections: number;
  /**
   * Does work for a copy when it is its turn: so much goes on at a time for each way that a relay which is slow keeps
   * nobody waiting but its own; lists take turns, and large copies never take all connections. What would have to wait for a
   * way that stands still is sent back instead: `sendBack` is told after which time, in ms, it may come again.
   */
  turn<T>(copy: Turn, work: () => Promise<T>, sendBack: (afterMs: number) => Promise<T>): Promise<T>;
  /**
   * Parts recipients of the same octets into those whom one copy can serve: the same relays send to them, they are not too
   * many, and none asks more of a relay than the others.
   */
  together(addresses: readonly string[]): string[][];
  /**
   * Sends a copy by the first relay for its recipients that is not down, by the next one if that is found down, and if
   * all of them are, answers so. `settle` is told of each recipient once, of all or of some at a time, see `RelayPool.send`;
   * it resolves when that is done. `ending` is told when the final dot of the copy leaves: an answer may come.
   */
  send(
    copy: Copy,
    settle: (outcomes: readonly RelayedOutcome[]) => Promise<void>,
    ending?: () => void,
  ): Promise<void>;
  /** Why no relay at all could take a message that needs this, asked of them now; null if one could, or may. */
  misfit(needs: Needs): Promise<Outcome | null>;
  /** As `RelayPool.close`, of all. */
  close(graceMs: number): Promise<void>;
}

/** A relay in use. */
interface Open extends RelayChoice {
  readonly pool: RelayPool;
}

/** Relays for the same domains, in the order of their use. */
interface Way {
  readonly relays: readonly Open[];
  readonly small: Turns;
  readonly large: Turns;
}

/** What a relay announced counts as its word for so long; when it speaks against a message, it is asked again. */
const believedMs = 3_600_000;
const believedAgainstMs = 60_000;

/** How long a way may stand still: over 10 Mbit/s five large copies of 10 MB take 40 s until the first of them ends. */
const patienceMs = { small: 5000, large: 120_000 };

/** RFC 5321 4.5.3.1.8: every mail server takes so many recipients in a transaction. */
const mostRecipients = 100;

/** An address that needs no extension, and that no relay could take for anything else. */
const plainAddress = /^[\x21-\x3b\x3d\x3f-\x7e]+$/;

/** Opens no connection yet. `changed` is told when a relay is found down (with how), and when it is there again (null). */
export function openRelays(
  choices: readonly RelayChoice[],
  d: {
    readonly changed: (relay: string, down: Outcome | null) => void;
    readonly times?: Partial<PoolTimes>;
    /** How long decisions may wait for a relay to say what it takes, in ms. */
    readonly askMs?: number;
    /** How long a way may stand still before copies do not wait for it any more, in ms. */
    readonly patienceMs?: typeof patienceMs;
  },
): Relays {
  const named = new Map<string, Open[]>();
  const pools: RelayPool[] = [];
  for (const choice of choices) {
    const { name, domains, target } = choice;
    const pool = new RelayPool(target, d.times, (down) => d.changed(name, down));
    pools.push(pool);
    for (const domain of domains.length === 0 ? ['*'] : domains)
      named.set(domain, [...(named.get(domain) ?? []), { ...choice, pool }]);
  }
  const ways = new Map<string, Way>();
  for (const [domain, relays] of named) {
    // Twice as many as connections: each has its next copy at hand when one is answered.
    const most = Math.max(...relays.map(({ target }) => target.connections));
    const small = new Turns({
      ofOneList: most * 2,
      forOthers: Math.ceil(most / 2),
      patienceMs: d.patienceMs?.small ?? patienceMs.small,
    });
    const atATime = largeAtATime(most);
    const large = new Turns({
      ofOneList: atATime,
      // Else a large post over which the relay falls silent would keep those of all lists waiting.
      forOthers: atATime + 1 < most ? 1 : 0,
      patienceMs: d.patienceMs?.large ?? patienceMs.large,
    });
    ways.set(domain, { relays, small, large });
  }
  const wayTo = (to: string): Way => {
    const way = patternsFor(to.slice(to.lastIndexOf('@') + 1)).find((pattern) => ways.has(pattern));
    const found = way === undefined ? undefined : ways.get(way);
    if (found === undefined) throw new Error('there is a relay for all domains');
    return found;
  };

  const together = (addresses: readonly string[]): string[][] => {
    const groups: string[][] = [];
    const open = new Map<Way, string[]>();
    for (const address of addresses) {
      const way = wayTo(address);
      const plain = plainAddress.test(address);
      const group = plain ? open.get(way) : undefined;
      if (group !== undefined && group.length < mostRecipients) {
        group.push(address);
        continue;
      }
      const begun = [address];
      groups.push(begun);
      if (plain) open.set(way, begun);
    }
    return groups;
  };

  const send: Relays['send'] = async (copy, settle, ending) => {
    const { relays } = wayTo(copy.to[0] ?? '');
    const earlier = new Map<string, RelayedOutcome>();
    let left = copy.to;
    for (const [index, { name, pool, target }] of relays.entries()) {
      const asked = left;
      const further: string[] = [];
      await pool.send(
        { ...copy, to: asked },
        async (outcomes) => {
          const over: RelayedOutcome[] = [];
          for (const [at, one] of outcomes.entries()) {
            const to = asked[at] ?? '';
            const by = { ...one, to, relay: name, ofRecipient: speaksOfRecipient(one, target.lmtp) };
            const first = earlier.get(to);
            const told = first !== undefined && goesOn(by) ? sooner(first, by) : by;
            if (index === relays.length - 1 || !goesOn(one)) over.push(told);
            else {
              earlier.set(to, told);
              further.push(to);
            }
          }
          if (over.length > 0) await settle(over);
        },
        ending,
      );
      if (further.length === 0) return;
      left = further;
    }
  };

  return {
    connections: choices.reduce((sum, { target }) => sum + target.connections, 0),
    turn(copy, work, sendBack) {
      const { small, large } = wayTo(copy.to);
      return (isLarge(copy.octets) ? large : small).take(copy.list, work, sendBack);
    },
    together,
    send,
    async misfit(needs) {
      const askMs = d.askMs ?? 5000;
      const answers = pools.map(async (pool) => {
        const known = await pool.look(believedMs, askMs);
        const against = known && misfitOf(needs, known);
        if (against === null) return null;
        const now = await pool.look(believedAgainstMs, askMs);
        return now && misfitOf(needs, now);
      });
      const all = await Promise.all(answers);
      const [one = null] = all;
      return all.every((answer) => answer !== null) ? one : null;
    },
    close: async (graceMs) => void (await Promise.all(pools.map((pool) => pool.close(graceMs)))),
  };
}

/**
 * How many large copies are under way over so many connections. One takes as long on the wire as many small ones, so some
 * connections are kept for those; and the relay's host takes what all of them sent before what came after, so a handful is enough
 * to keep it busy: with three quarters of 20 the same octets went out, and a short post beside them waited three times as long.
 */
const largeAtATime = (connections: number): number =>
  Math.max(1, Math.min(Math.floor((connections * 3) / 4), Math.max(5, Math.floor(connections / 4))));

/** The domain itself, `*.` with each domain above it from the nearest up, and `*`. */
function patternsFor(domain: string): string[] {
  const labels = domain.split('.');
  return [domain, ...labels.slice(1).map((_, index) => `*.${labels.slice(index + 1).join('.')}`), '*'];
}

/**
 * Whether the next relay may be tried with a copy: this one is down, or could not take it. Not if it may have got the
 * whole message and fell silent: there it is not known whether the copy has arrived.
 */
function goesOn(outcome: Outcome): boolean {
  if (outcome.misfit !== undefined) return true;
  return outcome.relayDown || (outcome.atContent === true && outcome.code !== null);
}

/** Where nobody took a copy, what its first relay said counts; but while one is down that may take it, it waits for that one. */
function sooner(first: RelayedOutcome, next: RelayedOutcome): RelayedOutcome {
  return first.misfit !== undefined && next.kind === 'deferred' ? next : first;
}

function speaksOfRecipient({ kind, code, command }: Outcome, lmtp: boolean): boolean {
  return kind === 'refused' && code !== null && (command === 'RCPT' || (lmtp && command === '.'));
}
