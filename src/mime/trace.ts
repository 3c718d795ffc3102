import { formatDate } from './date.ts';
import { type Field, fieldsNamed } from './header.ts';

/** What our Received field says. */
export interface TraceData {
  /** The client: `host [ip]`, or `local`. */
  readonly from: string;
  /** What the client called itself; '' if it said nothing. */
  readonly helo: string;
  /** Our host name. */
  readonly by: string;
  readonly protocol: string;
  /** The message's id in the spool. */
  readonly id: string;
  /** The recipient if there is only one (RFC 5321 7.6 forbids to disclose others), else null. */
  readonly for: string | null;
  /** Milliseconds. */
  readonly at: number;
}

/** Our Received field with CRLF at its end (RFC 5321 4.4). What the client said is reduced to harmless characters. */
export function received(data: TraceData): Buffer {
  const client = data.from === 'local' ? '' : `from ${word(data.helo)} (${comment(data.from)})\r\n\t`;
  // RFC 6531 3.7.3: an international address must not stand in a field that may leave without SMTPUTF8.
  const recipient = data.for !== null && /^[!-~]+$/.test(data.for) ? `\r\n\tfor <${data.for}>` : '';
  const own = `by ${word(data.by)} with ${word(data.protocol)} id ${word(data.id)}`;
  return Buffer.from(`Received: ${client}${own}${recipient};\r\n\t${formatDate(data.at)}\r\n`, 'latin1');
}

/** One word without blanks, comments or anything that ends a clause; `unknown` for nothing. */
function word(text: string): string {
  return text.slice(0, 255).replace(/[^A-Za-z0-9._:[\]-]/g, '?') || 'unknown';
}

function comment(text: string): string {
  return text.slice(0, 300).replace(/[^A-Za-z0-9._:[\] -]/g, '?');
}

/**
 * The bytes after the newest Received field, or all if there is none: what stays the same when a client sends one
 * message twice through the same last hop.
 */
export function belowNewestReceived(source: Buffer, fields: readonly Field[]): Buffer {
  return source.subarray(fieldsNamed(fields, 'Received')[0]?.end ?? 0);
}
