import { Fault, wordsOf } from '../../base/errors.ts';
import type { RelayedOutcome, Relays } from '../../smtp/relays.ts';
import type { Queries } from '../../store/database.ts';
import type { ClaimedRow } from '../../store/deliveries.ts';
import { giveBack } from '../../store/outcomes.ts';
import { type Acknowledgements, acknowledgeInGroups } from './acknowledge.ts';
import type { ReadyCopy } from './batch.ts';
import { endPosting } from './failure-report.ts';
import { type BatchParts, loadPosting, type PostingBatches } from './posting-batches.ts';
import type { FatalCertificates } from './seal-copies.ts';
import { type Answer, type RetryParts, retryLater, writeAnswers } from './write-outcomes.ts';

export interface SendParts extends BatchParts, RetryParts {
  readonly relays: Pick<Relays, 'send' | 'turn' | 'connections' | 'together'>;
}

/** What is done with rows that were claimed. */
export interface Batches {
  /**
   * Seals a batch of one posting, hands it to the relay and writes down what became of it. Never rejects.
   */
  deliver(postingId: number, rows: readonly ClaimedRow[], progress: Progress): Promise<void>;
}

/** How far a batch has come; each is called once, in this order, or not at all if the batch ends sooner. */
export interface Progress {
  /** The first of its copies has begun: the next batch takes as long to prepare as this one to send. */
  begun(): void;
  /** The last of its copies have begun, or will at once: another posting may have its place. */
  spare(): void;
}

/** A posting in work, and how many batches of it there are. */
interface InWork {
  readonly batches: Promise<PostingBatches>;
  users: number;
}

/** What is written down in groups: the relay's answers to a copy, or a change of another kind. */
type Entry = readonly Answer[] | ((tx: Queries) => Promise<void>);

/** Starts with no posting in work. Once `isStopping` says so, copies that were not sent yet are given back. */
export function startBatches(parts: SendParts, isStopping: () => boolean): Batches {
  const acknowledgements = acknowledgeInGroups<Entry>(
    parts.database,
    (tx, entries) => writeEntries(tx, parts, entries),
    {
      pauseMs: 1000,
      enough: parts.relays.connections,
      troubled: (error) => parts.log.error('outcomes-not-written', { detail: wordsOf(error) }),
      isOver: isStopping,
    },
  );
  const postings = new Map<number, InWork>();
  const fatal: FatalCertificates = new Map();

  const deliverBatch = async (
    batches: PostingBatches,
    rows: readonly ClaimedRow[],
    d: { readonly progress: Progress; readonly left: Set<ClaimedRow> },
  ): Promise<void> => {
    const { progress } = d;
    const { about } = batches;
    const { ready, settlements } = await batches.prepare(rows);
    const { connections } = parts.relays;
    let unbegun = ready.length;
    const begun = (): void => {
      if (unbegun-- === ready.length) progress.begun();
      if (unbegun === connections) progress.spare();
    };
    const send = (copy: ReadyCopy): Promise<void> =>
      parts.relays.turn(
        { list: about.listId, octets: about.octets, to: copy.addressees[0]?.row.member ?? '' },
        () => {
          begun();
          return sendOne(parts, acknowledgements, copy, { ...about, isStopping });
        },
        (afterMs) => {
          begun();
          return putBack(parts, acknowledgements, rowsOf(copy), afterMs);
        },
      );
    if (unbegun <= connections) progress.spare();
    // Every copy is waited for, also when one fails: what is still on its way must not be put off and sent again.
    const ended = await Promise.allSettled([
      ...settlements.map(async (one) => {
        await acknowledgements.commit(one.apply);
        d.left.delete(one.row);
        await one.cleanUp();
      }),
      ...ready.map(async (copy) => {
        await send(copy);
        for (const row of rowsOf(copy)) d.left.delete(row);
      }),
    ]);
    for (const one of ended) if (one.status === 'rejected') throw one.reason;
  };

  /** What the batches of a posting share, kept from the first of them to the end of the last one under way. */
  const load = (postingId: number): InWork => {
    const known = postings.get(postingId) ?? { batches: loadPosting(parts, postingId, fatal), users: 0 };
    known.users++;
    postings.set(postingId, known);
    return known;
  };

  const leave = async (postingId: number, loaded: InWork): Promise<void> => {
    if (--loaded.users > 0) return;
    // Held or deferred copies open the message again when their time comes.
    postings.delete(postingId);
    await loaded.batches.then((one) => one.end()).catch(() => undefined);
  };

  return {
    async deliver(postingId, rows, progress) {
      const loaded = load(postingId);
      // What was put back may be in another batch, and on its way, before this one ends: it is no more this one's to put off.
      const left = new Set(rows);
      try {
        await deliverBatch(await loaded.batches, rows, { progress, left });
        await endPosting(parts, postingId);
      } catch (error) {
        await failBatch(parts, postingId, [...left], error);
      } finally {
        await leave(postingId, loaded);
      }
    },
  };
}

