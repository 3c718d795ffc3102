import { isLarge } from './large.ts';
import { notSent, type Outcome, plainWords } from './outcome.ts';
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
  isLarge: isLarge(copy.head.length + copy.body.length),
});

/** So many times `lineMs` a relay may be silent about a message before its other copies make way for those of others. */
const mostSilence = 15;
/** And come back after this time, in ms. */
const backMs = 60_000;

/** The copies that wait for a connection to a relay, in the order in which they came. */
export class Line {
  readonly #jobs: Job[] = [];
  readonly #standings: Standings;
  readonly #lineMs: number;
  /** Messages whose copies wait while one of them is tried. */
  readonly #timers = new Map<string, NodeJS.Timeout>();
  /** Those for whose tried copy others have waited long enough: until it has its outcome, none waits for it any more. */
  readonly #isInVain = new Set<string>();

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
    if (job !== undefined) {
      this.#standings.began(job.copy.message);
      this.limitWait(job.copy.message);
    }
    return job;
  }

  /** What was taken has its outcomes. Gives what they say of the relay, if they show it to be down. */
  ended({ copy: { message } }: Job, outcomes: readonly Outcome[]): Outcome | null {
    this.#isInVain.delete(message);
    // Of one that fell they wait less long than of one about which the relay is silent.
    clearTimeout(this.#timers.get(message));
    this.#timers.delete(message);
    const hadFallen = this.#standings.fallOf(message) !== null;
    const isDown = this.#standings.ended(message, outcomes);
    const fall = outcomes.find((one) => one.atContent);
    if (fall !== undefined && hadFallen) this.#putOff(message);
    else this.limitWait(message);
    return outcomes.find((one) => one.relayDown) ?? (isDown && fall ? fall : null);
  }

  /**
   * They are in the way of others: copies of a message that the relay stumbled over, or is silent about while it answers to
   * others, do not wait long for those that are tried, and what comes after them does not wait at all. Ten thousand would
   * else hold the turns of their list for hours, twenty at a time.
   */
  limitWait(message: string): void {
    if (!this.#standings.isUnanswered(message) || this.#timers.has(message)) return;
    if (!this.#jobs.some(({ copy }) => copy.message === message)) return;
    if (this.#isInVain.has(message)) {
      this.#putOff(message);
      return;
    }
    const timer = setTimeout(
      () => {
        this.#timers.delete(message);
        // Unless there is no connection yet for the one to be tried, or the relay may be slow with all.
        if (this.#standings.mayBegin(message, false) || !this.#standings.isTrouble(message)) {
          this.limitWait(message);
          return;
        }
        if (this.#standings.isTried(message)) this.#isInVain.add(message);
        this.#putOff(message);
      },
      this.#lineMs * (this.#standings.fallOf(message) === null ? mostSilence : 1),
    );
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
    const outcome = untried(this.#standings.fallOf(message));
    const theirs = this.#jobs.filter(({ copy }) => copy.message === message);
    for (const job of theirs) {
      this.#jobs.splice(this.#jobs.indexOf(job), 1);
      void finishAll(job, outcome);
    }
  }
}

/** What is said to a copy that is not tried because of others of its message, which fell so, or are not answered (null). */
function untried(fall: Outcome | null): Outcome {
  if (fall === null) {
    const text = 'not tried, for the relay is silent about other copies of the same message';
    return { ...notSent('deferred', '4.3.2', text), afterMs: backMs };
  }
  const text = plainWords(`not tried, for another copy of the same message met this: ${fall.text}`);
  return { ...forOthers(fall), text };
}

/** What one copy met, as it is told to copies that are not tried: the command was not theirs. */
export function forOthers({ atContent: _, ...outcome }: Outcome): Outcome {
  return { ...outcome, relayDown: true, command: null };
}
