import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { makeBell } from '../base/bell.ts';
import type { Clock } from '../base/clock.ts';
import { dayMs } from '../base/day.ts';
import { wordsOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { every } from '../base/repeat.ts';
import type { Site } from '../config/site.ts';
import { takeCare } from '../flow/care/care.ts';
import { jumpOfClock } from '../flow/care/clock-jump.ts';
import { useAgain } from '../flow/certificates/best-certificate.ts';
import { openDirectoryDoor } from '../flow/certificates/directory-door.ts';
import { startDelivery } from '../flow/delivery/deliver.ts';
import { readKeys } from '../flow/lists/keyring.ts';
import { startProcessing } from '../flow/pipeline/process-queue.ts';
import { recover } from '../flow/pipeline/recover.ts';
import { openCache } from '../flow/post/open-cache.ts';
import { careForEvidence } from '../flow/revocation/keep-evidence.ts';
import { startWorkers } from '../smime/workers.ts';
import { ensureService } from '../store/lists.ts';
import { lockSpool } from '../store/lock.ts';
import { siteSecret } from '../store/site-secret.ts';
import { recordCleanStop } from '../store/starts.ts';
import { type Listener, openListeners } from './listeners.ts';
import { openComposer } from './open-composer.ts';
import { openLookUps } from './open-look-ups.ts';
import { openRevocation } from './open-revocation.ts';
import { openSite } from './open-site.ts';
import { openSiteRelays } from './open-site-relays.ts';
import { stopWork } from './stop-work.ts';

export interface App {
  /** Where it listens: `127.0.0.1:8024` or the path of a socket. */
  readonly listening: readonly string[];
  /** Keys, authorities, templates, certificate files or those of listening sockets may have changed. */
  reload(): Promise<void>;
  /** Resolves, if ever, when the database cannot be used any more, see `Database`: to be stopped without grace. */
  readonly lost: Promise<Error>;
  /** Refuses new mail, finishes the copies in flight within `graceMs` (`shutdown.grace`), closes everything. */
  stop(graceMs?: number): Promise<void>;
}

const hourMs = 3_600_000;
const watchMs = 1000;
const wholeLookMs = 60_000;
const mostLookMs = 10_000;
const opened = { octets: 64 * 1024 ** 2, ageMs: 60_000 };

/**
 * Builds every object of a running reseal, in order, and starts it. `script` is the compiled crypto worker,
 * `housekeepingMs` how often the clock is looked at for what is due: an hour.
 */
export async function startApp(
  site: Site,
  d: { clock: Clock; log: Log; script: URL; housekeepingMs?: number },
): Promise<App> {
  const { clock, log } = d;
  const boot = randomBytes(8).toString('hex');
  const base = await openSite(site, { clock, log, check: true });
  const { database, spool, keyring } = base;
  const lock = lockSpool(join(site.spool, 'lock'), { pid: process.pid, boot, since: clock.now() });
  await ensureService(database.q, { address: site['service.address'], createdAt: clock.now() });
  await recover({ database, spool, log, boot, now: clock.now() });
  // Before anything is in flight: a jump shows only from one look at the clock to the next.
  await jumpOfClock(database.q, clock.now());

  const unique = () => randomBytes(12).toString('hex');
  const delivering = makeBell();
  const workers = startWorkers({ count: site.workers, timeoutMs: site['open.timeout'], script: d.script });
  const cache = openCache({ ...opened, clock });
  const compose = openComposer(base, { workers, unique });
  const relays = await openSiteRelays(site, log);
  const revocation = openRevocation(site, base);
  const lookUps = openLookUps(base, revocation);
  const shared = {
    database,
    spool,
    workers,
    relays,
    keyring,
    intermediates: lookUps.intermediates,
    revocation,
    cache,
    compose,
    clock,
    log,
    defaults: site.defaults,
    node: site.node,
    hostname: site.hostname,
    certificates: site.certificates,
    lifetimeMs: site['queue.lifetime'],
    openedSize: site['open.size'],
    postmaster: site.postmaster,
    serviceAddress: site['service.address'],
    retentionMs: site.retention,
    quarantineMs: site['quarantine.days'] * dayMs,
    secret: await siteSecret(database.q),
    unique,
    wakeDelivery: delivering.ring,
  };
  const door = openDirectoryDoor({ ...shared, folder: site.certificates });
  // What people put there while nothing ran counts from the first post on; a heap of it keeps nobody out for minutes.
  await Promise.race([door.look(), delay(mostLookMs, undefined, { ref: false })]);
  const findRecipients = lookUps.recipients(door.problemOf, (address, { sha256 }, why) =>
    useAgain(shared, { address, purpose: 'enc', sha256, why }),
  );
  const lease = `${site.node} ${boot}`;
  const delivery = startDelivery({
    ...shared,
    findRecipients,
    lease,
    random: Math.random,
  });
  delivering.answer(delivery.wake);
  // What leaves and cannot be written down would leave again.
  void database.lost.then(() => Promise.allSettled([delivery.stop(), relays.close(0)]));
  const processing = startProcessing(
    { ...shared, findRecipients, intake: shared },
    { atOnce: site.workers * 2 },
  );
  await processing.look();
  delivery.wake();

  await readKeys(shared);
  const evidence = careForEvidence({ ...shared, mayFetch: site['fetch.hosts'].length > 0 });
  await evidence.warn();
  const failed = (event: string) => (error: unknown) => log.error(event, { detail: wordsOf(error) });
  const housekeeping = every(
    d.housekeepingMs ?? hourMs,
    async () => void (await takeCare({ ...shared, findRecipients, evidence })),
    failed('housekeeping-failed'),
  );
  const repetitions = [
    housekeeping,
    every(opened.ageMs, async () => cache.sweep(), failed('sweep-failed')),
    every(watchMs, () => door.look(), failed('directory-failed')),
    // A file that is overwritten in place leaves its folder's time as it was.
    every(wholeLookMs, () => door.look(true), failed('directory-failed')),
  ];
  const running = { ...shared, delivery, processing, looking: [door, ...repetitions] };
  const stop = async (receivers: readonly Listener[], graceMs = site['shutdown.grace']): Promise<void> => {
    await stopWork({ ...running, receivers }, graceMs);
    await recordCleanStop(database.q, boot);
    await base.close();
    lock.release();
  };
  const receivers = await openListeners(site, { parts: shared, processing, clock }).catch(async (error) => {
    await stop([]);
    throw error;
  });
  // What was overwritten in place shows in no time of the folder: a look at each file, beside the work.
  void door.look(true);
  // What came due while reseal was down, and what a crash left to be told.
  housekeeping.now();

  return {
    listening: receivers.map((receiver) => receiver.address),
    lost: database.lost,
    reload: async () => {
      await door.look(true);
      await processing.reload();
      await readKeys(shared);
      await evidence.warn();
      await processing.look();
      for (const one of receivers) await one.reload();
    },
    stop: (graceMs) => stop(receivers, graceMs),
  };
}
