import type { Outcome } from './outcome.ts';

/** What is known of a relay's state: whether it is down, how often it was found so, and how many connections it may get. */
export class Health {
  readonly #times: { readonly downMs: number; readonly longestDownMs: number };
  readonly #changed: (down: Outcome | null) => void;
  #down: Outcome | null = null;
  #proven = false;
  /** How often it was found down since it last answered a copy. */
  #failures = 0;

  /** `changed` is told when the relay is found down, and with null when it can be reached again. */
  constructor(
    times: { readonly downMs: number; readonly longestDownMs: number },
    changed: (down: Outcome | null) => void,
  ) {
    this.#times = times;
    this.#changed = changed;
  }

  /** What copies are answered while it is down; else null. */
  get down(): Outcome | null {
    return this.#down;
  }

  /** It was reached, and if it had been down it has answered a copy since: it may get all its connections. */
  get proven(): boolean {
    return this.#proven;
  }

  /** It was down and has not answered a copy since: one at a time, until it does. */
  get onTrial(): boolean {
    return this.#failures > 0;
  }

  /** A connection was made. */
  reached(): void {
    this.#proven ||= !this.onTrial;
    if (this.#down === null) return;
    this.#down = null;
    this.#changed(null);
  }

  /** It answered a copy, whatever it said. */
  answered(): void {
    this.#failures = 0;
    this.#proven = true;
  }

  /**
   * It was found out of order. Gives how long it is to be left alone, each time twice as long; null if that was known:
   * what several connections find together is one failure, what a probe finds is another.
   */
  failed(outcome: Outcome, isProbe: boolean): number | null {
    const wasDown = this.#down !== null;
    this.#proven = false;
    this.#down = outcome;
    if (wasDown && !isProbe) return null;
    this.#failures += 1;
    if (!wasDown) this.#changed(outcome);
    const { downMs, longestDownMs } = this.#times;
    return Math.min(downMs * 2 ** (this.#failures - 1), longestDownMs);
  }
}
