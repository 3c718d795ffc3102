import { createHash } from 'node:crypto';
import { isFault } from '../../base/errors.ts';
import { theMailbox } from '../../mime/address.ts';
import { isAutomatic } from '../../mime/auto.ts';
import { type Entity, parseEntity } from '../../mime/entity.ts';
import { fieldsNamed, fieldValue } from '../../mime/header.ts';
import { belowNewestReceived } from '../../mime/trace.ts';
import { decodeWords } from '../../mime/words.ts';
import { classify } from '../../smime/classify.ts';

/** What the outer header of a received message says, before anything is opened. None of it is proven. */
export interface Outer {
  readonly entity: Entity;
  readonly messageId: string | null;
  /** The outer Subject, decoded: the only one that may be stored or shown (RULES 14). */
  readonly subject: string | null;
  /** The one From mailbox; null if there is not exactly one. */
  readonly from: string | null;
  /** The outermost layer is S/MIME encryption, as far as MIME tells. */
  readonly encrypted: boolean;
  /** Encryption may be there or inside a signature. */
  readonly maybeEncrypted: boolean;
  /** No S/MIME layer at all. */
  readonly plain: boolean;
  readonly hops: number;
  /** Why the message is automatic (RFC 3834), in words, or null. */
  readonly automatic: string | null;
  /** SHA-256 of the bytes below the newest Received field: equal for the same post sent again. */
  readonly bodySha256: string;
}

/** RFC 5322 2.1.1: no line is longer, and more need no notice and no row repeat. */
const longestSubject = 998;

/** Reads the outer header of a message. Throws nothing: an unreadable header has no From and is plain. */
export function readOuter(message: Buffer): Outer {
  const entity = parseEntity(message);
  const { fields } = entity;
  const subject = fieldValue(fields, 'Subject');
  return {
    entity,
    messageId: fieldValue(fields, 'Message-ID'),
    subject: subject === null ? null : decodeWords(subject).slice(0, longestSubject),
    from: theMailbox(fields, 'From')?.address ?? null,
    ...wrappingOf(entity),
    hops: fieldsNamed(fields, 'Received').length,
    automatic: isAutomatic(fields),
    bodySha256: createHash('sha256').update(belowNewestReceived(message, fields)).digest('hex'),
  };
}

/** Values of smime-type (RFC 8551 3.2.2) that do not say that it is encrypted. */
const withoutEncryption: ReadonlySet<string> = new Set(['signed-data', 'certs-only', 'compressed-data']);

function wrappingOf(entity: Entity): Pick<Outer, 'encrypted' | 'maybeEncrypted' | 'plain'> {
  const wrapping = wrap(entity);
  const plain = wrapping.kind === 'none' || wrapping.kind === 'malformed';
  const claimed = entity.contentType.parameters.get('smime-type')?.toLowerCase() ?? '';
  const cms = wrapping.kind === 'cms';
  // RFC 8551 3.10: where a gateway took the type away, the name tells.
  const named = claimed === '' && /\.p7[scz]$/i.test(entity.fileName ?? '');
  const encrypted = cms && !named && !withoutEncryption.has(claimed);
  const inside = wrapping.kind === 'detached' && wrap(wrapping.content).kind !== 'none';
  return { encrypted, maybeEncrypted: cms || inside, plain };
}

function wrap(entity: Entity): ReturnType<typeof classify> {
  try {
    return classify(entity);
  } catch (error) {
    if (isFault(error)) return { kind: 'malformed' };
    throw error;
  }
}

/** Whether the list distributed this message before: its own List-Id or X-Loop is on it. */
export function loopsThrough(entity: Entity, list: string): boolean {
  const id = listIdOf(list).toLowerCase();
  const ids = fieldsNamed(entity.fields, 'List-Id').map((field) => field.value.toLowerCase());
  const loops = fieldsNamed(entity.fields, 'X-Loop').map((field) => field.value.toLowerCase().trim());
  return ids.some((value) => value.includes(`<${id}>`)) || loops.includes(list);
}

/** `team@lists.example` → `team.lists.example` (RFC 2919 2). */
export function listIdOf(list: string): string {
  return list.replace('@', '.');
}
