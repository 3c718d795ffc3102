import { Fault, wordsOf } from '../base/errors.ts';
import type { RelayPool } from '../smtp/pool.ts';
import type { Queries } from '../store/database.ts';
import { claim, giveBack, hasOpenDeliveries, nextDueAt } from '../store/deliveries.ts';
import { setPostingState } from '../store/postings.ts';
import type { DeliveryRow } from '../store/schema.ts';
import { type Acknowledgements, groupCommits } from './acknowledge.ts';
import type { ReadyCopy } from './batch.ts';
import { type BatchParts, loadBatch, type PostingBatches } from './posting-batches.ts';
import { type Answer, type RetryParts, retryLater, writeAnswers } from './write-outcomes.ts';

export interface DeliverParts extends BatchParts, RetryParts {
  readonly relay: Pick<RelayPool, 'send'>;
  /** Copies under way at a time: connections to the relay. */
  readonly connections: number;
  /** Holder of the rows that are claimed: node id and boot id. */
  readonly lease: string;
}

export interface Delivery {
  /** Rows may be due: look now. */
  wake(): void;
  /** Claims nothing more; resolves when the copies under way are answered and written down. */
  stop(): Promise<void>;
}

const batchSize = 100;
/** Batches prepared beside each other, of different postings: a slow one does not hold up the others. */
const batchesAtATime = 3;
/** Longer than any attempt takes; rows of a dead daemon are freed at start, not by this. */
const leaseMs = 6 * 3_600_000;
/** How often the table is looked at without being woken. */
const idleMs = 60_000;

/** What is written down in groups: the relay's answer to a copy, or a change of another kind. */
type Entry = Answer | ((tx: Queries) => Promise<void>);

/** Starts the delivery: claims batches of due rows, seals them, hands them to the relay and writes down the outcome. */
export function startDelivery(parts: DeliverParts): Delivery {
  const acknowledgements = groupCommits<Entry>(parts.database, (tx, entries) =>
    writeEntries(tx, parts, entries),
  );
  const underWay = new Map<number, Promise<void>>();
  const postings = new Map<number, PostingBatches>();
  const permit = permits(parts.connections);
  let stopping = false;
  let claiming = false;
  let again = false;
  let timer: NodeJS.Timeout | null = null;

  const look = async (): Promise<void> => {
    if (claiming) {
      again = true;
      return;
    }
    claiming = true;
    do {
      again = false;
      try {
        await claimWhilePossible();
      } catch (error) {
        parts.log.error('delivery-failed', { detail: wordsOf(error) });
      }
    } while (again && !stopping);
    claiming = false;
    await rest();
  };

  const claimWhilePossible = async (): Promise<void> => {
    while (!stopping && underWay.size < batchesAtATime) {
      const now = parts.clock.now();
      const notPostings = [...underWay.keys()];
      const rows = await claim(parts.database.q, {
        lease: parts.lease,
        now,
        limit: batchSize,
        leaseMs,
        notPostings,
        node: parts.node,
      });
      const postingId = rows[0]?.postingId;
      if (postingId === undefined) return;
      const work = deliverBatch(postingId, rows).catch((error: unknown) => failBatch(rows, error));
      underWay.set(
        postingId,
        work.finally(() => {
          underWay.delete(postingId);
          void look();
        }),
      );
    }
  };

  const rest = async (): Promise<void> => {
    if (stopping || underWay.size >= batchesAtATime) return;
    const next = await nextDueAt(parts.database.q).catch(() => null);
    if (timer) clearTimeout(timer);
    const wait = next === null ? idleMs : Math.min(Math.max(next - parts.clock.now(), 50), idleMs);
    timer = setTimeout(() => void look(), wait);
    timer.unref();
  };

  const deliverBatch = async (postingId: number, rows: readonly DeliveryRow[]): Promise<void> => {
    const batches = postings.get(postingId) ?? (await loadBatch(parts, postingId));
    postings.set(postingId, batches);
    const { ready, settlements } = await batches.prepare(rows);
    // Every copy is waited for, also when one fails: what is still on its way must not be put off and sent again.
    const ended = await Promise.allSettled([
      ...settlements.map(async (one) => {
        await acknowledgements.commit(one.apply);
        await one.cleanUp();
      }),
      ...ready.map((copy) => permit(() => sendOne(parts, acknowledgements, copy, () => stopping))),
    ]);
    for (const one of ended) if (one.status === 'rejected') throw one.reason;
    await endIfDone(postingId, batches);
  };

  /** The posting's shared state goes when no row of it is due: what is held or deferred opens the message again. */
  const endIfDone = async (postingId: number, batches: PostingBatches): Promise<void> => {
    if (!(await batches.hasDue(parts.clock.now()))) {
      postings.delete(postingId);
      await batches.end();
    }
    if (!(await hasOpenDeliveries(parts.database.q, postingId)))
      await batches.finished(() => setPostingState(parts.database.q, postingId, 'done'));
  };

  const failBatch = async (rows: readonly DeliveryRow[], error: unknown): Promise<void> => {
    const postingId = rows[0]?.postingId ?? 0;
    const batches = postings.get(postingId);
    postings.delete(postingId);
    await batches?.end();
    const code = error instanceof Fault ? error.code : 'internal';
    parts.log.error('batch-failed', { posting: postingId, code, detail: wordsOf(error) });
    await parts.database
      .write((tx) => retryLater(tx, parts, rows, { reason: code, detail: wordsOf(error) }))
      .catch(() => undefined);
  };

  return {
    wake: () => {
      if (!stopping) void look();
    },
    async stop() {
      stopping = true;
      if (timer) clearTimeout(timer);
      while (underWay.size > 0) await Promise.all(underWay.values());
      await Promise.all([...postings.values()].map((one) => one.end()));
    },
  };
}

async function sendOne(
  parts: DeliverParts,
  acknowledgements: Acknowledgements<Entry>,
  ready: ReadyCopy,
  isStopping: () => boolean,
): Promise<void> {
  const { row } = ready;
  const outcome = isStopping()
    ? null
    : await acknowledgements.expect(async () => parts.relay.send(await ready.make()));
  // Not sent because we stop: due at once after the next start, and not counted as an attempt.
  if (outcome === null || (isStopping() && outcome.kind === 'deferred'))
    return acknowledgements.commit((tx) => giveBack(tx, [row.id], parts.clock.now()));
  // The permit is held until this is durable: after a crash at most one copy per connection may go out again.
  await acknowledgements.commit({ ready, outcome });
  const fields = {
    posting: row.postingId,
    member: row.member,
    reply: outcome.text,
    cipher: ready.certificate?.cipher,
  };
  if (outcome.kind === 'delivered') parts.log.event('delivered', fields);
  else parts.log.warn(outcome.kind, fields);
}

/** Writes a group of entries: the answers together, then the others. */
async function writeEntries(tx: Queries, parts: DeliverParts, entries: readonly Entry[]): Promise<void> {
  await writeAnswers(
    tx,
    parts,
    entries.filter((entry) => typeof entry !== 'function'),
  );
  for (const entry of entries) if (typeof entry === 'function') await entry(tx);
}

/** At most `count` at a time, the others in their order. */
function permits(count: number): <T>(work: () => Promise<T>) => Promise<T> {
  let free = count;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (free > 0) free--;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else free++;
    }
  };
}
