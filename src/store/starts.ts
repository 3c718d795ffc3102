import type { Queries } from './database.ts';

/** Notes that the daemon starts; until `recordCleanStop` this start counts as a crash. */
export async function recordStart(q: Queries, d: { boot: string; at: number }): Promise<void> {
  await q
    .insertInto('starts')
    .values({ ...d, clean: 0 })
    .execute();
}

/** Notes that the daemon which started as `boot` ended in good order. */
export async function recordCleanStop(q: Queries, boot: string): Promise<void> {
  await q.updateTable('starts').set({ clean: 1 }).where('boot', '=', boot).execute();
}

/**
 * How many starts of the last `windowMs` did not end in good order; those of a clock that was ahead do not count. Ask
 * before `recordStart`, or the own start counts too.
 */
export async function recentCrashes(
  q: Queries,
  { now, windowMs }: { readonly now: number; readonly windowMs: number },
): Promise<number> {
  const row = await q
    .selectFrom('starts')
    .select((e) => e.fn.countAll<number>().as('count'))
    .where('at', '>=', now - windowMs)
    .where('at', '<=', now)
    .where('clean', '=', 0)
    .executeTakeFirstOrThrow();
  return row.count;
}

/** Forgets starts before `before`. */
export async function forgetStarts(q: Queries, before: number): Promise<void> {
  await q.deleteFrom('starts').where('at', '<', before).execute();
}
