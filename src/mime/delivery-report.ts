import { canonicalAddress } from './address.ts';
import { decodedBody, type Entity, parseEntity, partsOf } from './entity.ts';
import { type Field, fieldValue, parseFields } from './header.ts';

/** A recipient to whom a message was not delivered. */
export interface FailedRecipient {
  /** His canonical addresses: as the message was sent, and where it went in the end. */
  readonly addresses: readonly string[];
  /** RFC 3463, e.g. `5.1.1`; null if there is none. */
  readonly status: string | null;
  /** What his mail server said, in one line; '' if nothing is told. */
  readonly words: string;
}

/** What a delivery status notification says for good. */
export interface DeliveryReport {
  readonly failed: readonly FailedRecipient[];
  /** The Message-ID of what came back, or null. */
  readonly messageId: string | null;
}

/** Recipients that are looked at: a copy has no more. */
const mostRecipients = 100;

const statusTypes: ReadonlySet<string> = new Set([
  'message/delivery-status',
  'message/global-delivery-status',
]);
const returnedTypes: ReadonlySet<string> = new Set([
  'message/rfc822',
  'text/rfc822-headers',
  'message/global',
  'message/global-headers',
]);

/**
 * Reads a delivery status notification (RFC 3464, RFC 6533): whose copies failed, and of which message. Null if `message` is
 * none. Delays and successes are left out. Nothing in it is proven. Throws `mime-budget`.
 */
export function readDeliveryReport(message: Entity): DeliveryReport | null {
  const { type, parameters } = message.contentType;
  if (type !== 'multipart/report' || parameters.get('report-type')?.toLowerCase() !== 'delivery-status')
    return null;
  const parts = partsOf(message);
  const status = parts.find((part) => statusTypes.has(part.contentType.type));
  if (status === undefined) return null;
  const returned = parts.find((part) => returnedTypes.has(part.contentType.type));
  // RFC 3464 2.1: the first group is about the message.
  const [, ...recipients] = groupsOf(decodedBody(status));
  return {
    failed: recipients.flatMap(failedIn),
    messageId: returned ? fieldValue(parseEntity(decodedBody(returned)).fields, 'Message-ID') : null,
  };
}

/** RFC 3464 2.1: groups of fields, a blank line between. */
function groupsOf(body: Buffer): Field[][] {
  const groups: Field[][] = [];
  for (let at = 0; at < body.length && groups.length <= mostRecipients; ) {
    const { fields, bodyStart } = parseFields(body, at, body.length);
    // What is no field ends the header, and would be read for ever.
    if (fields.length === 0 && bodyStart <= at) break;
    if (fields.length > 0) groups.push(fields);
    at = bodyStart;
  }
  return groups;
}

function failedIn(fields: readonly Field[]): FailedRecipient[] {
  if (fieldValue(fields, 'Action')?.trim().toLowerCase() !== 'failed') return [];
  const addresses = ['Original-Recipient', 'Final-Recipient'].flatMap((name) => {
    // RFC 3464 2.3.1: `rfc822; bob@example.org`.
    const [kind = '', address = ''] = (fieldValue(fields, name) ?? '').split(/;(.*)/s);
    return /^(rfc822|utf-8)$/i.test(kind.trim()) ? (canonicalAddress(unbracketed(address)) ?? []) : [];
  });
  const status = /^[245]\.\d{1,3}\.\d{1,3}/.exec(fieldValue(fields, 'Status')?.trim() ?? '')?.[0];
  const [, words = ''] = (fieldValue(fields, 'Diagnostic-Code') ?? '').split(/;(.*)/s);
  return [{ addresses: [...new Set(addresses)], status: status ?? null, words: plainLine(words) }];
}

const unbracketed = (address: string): string => address.trim().replace(/^<(.*)>$/, '$1');

const plainLine = (text: string): string =>
  text
    .replace(/[\p{C}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .trim()
    .slice(0, 300);
