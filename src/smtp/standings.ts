import type { Outcome } from './outcome.ts';

/** What is known of a message at a relay. */
interface Standing {
  /** Copies of it that have a connection. */
  inWork: number;
  /** The relay has answered to its content: it is no trouble. */
  answered: boolean;
  /** What its latest copy met at the end of its content, if the relay gave no proper answer there. */
  fall: Outcome | null;
  /** The relay answered to others after that: it is this message that it stumbles over. */
  isAlone: boolean;
}

/** Messages that are remembered after their copies. */
const mostKnown = 1000;

/**
 * Tells a message that a relay stumbles over from a relay that is out of order. That a relay says 421 to a content, or
 * nothing, or no SMTP, may be the message's doing: only a second message that fares likewise, none having fared better in
 * between, shows that the relay is down. Until a copy of a message is answered it gets at most half of the connections, and
 * after a fall one, so that no message holds all of them until `relay.timeout`.
 */
export class Standings {
  readonly #known = new Map<string, Standing>();
  /** Messages that fell since the relay last answered to a content. */
  readonly #inARow = new Set<string>();
  readonly #unanswered: number;

  constructor(connections: number) {
    this.#unanswered = Math.max(1, Math.floor(connections / 2));
  }

  /** Whether another copy of this message may begin, on a connection that has one of it already (`follows`) or on another. */
  mayBegin(message: string, follows: boolean): boolean {
    const standing = this.#known.get(message);
    if (standing === undefined || standing.answered) return true;
    if (standing.fall !== null) return standing.inWork === 0;
    return follows || standing.inWork < this.#unanswered;
  }

  /** What its latest copy met at the end of its content; null if the relay takes it, as far as is known. */
  fallOf(message: string): Outcome | null {
    return this.#known.get(message)?.fall ?? null;
  }

  /** A copy has a connection. */
  began(message: string): void {
    const standing = this.#known.get(message) ?? { inWork: 0, answered: false, fall: null, isAlone: false };
    standing.inWork++;
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
    standing.inWork--;
    if (outcomes.some((one) => one.command === '.' && one.code !== null && !one.atContent)) {
      for (const other of this.#inARow) {
        const fallen = this.#known.get(other);
        if (fallen) fallen.isAlone = true;
      }
      this.#inARow.clear();
      Object.assign(standing, { answered: true, fall: null, isAlone: false });
      return false;
    }
    const fall = outcomes.find((one) => one.atContent);
    if (fall === undefined) return false;
    Object.assign(standing, { answered: false, fall });
    if (standing.isAlone || this.#inARow.has(message)) return false;
    return this.#inARow.add(message).size > 1;
  }
}
