import { decodeCharset } from './words.ts';

/** A Content-Type field, or a Content-Disposition field in the same form. */
export interface ContentType {
  /** Lower-case: `multipart/signed`; for a disposition `attachment`. */
  readonly type: string;
  /** Names in lower case; continuations and charsets of RFC 2231 are decoded. */
  readonly parameters: ReadonlyMap<string, string>;
  /** Names that were given more than once, in any form; other readers may see another value of these. */
  readonly repeated: readonly string[];
}

const plainText: ContentType = { type: 'text/plain', parameters: new Map(), repeated: [] };

/**
 * Reads the value of a Content-Type field (RFC 2045 5.1). An absent or broken one is `text/plain` (RFC 2045 5.2).
 * Tolerates comments, empty parameters, missing quotes and blanks. Never throws.
 */
export function parseContentType(value: string | null): ContentType {
  const parsed = parseParameterized(value ?? '');
  return /^[!#$%&'*+.^_`|~0-9a-z-]+\/[!#$%&'*+.^_`|~0-9a-z-]+$/.test(parsed.type) ? parsed : plainText;
}

/** Reads the value of a Content-Disposition field (RFC 2183 2); null without one. Never throws. */
export function parseDisposition(value: string | null): ContentType | null {
  const parsed = parseParameterized(value ?? '');
  return parsed.type === '' ? null : parsed;
}

/** `type; name=value; name*=charset''value; name*0=…`: one pass, each character looked at once. */
function parseParameterized(value: string): ContentType {
  const head = readToken(value, skipFiller(value, 0));
  let at = head.at;
  const type = head.text.toLowerCase();
  const given = new Map<string, string>();
  const repeated = new Set<string>();
  while (at < value.length) {
    const semicolon = nextSemicolon(value, at);
    const name = readName(value, skipFiller(value, semicolon + 1));
    at = name.at;
    if (value[at] !== '=' || name.text === '') continue;
    const parameter = readValue(value, skipFiller(value, at + 1));
    at = parameter.at;
    // RFC 2231 4.1: a star at the end says only that the text is encoded.
    const twin = name.text.endsWith('*') ? name.text.slice(0, -1) : `${name.text}*`;
    if (given.has(name.text) || given.has(twin)) repeated.add(baseName(name.text));
    if (!given.has(name.text)) given.set(name.text, parameter.text);
  }
  return { type, ...decodeExtended(given, repeated) };
}

interface Read {
  readonly text: string;
  /** Where reading goes on. */
  readonly at: number;
}

const isBlank = (character: string | undefined): boolean =>
  character === ' ' || character === '\t' || character === '\r' || character === '\n';

/** Skips blanks and comments (RFC 5322 3.2.2), which may nest; an open one ends with the value. */
function skipFiller(value: string, from: number): number {
  let depth = 0;
  let at = from;
  for (; at < value.length; at++) {
    const character = value[at];
    if (character === '(') depth++;
    else if (depth > 0) {
      if (character === ')') depth--;
      else if (character === '\\') at++;
    } else if (!isBlank(character)) break;
  }
  return Math.min(at, value.length);
}

/** What is left of a broken parameter ends with the next semicolon that is not in a comment. */
function nextSemicolon(value: string, from: number): number {
  let at = skipFiller(value, from);
  while (at < value.length && value[at] !== ';') at = skipFiller(value, at + 1);
  return at;
}

function readWhile(value: string, from: number, wanted: (character: string) => boolean): Read {
  let at = from;
  while (at < value.length && wanted(value[at] as string)) at++;
  return { text: value.slice(from, at), at };
}

/** Type and subtype; blanks and comments around the slash are dropped. */
function readToken(value: string, from: number): Read {
  const wanted = (character: string) => !isBlank(character) && !';(/'.includes(character);
  const type = readWhile(value, from, wanted);
  const slash = skipFiller(value, type.at);
  if (value[slash] !== '/') return type;
  const subtype = readWhile(value, skipFiller(value, slash + 1), wanted);
  return { text: `${type.text}/${subtype.text}`, at: subtype.at };
}

function readName(value: string, from: number): Read {
  const name = readWhile(value, from, (character) => !isBlank(character) && !';=('.includes(character));
  return { text: name.text.toLowerCase(), at: skipFiller(value, name.at) };
}

/** A quoted string without its quotes and backslashes, or all up to a semicolon or comment (blanks are tolerated). */
function readValue(value: string, from: number): Read {
  if (value[from] !== '"') {
    const bare = readWhile(value, from, (character) => character !== ';' && character !== '(');
    return { text: bare.text.trim(), at: bare.at };
  }
  let text = '';
  let at = from + 1;
  for (; at < value.length && value[at] !== '"'; at++) {
    if (value[at] === '\\' && at + 1 < value.length) at++;
    text += value[at];
  }
  return { text, at: Math.min(at + 1, value.length) };
}

/** `filename*0*` → `filename`. */
function baseName(name: string): string {
  return name.replace(/\*.*$/, '');
}

/**
 * Puts RFC 2231 forms in the place of their names. The extended form wins over the plain one, which is its
 * fallback for old readers (RFC 6266 4.3), and the two count as a repetition.
 */
function decodeExtended(
  given: ReadonlyMap<string, string>,
  repeated: Set<string>,
): Pick<ContentType, 'parameters' | 'repeated'> {
  const parameters = new Map<string, string>();
  for (const [name, text] of given) if (!name.includes('*')) parameters.set(name, text);
  const extended = new Set<string>();
  for (const name of given.keys()) if (name.includes('*')) extended.add(baseName(name));
  for (const name of extended) {
    const whole = given.get(`${name}*`);
    const text = whole === undefined ? joinSections(given, name) : decodePercent(splitCharset(whole));
    if (text === null || name === '') continue;
    if (parameters.has(name) || (whole !== undefined && joinSections(given, name) !== null))
      repeated.add(name);
    parameters.set(name, text);
  }
  return { parameters, repeated: [...repeated] };
}

/** RFC 2231 3, 4.1: sections `name*0`, `name*1*`, …; those after a gap are lost. Null without a first one. */
function joinSections(given: ReadonlyMap<string, string>, name: string): string | null {
  const pieces: Buffer[] = [];
  let charset: string | null = null;
  for (let section = 0; ; section++) {
    const plain = given.get(`${name}*${section}`);
    const encoded = given.get(`${name}*${section}*`);
    if (encoded !== undefined) {
      // Only the first section names the charset.
      const split: { charset: string; text: string } =
        section === 0 ? splitCharset(encoded) : { charset: charset ?? '', text: encoded };
      if (section === 0) charset = split.charset;
      pieces.push(percentBytes(split.text));
    } else if (plain !== undefined) pieces.push(Buffer.from(plain, 'utf8'));
    else break;
  }
  return pieces.length === 0 ? null : decodeCharset(Buffer.concat(pieces), charset || 'utf-8');
}

/** RFC 2231 4: `charset'language'text`. */
function splitCharset(text: string): { charset: string; text: string } {
  const first = text.indexOf("'");
  const second = text.indexOf("'", first + 1);
  if (first < 0 || second < 0) return { charset: '', text };
  return { charset: text.slice(0, first), text: text.slice(second + 1) };
}

function decodePercent(encoded: { charset: string; text: string }): string {
  return decodeCharset(percentBytes(encoded.text), encoded.charset || 'utf-8');
}

function percentBytes(text: string): Buffer {
  const pieces = text.split(/(%[0-9a-fA-F]{2})/);
  return Buffer.concat(
    pieces.map((piece, index) =>
      index % 2 === 1 ? Buffer.from(piece.slice(1), 'hex') : Buffer.from(piece, 'utf8'),
    ),
  );
}
