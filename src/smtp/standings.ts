import type { Outcome } from './outcome.ts';

/** What is known of a message at a relay. */
interface Standing {
  /** Copies of it that have a connection. */
  inWork: number;
  /** The relay has answered to its content: it is no trouble. */
  answered: boolean;
  /** What its latest copy met at the end of its content, if the relay gave no proper answer there. */
  fall: Outcome | null;
  /** When its latest copy got a connection. */
  beganAt: number;
  /** The relay answered to others after that, or while it was silent to this one: it is this message that it stumbles over. */
  isAlone: boolean;
}

/** Messages that are remembered after their copies. */
const mostKnown = 1000;

/**
 * Tells a message that a relay stumbles over from a relay that is out of order. That a relay says 421 to a content, or
 * nothing, or no SMTP, may be the message's doing: only a second message that fares likewise, none having fared better in
 * between, shows that the relay is down. Until a copy of a message is answered it gets at most half of the connections that
 * others like it leave, and after a fall one, if half of all are left: so that neither one message nor a few hold all of
 * them until `relay.timeout`, and what else goes shows that the relay is not down.
 */
export class Standings {
  readonly #known = new Map<string, Standing>();
  /** Messages that fell since the relay last answered to a content. */
  readonly #inARow = new Set<string>();
  readonly #connections: number;
  /** Connections of messages that are not answered. */
  #held = 0;
  /** When the relay last answered to a content. */
  #answeredAt = -Infinity;

  constructor(connections: number) {
    this.#connections = connections;
  }

  /** Whether another copy of this message may begin, on a connection that has one of it already (`follows`) or on another. */
  mayBegin(message: string, follows: boolean): boolean {
    const standing = this.#known.get(message);
    if (standing === undefined || standing.answered) return true;
    const { fall, inWork } = standing;
    if (fall !== null) return inWork === 0 && this.#held < halfOf(this.#connections);
    return follows || inWork < halfOf(this.#connections - (this.#held - inWork));
  }

  /** Whether the relay has yet to answer to its content. */
  isUnanswered(message: string): boolean {
    return this.#known.get(message)?.answered === false;
  }

  /** Whether the relay stumbled over it, or is silent about it alone. */
  isTrouble(message: string): boolean {
    const standing = this.#known.get(message);
    if (standing === undefined || standing.answered) return false;
    return standing.fall !== null || this.#isSilentTo(standing);
  }

  /** Whether copies of it have a connection. */
  isTried(message: string): boolean {
    return (this.#known.get(message)?.inWork ?? 0) > 0;
  }

  /** What its latest copy met at the end of its content; null if the relay takes it, as far as is known. */
  fallOf(message: string): Outcome | null {
    return this.#known.get(message)?.fall ?? null;
  }

  /** A copy has a connection. */
  began(message: string): void {
    const standing = this.#known.get(message) ?? {
      inWork: 0,
      answered: false,
      fall: null,
      isAlone: false,
      beganAt: 0,
    };
    this.#change(standing, { inWork: standing.inWork + 1, beganAt: performance.now() });
    // The one used last is last: those before it are forgotten first.
    this.#known.delete(message);
    this.#known.set(message, standing);
    for (const [name, { inWork }] of this.#known) {
      if (this.#known.size <= mostKnown) break;
      if (inWork === 0) this.#known.delete(name);
    }
  }

  /** A copy has these outcomes; none if it goes to another connection. Gives whether they show the relay to be down. */
  ended(message: string, outcomes: readonly Outcome[]): boolean {
    const standing = this.#known.get(message);
    if (standing === undefined) return false;
    this.#change(standing, { inWork: standing.inWork - 1 });
    if (outcomes.some((one) => one.command === '.' && one.code !== null && !one.atContent)) {
      for (const other of this.#inARow) {
        const fallen = this.#known.get(other);
        if (fallen) fallen.isAlone = true;
      }
      this.#inARow.clear();
      this.#answeredAt = performance.now();
      this.#change(standing, { answered: true, fall: null, isAlone: false });
      return false;
    }
    const fall = outcomes.find((one) => one.atContent);
    if (fall === undefined) return false;
    const isAlone = standing.isAlone || this.#isSilentTo(standing);
    this.#change(standing, { answered: false, fall, isAlone });
    if (standing.isAlone || this.#inARow.has(message)) return false;
    return this.#inARow.add(message).size > 1;
  }

  /**
   * Whether the relay answered to other contents in the second half of the time since the latest copy began; if in the first,
   * it may have gone out of order.
   */
  #isSilentTo({ beganAt }: Standing): boolean {
    return this.#answeredAt > (beganAt + performance.now()) / 2;
  }

  #change(standing: Standing, change: Partial<Standing>): void {
    this.#held -= heldBy(standing);
    Object.assign(standing, change);
    this.#held += heldBy(standing);
  }
}

const heldBy = ({ answered, inWork }: Standing): number => (answered ? 0 : inWork);
const halfOf = (connections: number): number => Math.max(1, Math.floor(connections / 2));
