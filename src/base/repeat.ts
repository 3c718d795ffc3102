/** Work that is done again and again until it is stopped. */
export interface Repetition {
  /** Does it now, unless it is under way. */
  now(): void;
  /** Begins nothing more; resolves when the work under way is done. */
  stop(): Promise<void>;
}

/** Does `work` every `ms` milliseconds, never twice at a time. `failed` is told what it throws; the next turn comes. */
export function every(ms: number, work: () => Promise<void>, failed: (error: unknown) => void): Repetition {
  let underWay: Promise<void> | null = null;
  const now = (): void => {
    underWay ??= work()
      .catch(failed)
      .finally(() => {
        underWay = null;
      });
  };
  const timer = setInterval(now, ms);
  return {
    now,
    async stop() {
      clearInterval(timer);
      await underWay;
    },
  };
}
