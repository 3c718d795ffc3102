/**
 * Lets at most `count` pieces of work go on at a time. Those who wait take turns by `key`: who asks for much does not hold
 * up who asks for little. Of one key the order is that of asking.
 */
export function fairTurns(count: number): <T>(key: number, work: () => Promise<T>) => Promise<T> {
  let free = count;
  // In the order of their turns: who has had one goes to the end.
  const waiting = new Map<number, (() => void)[]>();

  const admit = (key: number): Promise<void> =>
    new Promise((resolve) => {
      const queue = waiting.get(key);
      if (queue) queue.push(resolve);
      else waiting.set(key, [resolve]);
    });

  const passOn = (): void => {
    const [next] = waiting;
    if (!next) {
      free++;
      return;
    }
    const [key, queue] = next;
    const resolve = queue.shift();
    waiting.delete(key);
    if (queue.length > 0) waiting.set(key, queue);
    resolve?.();
  };

  return async (key, work) => {
    if (free > 0) free--;
    else await admit(key);
    try {
      return await work();
    } finally {
      passOn();
    }
  };
}
