import { join } from 'node:path';
import { retryAll, retryMessage } from '../../src/flow/operator/queue-control.ts';
import { type Database, openDatabase } from '../../src/store/database.ts';
import { openSpool } from '../../src/store/spool.ts';

// What time and operators do, beside the running daemon.

/** Takes the deaths so far for nobody's fault: no message is to be parked for them. */
export function forgetCrashes(root: string): Promise<void> {
  return onDatabase(root, async (database) => {
    await database.q.updateTable('starts').set({ clean: 1 }).execute();
  });
}

/** Makes due what was put off, parked or put aside, as if time had gone by and somebody had looked. */
export function makeDue(root: string): Promise<void> {
  return onDatabase(root, async (database) => {
    const doer = { who: 'the test', now: Date.now() };
    const spool = await openSpool(join(root, 'spool'));
    await retryAll({ database, spool }, doer);
    const query = database.q.selectFrom('messages').select('id').where('state', '=', 'quarantine');
    for (const { id } of await query.execute()) await retryMessage({ database, spool }, id, doer);
  });
}

async function onDatabase(root: string, work: (database: Database) => Promise<void>): Promise<void> {
  const database = await openDatabase(join(root, 'spool/reseal.db'), { check: false });
  try {
    await work(database);
  } finally {
    await database.close();
  }
}
