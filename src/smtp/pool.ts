import { setTimeout as delay } from 'node:timers/promises';
import type { Capabilities, Copy } from './capabilities.ts';
import { StuffedBodies } from './dot-stuffing.ts';
import { Health } from './health.ts';
import { forOthers, type LastCopy, Line, lastCopyOf } from './line.ts';
import { openRelay, type RelayTarget } from './open-relay.ts';
import { notSent, type Outcome } from './outcome.ts';
import { makePace, type Pace } from './pace.ts';
import { finish, finishAll, type Job, nothingToSettle, type Settle } from './pool-jobs.ts';
import { defaultTimes, type PoolTimes } from './pool-times.ts';
import { type Errand, Relay } from './relay.ts';

export type { Copy } from './capabilities.ts';
export type { RelayTarget } from './open-relay.ts';
export type { Outcome } from './outcome.ts';
export type { PoolTimes } from './pool-times.ts';

/** One connection and what it has done. */
interface Lane {
  readonly relay: Relay;
  sent: number;
  /** The copy it was given last. */
  last: LastCopy | null;
  idleTimer: NodeJS.Timeout | null;
}

const stopping = notSent('deferred', '4.3.2', 'reseal is stopping');

/**
 * Sends copies to one relay over a bounded number of connections. The queue inside is as long as callers make it:
 * `send` resolves when its own copy is answered and settled. While the relay is down, copies are answered at once and one
 * connection at a time is tried, after `downMs` and then less and less often; more are opened when the relay has answered
 * a copy.
 */
export class RelayPool {
  readonly #target: RelayTarget;
  readonly #times: PoolTimes;
  readonly #line: Line;
  readonly #lanes = new Set<Lane>();
  /** Free lanes; the one used last is used first, so that spare ones grow old and go. */
  readonly #idle: Lane[] = [];
  readonly #working = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  readonly #bodies = new StuffedBodies();
  #dialling = 0;
  readonly #health: Health;
  #bound: number;
  #timers = new Set<NodeJS.Timeout>();
  #known: { readonly capabilities: Capabilities; readonly at: number } | null = null;
  #looking: { readonly done: Promise<void>; readonly since: number } | null = null;
  readonly #pace: Pace;
  #paceTimer: NodeJS.Timeout | null = null;

  /** `changed` is told when the relay is found down, and with null when it is there again. */
  constructor(
    target: RelayTarget,
    times: Partial<PoolTimes> = {},
    changed: (down: Outcome | null) => void = () => {},
  ) {
    this.#target = target;
    this.#times = { ...defaultTimes, ...times };
    this.#bound = target.connections;
    this.#line = new Line({ connections: target.connections, lineMs: this.#times.lineMs });
    this.#pace = makePace(target.perMinute ?? null);
    this.#health = new Health(this.#times, changed);
  }

  /** What copies are answered now because the relay is out of order, or null. */
  get down(): Outcome | null {
    return this.#health.down;
  }

  /**
   * What the relay announced, asked again if that was more than `maxAgeMs` ago. Null if it cannot be asked now, or does not say
   * within `waitMs`; then nobody else waits for that connection.
   */
  async look(maxAgeMs: number, waitMs: number): Promise<Capabilities | null> {
    const isFresh = () => this.#known !== null && performance.now() - this.#known.at <= maxAgeMs;
    if (isFresh() || this.#isFull()) return this.#known?.capabilities ?? null;
    if (this.down !== null || this.#stop.signal.aborted) return null;
    this.#looking ??= {
      done: this.#track(this.#dial()).finally(() => {
        this.#looking = null;
      }),
      since: performance.now(),
    };
    const { done, since } = this.#looking;
    const leftMs = since + waitMs - performance.now();
    if (leftMs > 0) await Promise.race([done, delay(leftMs, undefined, { ref: false })]);
    return isFresh() ? (this.#known?.capabilities ?? null) : null;
  }

