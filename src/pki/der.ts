import { tag } from './ber.ts';

/** DER writers (X.690 10): each takes content and gives the whole element. */

/** Identifier and length octets for a definite length, without the content. */
export function derHead(identifier: number, length: number): Buffer {
  const head = Buffer.allocUnsafe(headLength(length));
  writeHead(head, identifier, length);
  return head;
}

/** Any element: identifier octet and content. */
export function der(identifier: number, ...content: readonly Uint8Array[]): Buffer {
  let length = 0;
  for (const piece of content) length += piece.length;
  let at = headLength(length);
  const element = Buffer.allocUnsafe(at + length);
  writeHead(element, identifier, length);
  for (const piece of content) {
    element.set(piece, at);
    at += piece.length;
  }
  return element;
}

/** X.690 8.1.3: one octet for a length below 128, else one that counts those which follow. */
function headLength(length: number): number {
  let octets = 2;
  if (length >= 0x80) for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) octets++;
  return octets;
}

function writeHead(into: Buffer, identifier: number, length: number): void {
  into[0] = identifier;
  if (length < 0x80) {
    into[1] = length;
    return;
  }
  const octets = headLength(length) - 2;
  into[1] = 0x80 | octets;
  for (let at = octets + 1, rest = length; at > 1; at--, rest = Math.floor(rest / 256)) into[at] = rest % 256;
}

export const derSequence = (...content: readonly Uint8Array[]): Buffer => der(0x30, ...content);

/** SET OF: the encodings in ascending order (X.690 11.6). */
export function derSetOf(...content: readonly Uint8Array[]): Buffer {
  return der(0x31, ...[...content].sort((a, b) => Buffer.compare(a, b)));
}

export const derOctets = (content: Uint8Array): Buffer => der(tag.octetString, content);
export const derNull = (): Buffer => Buffer.from([tag.null, 0]);
export const derBoolean = (value: boolean): Buffer => Buffer.from([tag.boolean, 1, value ? 0xff : 0]);
export const derUtf8 = (text: string): Buffer => der(tag.utf8String, Buffer.from(text, 'utf8'));
export const derIa5 = (text: string): Buffer => der(tag.ia5String, Buffer.from(text, 'latin1'));

/** BIT STRING of whole octets, or with some unused bits at the end. */
export function derBits(content: Uint8Array, unused = 0): Buffer {
  return der(tag.bitString, Buffer.from([unused]), content);
}

/** A non-negative INTEGER, from a number or from unsigned big-endian octets. */
export function derInteger(value: number | Uint8Array): Buffer {
  let octets: Buffer;
  if (typeof value === 'number') {
    const hex = value.toString(16);
    octets = Buffer.from(hex.length % 2 ? `0${hex}` : hex, 'hex');
  } else {
    let first = 0;
    while (first < value.length - 1 && value[first] === 0) first++;
    octets = Buffer.from(value.subarray(first));
  }
  if (octets.length === 0) octets = Buffer.from([0]);
  return der(tag.integer, (octets[0] as number) >= 0x80 ? Buffer.concat([Buffer.from([0]), octets]) : octets);
}

/** OBJECT IDENTIFIER from its dotted form. */
export function derOid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const octets: number[] = [];
  for (const arc of [first * 40 + second, ...rest]) {
    const group = [arc % 128];
    for (let high = Math.floor(arc / 128); high > 0; high = Math.floor(high / 128))
      group.unshift((high % 128) | 0x80);
    octets.push(...group);
  }
  return der(tag.oid, Buffer.from(octets));
}

/** A constructed context tag [n]: EXPLICIT around an element, or IMPLICIT in place of a SEQUENCE or SET. */
export const derContext = (number: number, ...content: readonly Uint8Array[]): Buffer =>
  der(0xa0 | number, ...content);
/** A primitive context tag [n]: IMPLICIT in place of a primitive type. */
export const derContextPrimitive = (number: number, content: Uint8Array): Buffer =>
  der(0x80 | number, content);

/** UTCTime through 2049, GeneralizedTime from then on (RFC 5280 4.1.2.5, RFC 8551 2.5.1). */
export function derTime(milliseconds: number): Buffer {
  const digits = `${new Date(milliseconds).toISOString().slice(0, 19).replace(/[-:T]/g, '')}Z`;
  const year = Number(digits.slice(0, 4));
  if (year >= 1950 && year < 2050) return der(tag.utcTime, Buffer.from(digits.slice(2), 'latin1'));
  return der(tag.generalizedTime, Buffer.from(digits, 'latin1'));
}
