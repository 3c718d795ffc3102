/** Content-Transfer-Encoding (RFC 2045 6), both ways. */

const LF = 0x0a;
const CR = 0x0d;

/**
 * The octets that `body` stands for under `encoding` (lower case). Tolerant: in base64 whatever is outside the
 * alphabet is skipped and the first `=` ends the data (RFC 2045 6.8); in quoted-printable a broken escape stays as it
 * is (RFC 2045 6.7). Unknown encodings give `body` itself. Linear, never throws.
 */
export function decodeTransfer(body: Buffer, encoding: string): Buffer {
  if (encoding === 'base64') return decodeBase64(body);
  if (encoding === 'quoted-printable') return decodeQuotedPrintable(body);
  return body;
}

function decodeBase64(body: Buffer): Buffer {
  const padding = body.indexOf('=');
  return Buffer.from((padding < 0 ? body : body.subarray(0, padding)).toString('latin1'), 'base64');
}

function decodeQuotedPrintable(body: Buffer): Buffer {
  // Unpooled: it may hold plaintext.
  const out = Buffer.alloc(body.length);
  let length = 0;
  // Where trailing blanks of the present line begin at the earliest; RFC 2045 6.7 (3): they are transport padding.
  let solid = 0;
  for (let at = 0; at < body.length; at++) {
    const octet = body[at] as number;
    if (octet === 0x3d) {
      const after = endOfSoftBreak(body, at + 1);
      if (after >= 0) {
        solid = length;
        at = after - 1;
        continue;
      }
      const value = hexPair(body, at + 1);
      if (value >= 0) {
        out[length++] = value;
        solid = length;
        at += 2;
        continue;
      }
    }
    if (octet === LF || (octet === CR && body[at + 1] === LF)) length = solid;
    out[length++] = octet;
    if (octet !== 0x20 && octet !== 0x09) solid = length;
  }
  return out.subarray(0, solid);
}

/** `=`, blanks, line end: gives the offset after the line end, or -1. At the end of the body it is one too. */
function endOfSoftBreak(body: Buffer, from: number): number {
  let at = from;
  while (body[at] === 0x20 || body[at] === 0x09) at++;
  if (body[at] === CR) at++;
  if (at >= body.length) return body.length;
  return body[at] === LF ? at + 1 : -1;
}

function hexPair(body: Buffer, at: number): number {
  const high = hexDigit(body[at]);
  const low = hexDigit(body[at + 1]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

function hexDigit(octet: number | undefined): number {
  if (octet === undefined) return -1;
  if (octet >= 0x30 && octet <= 0x39) return octet - 0x30;
  const letter = octet | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

/** Base64 in lines of 76 characters, each with CRLF (RFC 2045 6.8). */
export function encodeBase64(content: Uint8Array): Buffer {
  const text = Buffer.from(content.buffer, content.byteOffset, content.byteLength).toString('base64');
  const lines = Math.ceil(text.length / 76);
  const out = Buffer.alloc(text.length + lines * 2);
  // Written once at the end of the buffer, then moved down line by line: three times as quick as line by line.
  out.write(text, lines * 2, 'latin1');
  for (let line = 0; line < lines; line++) {
    const from = lines * 2 + line * 76;
    const to = line * 78;
    const length = Math.min(76, out.length - from);
    out.copyWithin(to, from, from + length);
    out[to + length] = CR;
    out[to + length + 1] = LF;
  }
  return out;
}

/** Octets of a line of quoted-printable without its soft break (RFC 2045 6.7 (5): 76 with it). */
const lineOctets = 75;

/**
 * Text with CRLF line ends as quoted-printable (RFC 2045 6.7). Line ends stay line ends. Blanks at the end of a line
 * and "From " or "." at its beginning are escaped, which mail systems on the way may change (RFC 8551 3.1.3).
 */
export function encodeQuotedPrintable(text: Uint8Array): Buffer {
  let out = '';
  let column = 0;
  for (let at = 0; at < text.length; at++) {
    const octet = text[at] as number;
    if (octet === CR && text[at + 1] === LF) {
      out += '\r\n';
      column = 0;
      at++;
      continue;
    }
    const lastOfLine = at + 1 === text.length || (text[at + 1] === CR && text[at + 2] === LF);
    let piece = String.fromCharCode(octet);
    if (
      !isSafe(octet) ||
      (lastOfLine && isBlank(octet)) ||
      (column === 0 && (piece === 'F' || piece === '.'))
    )
      piece = `=${octet.toString(16).toUpperCase().padStart(2, '0')}`;
    if (column + piece.length > lineOctets) {
      out += '=\r\n';
      column = 0;
    }
    out += piece;
    column += piece.length;
  }
  return Buffer.from(out, 'latin1');
}

const isBlank = (octet: number): boolean => octet === 0x20 || octet === 0x09;

/** RFC 2045 6.7 (2), (3). */
const isSafe = (octet: number): boolean =>
  (octet >= 0x21 && octet <= 0x7e && octet !== 0x3d) || isBlank(octet);
