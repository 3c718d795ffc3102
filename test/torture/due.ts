import { join } from 'node:path';
import { sql } from 'kysely';
import { retryMessage } from '../../src/flow/operator/queue-control.ts';
import { type Database, openDatabase } from '../../src/store/database.ts';
import { openSpool } from '../../src/store/spool.ts';

// What time and operators do, beside the running daemon.

/** Time goes by: what waits for its next try, or is parked, waits so much less, and the daemon's deaths are so long ago. */
export function passTime(root: string, ms: number): Promise<void> {
  return onDatabase(root, async ({ q }) => {
    const earlier = <T extends string>(column: T) => sql<number>`${sql.ref(column)} - ${ms}`;
    await q
      .updateTable('starts')
      .set({ at: earlier('at') })
      .execute();
    await q
      .updateTable('messages')
      .set({ nextAt: earlier('nextAt') })
      .execute();
    const waits = ['pending', 'deferred'] as const;
    await q
      .updateTable('deliveries')
      .set({ nextAt: earlier('nextAt') })
      .where('state', 'in', waits)
      .execute();
  });
}

/** What a list keeps for a member or a person has been kept too long: copies, what was taken note of, its last report. */
export function makeOld(root: string, listId: number): Promise<void> {
  const longAgo = Date.now() - 100 * 86_400_000;
  return onDatabase(root, async ({ q }) => {
    const its = q.selectFrom('postings').select('id').where('listId', '=', listId);
    await q
      .updateTable('deliveries')
      .set({ expiresAt: longAgo, createdAt: longAgo })
      .where('state', 'in', ['held', 'deferred'])
      .where('postingId', 'in', its)
      .execute();
    const waiting = q
      .selectFrom('postings')
      .select('messageId')
      .where('listId', '=', listId)
      .where('state', 'in', ['held', 'new']);
    await q.updateTable('messages').set({ receivedAt: longAgo }).where('id', 'in', waiting).execute();
    await q.updateTable('bindings').set({ since: longAgo }).where('state', '=', 'pending').execute();
    await q.deleteFrom('notices').execute();
    await q.deleteFrom('meta').where('key', 'like', 'report.%').execute();
  });
}

/** An operator looked at what is in quarantine, and gives it one more try. Gives the number of messages. */
export function retryQuarantined(root: string): Promise<number> {
  return onDatabase(root, async (database) => {
    const spool = await openSpool(join(root, 'spool'));
    const doer = { who: 'the test', now: Date.now() };
    const found = await database.q
      .selectFrom('messages')
      .select('id')
      .where('state', '=', 'quarantine')
      .execute();
    for (const { id } of found) await retryMessage({ database, spool }, id, doer);
    return found.length;
  });
}

async function onDatabase<T>(root: string, work: (database: Database) => Promise<T>): Promise<T> {
  const database = await openDatabase(join(root, 'spool/reseal.db'), { check: false });
  try {
    return await work(database);
  } finally {
    await database.close();
  }
}
