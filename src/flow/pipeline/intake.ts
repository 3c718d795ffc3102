import { Fault, wordsOf } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { addressKind } from '../../policy/list-name.ts';
import { judgeOuter } from '../../policy/outer.ts';
import type { Database, Queries } from '../../store/database.ts';
import { type LedgerEntry, record } from '../../store/ledger.ts';
import { findList, findService } from '../../store/lists.ts';
import { insertMessages, type NewMessage } from '../../store/messages.ts';
import type { PostingKind } from '../../store/schema.ts';
import type { Spool } from '../../store/spool.ts';
import { type ListContext, listAt, rolesOn, type SiteDefaults } from '../lists/list-context.ts';
import { loopsThrough, type Outer, readOuter } from '../post/outer.ts';

/** Where one recipient address leads. */
export interface Destination {
  readonly listId: number;
  readonly kind: PostingKind;
}

/** What the end of DATA answers for one recipient; null means nothing speaks against it. */
export interface OuterRefusal {
  readonly code: 550 | 552 | 554;
  /** Begins with the enhanced code (RFC 3463). */
  readonly text: string;
  readonly reason: string;
}

export interface IntakeParts {
  readonly database: Database;
  readonly spool: Spool;
  readonly defaults: SiteDefaults;
  readonly serviceAddress: string;
  readonly node: string;
  readonly log: Log;
}

/**
 * The list and purpose that a canonical address has, or null if there is no such address here (RULES 19).
 * A closed list still has its addresses: its posts are refused with that reason. The list's policy is not asked.
 */
export async function destinationOf(
  q: Queries,
  address: string,
  site: Pick<IntakeParts, 'serviceAddress'>,
): Promise<Destination | null> {
  if (address === site.serviceAddress) {
    const service = await findService(q, address);
    return service && { listId: service.id, kind: 'service' };
  }
  const { base, kind } = addressKind(address);
  const list = await findList(q, base);
  return list && { listId: list.id, kind };
}

/**
 * Judges a message that is in the spool for one recipient by its envelope and outer header alone. Only posts are
 * judged: the other addresses take mail from anybody. A refusal leaves a ledger line.
 */
export async function judgeAtEndOfData(
  parts: IntakeParts,
  spoolId: string,
  address: string,
  at: number,
): Promise<OuterRefusal | null> {
  const { q } = parts.database;
  if (address === parts.serviceAddress || addressKind(address).kind !== 'post') return null;
  const list = await listAt(q, address, parts.defaults);
  if (list === null) return null;
  const { bytes, envelope } = await parts.spool.read(spoolId);
  const outer = tryReadOuter(bytes);
  // Refused, a looping or automatic message would come back as a bounce of a bounce: those are dropped after 250.
  if (outer !== null && (outer.automatic !== null || envelope.from === '')) return null;
  const refusal = await judgeOuterHeader(q, list, outer, bytes.length);
  if (refusal === null) return null;
  parts.log.event('refused-in-session', { id: spoolId, list: list.address, reason: refusal.reason });
  await record(q, {
    at,
    messageId: spoolId,
    list: list.address,
    event: 'refused',
    reason: refusal.reason,
    detail: `refused at the end of DATA: ${refusal.text}`,
    data: { envelopeFrom: envelope.from, from: outer?.from ?? null, client: envelope.client },
  });
  return refusal;
}

/** What the session would answer about a post by its outer header; null is a header that cannot be read. */
export async function judgeOuterHeader(
  q: Queries,
  list: ListContext,
  outer: Outer | null,
  size: number,
): Promise<OuterRefusal | null> {
  if (outer === null)
    return { code: 554, text: '5.6.0 The header of this message cannot be read', reason: 'malformed' };
  const nobody = { member: false, suspended: false, owner: false, moderator: false };
  const judgement = judgeOuter(list.policy, {
    from: outer.from,
    roles: outer.from === null ? nobody : await rolesOn(q, list, outer.from),
    encrypted: outer.encrypted,
    maybeEncrypted: outer.maybeEncrypted,
    plain: outer.plain,
    loop: loopsThrough(outer.entity, list.address),
    hops: outer.hops,
    size,
    open: list.open,
  });
  return judgement.refuse ? judgement : null;
}

/** A message of `spool/incoming`. */
export interface Arrival {
  readonly id: string;
  /** Recipients that heard a refusal in the session; forgotten in a crash, they are judged again by `authorize`. */
  readonly refused: readonly string[];
}

/**
 * Takes messages of `spool/incoming` in: their rows and one posting per list and purpose in one transaction, then the
 * rename of each to `spool/messages`. All or none; repeated after a crash it gives the same rows.
 */
export async function intake(parts: IntakeParts, arrivals: readonly Arrival[]): Promise<void> {
  const { database, spool, log } = parts;
  const find = lookUpOnce((address) => destinationOf(database.q, address, parts));
  const arrived: Awaited<ReturnType<typeof readArrival>>[] = [];
  // One after the other: each is read whole, and all together may be more than there is memory.
  for (const one of arrivals) arrived.push(await readArrival(parts, one, find));
  await database.write(async (tx) => {
    const fresh = await insertMessages(tx, arrived);
    await record(
      tx,
      arrived.filter(({ message }) => fresh.has(message.id)).map(({ received }) => received),
    );
  });
  await Promise.all(
    arrived.map(async ({ message: { id, envelope, size } }) => {
      await spool.settle(id);
      log.event('received', { id, from: envelope.from, to: envelope.to, size });
    }),
  );
}

async function readArrival(parts: IntakeParts, { id, refused }: Arrival, find: FindDestination) {
  const { envelope, receivedAt, bytes } = await parts.spool.read(id);
  const outer = tryReadOuter(bytes);
  const size = bytes.length;
  const message: NewMessage = {
    id,
    origin: envelope.protocol === 'local' ? 'inject' : 'smtp',
    envelope,
    receivedAt,
    size,
    messageId: outer?.messageId ?? null,
    subject: outer?.subject ?? null,
    fromAddress: outer?.from ?? null,
    bodySha256: outer?.bodySha256 ?? '',
    node: parts.node,
  };
  const postings = await postingsFor(
    envelope.to.filter((address) => !refused.includes(address)),
    find,
  );
  const received: LedgerEntry = {
    at: receivedAt,
    messageId: id,
    event: 'received',
    detail: `received from ${envelope.client}, ${size} octets`,
    data: { envelopeFrom: envelope.from, to: envelope.to, from: message.fromAddress, size },
  };
  return { message, postings, received };
}

/** The outer header, or null if it is too large to read. */
export function tryReadOuter(bytes: Buffer): Outer | null {
  try {
    return readOuter(bytes);
  } catch (error) {
    if (error instanceof Fault) return null;
    throw new Error(`reading a header failed: ${wordsOf(error)}`, { cause: error });
  }
}

type FindDestination = (address: string) => Promise<Destination | null>;

/** Messages that come together are mostly for the same few addresses. */
function lookUpOnce(find: FindDestination): FindDestination {
  const found = new Map<string, Promise<Destination | null>>();
  return (address) => {
    const known = found.get(address) ?? find(address);
    found.set(address, known);
    return known;
  };
}

async function postingsFor(to: readonly string[], find: FindDestination): Promise<readonly Destination[]> {
  const found = new Map<string, Destination>();
  for (const address of to) {
    const destination = await find(address);
    if (destination) found.set(`${destination.listId} ${destination.kind}`, destination);
  }
  return [...found.values()];
}
