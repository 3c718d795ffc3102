import { sql } from 'kysely';
import type { Queries } from './database.ts';

/** The value kept under `key` in the table meta, or null. */
export async function readMeta(q: Queries, key: string): Promise<string | null> {
  const row = await q.selectFrom('meta').select('value').where('key', '=', key).executeTakeFirst();
  return row?.value ?? null;
}

/** Keeps `value` under `key`, in place of what was there. */
export async function writeMeta(q: Queries, key: string, value: string): Promise<void> {
  await q
    .insertInto('meta')
    .values({ key, value })
    .onConflict((c) => c.column('key').doUpdateSet({ value }))
    .execute();
}

/**
 * Counts one change made by an operator's command. Call it in the transaction of every such change: the daemon
 * looks at the counter each second and reads its lists again when it moved.
 */
export async function touch(tx: Queries): Promise<void> {
  await tx
    .updateTable('meta')
    .set({ value: sql<string>`cast(cast(value as integer) + 1 as text)` })
    .where('key', '=', 'changes')
    .execute();
}

/** How often `touch` was called on this database. */
export async function changesCounter(q: Queries): Promise<number> {
  return Number((await readMeta(q, 'changes')) ?? 0);
}
