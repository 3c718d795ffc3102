import { mimeFault } from './faults.ts';
import { decodeUnlabelled, encodeRun, encodeWords } from './words.ts';

/** One header field by position in the received bytes. */
export interface Field {
  /** The name as written. */
  readonly name: string;
  readonly start: number;
  /** Offset after its last line end. */
  readonly end: number;
  /** The value unfolded and trimmed; UTF-8 if it is valid UTF-8, else Latin-1. Encoded words are left alone. */
  readonly value: string;
}

/** What one header may cost (RULES 7, 8). */
export interface HeaderLimits {
  readonly fields: number;
  /** Octets of the whole header. */
  readonly octets: number;
}

export const headerLimits: HeaderLimits = { fields: 1000, octets: 256 * 1024 };

const LF = 0x0a;
const CR = 0x0d;
const space = 0x20;
const tab = 0x09;
const colon = 0x3a;

/**
 * Reads the header that begins at `start` (RFC 5322 2.2, RFC 2045 3) up to `end` at most. Lines end with CRLF, or
 * with a bare LF as in entities that were encrypted on Unix; a bare CR ends nothing. The blank line ends the header,
 * and so does a line that is no field, which is then the first line of the body (Postfix reads it so too). A leading
 * mbox "From " line is skipped. Gives the fields and the offset of the body. Throws `mime-budget`.
 */
export function parseFields(
  source: Buffer,
  start: number,
  end: number,
  limits: HeaderLimits = headerLimits,
): { fields: Field[]; bodyStart: number } {
  // A view that ends at `end`, so that no search for a line end runs through the rest of the message.
  const view = source.subarray(0, end);
  const fields: Field[] = [];
  let at = start;
  while (at < end) {
    const lineEnd = endOfLine(view, at);
    if (isBlankLine(view, at, lineEnd)) return { fields, bodyStart: lineEnd };
    const nameEnd = endOfName(view, at, lineEnd);
    if (nameEnd < 0) {
      if (at !== start || !isMboxLine(view, at)) return { fields, bodyStart: at };
      at = lineEnd;
      continue;
    }
    let next = lineEnd;
    while (next < end && (view[next] === space || view[next] === tab)) next = endOfLine(view, next);
    if (next - start > limits.octets)
      throw mimeFault('mime-budget', { limit: 'octets of header', value: limits.octets });
    if (fields.length === limits.fields)
      throw mimeFault('mime-budget', { limit: 'header fields', value: limits.fields });
    fields.push(fieldAt(view, at, nameEnd, next));
    at = next;
  }
  return { fields, bodyStart: end };
}

function endOfLine(view: Buffer, at: number): number {
  const found = view.indexOf(LF, at);
  return found < 0 ? view.length : found + 1;
}

function isBlankLine(view: Buffer, at: number, lineEnd: number): boolean {
  if (view[lineEnd - 1] !== LF) return false;
  return lineEnd - at === 1 || (lineEnd - at === 2 && view[at] === CR);
}

/** RFC 5322 3.6.8: printable ASCII without the colon; -1 if the line does not begin with a name and a colon. */
function endOfName(view: Buffer, at: number, lineEnd: number): number {
  let position = at;
  while (position < lineEnd && isNameOctet(view[position])) position++;
  const nameEnd = position;
  // RFC 5322 4.5: obsolete syntax allows blanks before the colon.
  while (position < lineEnd && (view[position] === space || view[position] === tab)) position++;
  return nameEnd > at && view[position] === colon && position < lineEnd ? nameEnd : -1;
}

function isNameOctet(octet: number | undefined): boolean {
  return octet !== undefined && octet > 0x20 && octet < 0x7f && octet !== colon;
}

function isMboxLine(view: Buffer, at: number): boolean {
  const head = view.toString('latin1', at, at + 6);
  return head.startsWith('From ') || head.startsWith('>From ');
}

