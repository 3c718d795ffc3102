import { mimeFault } from './faults.ts';
import { formatField } from './header.ts';
import { encodeBase64, encodeQuotedPrintable } from './transfer.ts';

/** A file or message that a mail of ours carries. */
export interface Attachment {
  readonly fileName: string;
  /** With its parameters, if it has any: `application/pkcs7-mime; smime-type=certs-only`. */
  readonly contentType: string;
  readonly content: Buffer;
}

/** A mail that reseal writes itself. Date, Message-ID and boundary are given, so the same input gives the same bytes. */
export interface Composition {
  /** In order. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly text: string;
  readonly attachments?: readonly Attachment[];
  /** RFC 2046 5.1.1; lengthened where it occurs in the content. Used only with attachments. */
  readonly boundary: string;
}

/**
 * The entity to sign or to send: Content-* fields, blank line, body; lines end with CRLF, and everything is printable
 * ASCII, so that no gateway changes signed bytes (RFC 8551 3.1.3). With attachments it is multipart/mixed. Throws
 * `boundary-unusable` or `header-injection`.
 */
export function composeEntity(composition: Pick<Composition, 'text' | 'attachments' | 'boundary'>): Buffer {
  const text = textPart(composition.text);
  const attachments = composition.attachments ?? [];
  if (attachments.length === 0) return text;
  return multipart('mixed', [text, ...attachments.map(attachmentPart)], composition.boundary);
}

/** A whole message: the header fields in their order, MIME-Version, then the entity (its own fields and body). */
export function composeMessage(headers: Composition['headers'], entity: Buffer): Buffer {
  const fields = headers.map(([name, value]) => formatField(name, value));
  return Buffer.concat([...fields, Buffer.from('MIME-Version: 1.0\r\n'), entity]);
}

/**
 * A multipart entity of whole entities, byte for byte (RFC 2046 5.1). `subtype` with its parameters: `mixed`,
 * `signed; protocol=…`. Throws `boundary-unusable`.
 */
export function multipart(subtype: string, parts: readonly Buffer[], wanted: string): Buffer {
  if (!/^[0-9A-Za-z'()+_,./:=? -]{0,59}[0-9A-Za-z'()+_,./:=?-]$/.test(wanted))
    throw mimeFault('boundary-unusable', {
      what: 'it has other characters than RFC 2046 allows, or more than 60',
    });
  let boundary = wanted;
  // A longer one is in less of the content, so this ends; ten rounds mean that somebody plays with us.
  for (let round = 0; parts.some((part) => part.includes(`--${boundary}`)); round++) {
    if (round === 10) throw mimeFault('boundary-unusable', { what: 'the content has all its forms in it' });
    boundary += '=';
  }
  const pieces: Buffer[] = [
    Buffer.from(`Content-Type: multipart/${subtype};\r\n boundary="${boundary}"\r\n`),
  ];
  for (const part of parts) pieces.push(Buffer.from(`\r\n--${boundary}\r\n`), part);
  pieces.push(Buffer.from(`\r\n--${boundary}--\r\n`));
  return Buffer.concat(pieces);
}

/** `text/plain` in UTF-8, or in US-ASCII as it is where that is safe. */
export function textPart(text: string): Buffer {
  const lines = text.replace(/\r\n?|\n/g, '\r\n');
  const body = Buffer.from(lines.endsWith('\r\n') || lines === '' ? lines : `${lines}\r\n`, 'utf8');
  const plain = isPlain(body, 78);
  return Buffer.concat([
    Buffer.from(`Content-Type: text/plain; charset=${plain ? 'us-ascii' : 'utf-8'}\r\n`),
    Buffer.from(`Content-Transfer-Encoding: ${plain ? '7bit' : 'quoted-printable'}\r\n\r\n`),
    plain ? body : encodeQuotedPrintable(body),
  ]);
}

/** An attachment as an entity; a message that is plain ASCII is not encoded (RFC 2046 5.2.1). */
export function attachmentPart(attachment: Attachment): Buffer {
  const message = /^message\/rfc822\b/i.test(attachment.contentType);
  const plain = message && isPlain(attachment.content, 998);
  // RFC 6532 3.7: message/global may be base64, message/rfc822 may not.
  const contentType = message && !plain ? 'message/global' : attachment.contentType;
  return Buffer.concat([
    formatField('Content-Type', contentType),
    formatField('Content-Disposition', `attachment; ${fileNameParameter(attachment.fileName)}`),
    Buffer.from(`Content-Transfer-Encoding: ${plain ? '7bit' : 'base64'}\r\n\r\n`),
    plain ? attachment.content : encodeBase64(attachment.content),
  ]);
}

/** Whether content may travel as it is: ASCII in CRLF lines of this length, nothing that relays change. */
function isPlain(content: Buffer, lineLength: number): boolean {
  const text = content.toString('latin1');
  if (/[^\t\r\n -~]|\r(?!\n)|(?<!\r)\n/.test(text)) return false;
  return text.split('\r\n').every((line) => line.length <= lineLength && !/^From |^\.|[ \t]$/.test(line));
}

/** RFC 2183 2.3; what is no simple name is percent-encoded UTF-8 (RFC 2231 4). */
function fileNameParameter(fileName: string): string {
  if (/^[\w.@+ -]{1,60}$/.test(fileName)) return `filename="${fileName}"`;
  const percent = Array.from(Buffer.from([...fileName].slice(0, 100).join(''), 'utf8'), (octet) => {
    const character = String.fromCharCode(octet);
    return /[\w.-]/.test(character) ? character : `%${octet.toString(16).toUpperCase().padStart(2, '0')}`;
  });
  return `filename*=utf-8''${percent.join('')}`;
}
