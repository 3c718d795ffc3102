interface Waiting {
  readonly since: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Lets one at a time through, in the order of asking. Whoever has waited `limitMs` is told `tooLong` instead. */
export class Mutex {
  readonly #limitMs: number;
  readonly #tooLong: () => Error;
  #held = false;
  readonly #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | null = null;

  constructor(limitMs: number, tooLong: () => Error) {
    this.#limitMs = limitMs;
    this.#tooLong = tooLong;
  }

  async lock(): Promise<void> {
    if (this.#held) {
      await new Promise<void>((resolve, reject) => {
        this.#waiting.push({ since: performance.now(), resolve, reject });
        this.#timer ??= setTimeout(() => this.#look(), this.#limitMs);
      });
    }
    this.#held = true;
  }

  unlock(): void {
    const next = this.#waiting.shift();
    // `#held` stays true while the turn passes on: whoever asks in between goes to the end of the queue.
    if (next) next.resolve();
    else {
      this.#held = false;
      if (this.#timer) clearTimeout(this.#timer);
      this.#timer = null;
    }
  }

  /** One timer for all: most wait for a fraction of a millisecond. */
  #look(): void {
    this.#timer = null;
    const now = performance.now();
    // A millisecond less: the timer may come before its time.
    while (this.#waiting[0] && now - this.#waiting[0].since >= this.#limitMs - 1)
      this.#waiting.shift()?.reject(this.#tooLong());
    const oldest = this.#waiting[0];
    if (oldest) this.#timer = setTimeout(() => this.#look(), oldest.since + this.#limitMs - now);
  }
}
