import { fairTurns } from '../base/fair-turns.ts';

/** A copy that could not have its turn comes back after this time, in ms. */
const backMs = 30_000;

/**
 * The turns of copies on a way to relays: so many at a time, lists by turns, and some places are kept for lists that have
 * none. A way on which for `patienceMs` no copy came to its end is stuck: what would wait for it is sent back, so that it
 * holds its own copies only, and not the memory in which those of other ways are prepared.
 */
export class Turns {
  readonly #turns: ReturnType<typeof fairTurns>;
  readonly #patienceMs: number;
  readonly #waiting = new Set<() => void>();
  #underWay = 0;
  /** When a copy ended last, or began while none was under way. */
  #movedAt = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(d: { readonly ofOneList: number; readonly forOthers: number; readonly patienceMs: number }) {
    this.#turns = fairTurns(d.ofOneList + d.forOthers, d.ofOneList);
    this.#patienceMs = d.patienceMs;
  }

  /** Does the work when it is its turn; or `sendBack`, told for how long, if it cannot have one. */
  take<T>(list: number, work: () => Promise<T>, sendBack: (afterMs: number) => Promise<T>): Promise<T> {
    if (!this.#turns.isFree(list) && this.#leftMs() <= 0) return sendBack(backMs);
    return new Promise((resolve, reject) => {
      let next: (() => Promise<T>) | null = () => this.#during(work);
      const leave = (): void => {
        next = null;
        sendBack(backMs).then(resolve, reject);
      };
      this.#waiting.add(leave);
      void this.#turns.take(list, async () => {
        this.#waiting.delete(leave);
        // Who has left still stands in the line.
        await next?.().then(resolve, reject);
      });
      this.#watch();
    });
  }

  async #during<T>(work: () => Promise<T>): Promise<T> {
    if (this.#underWay++ === 0) this.#movedAt = performance.now();
    try {
      return await work();
    } finally {
      this.#underWay--;
      this.#movedAt = performance.now();
    }
  }

  /** How much longer the way may stand still. */
  #leftMs(): number {
    if (this.#underWay === 0) return this.#patienceMs;
    return this.#movedAt + this.#patienceMs - performance.now();
  }

  /** Looks at those who wait when the way may be stuck. */
  #watch(): void {
    if (this.#waiting.size === 0 || this.#timer !== null) return;
    this.#timer = setTimeout(
      () => {
        // What the relay said while this process did something else is heard first.
        setImmediate(() => this.#sendStuckBack());
      },
      Math.max(1, this.#leftMs()),
    );
    this.#timer.unref();
  }

  #sendStuckBack(): void {
    this.#timer = null;
    const stuck = this.#leftMs() <= 0 ? [...this.#waiting] : [];
    for (const leave of stuck) {
      this.#waiting.delete(leave);
      leave();
    }
    this.#watch();
  }
}
