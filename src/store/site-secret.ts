import { randomBytes } from 'node:crypto';
import type { Queries } from './database.ts';
import { readMeta } from './meta.ts';

const key = 'secret';

/**
 * The secret of the site for what it must recognise as its own when it comes back (VERP senders), made when it is asked for
 * first. All nodes on a database have the same; the file of the database is its owner's alone.
 */
export async function siteSecret(q: Queries): Promise<Buffer> {
  const value = randomBytes(32).toString('hex');
  await q
    .insertInto('meta')
    .values({ key, value })
    .onConflict((c) => c.doNothing())
    .execute();
  return Buffer.from((await readMeta(q, key)) ?? value, 'hex');
}
