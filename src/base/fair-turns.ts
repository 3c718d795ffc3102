/** Turns of those who share something. */
export interface FairTurns {
  /** Does the work when it is its turn. */
  take<T>(key: number, work: () => Promise<T>): Promise<T>;
  /** Whether work for `key` would begin at once. */
  isFree(key: number): boolean;
}

/**
 * Lets at most `count` pieces of work go on at a time, and at most `ofOne` of one key. Those who wait take turns by `key`: who
 * asks for much does not hold up who asks for little. Of one key the order is that of asking.
 */
export function fairTurns(count: number, ofOne = count): FairTurns {
  let free = count;
  const underWay = new Map<number, number>();
  // In the order of their turns: who has had one goes to the end.
  const waiting = new Map<number, (() => void)[]>();

  const isFree = (key: number): boolean => free > 0 && (underWay.get(key) ?? 0) < ofOne;

  const begin = (key: number): void => {
    free--;
    underWay.set(key, (underWay.get(key) ?? 0) + 1);
  };

  const end = (key: number): void => {
    free++;
    const left = (underWay.get(key) ?? 1) - 1;
    if (left > 0) underWay.set(key, left);
    else underWay.delete(key);
    for (const [next, queue] of waiting) {
      if (!isFree(next)) continue;
      const resolve = queue.shift();
      waiting.delete(next);
      if (queue.length > 0) waiting.set(next, queue);
      // In his stead, before anybody asks.
      begin(next);
      resolve?.();
      return;
    }
  };

  const admit = (key: number): Promise<void> =>
    new Promise((resolve) => {
      const queue = waiting.get(key);
      if (queue) queue.push(resolve);
      else waiting.set(key, [resolve]);
    });

  return {
    isFree,
    async take(key, work) {
      if (isFree(key)) begin(key);
      else await admit(key);
      try {
        return await work();
      } finally {
        end(key);
      }
    },
  };
}
