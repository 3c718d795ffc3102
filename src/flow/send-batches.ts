import { Fault, wordsOf } from '../base/errors.ts';
import { permits } from '../base/permits.ts';
import type { RelayPool } from '../smtp/pool.ts';
import type { Queries } from '../store/database.ts';
import { giveBack, hasDueDeliveries } from '../store/deliveries.ts';
import type { DeliveryRow } from '../store/schema.ts';
import { type Acknowledgements, groupCommits } from './acknowledge.ts';
import type { ReadyCopy } from './batch.ts';
import { endPosting } from './failure-report.ts';
import { type BatchParts, loadBatch, type PostingBatches } from './posting-batches.ts';
import { type Answer, type RetryParts, retryLater, writeAnswers } from './write-outcomes.ts';

export interface SendParts extends BatchParts, RetryParts {
  readonly relay: Pick<RelayPool, 'send'>;
  /** Copies under way at a time: connections to the relay. */
  readonly connections: number;
}

/** What is done with rows that were claimed. */
export interface Batches {
  /** Seals a batch of one posting, hands it to the relay and writes down what became of it. Never rejects. */
  deliver(postingId: number, rows: readonly DeliveryRow[]): Promise<void>;
  /** Wipes what the postings in work have in memory. */
  end(): Promise<void>;
}

/** What is written down in groups: the relay's answer to a copy, or a change of another kind. */
type Entry = Answer | ((tx: Queries) => Promise<void>);

/** Starts with no posting in work. Once `isStopping` says so, copies that were not sent yet are given back. */
export function startBatches(parts: SendParts, isStopping: () => boolean): Batches {
  const acknowledgements = groupCommits<Entry>(
    parts.database,
    (tx, entries) => writeEntries(tx, parts, entries),
    {
      pauseMs: 1000,
      enough: parts.connections,
      troubled: (error) => parts.log.error('outcomes-not-written', { detail: wordsOf(error) }),
      isOver: isStopping,
    },
  );
  const postings = new Map<number, PostingBatches>();
  // Twice as many as connections: each has its next copy at hand when one is answered.
  const permit = permits(parts.connections * 2);

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
      ...ready.map((copy) =>
        permit(() => sendOne(parts, acknowledgements, copy, { ...batches.about, isStopping })),
      ),
    ]);
    for (const one of ended) if (one.status === 'rejected') throw one.reason;
    // What is held or deferred opens the message again when its time comes.
    if (!(await hasDueDeliveries(parts.database.q, postingId, parts.clock.now()))) await forget(postingId);
    await endPosting(parts, postingId);
  };

  const forget = async (postingId: number): Promise<void> => {
    const batches = postings.get(postingId);
    postings.delete(postingId);
    await batches?.end();
  };

  return {
    async deliver(postingId, rows) {
      try {
        await deliverBatch(postingId, rows);
      } catch (error) {
        await forget(postingId);
        await failBatch(parts, postingId, rows, error);
      }
    },
    async end() {
      await Promise.all([...postings.keys()].map(forget));
    },
  };
}

/** The batch as a whole failed (a worker, the disk, a bug): its rows come back by the retry table. */
async function failBatch(
  parts: SendParts,
  posting: number,
  rows: readonly DeliveryRow[],
  error: unknown,
): Promise<void> {
  const reason = error instanceof Fault ? error.code : 'internal';
  const detail = wordsOf(error);
  parts.log.error('batch-failed', { posting, code: reason, detail });
  try {
    await parts.database.write((tx) => retryLater(tx, parts, rows, { reason, detail }));
  } catch (failure) {
    // The rows stay in flight until their lease is over; housekeeping, or the next start, frees them.
    parts.log.error('batch-not-put-off', { posting, detail: wordsOf(failure) });
  }
}

async function sendOne(
  parts: SendParts,
  acknowledgements: Acknowledgements<Entry>,
  ready: ReadyCopy,
  d: PostingBatches['about'] & { readonly isStopping: () => boolean },
): Promise<void> {
  const { row } = ready;
  const { id, list, isStopping } = d;
  // Not sent because we stop: due at once after the next start, and not counted as an attempt.
  const giveUp = () => acknowledgements.commit((tx) => giveBack(tx, [row.id], parts.clock.now()));
  if (isStopping()) return giveUp();
  const copy = await ready.make();
  const answered = acknowledgements.expect();
  await parts.relay.send(copy, async (outcome) => {
    answered();
    if (isStopping() && outcome.kind === 'deferred') return giveUp();
    // The connection ends its next copy when this is durable: after a crash at most one of each may go out again.
    await acknowledgements.commit({ ready, outcome });
    const fields = {
      id,
      list,
      posting: row.postingId,
      member: row.member,
      reply: outcome.text,
      cipher: ready.certificate?.cipher,
    };
    if (outcome.kind === 'delivered') parts.log.event('delivered', fields);
    else parts.log.warn(outcome.kind, fields);
  });
}

/** Writes a group of entries: the answers together, then the others. */
async function writeEntries(tx: Queries, parts: SendParts, entries: readonly Entry[]): Promise<void> {
  await writeAnswers(
    tx,
    parts,
    entries.filter((entry) => typeof entry !== 'function'),
  );
  for (const entry of entries) if (typeof entry === 'function') await entry(tx);
}
