import { faultsOf } from '../base/errors.ts';

export const berFault = faultsOf({
  'ber-malformed': (d: { at: number; what: string }) =>
    `the ASN.1 structure is broken at octet ${d.at}: ${d.what}`,
  'ber-budget': (d: { limit: string; value: number }) =>
    `the ASN.1 structure has more than ${d.value} ${d.limit}, which is more than reseal reads`,
});

/** What one parse may cost (RULES 7, 8). Counted before anything is allocated for an element. */
export interface BerLimits {
  /** Elements visited. */
  readonly elements: number;
  /** Nesting depth. */
  readonly depth: number;
}

export const berLimits: BerLimits = { elements: 200_000, depth: 40 };

export type TagClass = 'universal' | 'application' | 'context' | 'private';
const classes: readonly TagClass[] = ['universal', 'application', 'context', 'private'];

/** Universal tag numbers (X.690 8). */
export const tag = {
  boolean: 1,
  integer: 2,
  bitString: 3,
  octetString: 4,
  null: 5,
  oid: 6,
  enumerated: 10,
  utf8String: 12,
  sequence: 16,
  set: 17,
  printableString: 19,
  teletexString: 20,
  ia5String: 22,
  utcTime: 23,
  generalizedTime: 24,
  bmpString: 30,
} as const;

/** One element by position in `source`; nothing is copied. */
export interface Ber {
  readonly source: Buffer;
  readonly class: TagClass;
  readonly tag: number;
  readonly constructed: boolean;
  /** Whether the length was the indefinite form (BER streaming). */
  readonly indefinite: boolean;
  /** Offset of the identifier octet. */
  readonly start: number;
  /** Offset of the first content octet. */
  readonly contentStart: number;
  /** Offset after the last content octet (before the end-of-contents octets of an indefinite form). */
  readonly contentEnd: number;
  /** Offset after the element. */
  readonly end: number;
  /** Elements inside, empty for a primitive. */
  readonly children: readonly Ber[];
}

interface Work {
  readonly source: Buffer;
  readonly limits: BerLimits;
  elements: number;
}

/**
 * Reads one BER element (X.690 8; DER is a subset) starting at `at` and everything inside it. Octets after it are
 * not looked at: compare `end` with the source's length where trailing octets matter.
 * Throws `ber-malformed` or `ber-budget`.
 */
export function readBer(source: Buffer, at = 0, limits: BerLimits = berLimits): Ber {
  return readElement({ source, limits, elements: 0 }, at, source.length, 0);
}

function readElement(work: Work, at: number, limit: number, depth: number): Ber {
  const { source, limits } = work;
  if (++work.elements > limits.elements)
    throw berFault('ber-budget', { limit: 'elements', value: limits.elements });
  if (depth > limits.depth) throw berFault('ber-budget', { limit: 'levels of nesting', value: limits.depth });
  const identifier = octet(source, at, limit);
  let position = at + 1;
  let number = identifier & 0x1f;
  if (number === 0x1f) {
    // X.690 8.1.2.4: high tag numbers; four octets are far more than any standard here uses.
    number = 0;
    for (let count = 0; ; count++) {
      if (count === 4) throw berFault('ber-malformed', { at, what: 'a tag number is too large' });
      const next = octet(source, position++, limit);
      number = number * 128 + (next & 0x7f);
      if ((next & 0x80) === 0) break;
    }
  }
  const constructed = (identifier & 0x20) !== 0;
  const first = octet(source, position++, limit);
  const indefinite = first === 0x80;
  if (indefinite && !constructed)
    throw berFault('ber-malformed', { at, what: 'a primitive has an indefinite length' });
  let length = first;
  if (first > 0x80) {
    const count = first & 0x7f;
    if (count > 6) throw berFault('ber-malformed', { at, what: 'a length is too large' });
    length = 0;
    for (let i = 0; i < count; i++) length = length * 256 + octet(source, position++, limit);
  }
  const end = indefinite ? limit : position + length;
  if (end > limit) throw berFault('ber-malformed', { at, what: 'it ends before its length says' });
  const children: Ber[] = [];
  const contentEnd = constructed ? readChildren(work, children, position, end, indefinite, depth + 1) : end;
  // One literal, no spread: it is made for every element of every message, and spreads are ten times as slow.
  return {
    source,
    class: classes[identifier >> 6] as TagClass,
    tag: number,
    constructed,
    indefinite,
    start: at,
    contentStart: position,
    contentEnd,
    end: indefinite ? contentEnd + 2 : end,
    children,
  };
}

/** Reads elements into `children` up to `end`, or up to the end-of-contents octets; gives where they stop. */
function readChildren(
  work: Work,
  children: Ber[],
  start: number,
  end: number,
  indefinite: boolean,
  depth: number,
): number {
  let next = start;
  while (indefinite || next < end) {
    // X.690 8.1.5: two zero octets end the contents.
    if (indefinite && octet(work.source, next, end) === 0 && octet(work.source, next + 1, end) === 0) break;
    const child = readElement(work, next, end, depth);
    children.push(child);
    next = child.end;
  }
  return next;
}

function octet(source: Buffer, at: number, limit: number): number {
  const value = at < limit ? source[at] : undefined;
  if (value === undefined) throw berFault('ber-malformed', { at, what: 'it ends too early' });
  return value;
}

/** The whole element as received: identifier, length and contents. */
export function bytesOf(node: Ber): Buffer {
  return node.source.subarray(node.start, node.end);
}

/** The content octets of an element as received. */
export function contentOf(node: Ber): Buffer {
  return node.source.subarray(node.contentStart, node.contentEnd);
}

