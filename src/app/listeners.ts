import type { Clock } from '../base/clock.ts';
import { wordsOf } from '../base/errors.ts';
import type { Site } from '../config/site.ts';
import { destinationOf, type IntakeParts, judgeAtEndOfData } from '../flow/pipeline/intake.ts';
import type { ProcessQueue } from '../flow/pipeline/process-queue.ts';
import { formatEnvelopeLine } from '../mime/envelope.ts';
import { type Receiver, receive } from '../smtp/receive.ts';
import { newId } from '../store/spool.ts';
import { readListenerTls } from './listener-tls.ts';
import { logTurnedAway } from './log-turned-away.ts';

interface Arrived {
  readonly id: string;
  readonly to: readonly string[];
}

export interface Listener extends Receiver {
  /** Reads its certificate and key again, if it has some. Fault 'listen-tls', and then it goes on with those it has. */
  reload(): Promise<void>;
}

interface ListenerParts {
  readonly parts: IntakeParts;
  readonly processing: Pick<ProcessQueue, 'accept'>;
  readonly clock: Clock;
}

/**
 * Opens the listening sockets of a site, each joined to the spool and the processing of messages: all of them, or none
 * stays open. Faults: 'listen-failed', 'listen-tls'.
 */
export async function openListeners(site: Site, d: ListenerParts): Promise<Listener[]> {
  const receivers: Listener[] = [];
  try {
    for (const socket of site.listen) receivers.push(await openListener(site, socket, d));
  } catch (error) {
    await Promise.all(receivers.map((receiver) => receiver.close(0)));
    throw error;
  }
  return receivers;
}

async function openListener(site: Site, socket: Site['listen'][number], d: ListenerParts): Promise<Listener> {
  const { parts, processing, clock } = d;
  const { spool, database, log } = parts;
  const { tls } = socket;
  const receiver = await receive<Arrived>({
    ...(tls ? { tls: await readListenerTls(tls) } : {}),
    lmtp: socket.protocol === 'lmtp',
    listen: socket,
    hostname: site.hostname,
    size: site.size,
    maxClients: site['limits.clients'],
    maxPerAddress: site['limits.clients-per-address'],
    exempt: site['limits.exempt'],
    turnedAway: logTurnedAway(log, clock),
    maxRecipients: site['limits.recipients'],
    lookup: async (address) => ((await destinationOf(database.q, address, parts)) ? 'known' : 'unknown'),
    store: async (envelope, message) => {
      const at = clock.now();
      const id = newId(at);
      await spool.receive(id, formatEnvelopeLine({ ...envelope, receivedAt: at }), message);
      return { id, to: envelope.to };
    },
    judge: async ({ id, to }) => {
      const replies = [];
      // One after the other: each reads the message.
      for (const address of to) replies.push(await judgeOne(parts, id, address, clock.now()));
      return replies;
    },
    commit: async ({ id, to }, refused) => {
      await spool.commit(id);
      const no = to.filter((_, index) => refused[index]);
      processing.accept(id, no);
    },
    discard: ({ id }) => spool.discard(id),
    trouble: (where, error) => log.error('receive-failed', { where, detail: wordsOf(error) }),
  });
  return {
    ...receiver,
    reload: async () => {
      if (tls) receiver.renewTls(await readListenerTls(tls));
    },
  };
}

async function judgeOne(parts: IntakeParts, id: string, address: string, at: number) {
  const refusal = await judgeAtEndOfData(parts, id, address, at);
  return refusal ?? { code: 250 as const, text: `2.6.0 accepted as ${id}` };
}