  /**
   * Sends one copy; resolves with the outcome for each recipient when the relay has answered, or cannot, and `settle` is done. A connection sends the final
   * dot of its next copy after that. `ending` is told when the copy's own leaves. Rejects only if `settle` does.
   */
  send(
    copy: Copy,
    settle: Settle = nothingToSettle,
    ending: () => void = () => {},
  ): Promise<readonly Outcome[]> {
    return new Promise((resolve, reject) => {
      const job: Job = { copy, settle, ending, resolve, reject, stale: 0 };
      const known = this.#stop.signal.aborted
        ? stopping
        : (this.down ?? this.#pace.turnsAway(this.#line.recipients, this.#times.lineMs));
      if (known !== null) void finishAll(job, known);
      else {
        this.#line.push(job);
        this.#dispatch();
        this.#line.limitWait(copy.message);
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
    if (this.#paceTimer !== null) clearTimeout(this.#paceTimer);
    this.#line.answer(stopping);
    for (const lane of this.#idle.splice(0)) this.#retire(lane);
    const cutAll = (): void => {
      for (const lane of this.#lanes) lane.relay.destroy();
    };
    // Without grace no turn of the event loop may pass: a final dot could leave in it.
    if (graceMs <= 0) cutAll();
    const cut = setTimeout(cutAll, graceMs);
    while (this.#working.size > 0) await Promise.all(this.#working);
    clearTimeout(cut);
    await Promise.all([...this.#lanes].map((lane) => lane.relay.closed));
  }

  #dispatch(): void {
    while (this.#line.hasNext(null) && this.#mayGo()) {
      const lane = this.#idle.pop();
      if (lane === undefined) {
        if (!this.#mayDial()) return;
        void this.#track(this.#dial());
        continue;
      }
      if (lane.idleTimer !== null) clearTimeout(lane.idleTimer);
      const job = this.#takeJob(lane, null);
      if (job !== undefined) void this.#track(this.#work(lane, job));
    }
  }

  /** Whether the relay's rate lets another copy go; if not, the line is looked at again in time. */
  #mayGo(): boolean {
    const waitMs = this.#pace.waitMs();
    if (waitMs <= 0) return true;
    this.#paceTimer ??= setTimeout(() => {
      this.#paceTimer = null;
      this.#dispatch();
    }, waitMs);
    return false;
  }

  #track(work: Promise<void>): Promise<void> {
    const tracked = work.finally(() => this.#working.delete(tracked));
    this.#working.add(tracked);
    return tracked;
  }

  #isFull(): boolean {
    return this.#lanes.size + this.#dialling >= this.#bound;
  }

  #mayDial(): boolean {
    if (this.#stop.signal.aborted || this.down !== null || this.#dialling >= this.#line.length) return false;
    const { proven, onTrial } = this.#health;
    return !this.#isFull() && (proven || this.#dialling + (onTrial ? this.#lanes.size : 0) === 0);
  }

  async #dial(): Promise<void> {
    const isProbe = this.down !== null;
    this.#dialling += 1;
    const opened = await openRelay(this.#target, this.#bodies, this.#stop.signal);
    this.#dialling -= 1;
    if (this.#stop.signal.aborted && !(opened instanceof Relay)) return;
    if (opened instanceof Relay) {
      const lane: Lane = { relay: opened, sent: 0, last: null, idleTimer: null };
      this.#lanes.add(lane);
      void opened.closed.then(() => this.#forget(lane));
      this.#known = { capabilities: opened.capabilities, at: performance.now() };
      // Another connection found the relay down meanwhile: a probe says when it may be used again.
      if (this.down !== null && !isProbe) return this.#retire(lane);
      this.#health.reached();
      this.#rest(lane);
    } else if (this.#lanes.size > 0 && !isProbe) {
      // The relay serves us and wants no further connection: do with those there are for a while.
      this.#bound = this.#lanes.size;
      this.#after(this.#times.downMs, () => {
        this.#bound = this.#target.connections;
      });
    } else this.#markDown(opened, isProbe);
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
    if (this.#line.length <= this.#dialling || !this.#mayGo()) return null;
    const job = this.#takeJob(lane, lane.last);
    return job === undefined ? null : this.#errand(lane, job, true);
  }

  #takeJob(lane: Lane, following: LastCopy | null): Job | undefined {
    const job = this.#line.take(following);
    this.#pace.count(job?.copy.to.length ?? 0);
    if (job !== undefined) lane.last = lastCopyOf(job);
    return job;
  }

  #errand(lane: Lane, job: Job, follows = false): Errand {
    return {
      copy: job.copy,
      ending: job.ending,
      settle: async ({ outcomes, lost }) => {
        const reused = follows || lane.sent > 0;
        lane.sent += 1;
        if (lost && reused && job.stale < this.#target.connections && !this.#stop.signal.aborted) {
          // The relay had closed a connection that stood idle, or had enough of it; that says nothing about the copy.
          // Every idle connection may be stale, but no copy may go round for ever.
          job.stale += 1;
          this.#line.putBack(job);
          this.#dispatch();
          return;
        }
        const down = this.#line.ended(job, outcomes);
        if (down !== null) this.#markDown(forOthers(down));
        else if (outcomes.some((one) => one.code !== null && !one.atContent)) this.#health.answered();
        await finish(job, outcomes);
      },
    };
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

  #markDown(outcome: Outcome, isProbe = false): void {
    const waitMs = this.#health.failed(outcome, isProbe);
    this.#line.answer(outcome);
    for (const lane of this.#idle.splice(0)) this.#retire(lane);
    if (waitMs === null) return;
    this.#after(waitMs, () => {
      if (this.down !== null) void this.#track(this.#dial());
    });
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
