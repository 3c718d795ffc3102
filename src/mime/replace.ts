import { mimeFault } from './faults.ts';
import { type Field, fieldBytes } from './header.ts';

const CRLF = Buffer.from('\r\n');

/** What to change in an outer header. */
export interface HeaderEdits {
  /** Whether a field of this name (as written) goes. */
  readonly drop: (name: string) => boolean;
  /** Whole fields with CRLF, put before the kept ones (made by `formatField` or `received`). */
  readonly prepend: readonly Buffer[];
}

/**
 * The header fields of an outgoing message: new ones first, then the kept ones of `source` byte for byte, in their
 * order. The blank line and the body are not part of it. A last field that the end of the message cut off gets its
 * CRLF. Throws `header-injection` if a field to prepend is not one whole field.
 */
export function editHeader(source: Buffer, fields: readonly Field[], edits: HeaderEdits): Buffer {
  const pieces: Buffer[] = [];
  for (const field of edits.prepend) {
    if (!isOneField(field))
      throw mimeFault('header-injection', {
        field: field.toString('latin1', 0, 40),
        what: 'this is not one field',
      });
    pieces.push(field);
  }
  for (const field of fields) {
    if (edits.drop(field.name)) continue;
    const bytes = fieldBytes(source, field);
    pieces.push(bytes);
    if (bytes.at(-1) !== 0x0a) pieces.push(CRLF);
  }
  return Buffer.concat(pieces);
}

/** Fields byte for byte; one that the end of the message cut off gets its CRLF. */
export function wholeFields(source: Buffer, fields: readonly Field[]): Buffer {
  return editHeader(source, fields, { drop: () => false, prepend: [] });
}

/** A name, a colon, and CRLF only before a blank or at the end. */
function isOneField(bytes: Buffer): boolean {
  const text = bytes.toString('latin1');
  return /^[!-9;-~]+:/.test(text) && text.endsWith('\r\n') && !/\r(?!\n)|(?<!\r)\n|\n(?![ \t])./s.test(text);
}
