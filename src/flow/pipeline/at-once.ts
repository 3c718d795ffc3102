/** Work on many things, of which some are under way at a time. */
export interface AtOnce {
  /** Has this one worked on, unless it waits for that or is under way. */
  take(id: string): void;
  /** Whether it waits or is under way. */
  has(id: string): boolean;
  /** Begins nothing more; resolves when what is under way is done. */
  stop(): Promise<void>;
}

/** Does `work`, which must not reject, for up to `most` ids at a time, in the order in which they were taken. */
export function atOnce(most: number, work: (id: string) => Promise<void>): AtOnce {
  const waiting: string[] = [];
  const known = new Set<string>();
  const underWay = new Set<Promise<void>>();
  let stopping = false;

  const begin = (): void => {
    while (underWay.size < most && !stopping) {
      const id = waiting.shift();
      if (id === undefined) return;
      const done = work(id).then(() => {
        underWay.delete(done);
        known.delete(id);
        begin();
      });
      underWay.add(done);
    }
  };

  return {
    take(id) {
      if (known.has(id) || stopping) return;
      known.add(id);
      waiting.push(id);
      begin();
    },
    has: (id) => known.has(id),
    async stop() {
      stopping = true;
      while (underWay.size > 0) await Promise.all(underWay);
    },
  };
}
