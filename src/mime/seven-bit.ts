import { Fault } from '../base/errors.ts';
import { decodedBody, type Entity, entityBytes, partsOf } from './entity.ts';
import { type Field, fieldBytes, formatField } from './header.ts';
import { encodeBase64, encodeQuotedPrintable } from './transfer.ts';

const LF = 0x0a;
const CR = 0x0d;
/** RFC 5321 4.5.3.1.6, without CRLF. */
const longestLine = 998;
const deepest = 20;

/** Whether every line ends with CRLF and no CR or LF stands alone: what a signature may be over (RFC 8551 3.1.1). */
export function isCanonical(bytes: Buffer): boolean {
  for (let at = bytes.indexOf(LF); at >= 0; at = bytes.indexOf(LF, at + 1))
    if (bytes[at - 1] !== CR) return false;
  for (let at = bytes.indexOf(CR); at >= 0; at = bytes.indexOf(CR, at + 1))
    if (bytes[at + 1] !== LF) return false;
  return true;
}

/** Whether bytes are 7bit data (RFC 2045 2.7): ASCII without NUL, in CRLF lines of at most 998 octets. */
export function isSevenBit(bytes: Buffer): boolean {
  let length = 0;
  for (let at = 0; at < bytes.length; at++) {
    const octet = bytes[at] as number;
    if (octet === CR && bytes[at + 1] === LF) {
      length = 0;
      at++;
    } else if (octet === 0 || octet > 0x7f || octet === CR || octet === LF || ++length > longestLine)
      return false;
  }
  return true;
}

/**
 * An entity as 7bit data, so that it can be signed for any way through the net (RFC 8551 3.1.3): leaves that are not
 * become quoted-printable or base64, what is 7 bit already keeps its bytes, line ends become CRLF. Null where that would
 * change what somebody signed or forwarded (multipart/signed, message/rfc822: RFC 2046 5.2.1 allows no encoding there), or
 * where a header is not ASCII. Not for an entity that its author signed.
 */
export function sevenBit(entity: Entity): Buffer | null {
  const pieces = piecesOf(entity);
  return pieces && Buffer.concat(pieces.map((piece) => (typeof piece === 'function' ? piece() : piece)));
}

/** Whether `sevenBit` gives an entity; nothing is encoded. */
export function canBeSevenBit(entity: Entity): boolean {
  return piecesOf(entity) !== null;
}

/** Octets as they are, or how they are made. */
type Piece = Buffer | (() => Buffer);

function piecesOf(entity: Entity): readonly Piece[] | null {
  try {
    const pieces: Piece[] = [];
    return recode(entity, pieces, 0) ? pieces : null;
  } catch (error) {
    if (error instanceof Fault) return null;
    throw error;
  }
}

function recode(entity: Entity, pieces: Piece[], depth: number): boolean {
  const bytes = entityBytes(entity);
  if (isSevenBit(bytes)) return pieces.push(bytes) > 0;
  const { type } = entity.contentType;
  if (depth === deepest || /^(message\/|multipart\/(signed|encrypted)$)/.test(type)) return false;
  return type.startsWith('multipart/') ? recodeMultipart(entity, pieces, depth) : recodeLeaf(entity, pieces);
}

function recodeMultipart(entity: Entity, pieces: Piece[], depth: number): boolean {
  const parts = partsOf(entity);
  // RFC 2045 6.4: a multipart is 7bit, 8bit or binary, and never encoded itself.
  if (parts.length === 0 || !/^(7bit|8bit|binary)$/.test(entity.encoding)) return false;
  if (!addHeader(entity, '7bit', pieces)) return false;
  let at = entity.bodyStart;
  for (const part of parts) {
    if (!addText(entity.source.subarray(at, part.start), pieces) || !recode(part, pieces, depth + 1))
      return false;
    at = part.end;
  }
  return addText(entity.source.subarray(at, entity.end), pieces);
}

function recodeLeaf(entity: Entity, pieces: Piece[]): boolean {
  const { encoding, contentType, source, bodyStart, end } = entity;
  const encoded = encoding === 'base64' || encoding === 'quoted-printable';
  const body = withCrlf(source.subarray(bodyStart, end));
  // Only its line ends or its header were amiss.
  if (encoding !== 'binary' && isSevenBit(body))
    return addHeader(entity, null, pieces) && pieces.push(body) > 0;
  if (!encoded && !/^(7bit|8bit|binary)$/.test(encoding)) return false;
  const wide = /^utf-(16|32)/i.test(contentType.parameters.get('charset') ?? '');
  const isText = contentType.type.startsWith('text/') && encoding !== 'binary' && !wide && !encoded;
  if (!addHeader(entity, isText ? 'quoted-printable' : 'base64', pieces)) return false;
  pieces.push(() => (isText ? encodeQuotedPrintable(body) : encodeBase64(decodedBody(entity))));
  return true;
}

/** The header with another Content-Transfer-Encoding (null: as it is), and the blank line. */
function addHeader(entity: Entity, encoding: string | null, pieces: Piece[]): boolean {
  const isEncoding = (field: Field): boolean => /^content-transfer-encoding$/i.test(field.name);
  for (const field of entity.fields) {
    if (encoding !== null && isEncoding(field)) continue;
    if (!addText(fieldBytes(entity.source, field), pieces)) return false;
  }
  if (encoding !== null) pieces.push(formatField('Content-Transfer-Encoding', encoding));
  pieces.push(Buffer.from('\r\n'));
  return true;
}

function addText(bytes: Buffer, pieces: Piece[]): boolean {
  const text = withCrlf(bytes);
  return isSevenBit(text) && pieces.push(text) > 0;
}

/** Every LF without CR gets one; a CR alone stays, to be seen. */
function withCrlf(bytes: Buffer): Buffer {
  const pieces: Buffer[] = [];
  let start = 0;
  for (let at = bytes.indexOf(LF); at >= 0; at = bytes.indexOf(LF, at + 1)) {
    if (bytes[at - 1] === CR && at > 0) continue;
    pieces.push(bytes.subarray(start, at), Buffer.from('\r\n'));
    start = at + 1;
  }
  return start === 0 ? bytes : Buffer.concat([...pieces, bytes.subarray(start)]);
}