type Maybe = Ber | null | undefined;

export function isUniversal(node: Maybe, number: number): node is Ber & { class: 'universal' } {
  return node?.class === 'universal' && node.tag === number;
}

export function isContext(node: Maybe, number: number): node is Ber & { class: 'context' } {
  return node?.class === 'context' && node.tag === number;
}

/** `node` if it is the universal type asked for, else `ber-malformed` naming `what`. */
export function expect(node: Ber | undefined, number: number, what: string): Ber {
  if (!isUniversal(node, number))
    throw berFault('ber-malformed', { at: node?.start ?? 0, what: `${what} is missing` });
  return node;
}

/**
 * The segments of an OCTET STRING (or an IMPLICIT [n] one) in order: one for a primitive, all leaves for the
 * constructed form that BER streaming makes (X.690 8.7.3). Not copied: hash or decrypt them one after another.
 */
export function octetSegments(node: Ber): Buffer[] {
  if (!node.constructed) return [contentOf(node)];
  const segments: Buffer[] = [];
  const walk = (parent: Ber) => {
    for (const child of parent.children) {
      if (!isUniversal(child, tag.octetString))
        throw berFault('ber-malformed', { at: child.start, what: 'an octet string holds something else' });
      if (child.constructed) walk(child);
      else segments.push(contentOf(child));
    }
  };
  walk(node);
  return segments;
}

/** The octets of an OCTET STRING in one piece; copies only if it came in segments. */
export function octetsOf(node: Ber): Buffer {
  const segments = octetSegments(node);
  return segments.length === 1 ? (segments[0] as Buffer) : Buffer.concat(segments);
}

/** Dotted form of an OBJECT IDENTIFIER (X.690 8.19). */
export function oidOf(node: Ber | undefined): string {
  const bytes = contentOf(expect(node, tag.oid, 'an object identifier'));
  // Before the loop: the time that big numbers take grows with the square of their length.
  if (bytes.length > 64)
    throw berFault('ber-malformed', { at: node?.start ?? 0, what: 'an object identifier is too long' });
  const arcs: bigint[] = [];
  let value = 0n;
  let open = false;
  for (const byte of bytes) {
    value = (value << 7n) | BigInt(byte & 0x7f);
    open = (byte & 0x80) !== 0;
    if (!open) {
      arcs.push(value);
      value = 0n;
    }
  }
  const first = arcs.shift();
  if (first === undefined || open)
    throw berFault('ber-malformed', { at: node?.start ?? 0, what: 'an object identifier is broken' });
  const top = first < 80n ? first / 40n : 2n;
  return [top, first - top * 40n, ...arcs].join('.');
}

/** An INTEGER that must fit in 48 bits (versions, key lengths); larger or negative ones are `ber-malformed`. */
export function smallIntegerOf(node: Ber | undefined): number {
  const found = expect(node, tag.integer, 'an integer');
  const bytes = contentOf(found);
  if (bytes.length === 0 || bytes.length > 6 || (bytes[0] as number) >= 0x80)
    throw berFault('ber-malformed', { at: found.start, what: 'an integer is out of range' });
  return bytes.readUIntBE(0, bytes.length);
}

/** The octets of a BIT STRING and how many bits of the last one are unused. */
export function bitsOf(node: Ber | undefined): { bytes: Buffer; unused: number } {
  const found = expect(node, tag.bitString, 'a bit string');
  const content = contentOf(found);
  const unused = content[0];
  if (found.constructed || unused === undefined || unused > 7)
    throw berFault('ber-malformed', { at: found.start, what: 'a bit string is broken' });
  return { bytes: content.subarray(1), unused };
}

/** The text of any character string type; what cannot be decoded becomes U+FFFD. */
export function textOf(node: Ber): string {
  const bytes = octetLike(node);
  if (isUniversal(node, tag.bmpString)) {
    return Buffer.from(bytes.length % 2 ? bytes.subarray(0, -1) : bytes)
      .swap16()
      .toString('utf16le');
  }
  if (isUniversal(node, tag.teletexString)) return bytes.toString('latin1');
  return bytes.toString('utf8');
}

function octetLike(node: Ber): Buffer {
  return node.constructed ? Buffer.concat(node.children.map(octetLike)) : contentOf(node);
}

/**
 * Milliseconds of a UTCTime or GeneralizedTime (RFC 5280 4.1.2.5: seconds and Z are there; two-digit years from 50
 * are 19xx, RFC 8551 2.5.1).
 */
export function timeOf(node: Ber | undefined): number {
  const text = node && !node.constructed ? contentOf(node).toString('latin1') : '';
  let match: RegExpExecArray | null = null;
  let year = 0;
  if (isUniversal(node, tag.utcTime)) {
    match = /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(text);
    year = Number(match?.[1]);
    year += year >= 50 ? 1900 : 2000;
  } else if (isUniversal(node, tag.generalizedTime)) {
    match = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:\.\d+)?Z$/.exec(text);
    year = Number(match?.[1]);
  }
  if (!match) throw berFault('ber-malformed', { at: node?.start ?? 0, what: 'a time is broken' });
  const [month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(2, 7).map(Number);
  const time = Date.UTC(year, month - 1, day, hour, minute, second);
  if (
    Number.isNaN(time) ||
    month < 1 ||
    month > 12 ||
    day < 1 ||
    day > 31 ||
    hour > 23 ||
    minute > 59 ||
    second > 60
  )
    throw berFault('ber-malformed', { at: node?.start ?? 0, what: 'a time is broken' });
  return time;
}
