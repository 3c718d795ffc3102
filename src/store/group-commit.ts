/**
 * Shares one `sync` among all who ask before it begins: a caller's promise resolves after a sync that began after
 * the call. While one runs, further callers wait together for the next.
 */
export function groupCommit(sync: () => Promise<void>): () => Promise<void> {
  let last: Promise<void> = Promise.resolve();
  let next: Promise<void> | null = null;
  const begin = () => {
    next = null;
    return sync();
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
