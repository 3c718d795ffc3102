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

/** What an operator changed: `keys` are private keys, authorities and list settings, all that an opening depends on. */
export type ChangeTopic = 'keys' | 'rest';

/** Which counters a topic moves; the first is its own. */
const counters: Readonly<Record<ChangeTopic, readonly [string, ...string[]]>> = {
  keys: ['changes.keys', 'changes'],
  rest: ['changes'],
};

/**
 * Counts one change made by an operator's command. Call it in the transaction of every such change: the daemon
 * looks at the counters each second, and tries again what it could not open when `keys` moved.
 */
export async function touch(tx: Queries, topic: ChangeTopic = 'rest'): Promise<void> {
  await tx
    .updateTable('meta')
    .set({ value: sql<string>`cast(cast(value as integer) + 1 as text)` })
    .where('key', 'in', counters[topic])
    .execute();
}

/** How often `touch` was called on this database: for `keys`, or (`rest`) at all. */
export async function changesCounter(q: Queries, topic: ChangeTopic = 'rest'): Promise<number> {
  return Number((await readMeta(q, counters[topic][0])) ?? 0);
}

/** All that is kept under keys that begin with `prefix`, by key. */
export async function metaBelow(q: Queries, prefix: string): Promise<{ key: string; value: string }[]> {
  const rows = await q.selectFrom('meta').selectAll().where('key', '>=', prefix).orderBy('key').execute();
  return rows.filter((row) => row.key.startsWith(prefix));
}

/** Forgets what is kept under `key`. */
export async function forgetMeta(q: Queries, key: string): Promise<void> {
  await q.deleteFrom('meta').where('key', '=', key).execute();
}
