/**
 * Encoded words (RFC 2047) and named charsets. Charsets are those of the WHATWG Encoding Standard (TextDecoder),
 * which leaves UTF-7 out on purpose: it hides ASCII from everybody who looks for it.
 */

// Each run ends at the next "?" and every match needs one to begin, so the scan is linear on any text.
const encodedWord = /=\?([^?\s]{1,80})\?([bBqQ])\?([^?]*)\?=/g;
const controls = /[^\P{Cc}\t]+/gu;
const needsEncoding = /[^\t -~]/;

/**
 * Text in the charset named `label` (RFC 2978 name or alias) as a string. Bytes that are broken become U+FFFD; an
 * unknown charset is read as UTF-8 if the bytes are that, else as Latin-1. Never throws.
 */
export function decodeCharset(bytes: Uint8Array, label: string): string {
  try {
    const decoder = new TextDecoder(label);
    return decoder.encoding === 'windows-1252' ? decodeWindows1252(bytes) : decoder.decode(bytes);
  } catch {
    return decodeUnlabelled(bytes);
  }
}

/** Octets 80 to 9F of windows-1252. Node 20 takes this charset, also under the names Latin-1 and ASCII, for Latin-1. */
const highOctets = '€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ';

function decodeWindows1252(bytes: Uint8Array): string {
  return latin1Of(bytes).replace(
    /[\u0080-\u009f]/g,
    (octet) => highOctets[octet.charCodeAt(0) - 0x80] ?? octet,
  );
}

function latin1Of(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** Text of bytes that name no charset: UTF-8 if they are that, else Latin-1, which maps every octet. */
export function decodeUnlabelled(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return latin1Of(bytes);
  }
}

/**
 * The text of an unfolded header value with its encoded words decoded (RFC 2047 6); what is no valid encoded word
 * stays as it is. Control characters (a word may hide CR LF) come out as one blank. Never throws.
 */
export function decodeWords(text: string): string {
  const pieces: (string | { readonly charset: string; readonly bytes: Buffer[] })[] = [];
  let after = 0;
  for (const match of text.matchAll(encodedWord)) {
    const [whole, label = '', encoding = '', payload = ''] = match;
    const gap = text.slice(after, match.index);
    const previous = gap.trim() === '' ? pieces.at(-1) : undefined;
    if (previous === undefined) pieces.push(gap);
    // RFC 2231 5: a language tag may follow the charset.
    const charset = label.toLowerCase().replace(/\*.*/, '');
    const bytes = encoding.toLowerCase() === 'b' ? Buffer.from(payload, 'base64') : decodeQ(payload);
    // RFC 2047 6.2: blanks between encoded words vanish. Some senders cut inside a character, so neighbours of one
    // charset are decoded as one.
    if (typeof previous === 'object' && previous.charset === charset) previous.bytes.push(bytes);
    else pieces.push({ charset, bytes: [bytes] });
    after = match.index + whole.length;
  }
  pieces.push(text.slice(after));
  return pieces
    .map((piece) =>
      typeof piece === 'string' ? piece : decodeCharset(Buffer.concat(piece.bytes), piece.charset),
    )
    .join('')
    .replace(controls, ' ');
}

/** The "Q" encoding, RFC 2047 4.2; broken escapes stay as they are. */
function decodeQ(payload: string): Buffer {
  const source = Buffer.from(payload, 'utf8');
  const out: number[] = [];
  for (let at = 0; at < source.length; at++) {
    const octet = source[at] as number;
    const hex = octet === 0x3d ? source.toString('latin1', at + 1, at + 3) : '';
    if (/^[0-9a-fA-F]{2}$/.test(hex)) {
      out.push(Number.parseInt(hex, 16));
      at += 2;
    } else out.push(octet === 0x5f ? 0x20 : octet);
  }
  return Buffer.from(out);
}

/**
 * Text as it may stand in an unstructured header field or a phrase: from the first to the last word that is not
 * printable ASCII it becomes encoded words in UTF-8 (RFC 2047 2: at most 75 characters each, whole characters).
 * Encoded words in it stay if all else is ASCII, else they are made anew: beside ours they would lose their blanks.
 */
export function encodeWords(text: string): string {
  if (!needsEncoding.test(text)) return text;
  const words = text.split(/([ \t]+)/);
  const first = words.findIndex(belongsToRun);
  const last = words.findLastIndex(belongsToRun);
  const run = words.slice(first, last + 1).join('');
  return words.slice(0, first).join('') + encodeRun(decodeWords(run)) + words.slice(last + 1).join('');
}

const belongsToRun = (word: string): boolean =>
  needsEncoding.test(word) || word.includes('=?') || word.includes('?=');

/** Octets of payload in one word; short enough that the first fits beside the field name on a line of 78. */
const payloadLength = 45;

/** All of `text` as encoded words. */
export function encodeRun(text: string): string {
  const characters = [...text];
  const foreign = characters.filter((character) => needsEncoding.test(character)).length;
  const base64 = foreign * 3 > characters.length;
  const encode = base64 ? (part: string) => Buffer.from(part, 'utf8').toString('base64') : encodeQ;
  // What one character adds to a word: an upper bound for base64, which grows by four for three octets.
  const costOf = base64
    ? (character: string) => (Buffer.byteLength(character) * 4) / 3
    : (character: string) =>
        character > '\x7f'
          ? 3 * Buffer.byteLength(character)
          : (qForms[character.charCodeAt(0)] ?? '').length;
  const parts: string[] = [];
  let part = '';
  let cost = 0;
  for (const character of characters) {
    const more = costOf(character);
    if (cost + more > payloadLength) {
      parts.push(part);
      part = '';
      cost = 0;
    }
    part += character;
    cost += more;
  }
  if (part) parts.push(part);
  return parts.map((piece) => `=?utf-8?${base64 ? 'b' : 'q'}?${encode(piece)}?=`).join(' ');
}

/** RFC 2047 5 (3): the characters that are safe in a phrase too stand for themselves. Index: octet. */
const qForms = Array.from({ length: 256 }, (_, octet) => {
  const character = String.fromCharCode(octet);
  if (character === ' ') return '_';
  return /[A-Za-z0-9!*+/-]/.test(character)
    ? character
    : `=${octet.toString(16).toUpperCase().padStart(2, '0')}`;
});

function encodeQ(part: string): string {
  let out = '';
  for (const octet of Buffer.from(part, 'utf8')) out += qForms[octet];
  return out;
}
