import type { Copy } from './capabilities.ts';
import { StuffedBodies } from './dot-stuffing.ts';
import { openRelay, type RelayTarget } from './open-relay.ts';
import { notSent, type Outcome } from './outcome.ts';
import { type Errand, Relay } from './relay.ts';

export type { Copy } from './capabilities.ts';
export type { RelayTarget } from './open-relay.ts';
export type { Outcome } from './outcome.ts';

export interface PoolTimes {
  /** Copies sent over one connection before it is replaced. */
  readonly copiesPerConnection: number;
  /** How long a connection is kept without work, in ms. */
  readonly idleMs: number;
  /** How long a relay found out of order is left alone, in ms. */
  readonly downMs: number;
}

const defaultTimes: PoolTimes = { copiesPerConnection: 100, idleMs: 10_000, downMs: 10_000 };

/** Writes an outcome down; the next copy of the connection ends after that. */
export type Settle = (outcome: Outcome) => Promise<void>;

interface Job {
  readonly copy: Copy;
  readonly settle: Settle;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: unknown) => void;
  /** How often it found a connection that the relay had closed meanwhile. */
  stale: number;
}

/** One connection and what it has done. */
interface Lane {
  readonly relay: Relay;
  sent: number;
  idleTimer: NodeJS.Timeout | null;
}

const stopping = notSent('deferred', '4.3.2', 'reseal is stopping');

const nothingToSettle: Settle = async () => {};

/**
 * Sends copies to one relay over a bounded number of connections. The queue inside is as long as callers make it:
 * `send` resolves when its own copy is answered and settled. While the relay is down, copies are answered at once, and after
 * `downMs` one connection is tried before more are opened.
 */
export class RelayPool {
  readonly #target: RelayTarget;
  readonly #times: PoolTimes;
  readonly #jobs: Job[] = [];
  readonly #lanes = new Set<Lane>();
  /** Free lanes; the one used last is used first, so that spare ones grow old and go. */
  readonly #idle: Lane[] = [];
  readonly #working = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  readonly #bodies = new StuffedBodies();
  #dialling = 0;
  /** The relay has answered since it was last found down (or since the start). */
  #proven = false;
  #down: Outcome | null = null;
  #bound: number;
  #timers = new Set<NodeJS.Timeout>();
  #size: number | null = null;

  constructor(target: RelayTarget, times: Partial<PoolTimes> = {}) {
    this.#target = target;
    this.#times = { ...defaultTimes, ...times };
    this.#bound = target.connections;
  }

  /** Largest message in octets that the relay announced last; null if unknown or unlimited. */
  sizeLimit(): number | null {
    return this.#size;
  }

