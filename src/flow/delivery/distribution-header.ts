import { formatMailbox, type Mailbox, theMailbox } from '../../mime/address.ts';
import type { Entity } from '../../mime/entity.ts';
import { type Field, fieldValue, formatField } from '../../mime/header.ts';
import { hiddenSubject, isHidden } from '../../mime/protect.ts';
import { editHeader, wholeFields } from '../../mime/replace.ts';
import { taggedSubject } from '../../mime/subject.ts';
import { received } from '../../mime/trace.ts';
import { furtherAddress } from '../../policy/list-name.ts';
import type { ListContext } from '../lists/list-context.ts';
import { listIdOf } from '../post/outer.ts';
import type { Prepared } from '../post/prepare.ts';

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
  // NFKC: full-width and small forms look like the plain ones.
  const shown = name === '' || /[@<>]/.test(name.normalize('NFKC')) ? local : [...name].slice(0, 60).join('');
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
