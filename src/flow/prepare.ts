import { z } from 'zod';
import { brandClear, type ClearBytes, type ReceivedBytes, receivedPart } from '../base/bytes.ts';
import { faultsOf } from '../base/errors.ts';
import { formatMailbox, type Mailbox, theMailbox } from '../mime/address.ts';
import { bodyBytes, type Entity } from '../mime/entity.ts';
import type { Envelope } from '../mime/envelope.ts';
import { type Field, fieldValue, formatField } from '../mime/header.ts';
import { hiddenSubject, isHidden } from '../mime/protect.ts';
import { editHeader } from '../mime/replace.ts';
import { taggedSubject } from '../mime/subject.ts';
import { received } from '../mime/trace.ts';
import type { ClearPermit } from '../policy/clear.ts';
import { furtherAddress } from '../policy/list-name.ts';
import type { JsonObject } from '../store/schema.ts';
import type { ListContext } from './list-context.ts';
import { listIdOf } from './outer.ts';

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

/**
 * Fields that end at the list: what the last relay wrote, what would ask every member's client for something, and
 * what the list says itself. X-Loop of other lists stays: lists that are members of each other would send a post round
 * for ever. Bcc must not be seen by members (RFC 5322 3.6.3). A DKIM or ARC seal covers a body that
 * is not sent any more.
 */
const dropped =
  /^(return-path|delivered-to|x-original-to|envelope-to|apparently-to|bcc|resent-bcc|sender|precedence|errors-to|list-.*|archived-at|return-receipt-to|disposition-notification-.*|x-confirm-reading-to|dkim-signature|arc-.*|authentication-results|domainkey-signature|auto-submitted|mime-version|content-.*|subject|x-reseal-.*)$/i;

/** Fields that show where the author wrote from; dropped if the list says so. */
const ofTheNetwork = /^(received|x-originating-.*|x-received|x-forwarded-.*|x-sender-ip)$/i;

/**
 * The outer header of every copy of a post, without the fields that describe its content: ours first, then the
 * author's fields, byte for byte and in order, then the list's (RFC 2369, RFC 2919). Ends with a line end, without
 * the blank line. What the list signs as its own names the list in From (RULES 10). The Subject is hidden only if
 * `copies` are sealed ones.
 */
export function distributionHeader(
  message: Entity,
  list: ListContext,
  prepared: Prepared,
  copies: 'sealed' | 'clear',
): Buffer {
  const { hidesNetwork, replyToList } = prepared;
  const asList = prepared.sign === 'as-list';
  const answersToAuthor = asList && !replyToList && fieldValue(message.fields, 'Reply-To') === null;
  const drop = (name: string): boolean =>
    dropped.test(name) ||
    (hidesNetwork && ofTheNetwork.test(name)) ||
    (replyToList && /^reply-to$/i.test(name)) ||
    (asList && /^from$/i.test(name));
  const author = editHeader(message.source, message.fields, { drop, prepend: [ourReceived(prepared, list)] });
  const subject = message.fields.find((field) => field.name.toLowerCase() === 'subject');
  const from = theMailbox(message.fields, 'From');
  return Buffer.concat([
    author,
    ...(asList ? [formatField('From', formatMailbox(viaList(from, list)))] : []),
    copies === 'sealed' && prepared.hidesSubject && subject
      ? formatField('Subject', hiddenSubject)
      : subjectField(message.source, subject, prepared.subjectTag),
    ...(answersToAuthor && from ? [formatField('Reply-To', formatMailbox(from))] : []),
    ...(replyToList ? [formatField('Reply-To', list.address)] : []),
    ...listFields(list),
  ]);
}

/** `Alice via team <team@…>`: whom From names is not proven, so what he calls himself must not look like an address. */
function viaList(from: Mailbox | null, list: ListContext): Mailbox {
  const [local = ''] = (from?.address ?? '').split('@');
  // Invisible characters could turn the rest of the line round.
  const name = (from?.name ?? '').replace(/[\p{C}\p{Z}]+/gu, ' ').trim();
  const shown = name === '' || /[@<>]/.test(name) ? local : [...name].slice(0, 60).join('');
  return { name: `${shown || 'Somebody'} via ${list.name}`, address: list.address };
}

/** RFC 5321 4.4: the newest trace field comes first. */
function ourReceived(prepared: Prepared, list: ListContext): Buffer {
  const { client, helo, protocol, hostname, spoolId, receivedAt } = prepared;
  return received({
    from: client,
    helo,
    by: hostname,
    protocol,
    id: spoolId,
    for: list.address,
    at: receivedAt,
  });
}

function subjectField(source: Buffer, field: Field | undefined, tag: string): Buffer {
  // RFC 9788 3.2.1: `[...]` says that the Subject is inside; a tag beside it would look like the subject itself.
  if (field && (tag === '' || isHidden(field.value))) return wholeFields(source, [field]);
  if (!field && tag === '') return Buffer.alloc(0);
  const label = tag.replace(/^\[|\]$/g, '');
  return formatField('Subject', taggedSubject(field?.value ?? '', label));
}

function listFields(list: ListContext): Buffer[] {
  const request = furtherAddress(list.address, 'request');
  const owner = furtherAddress(list.address, 'owner');
  const fields: readonly (readonly [string, string])[] = [
    // RFC 8550 3: the list's own signature, where there is one, is matched against Sender.
    ['Sender', list.address],
    ['List-Id', `<${listIdOf(list.address)}>`],
    ['List-Post', `<mailto:${list.address}>`],
    ['List-Help', `<mailto:${request}?subject=HELP>`],
    ['List-Owner', `<mailto:${owner}>`],
    ['List-Unsubscribe', `<mailto:${owner}?subject=unsubscribe>`],
    ['Precedence', 'list'],
    ['X-Loop', list.address],
  ];
  return fields.map(([name, value]) => formatField(name, value));
}

/** Head of a sealed copy: the outer header and the fields that describe the encrypted content (RFC 8551 3.2). */
export function sealedHead(header: Buffer, contentType: string): Buffer {
  const fields = [
    'MIME-Version: 1.0',
    `Content-Type: ${contentType}`,
    'Content-Transfer-Encoding: base64',
    'Content-Disposition: attachment; filename="smime.p7m"',
  ];
  return Buffer.concat([header, Buffer.from(`${fields.join('\r\n')}\r\n\r\n`)]);
}

/** A post that came in clear, as it leaves in clear: the new header, its own Content-* fields and body untouched. */
export function clearCopy(
  message: Entity,
  header: Buffer,
  _permit: ClearPermit,
): { head: Buffer; body: ClearBytes } {
  return { head: asItCame(message, header), body: brandClear(bodyBytes(message)) };
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

/** Fields byte for byte; one that the end of the message cut off gets its line end. */
function wholeFields(source: Buffer, fields: readonly Field[]): Buffer {
  return editHeader(source, fields, { drop: () => false, prepend: [] });
}
