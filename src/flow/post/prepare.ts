import { z } from 'zod';
import { brandClear, type ClearBytes, type ReceivedBytes, receivedPart } from '../../base/bytes.ts';
import { faultsOf } from '../../base/errors.ts';
import { bodyBytes, type Entity } from '../../mime/entity.ts';
import type { Envelope } from '../../mime/envelope.ts';
import { wholeFields } from '../../mime/replace.ts';
import type { ClearPermit } from '../../policy/clear.ts';
import type { JsonObject } from '../../store/schema.ts';
import type { ListContext } from '../lists/list-context.ts';

export const prepareFault = faultsOf({
  'prepared-malformed': (d: { posting: number; what: string }) =>
    `what was fixed for the copies of posting ${d.posting} cannot be read (${d.what}): was it written by a newer reseal?`,
});

// Written when a post is accepted and read by each of its attempts, also by those of the next version: what is added
// later needs a default.
const preparedSchema = z.strictObject({
  /** How copies leave: sealed for each member, in clear, sealed where the member can, or as they came. */
  mode: z.enum(['sealed', 'clear', 'when-possible', 'intact']),
  spoolId: z.string(),
  /** Our host name, in our Received field. */
  hostname: z.string(),
  client: z.string(),
  helo: z.string(),
  protocol: z.string(),
  /** When the message was received, ms. */
  receivedAt: z.number(),
  decidedAt: z.number(),
  /** Put before the Subject as `[tag]`; '' for none. */
  subjectTag: z.string(),
  replyToList: z.boolean(),
  /** The trace of the author's network is left out. */
  hidesNetwork: z.boolean(),
  /** What the list signs of the copies, see `listSignatureFor`. */
  sign: z.enum(['none', 'around', 'as-list']).default('none'),
  /** `[...]` outside instead of the Subject on encrypted copies, which have it inside. */
  hidesSubject: z.boolean().default(false),
});

/** What is fixed when a post is accepted, so that every attempt makes the same header (RULES 18). */
export type Prepared = Readonly<z.infer<typeof preparedSchema>>;

/** Reads a posting's `prepared` column back. Fault: 'prepared-malformed'. */
export function readPrepared(posting: {
  readonly id: number;
  readonly prepared: JsonObject | null;
}): Prepared {
  const parsed = preparedSchema.safeParse(posting.prepared);
  if (parsed.success) return parsed.data;
  const what = parsed.error.issues[0]?.path.join('.') || 'all of it';
  throw prepareFault('prepared-malformed', { posting: posting.id, what });
}

/** What is fixed for all copies of one message at the moment of its decision. */
export function prepareFor(
  list: ListContext,
  d: {
    mode: Prepared['mode'];
    spoolId: string;
    hostname: string;
    envelope: Envelope;
    receivedAt: number;
    decidedAt: number;
    sign?: Prepared['sign'];
    hidesSubject?: boolean;
  },
): Prepared {
  const { client, helo, protocol } = d.envelope;
  const { mode, spoolId, hostname, receivedAt, decidedAt, sign = 'none', hidesSubject = false } = d;
  return {
    mode,
    spoolId,
    hostname,
    client,
    helo,
    protocol,
    receivedAt,
    decidedAt,
    subjectTag: list.policy['send.subject-tag'],
    replyToList: list.policy['send.reply-to'] === 'list',
    hidesNetwork: list.policy['send.received'] === 'drop',
    sign,
    hidesSubject,
  };
}

/** Head of a sealed copy: the outer header and the fields that describe the encrypted content (RFC 8551 3.2). */
export function sealedHead(header: Buffer, contentType: string): Buffer {
  return Buffer.concat([header, Buffer.from('MIME-Version: 1.0\r\n'), sealedFields(contentType)]);
}

/** The MIME fields of a sealed entity, with the empty line (RFC 8551 3.3). */
export function sealedFields(contentType: string): Buffer {
  const fields = [
    `Content-Type: ${contentType}`,
    'Content-Transfer-Encoding: base64',
    'Content-Disposition: attachment; filename="smime.p7m"',
  ];
  return Buffer.from(`${fields.join('\r\n')}\r\n\r\n`);
}

/** A post that came in clear, as it leaves in clear: the new header, its own Content-* fields and body untouched. */
export function clearCopy(
  message: Entity,
  header: Buffer,
  _permit: ClearPermit,
): { head: Buffer; body: ClearBytes } {
  return { head: asItCame(message, header), body: brandClear(bodyBytes(message)) };
}

/** How large a copy is that leaves as `clearCopy` makes it. */
export function clearOctets(message: Entity, header: Buffer): number {
  return asItCame(message, header).length + bodyBytes(message).length;
}

/** A post that came in clear, as it leaves signed by the list: `signed` is the whole entity with its Content-* fields. */
export function signedClearCopy(
  signed: Buffer,
  header: Buffer,
  _permit: ClearPermit,
): { head: Buffer; body: ClearBytes } {
  return { head: Buffer.concat([header, Buffer.from('MIME-Version: 1.0\r\n')]), body: brandClear(signed) };
}

/**
 * A message that goes on as it came: one that the list cannot open (`unopened.action: members`), and mail for owners
 * and moderators. Nothing of it was opened, so it needs no permit. `received` is what `message` was read from.
 */
export function intactCopy(
  received: ReceivedBytes,
  message: Entity,
  header: Buffer,
): { head: Buffer; body: ReceivedBytes } {
  return { head: asItCame(message, header), body: receivedPart(received, message.bodyStart, message.end) };
}

function asItCame(message: Entity, header: Buffer): Buffer {
  const own = message.fields.filter((field) => /^(content-.*|mime-version)$/i.test(field.name));
  return Buffer.concat([header, wholeFields(message.source, own), Buffer.from('\r\n')]);
}
