import type { Copy } from './capabilities.ts';
import type { Outcome } from './outcome.ts';

/** Writes the outcomes of a copy's recipients down, in their order; the next copy of the connection ends after that. */
export type Settle = (outcomes: readonly Outcome[]) => Promise<void>;

/** For a copy of which nothing has to be written down. */
export const nothingToSettle: Settle = async () => {};

/** A copy that was given to a pool, until it is answered. */
export interface Job {
  readonly copy: Copy;
  readonly settle: Settle;
  /** Told when a connection sends its final dot. */
  readonly ending: () => void;
  readonly resolve: (outcomes: readonly Outcome[]) => void;
  readonly reject: (error: unknown) => void;
  /** How often it found a connection that the relay had closed meanwhile. */
  stale: number;
}

/** Ends a job with an outcome for each of its recipients. Never rejects. */
export async function finish(job: Job, outcomes: readonly Outcome[]): Promise<void> {
  try {
    await job.settle(outcomes);
    job.resolve(outcomes);
  } catch (error) {
    job.reject(error);
  }
}

/** The same with one outcome for all of them. */
export function finishAll(job: Job, outcome: Outcome): Promise<void> {
  return finish(
    job,
    job.copy.to.map(() => outcome),
  );
}
