/** Rows per statement: well below SQLite's 32,766 parameters, and no long stop of the event loop. */
export const chunkSize = 500;

/** The items in order, `size` at a time. */
export function* chunksOf<T>(items: readonly T[], size = chunkSize): Generator<readonly T[]> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size);
}