function fieldAt(view: Buffer, start: number, nameEnd: number, end: number): Field {
  let from = view.indexOf(colon, nameEnd) + 1;
  let to = end;
  while (from < to && isWhite(view[from])) from++;
  while (to > from && isWhite(view[to - 1])) to--;
  // RFC 5322 2.2.3: unfolding removes each line end that a blank follows.
  const value = decodeUnlabelled(view.subarray(from, to)).replace(/\r?\n(?=[ \t])/g, '');
  return { name: view.toString('latin1', start, nameEnd), start, end, value };
}

function isWhite(octet: number | undefined): boolean {
  return octet === space || octet === tab || octet === CR || octet === LF;
}

/** All fields of this name, in order; case does not matter. */
export function fieldsNamed(fields: readonly Field[], name: string): Field[] {
  const wanted = name.toLowerCase();
  return fields.filter((field) => field.name.toLowerCase() === wanted);
}

/** The value of the first field of this name, or null. */
export function fieldValue(fields: readonly Field[], name: string): string | null {
  const wanted = name.toLowerCase();
  return fields.find((field) => field.name.toLowerCase() === wanted)?.value ?? null;
}

/** The field exactly as it came, line ends included. */
export function fieldBytes(source: Buffer, field: Field): Buffer {
  return source.subarray(field.start, field.end);
}

/** Fields whose value has addresses in it: only phrases may be encoded there (RFC 2047 5). */
const addressFields = new Set(
  'from sender reply-to to cc bcc resent-from resent-sender resent-to resent-cc resent-bcc'.split(' '),
);

/** RFC 5322 2.1.1: lines of 78 characters where that is possible, of 998 at most. */
const lineLength = 78;
const longestWord = 900;

/**
 * One header field ready to send: folded at 78, what is not printable ASCII as encoded words (RFC 2047), CRLF at its
 * end. In address fields display names are encoded and addresses stay (RFC 6532). Encoded words in `value` are kept.
 * Throws `header-injection` for a name that is none and for a value with CR, LF or NUL.
 */
export function formatField(name: string, value: string): Buffer {
  if (!/^[!-9;-~]{1,70}$/.test(name))
    throw mimeFault('header-injection', { field: JSON.stringify(name), what: 'this is no field name' });
  if (/[\r\n]/.test(value) || value.includes('\0'))
    throw mimeFault('header-injection', { field: name, what: 'its value has a line end or NUL in it' });
  const encoded = addressFields.has(name.toLowerCase()) ? encodePhrases(value) : encodeText(value);
  return Buffer.from(`${fold(`${name}: ${trimBlanks(encoded)}`)}\r\n`, 'utf8');
}

function encodeText(value: string): string {
  const endless = value.split(/[ \t]/).some((word) => word.length > longestWord);
  return endless ? encodeRun(value) : encodeWords(value);
}

/** Encodes the display names of an address list; RFC 2047 5: never inside a quoted string, never in an address. */
function encodePhrases(value: string): string {
  return (
    value
      // The bounds keep it linear where a quote or bracket has no end.
      .split(/("(?:[^"\\]|\\.){0,500}"|<[^<>]{0,500}>|[,:;])/)
      .map((piece) => {
        if (piece.startsWith('<')) return piece;
        if (!piece.startsWith('"')) return piece.includes('@') ? piece : encodeWords(piece);
        return /[^\t -~]/.test(piece) ? encodeRun(piece.slice(1, -1).replace(/\\(.)/g, '$1')) : piece;
      })
      .join('')
  );
}

/** RFC 5322 2.2.3: a line may be broken before a run of blanks, but not between the name and the first word. */
function fold(line: string): string {
  let folded = '';
  let length = 0;
  for (const [index, word] of line.split(/(?<=[^ \t])(?=[ \t])/).entries()) {
    if (index > 1 && length + word.length > lineLength) {
      folded += '\r\n';
      length = 0;
    }
    folded += word;
    length += word.length;
  }
  return folded;
}

function trimBlanks(text: string): string {
  return text.replace(/^[ \t]+/, '').trimEnd();
}
