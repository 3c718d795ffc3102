import { setImmediate as nextTurn } from 'node:timers/promises';

/**
 * Shares one `sync` among all who ask before it begins: a caller's promise resolves after a sync that began after
 * the call. While one runs, further callers wait together for the next. It begins at the end of a turn of the event loop:
 * one in the thread pool costs the main thread more than the rest of the turn takes, and others ask in it.
 */
export function groupCommit(sync: () => Promise<void>): () => Promise<void> {
  let last: Promise<void> = Promise.resolve();
  let next: Promise<void> | null = null;
  const begin = async () => {
    await nextTurn();
    next = null;
    await sync();
  };
  return () => {
    if (next === null) {
      // A sync that fails is its own callers' failure, not that of the group after it.
      next = last.then(begin, begin);
      last = next;
    }
    return next;
  };
}
