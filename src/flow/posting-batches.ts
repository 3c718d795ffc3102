import type { Plaintext } from '../base/bytes.ts';
import { Plaintext as Opened } from '../base/bytes.ts';
import { Fault } from '../base/errors.ts';
import { type Entity, parseEntity } from '../mime/entity.ts';
import { mayLeaveClear } from '../policy/clear.ts';
import { furtherAddress } from '../policy/list-name.ts';
import { withoutEnvelopeFields } from '../smime/open.ts';
import type { CryptoWorkers } from '../smime/workers.ts';
import { hasDueDeliveries } from '../store/deliveries.ts';
import { type MemberRow, membersNamed } from '../store/members.ts';
import { findMessage } from '../store/messages.ts';
import { finish, hold } from '../store/outcomes.ts';
import { findPosting, type PostingRow } from '../store/postings.ts';
import type { DeliveryRow } from '../store/schema.ts';
import { envelopeOf, type ReadyCopy, sameCopies, sealBatch, withoutLeavers } from './batch.ts';
import type { Keyring } from './keyring.ts';
import { type ListContext, listOf, type SiteDefaults } from './list-context.ts';
import type { FindRecipients, MemberCertificate } from './member-certificate.ts';
import { type MissingParts, type Settlement, settleMissing } from './missing.ts';
import type { OpenCache } from './open-cache.ts';
import { reopen } from './open-posting.ts';
import { clearCopy, distributionHeader, intactCopy, type Prepared } from './prepare.ts';
import { sealPosting } from './seal-copies.ts';
import { sentenceFor } from './verdict-record.ts';

export interface BatchParts extends MissingParts {
  readonly workers: CryptoWorkers;
  readonly keyring: Keyring;
  readonly cache: OpenCache;
  readonly findRecipients: FindRecipients;
  readonly defaults: SiteDefaults;
  readonly openedSize: number;
}

/** One posting's batches: what they share is loaded once and kept while they follow each other. */
export interface PostingBatches {
  /** Copies to send now, and what is to be written about the rows that get none. */
  prepare(
    rows: readonly DeliveryRow[],
  ): Promise<{ ready: readonly ReadyCopy[]; settlements: readonly Settlement[] }>;
  /** Whether more rows of this posting are due. */
  hasDue(now: number): Promise<boolean>;
  finished(mark: () => Promise<void>): Promise<void>;
  /** Wipes what was opened and forgets the content keys. */
  end(): Promise<void>;
}

const farAway = 10 * 365 * 86_400_000;

