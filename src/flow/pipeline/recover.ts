import { Fault } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { afterOpening, crashWindowMs } from '../../policy/opening.ts';
import type { Database } from '../../store/database.ts';
import { freeLeases, messagesInFlight } from '../../store/deliveries.ts';
import { record } from '../../store/ledger.ts';
import { knownMessages, messagesIn, setMessageState } from '../../store/messages.ts';
import type { Spool } from '../../store/spool.ts';
import { recentCrashes, recordStart } from '../../store/starts.ts';

/**
 * Puts in order what an earlier run left, before anything is received or delivered: half-written files, leases,
 * files without a row, and messages that may have killed the daemon (the third start in five minutes parks what was
 * being opened or sent for an hour).
 */
export async function recover(d: {
  database: Database;
  spool: Spool;
  log: Log;
  boot: string;
  now: number;
}): Promise<void> {
  const { database, spool, log, now } = d;
  const crashes = await recentCrashes(database.q, { now, windowMs: crashWindowMs });
  await recordStart(database.q, { boot: d.boot, at: now });
  await spool.cleanTmp(now);
  const sending = await messagesInFlight(database.q);
  const freed = await freeLeases(database.q, null, now);
  // Opened again after an hour, or when keys changed, it is still `parked` or `unopened`.
  const waiting = await messagesIn(database.q, ['queued', 'unopened', 'parked'], 10_000);
  const opening = waiting.filter((one) => one.opens > 0 && one.nextAt !== null && one.nextAt <= now);
  const inWork = new Set([...sending, ...opening.map((one) => one.id)]);
  for (const id of inWork) {
    const next = afterOpening({ cause: 'interrupted', opens: 1, crashes, now });
    if (next.next !== 'park') break;
    const times = crashes === 2 ? 'twice' : `${crashes} times`;
    const detail = `in work when the daemon died, which it did ${times} in five minutes`;
    await database.write(async (tx) => {
      await setMessageState(tx, id, { state: 'parked', reason: 'parked', detail, nextAt: next.at });
      await record(tx, { at: now, messageId: id, event: 'parked', reason: 'parked', detail });
    });
    log.warn('parked', { id, detail });
  }
  const files = await spool.messages();
  const known = await knownMessages(database.q, files);
  for (const id of files) if (!known.has(id)) await ownerless(d, id);
  log.event('recovered', { freed, crashes });
}

/** A file of spool/messages that no row knows: our own unsent mail goes, anything else is for a person to look at. */
async function ownerless(
  d: { database: Database; spool: Spool; log: Log; now: number },
  id: string,
): Promise<void> {
  try {
    const { envelope } = await d.spool.read(id);
    if (envelope.client === 'local' && envelope.protocol === 'local') return await d.spool.remove(id);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
  }
  const detail = 'a file of the spool without a row in the database: it is never distributed';
  await d.spool.quarantine(id, detail);
  await record(d.database.q, { at: d.now, messageId: id, event: 'quarantined', reason: 'no-row', detail });
  d.log.warn('quarantined', { id, detail });
}