  /**
   * Sends one copy; resolves when the relay has answered, or cannot, and `settle` is done. A connection sends the final
   * dot of its next copy after that. Rejects only if `settle` does.
   */
  send(copy: Copy, settle: Settle = nothingToSettle): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      const job: Job = { copy, settle, resolve, reject, stale: 0 };
      const known = this.#stop.signal.aborted ? stopping : this.#down;
      if (known !== null) void this.#finish(job, known);
      else {
        this.#jobs.push(job);
        this.#dispatch();
      }
    });
  }

  /**
   * Answers waiting copies (deferred), lets those under way finish for `graceMs`, then cuts the connections; a copy
   * cut after its last octet may arrive twice. Resolves when no connection is left.
   */
  async close(graceMs: number): Promise<void> {
    this.#stop.abort();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#answerWaiting(stopping);
    for (const lane of this.#idle.splice(0)) this.#retire(lane);
    const cut = setTimeout(() => {
      for (const lane of this.#lanes) lane.relay.destroy();
    }, graceMs);
    while (this.#working.size > 0) await Promise.all(this.#working);
    clearTimeout(cut);
    await Promise.all([...this.#lanes].map((lane) => lane.relay.closed));
  }

  #dispatch(): void {
    while (this.#jobs.length > 0) {
      const lane = this.#idle.pop();
      if (lane === undefined) {
        if (!this.#mayDial()) return;
        this.#track(this.#dial());
        continue;
      }
      if (lane.idleTimer !== null) clearTimeout(lane.idleTimer);
      const job = this.#jobs.shift();
      if (job !== undefined) this.#track(this.#work(lane, job));
    }
  }

  #track(work: Promise<void>): void {
    const tracked = work.finally(() => this.#working.delete(tracked));
    this.#working.add(tracked);
  }

  #mayDial(): boolean {
    if (this.#stop.signal.aborted || this.#down !== null || this.#dialling >= this.#jobs.length) return false;
    return this.#lanes.size + this.#dialling < this.#bound && (this.#proven || this.#dialling === 0);
  }

  async #dial(): Promise<void> {
    this.#dialling += 1;
    const opened = await openRelay(this.#target, this.#bodies, this.#stop.signal);
    this.#dialling -= 1;
    if (this.#stop.signal.aborted && !(opened instanceof Relay)) return;
    if (opened instanceof Relay) {
      const lane: Lane = { relay: opened, sent: 0, idleTimer: null };
      this.#lanes.add(lane);
      void opened.closed.then(() => this.#forget(lane));
      this.#proven = true;
      this.#down = null;
      this.#size = opened.capabilities.size;
      this.#rest(lane);
    } else if (this.#lanes.size > 0) {
      // The relay serves us and wants no further connection: do with those there are for a while.
      this.#bound = this.#lanes.size;
      this.#after(this.#times.downMs, () => {
        this.#bound = this.#target.connections;
      });
    } else this.#markDown(opened);
    this.#dispatch();
  }

  async #work(lane: Lane, job: Job): Promise<void> {
    await lane.relay.serve(this.#errand(lane, job), () => this.#next(lane));
    const stopped = this.#stop.signal.aborted;
    if (lane.relay.usable && lane.sent < this.#times.copiesPerConnection && !stopped) this.#rest(lane);
    else this.#retire(lane);
    this.#dispatch();
  }

  /** Another copy for a connection that is about to be done with one. */
  #next(lane: Lane): Errand | null {
    // The one before is sent and not counted yet.
    if (lane.sent + 1 >= this.#times.copiesPerConnection) return null;
    // Nor one that a connection is being opened for: behind another copy it may wait long.
    if (this.#jobs.length <= this.#dialling) return null;
    const job = this.#jobs.shift();
    return job === undefined ? null : this.#errand(lane, job, true);
  }

  #errand(lane: Lane, job: Job, follows = false): Errand {
    return {
      copy: job.copy,
      settle: async ({ outcome, lost }) => {
        const reused = follows || lane.sent > 0;
        lane.sent += 1;
        if (lost && reused && job.stale < this.#target.connections && !this.#stop.signal.aborted) {
          // The relay had closed a connection that stood idle, or had enough of it; that says nothing about the copy.
          // Every idle connection may be stale, but no copy may go round for ever.
          job.stale += 1;
          this.#jobs.unshift(job);
          this.#dispatch();
          return;
        }
        // For the others the command means nothing: it was not theirs.
        if (outcome.relayDown) this.#markDown({ ...outcome, command: null });
        await this.#finish(job, outcome);
      },
    };
  }

  async #finish(job: Job, outcome: Outcome): Promise<void> {
    try {
      await job.settle(outcome);
      job.resolve(outcome);
    } catch (error) {
      job.reject(error);
    }
  }

  #rest(lane: Lane): void {
    if (this.#stop.signal.aborted) {
      this.#retire(lane);
      return;
    }
    lane.idleTimer = setTimeout(() => this.#retire(lane), this.#times.idleMs);
    lane.idleTimer.unref();
    this.#idle.push(lane);
  }

  /** Ends a lane that does nothing; it counts as a connection until it is closed. */
  #retire(lane: Lane): void {
    this.#leaveIdle(lane);
    lane.relay.quit();
  }

  #forget(lane: Lane): void {
    this.#leaveIdle(lane);
    this.#lanes.delete(lane);
    this.#dispatch();
  }

  #leaveIdle(lane: Lane): void {
    if (lane.idleTimer !== null) clearTimeout(lane.idleTimer);
    const at = this.#idle.indexOf(lane);
    if (at >= 0) this.#idle.splice(at, 1);
  }

  #markDown(outcome: Outcome): void {
    this.#proven = false;
    this.#down = outcome;
    this.#after(this.#times.downMs, () => {
      this.#down = null;
    });
    this.#answerWaiting(outcome);
  }

  #answerWaiting(outcome: Outcome): void {
    for (const job of this.#jobs.splice(0)) void this.#finish(job, outcome);
  }

  #after(ms: number, action: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      action();
      this.#dispatch();
    }, ms);
    timer.unref();
    this.#timers.add(timer);
  }
}
