/** Rows per statement: well below SQLite's 32,766 parameters, and no long stop of the event loop. */
export const chunkSize = 500;

/** The items in order, `size` at a time. */
export function* chunksOf<T>(items: readonly T[], size = chunkSize): Generator<readonly T[]> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size);
}

/**
 * What `read` gives, `chunkSize` rows at a time: it is asked for those after the last one of the page before, null for the
 * first page. Right while rows come and go, and nobody waits for all of them.
 */
export async function* pagesOf<T>(
  read: (after: T | null, limit: number) => Promise<T[]>,
): AsyncGenerator<readonly T[]> {
  for (let after: T | null = null, more = true; more; ) {
    const page: readonly T[] = await read(after, chunkSize);
    if (page.length > 0) yield page;
    after = page.at(-1) ?? null;
    more = page.length === chunkSize;
  }
}
