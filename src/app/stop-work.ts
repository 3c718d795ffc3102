import type { Delivery } from '../flow/delivery/deliver.ts';
import type { ProcessQueue } from '../flow/pipeline/process-queue.ts';
import type { OpenCache } from '../flow/post/open-cache.ts';
import type { CryptoWorkers } from '../smime/workers.ts';
import type { Relays } from '../smtp/relays.ts';
import type { Listener } from './listeners.ts';

/** All that is under way in a running reseal. */
interface Running {
  readonly receivers: readonly Listener[];
  readonly processing: Pick<ProcessQueue, 'stop'>;
  readonly delivery: Pick<Delivery, 'stop'>;
  readonly relays: Pick<Relays, 'close'>;
  readonly workers: Pick<CryptoWorkers, 'close'>;
  readonly cache: Pick<OpenCache, 'clear'>;
  /** What looks for work by the clock. */
  readonly looking: readonly { stop(): Promise<void> }[];
}

/**
 * Refuses new mail and ends all work, with one grace for all that is under way: what is not done by then is cut, and goes
 * on after the next start. Database and spool are still open.
 */
export async function stopWork(running: Running, graceMs: number): Promise<void> {
  const { receivers, processing, delivery, relays, workers, cache, looking } = running;
  let timer: NodeJS.Timeout | undefined;
  const graceOver = new Promise<void>((resolve) => {
    timer = setTimeout(() => void workers.close().then(resolve), graceMs);
  });
  const delivered = delivery.stop();
  const ended = Promise.all(looking.map((one) => one.stop()));
  await Promise.all([
    ...receivers.map((receiver) => receiver.close(graceMs)),
    processing.stop(),
    relays.close(graceMs),
  ]);
  // What the last clients sent is taken in.
  await processing.stop();
  await delivered;
  await Promise.race([ended, graceOver]);
  clearTimeout(timer);
  cache.clear();
  await workers.close();
}
