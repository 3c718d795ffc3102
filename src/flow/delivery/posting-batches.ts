import { isAscii } from 'node:buffer';
import { dayMs } from '../../base/day.ts';
import { faultsOf, isFault } from '../../base/errors.ts';
import { parseEntity } from '../../mime/entity.ts';
import { type ClearPermit, mayLeaveClear } from '../../policy/clear.ts';
import type { Relays } from '../../smtp/relays.ts';
import type { ClaimedRow } from '../../store/deliveries.ts';
import { type MemberRow, membersNamed } from '../../store/members.ts';
import { findMessage, type MessageRow } from '../../store/messages.ts';
import { finish, hold } from '../../store/outcomes.ts';
import { findPosting, type PostingRow } from '../../store/postings.ts';
import type { SpooledMessage } from '../../store/spool.ts';
import type { FindRecipients } from '../certificates/member-certificate.ts';
import { sealKeysFrom } from '../certificates/seal-keys.ts';
import { type ListContext, languageOf, listOf, type SiteDefaults } from '../lists/list-context.ts';
import { addressesOf, type NoticeParts } from '../mail/notices-to.ts';
import { intactCopy, type Prepared, readPrepared } from '../post/prepare.ts';
import { cameEncrypted, receivedBits, sentenceFor } from '../post/verdict-record.ts';
import { envelopeOf, type ReadyCopy, sameCopies, sealBatch, withoutLeavers } from './batch.ts';
import { distributionHeader } from './distribution-header.ts';
import { type Settlement, settleMissing } from './missing.ts';
import { type OutgoingParts, outgoingOf } from './outgoing.ts';
import { type FatalCertificates, sealPosting } from './seal-copies.ts';

export const deliveryFault = faultsOf({
  'posting-gone': (d: { posting: number }) => `posting ${d.posting} has lost its message or its list`,
  'clear-forbidden': (d: { list: string }) => `the policy of ${d.list} does not let this post leave in clear`,
});

export interface BatchParts extends NoticeParts, OutgoingParts {
  readonly relays: Pick<Relays, 'together'>;
  readonly findRecipients: FindRecipients;
  readonly defaults: SiteDefaults;
  /** By which the site knows its VERP senders again. */
  readonly secret: Buffer;
  /** Who is told of what is the relay's doing. */
  readonly postmaster: string;
}

/** Copies to send now, and what is to be written about the rows that get none. */
export interface PreparedBatch {
  readonly ready: readonly ReadyCopy[];
  readonly settlements: readonly Settlement[];
}

/** What log lines name: the message's spool id, as in its 250, and the list; and how large it came. */
export interface About {
  readonly listId: number;
  readonly id: string;
  readonly list: string;
  readonly octets: number;
}

/** One posting's batches: what they share is loaded once and kept while they follow each other. */
export interface PostingBatches {
  readonly about: About;
  prepare(rows: readonly ClaimedRow[]): Promise<PreparedBatch>;
  /** Wipes what was opened and forgets the content keys. */
  end(): Promise<void>;
}

/** A posting that is being delivered, with what it came with. */
interface Loaded {
  readonly posting: PostingRow;
  readonly message: MessageRow;
  readonly list: ListContext;
  readonly spooled: SpooledMessage;
}

/** The members of a batch of a post, by address; null for mail to who holds a role. */
type Members = ReadonlyMap<string, MemberRow> | null;

const farAway = 10 * 365 * dayMs;

/** Loads a posting for delivery; `fatal` grows with what kills workers. Faults: 'posting-gone', 'prepared-malformed', and the spool's. */
export async function loadPosting(
  parts: BatchParts,
  postingId: number,
  fatal: FatalCertificates,
): Promise<PostingBatches> {
  const { q } = parts.database;
  const posting = await findPosting(q, postingId);
  const message = posting && (await findMessage(q, posting.messageId));
  const list = posting && (await listOf(q, posting.listId, parts.defaults));
  if (!posting || !message || !list) throw deliveryFault('posting-gone', { posting: postingId });
  const loaded = { posting, message, list, spooled: await parts.spool.read(message.id) };
  return posting.kind === 'local' ? ownMail(parts, loaded) : distribution(parts, loaded, fatal);
}

const aboutOf = ({ message, list }: Loaded): About => ({
  listId: list.id,
  id: message.id,
  list: list.address,
  octets: message.size,
});

/** Mail that reseal wrote: it leaves as it lies in the spool. */
function ownMail({ relays }: BatchParts, loaded: Loaded): PostingBatches {
  const { message, spooled } = loaded;
  const { from, smtpUtf8, requireTls } = message.envelope;
  const { together } = relays;
  const { id } = message;
  const envelope = { message: id, senderFor: () => from, together, smtpUtf8, requireTls, body8bit: false };
  return {
    about: aboutOf(loaded),
    prepare: async (rows) => ({
      ready: sameCopies(rows, envelope, Buffer.alloc(0), spooled.bytes),
      settlements: [],
    }),
    end: async () => {},
  };
}