const rowsOf = (copy: ReadyCopy): ClaimedRow[] => copy.addressees.map((one) => one.row);
const idsOf = (rows: readonly ClaimedRow[]): number[] => rows.map((row) => row.id);

/** A batch failed (a worker, the disk, a bug): the rows of which nothing was written down come back by the retry table. */
async function failBatch(
  parts: SendParts,
  posting: number,
  rows: readonly ClaimedRow[],
  error: unknown,
): Promise<void> {
  const reason = error instanceof Fault ? error.code : 'internal';
  const detail = wordsOf(error);
  parts.log.error('batch-failed', { posting, code: reason, detail });
  try {
    await parts.database.write(async (tx) => {
      // The worker died of another job, or we stop: not the copies' doing.
      if (reason === 'worker-restarted' || reason === 'worker-closed')
        await giveBack(tx, idsOf(rows), parts.clock.now());
      else await retryLater(tx, parts, rows, { reason, detail });
    });
  } catch (failure) {
    // The rows stay in flight until their lease is over; housekeeping, or the next start, frees them.
    parts.log.error('batch-not-put-off', { posting, detail: wordsOf(failure) });
  }
}

/** Not sent because we stop, or not tried: due at once, or later, and not counted as an attempt. */
function putBack(
  { clock }: SendParts,
  acknowledgements: Acknowledgements<Entry>,
  rows: readonly ClaimedRow[],
  afterMs = 0,
): Promise<void> {
  return acknowledgements.commit((tx) => giveBack(tx, idsOf(rows), clock.now() + afterMs));
}

async function sendOne(
  parts: SendParts,
  acknowledgements: Acknowledgements<Entry>,
  ready: ReadyCopy,
  d: PostingBatches['about'] & { readonly isStopping: () => boolean },
): Promise<void> {
  const { id, list, isStopping } = d;
  if (isStopping()) return putBack(parts, acknowledgements, rowsOf(ready));
  const addressees = new Map(ready.addressees.map((one) => [one.row.member, one]));
  const copy = await ready.make();
  let answered = (): void => {};
  const settle = async (outcomes: readonly RelayedOutcome[]): Promise<void> => {
    answered();
    const answers: Answer[] = [];
    const untried: Promise<void>[] = [];
    for (const outcome of outcomes) {
      const addressee = addressees.get(outcome.to);
      if (addressee === undefined) continue;
      const isGivenUp = isStopping() && outcome.kind === 'deferred';
      if (outcome.afterMs === undefined && !isGivenUp) answers.push({ addressee, outcome });
      else untried.push(putBack(parts, acknowledgements, [addressee.row], outcome.afterMs));
    }
    // The connection ends its next copy when this is durable: after a crash at most one of each may go out again.
    if (answers.length > 0) await acknowledgements.commit(answers);
    await Promise.all(untried);
    for (const { addressee, outcome } of answers) {
      const fields = {
        id,
        list,
        posting: addressee.row.postingId,
        member: outcome.to,
        reply: outcome.text,
        relay: outcome.relay,
        cipher: addressee.certificate?.cipher,
      };
      if (outcome.kind === 'delivered') parts.log.event('delivered', fields);
      else parts.log.warn(outcome.kind, fields);
    }
  };
  await parts.relays.send(copy, settle, () => {
    // By another relay than before: what that one said is no answer that anybody waits for.
    answered();
    answered = acknowledgements.expect();
  });
}

/** Writes a group of entries: the answers together, then the others. */
async function writeEntries(tx: Queries, parts: SendParts, entries: readonly Entry[]): Promise<void> {
  await writeAnswers(
    tx,
    parts,
    entries.flatMap((entry) => (typeof entry === 'function' ? [] : entry)),
  );
  for (const entry of entries) if (typeof entry === 'function') await entry(tx);
}
