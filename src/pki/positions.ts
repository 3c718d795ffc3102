import { berFault, tag } from './ber.ts';

/** How deep elements of indefinite length are followed to find their end. */
const mostNested = 16;

/**
 * A cursor over BER (X.690 8) that makes no object for an element: for lists of a hundred thousand. After `read` it stands on
 * one element; `end` is where the next one begins. Throws `ber-malformed`.
 */
export class Positions {
  readonly source: Buffer;
  identifier = 0;
  contentStart = 0;
  /** Offset after the content (before the end-of-contents octets of an indefinite form). */
  contentEnd = 0;
  end = 0;

  constructor(source: Buffer) {
    this.source = source;
  }

  /** Stands on the element at `at`, which must end by `limit` and, if one is given, have this identifier octet. */
  read(at: number, limit: number, identifier?: number, depth = 0): void {
    const { source } = this;
    const first = source[at] as number;
    if (at + 2 > limit) throw malformed(at, 'it ends too early');
    // No standard read with this has tag numbers above 30.
    if ((first & 0x1f) === 0x1f || (identifier !== undefined && first !== identifier))
      throw malformed(at, 'an element is of another type than it must be');
    let length = source[at + 1] as number;
    let start = at + 2;
    if (length === 0x80) {
      this.#readIndefinite(at, limit, depth);
      return;
    }
    if (length > 0x80) {
      const count = length & 0x7f;
      if (count > 4 || start + count > limit) throw malformed(at, 'a length is too large');
      length = source.readUIntBE(start, count);
      start += count;
    }
    if (start + length > limit) throw malformed(at, 'it ends before its length says');
    this.identifier = first;
    this.contentStart = start;
    this.contentEnd = start + length;
    this.end = this.contentEnd;
  }

  #readIndefinite(at: number, limit: number, depth: number): void {
    const identifier = this.source[at] as number;
    if ((identifier & 0x20) === 0) throw malformed(at, 'a primitive has an indefinite length');
    if (depth === mostNested) throw malformed(at, 'it is nested too deep');
    let next = at + 2;
    for (;;) {
      if (next + 2 > limit) throw malformed(at, 'it ends too early');
      if (this.source[next] === 0 && this.source[next + 1] === 0) break;
      this.read(next, limit, undefined, depth + 1);
      next = this.end;
    }
    this.identifier = identifier;
    this.contentStart = at + 2;
    this.contentEnd = next;
    this.end = next + 2;
  }

  /** Whether a UTCTime or GeneralizedTime begins at `at`. */
  isTime(at: number, limit: number): boolean {
    const identifier = at < limit ? this.source[at] : 0;
    return identifier === tag.utcTime || identifier === tag.generalizedTime;
  }
}

const malformed = (at: number, what: string) => berFault('ber-malformed', { at, what });
