import { isBulk } from './bulk.ts';
import { type Outcome, plainWords } from './outcome.ts';
import { finishAll, type Job } from './pool-jobs.ts';
import { Standings } from './standings.ts';

/** A copy that a connection has had. */
export interface LastCopy {
  readonly message: string;
  readonly isLarge: boolean;
}

/** What of a copy counts for the one that may follow it. */
export const lastCopyOf = ({ copy }: Job): LastCopy => ({
  message: copy.message,
  isLarge: isBulk(copy.head.length + copy.body.length),
});

/** The copies that wait for a connection to a relay, in the order in which they came. */
export class Line {
  readonly #jobs: Job[] = [];
  readonly #standings: Standings;
  readonly #lineMs: number;
  /** Messages whose copies wait while one of them is tried. */
  readonly #timers = new Map<string, NodeJS.Timeout>();

  /** `lineMs`: how long copies of a message that the relay stumbled over may wait for the one that is tried. */
  constructor(d: { readonly connections: number; readonly lineMs: number }) {
    this.#standings = new Standings(d.connections);
    this.#lineMs = d.lineMs;
  }

  get length(): number {
    return this.#jobs.length;
  }

  /** To how many recipients the copies go. */
  get recipients(): number {
    return this.#jobs.reduce((sum, { copy }) => sum + copy.to.length, 0);
  }

  push(job: Job): void {
    this.#jobs.push(job);
  }

  /** A copy is back whose connection turned out to be gone: it is the next. */
  putBack(job: Job): void {
    this.#standings.ended(job.copy.message, []);
    this.#jobs.unshift(job);
  }

  /** Whether a copy may have a connection now, `following` another on it. */
  hasNext(following: LastCopy | null): boolean {
    return this.#first(following) >= 0;
  }

  /** Takes the first copy that may have a connection now. */
  take(following: LastCopy | null): Job | undefined {
    const at = this.#first(following);
    const [job] = at < 0 ? [] : this.#jobs.splice(at, 1);
    if (job !== undefined) this.#standings.began(job.copy.message);
    return job;
  }

  /** What was taken has its outcomes. Gives what they say of the relay, if they show it to be down. */
  ended({ copy: { message } }: Job, outcomes: readonly Outcome[]): Outcome | null {
    const hadFallen = this.#standings.fallOf(message) !== null;
    const isDown = this.#standings.ended(message, outcomes);
    const fall = outcomes.find((one) => one.atContent);
    if (fall !== undefined && hadFallen) this.#putOff(message);
    else this.limitWait(message);
    return outcomes.find((one) => one.relayDown) ?? (isDown && fall ? fall : null);
  }

  /** They are in the way of others: copies of a message that the relay stumbled over do not wait long for the one that is tried. */
  limitWait(message: string): void {
    if (this.#standings.fallOf(message) === null || this.#timers.has(message)) return;
    if (!this.#jobs.some(({ copy }) => copy.message === message)) return;
    const timer = setTimeout(() => {
      this.#timers.delete(message);
      // Unless there is no connection yet for the one to be tried.
      if (this.#standings.mayBegin(message, false)) this.limitWait(message);
      else this.#putOff(message);
    }, this.#lineMs);
    timer.unref();
    this.#timers.set(message, timer);
  }

  /** Answers all that wait. */
  answer(outcome: Outcome): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    for (const job of this.#jobs.splice(0)) void finishAll(job, outcome);
  }

  #first(following: LastCopy | null): number {
    const at = this.#jobs.findIndex(({ copy: { message } }) =>
      this.#standings.mayBegin(message, message === following?.message),
    );
    const first = this.#jobs[at];
    // No small one behind a large one: of that, megabytes are still in the buffers of both sides' systems.
    return first !== undefined && following?.isLarge && !lastCopyOf(first).isLarge ? -1 : at;
  }

  #putOff(message: string): void {
    const fall = this.#standings.fallOf(message);
    if (fall === null) return;
    const text = plainWords(`not tried, for another copy of the same message met this: ${fall.text}`);
    const theirs = this.#jobs.filter(({ copy }) => copy.message === message);
    for (const job of theirs) {
      this.#jobs.splice(this.#jobs.indexOf(job), 1);
      void finishAll(job, { ...forOthers(fall), text });
    }
  }
}

/** What one copy met, as it is told to copies that are not tried: the command was not theirs. */
export function forOthers({ atContent: _, ...outcome }: Outcome): Outcome {
  return { ...outcome, relayDown: true, command: null };
}
