import { faultsOf } from '../../src/base/errors.ts';
import type { Envelope } from '../../src/mime/envelope.ts';
import { type ReceiveOptions, type Receiver, type Reply, receive } from '../../src/smtp/receive.ts';

const spoolFault = faultsOf({ 'spool-full': (d: { path: string }) => `no space left for ${d.path}` });

interface Kept {
  readonly id: string;
  readonly bytes: Buffer;
}

/** A receiver on a free port whose callbacks only take notes, with the misbehaviour that a dialogue asks for. */
export interface TestIntake {
  readonly receiver: Receiver;
  readonly envelopes: Envelope[];
  readonly stored: Kept[];
  readonly aborted: unknown[];
  readonly committed: { readonly stored: Kept; readonly refused: readonly boolean[] }[];
  readonly discarded: Kept[];
  readonly troubles: string[];
  /** Resolves when no `store` is under way that has begun. */
  settled(): Promise<void>;
}

const known = new Set(['list@lists.example', 'other@lists.example', 'postmaster@lists.example']);

/** Settings: `lmtp size maxRecipients store judge commit lookup`, see test/fixtures/dialogues. */
export async function startIntake(
  settings: ReadonlyMap<string, string>,
  more: Partial<ReceiveOptions<Kept>> = {},
): Promise<TestIntake> {
  const notes = {
    envelopes: [] as Envelope[],
    stored: [] as Kept[],
    aborted: [] as unknown[],
    committed: [] as { stored: Kept; refused: readonly boolean[] }[],
    discarded: [] as Kept[],
    troubles: [] as string[],
  };
  const stores: Promise<unknown>[] = [];
  const refusing = settings.get('judge');

  async function store(envelope: Envelope, message: AsyncIterable<Buffer>): Promise<Kept> {
    notes.envelopes.push(envelope);
    const chunks: Buffer[] = [];
    const kept = () => ({ id: `m${notes.envelopes.length}`, bytes: Buffer.concat(chunks) });
    if (settings.get('store') === 'lazy') return kept();
    try {
      for await (const chunk of message) {
        if (settings.get('store') === 'full') throw spoolFault('spool-full', { path: '/secret/spool' });
        if (settings.get('store') === 'broken') throw new Error('EIO: /secret/spool');
        chunks.push(chunk);
      }
    } catch (error) {
      notes.aborted.push(error);
      throw error;
    }
    notes.stored.push(kept());
    return kept();
  }

  const replyTo = (address: string): Reply => {
    const name = address.split('@')[0] ?? '';
    if (refusing === 'all' || refusing === name) return { code: 550, text: `5.7.1 ${name} takes no post` };
    return { code: 250, text: '2.0.0 fine' };
  };

  const receiver = await receive<Kept>({
    lmtp: settings.has('lmtp'),
    listen: { host: '127.0.0.1', port: 0 },
    hostname: 'lists.example',
    size: Number(settings.get('size') ?? 1000),
    maxClients: 10,
    maxPerAddress: 10,
    exempt: [],
    maxRecipients: Number(settings.get('maxRecipients') ?? 10),
    lookup: async (address) => {
      if (settings.get('lookup') === 'broken') throw new Error('SQLITE_CORRUPT: /secret/db');
      return known.has(address) ? 'known' : 'unknown';
    },
    store: (envelope, message) => {
      const work = store(envelope, message);
      stores.push(work.catch(() => undefined));
      return work;
    },
    judge: async (stored, envelope) => {
      if (refusing === 'broken') throw new Error('judge broke');
      if (refusing === undefined)
        return envelope.to.map(() => ({ code: 250, text: `2.6.0 accepted as ${stored.id}` }));
      return envelope.to.map(replyTo);
    },
    commit: async (stored, refused) => {
      if (settings.get('commit') === 'broken') throw new Error('EIO: /secret/incoming');
      notes.committed.push({ stored, refused });
    },
    discard: async (stored) => {
      notes.discarded.push(stored);
    },
    trouble: (where) => notes.troubles.push(where),
    ...more,
  });
  return {
    receiver,
    ...notes,
    settled: async () => {
      await Promise.all(stores);
    },
  };
}