/** Mail for members, or for those who hold a role: sealed for each, in clear, or as it came. */
function distribution(parts: BatchParts, loaded: Loaded, fatal: FatalCertificates): PostingBatches {
  const { posting, message, list, spooled } = loaded;
  const prepared = readPrepared(posting);
  const { mode } = prepared;
  const outgoing = outgoingOf(parts, { posting, list, spooled, prepared });
  const { secret } = parts;
  const { together } = parts.relays;
  const seal = sealPosting(parts.workers, outgoing.toSeal, fatal);
  const findKeys = sealKeysFrom(parts.database.q);

  const inClear = async (rows: readonly ClaimedRow[]): Promise<ReadyCopy[]> => {
    if (rows.length === 0) return [];
    const { head, body } =
      mode === 'intact' ? asItCame(loaded, prepared) : await outgoing.inClear(permitOf(loaded));
    // By what it is: a client may say 8BITMIME of 7-bit text, or send 8-bit text and not say so (RFC 6152 3).
    const envelope = envelopeOf(list, message, { body8bit: !isAscii(body), together, secret });
    return sameCopies(rows, envelope, head, body);
  };

  const sealed = async (rows: readonly ClaimedRow[], members: Members): Promise<PreparedBatch> => {
    const certificates = await parts.findRecipients(
      list,
      rows.map((row) => asMember(row, members)),
      receivedBits(posting),
    );
    const sealable = (row: ClaimedRow): boolean =>
      mode === 'sealed' || certificates.get(row.member)?.usable === true;
    const envelope = envelopeOf(list, message, { body8bit: false, together, secret });
    const { header } = outgoing;
    const batch = await sealBatch(seal, {
      rows: rows.filter(sealable),
      certificates,
      header,
      envelope,
      findKeys,
      grouped: list.policy['send.envelope'] === 'grouped',
    });
    const settlements: Settlement[] = [];
    for (const { row, certificate } of batch.missing) {
      const language = languageOf(list, members?.get(row.member));
      settlements.push(await settleMissing(parts, { list, message, row, certificate, language }));
    }
    const clear = await inClear(rows.filter((row) => !sealable(row)));
    return { ready: [...batch.ready, ...clear], settlements };
  };

  const distribute = async (rows: readonly ClaimedRow[], members: Members): Promise<PreparedBatch> => {
    try {
      if (mode === 'intact' || mode === 'clear') return { ready: await inClear(rows), settlements: [] };
      const problem = await parts.keyring.trustProblemOf(list);
      // Else members would be told that nobody trusts their certificates, or get in clear what they could get sealed.
      if (problem) return waiting(parts, rows, 'trust-unreadable', problem.message);
      return await sealed(rows, members);
    } catch (error) {
      if (!isFault(error, 'key-locked')) throw error;
      return waiting(parts, rows, 'key-locked', null);
    }
  };

  return {
    about: aboutOf(loaded),
    async prepare(rows) {
      const { q } = parts.database;
      if (posting.kind !== 'post') {
        const holders = new Set(
          await addressesOf(q, list.id, posting.kind === 'owner' ? 'owner' : 'moderator'),
        );
        const holding = rows.filter((row) => holders.has(row.member));
        const others = rows.filter((row) => !holders.has(row.member));
        const { ready, settlements } = await distribute(holding, null);
        return {
          ready,
          settlements: [
            ...others.map((row) => cancelled(parts, row, { reason: 'not-a-member', detail: noRole })),
            ...settlements,
          ],
        };
      }
      const addresses = rows.map((row) => row.member);
      const members = await membersNamed(q, list.id, addresses);
      const { staying, leaving } = withoutLeavers(rows, members, list);
      const { ready, settlements } = await distribute(staying, members);
      const ended = leaving.map((row) => cancelled(parts, row, whyEnded(list, members.get(row.member))));
      return { ready, settlements: [...ended, ...settlements] };
    },
    async end() {
      await seal.end();
      parts.cache.drop(posting.id);
    },
  };
}

/** Asked again at every attempt: a row that says "clear" is not enough to let an encrypted post out in clear. */
function permitOf({ posting, list }: Loaded): ClearPermit {
  const permit = mayLeaveClear(list.policy, { receivedEncrypted: cameEncrypted(posting) });
  if (permit === null) throw deliveryFault('clear-forbidden', { list: list.address });
  return permit;
}

function asItCame({ list, spooled }: Loaded, prepared: Prepared) {
  const entity = parseEntity(spooled.bytes);
  return intactCopy(spooled.bytes, entity, distributionHeader(entity, list, prepared, 'clear'));
}

function asMember(row: ClaimedRow, members: Members): { address: string; settings: MemberRow['settings'] } {
  return { address: row.member, settings: members?.get(row.member)?.settings ?? {} };
}

const noRole = 'no longer an owner or moderator of the list';

interface Ending {
  readonly reason: 'not-a-member' | 'suspended' | 'list-closed';
  readonly detail: string;
}

/** Why a copy does not go out any more (RULES 17). */
function whyEnded(list: ListContext, member: MemberRow | undefined): Ending {
  if (!list.open) return { reason: 'list-closed', detail: 'the list was closed' };
  if (member?.state === 'suspended') return { reason: 'suspended', detail: 'suspended on the list' };
  return { reason: 'not-a-member', detail: 'no longer an active member of the list' };
}

function cancelled(parts: BatchParts, row: ClaimedRow, ending: Ending): Settlement {
  const at = parts.clock.now();
  return {
    row,
    apply: async (tx) => void (await finish(tx, [{ id: row.id, state: 'cancelled', ...ending }], at)),
    cleanUp: async () => {},
  };
}

/** RULES 18: while the key or the authorities of the list cannot be used copies wait; their lifetime does not run. */
function waiting(
  parts: BatchParts,
  rows: readonly ClaimedRow[],
  reason: 'key-locked' | 'trust-unreadable',
  words: string | null,
): PreparedBatch {
  const at = parts.clock.now();
  const detail = `${sentenceFor(reason, null)}${words ? `: ${words}` : ''}`;
  const settlements = rows.map((row): Settlement => {
    const held = { id: row.id, reason, detail, expiresAt: at + farAway };
    return { row, apply: async (tx) => void (await hold(tx, [held], at)), cleanUp: async () => {} };
  });
  return { ready: [], settlements };
}