/** Loads a posting for delivery. Faults: 'posting-gone' when a row it needs is missing, and the spool's. */
export async function loadBatch(parts: BatchParts, postingId: number): Promise<PostingBatches> {
  const { q } = parts.database;
  const posting = await findPosting(q, postingId);
  const message = posting && (await findMessage(q, posting.messageId));
  const list = posting && (await listOf(q, posting.listId, parts.defaults));
  if (!posting || !message || !list)
    throw new Fault('posting-gone', `posting ${postingId} has lost its message or its list`, {});
  const spooled = await parts.spool.read(message.id);
  const entity = parseEntity(spooled.bytes);
  const common = {
    hasDue: (now: number) => hasDueDeliveries(q, postingId, now),
    finished: (mark: () => Promise<void>) => mark(),
  };

  if (posting.kind === 'local') {
    const envelope = envelopeOf(message.envelope.from, message, false);
    return {
      ...common,
      prepare: async (rows) => ({
        ready: sameCopies(rows, envelope, Buffer.alloc(0), spooled.bytes),
        settlements: [],
      }),
      end: async () => {},
    };
  }

  const prepared = posting.prepared as unknown as Prepared;
  const header = distributionHeader(entity, list, prepared);
  const envelope = envelopeOf(furtherAddress(list.address, 'bounces'), message, message.envelope.body8bit);
  let isLocked = false;
  const content = async (): Promise<Plaintext> => {
    const cached = parts.cache.get(postingId);
    if (cached) return cached;
    const opened = await entityOf(parts, list, posting, entity, spooled.bytes);
    isLocked = opened === null;
    if (opened === null) throw new Fault('key-locked', 'the private key of the list cannot be used now', {});
    parts.cache.put(postingId, opened);
    return opened;
  };
  const seal = sealPosting(parts.workers, content);

  const inClear = (rows: readonly DeliveryRow[]): ReadyCopy[] => {
    if (rows.length === 0) return [];
    const plain =
      prepared.mode === 'intact' ? intactCopy(entity, header) : clearOf(list, entity, header, posting);
    return sameCopies(rows, envelope, plain.head, plain.body);
  };

  return {
    ...common,
    async prepare(rows) {
      const members =
        posting.kind === 'post'
          ? await membersNamed(
              q,
              list.id,
              rows.map((row) => row.member),
            )
          : null;
      const { staying, leaving } = members
        ? withoutLeavers(rows, members, list)
        : { staying: [...rows], leaving: [] };
      const settlements: Settlement[] = leaving.map((row) => cancelled(parts, row));
      if (prepared.mode === 'intact' || prepared.mode === 'clear')
        return { ready: inClear(staying), settlements };
      const problem = await parts.keyring.trustProblemOf(list);
      // Else members would be told that nobody trusts their certificates, or get in clear what they could get sealed.
      if (problem)
        return {
          ready: [],
          settlements: [...settlements, ...wait(parts, staying, 'trust-unreadable', problem.message)],
        };
      const certificates = await parts.findRecipients(
        list,
        staying.map((row) => asMember(row, members)),
      );
      const sealable = (row: DeliveryRow) =>
        prepared.mode === 'sealed' || certificates.get(row.member)?.usable === true;
      try {
        const batch = await sealBatch(seal, {
          rows: staying.filter(sealable),
          certificates,
          header,
          envelope: { ...envelope, body8bit: false },
        });
        for (const one of batch.missing) {
          const language = languageOf(members?.get(one.row.member), list);
          settlements.push(
            await settleMissing(parts, {
              list,
              message,
              row: one.row,
              certificate: one.certificate,
              language,
            }),
          );
        }
        return { ready: [...batch.ready, ...inClear(staying.filter((row) => !sealable(row)))], settlements };
      } catch (error) {
        if (!isLocked) throw error;
        return { ready: [], settlements: [...settlements, ...wait(parts, staying, 'key-locked', null)] };
      }
    },
    async end() {
      await seal.end();
      parts.cache.drop(postingId);
    },
  };
}

/** The entity to seal: the content of the innermost encryption, or a clear post's own content. */
async function entityOf(
  parts: BatchParts,
  list: ListContext,
  posting: PostingRow,
  message: Entity,
  bytes: Buffer,
): Promise<Plaintext | null> {
  if (posting.verdict?.encrypted !== true) return new Opened(withoutEnvelopeFields(message));
  return reopen(
    { q: parts.database.q, workers: parts.workers, keyring: parts.keyring, openedSize: parts.openedSize },
    list,
    bytes,
  );
}

function clearOf(list: ListContext, entity: Entity, header: Buffer, posting: PostingRow) {
  // Asked again at every attempt: a row that says "clear" is not enough to let an encrypted post out in clear.
  const permit = mayLeaveClear(list.policy, { receivedEncrypted: posting.verdict?.encrypted !== false });
  if (permit === null)
    throw new Fault(
      'clear-forbidden',
      `the policy of ${list.address} does not let this post leave in clear`,
      {},
    );
  return clearCopy(entity, header, permit);
}

function asMember(
  row: DeliveryRow,
  members: ReadonlyMap<string, MemberRow> | null,
): { address: string; settings: MemberRow['settings'] } {
  return { address: row.member, settings: members?.get(row.member)?.settings ?? {} };
}

function languageOf(member: MemberRow | undefined, list: ListContext): string {
  const language = member?.settings.lang;
  return typeof language === 'string' ? language : list.policy.language;
}

function cancelled(parts: BatchParts, row: DeliveryRow): Settlement {
  const at = parts.clock.now();
  const detail = 'no longer an active member of an open list';
  return {
    apply: async (tx) =>
      void (await finish(tx, [{ id: row.id, state: 'cancelled', reason: 'not-a-member', detail }], at)),
    cleanUp: async () => {},
  };
}

/** RULES 18: while the key or the authorities of the list cannot be used the copy waits; its lifetime does not run. */
function wait(
  parts: BatchParts,
  rows: readonly DeliveryRow[],
  reason: 'key-locked' | 'trust-unreadable',
  words: string | null,
): Settlement[] {
  const at = parts.clock.now();
  const detail = `${sentenceFor(reason, null)}${words ? `: ${words}` : ''}`;
  return rows.map(({ id }) => {
    const held = { id, reason, detail, expiresAt: at + farAway };
    return { apply: (tx) => hold(tx, [held], at), cleanUp: async () => {} };
  });
}

export type { MemberCertificate };
