const lineDot = Buffer.from('\r\n.');
const dot = Buffer.from('.');

/**
 * Finds where a dot must be added before one that begins a line (RFC 5321 4.5.2), and gives the octets of `part` in
 * pieces with those dots between: nothing is copied. `part` begins a line.
 */
export function dotStuffed(part: Buffer): readonly Buffer[] {
  const pieces: Buffer[] = part[0] === dot[0] ? [dot] : [];
  let from = 0;
  for (let at = part.indexOf(lineDot); at >= 0; at = part.indexOf(lineDot, from)) {
    pieces.push(part.subarray(from, at + 2), dot);
    from = at + 2;
  }
  // The dot that was just found must not be found again: `\r\n.` cannot begin at it.
  pieces.push(part.subarray(from));
  return pieces;
}

/** Remembers the pieces of bodies that many copies share, as long as somebody has them: each is searched once. */
export class StuffedBodies {
  readonly #known = new WeakMap<Buffer, readonly Buffer[]>();

  of(body: Buffer): readonly Buffer[] {
    const known = this.#known.get(body);
    if (known) return known;
    const pieces = dotStuffed(body);
    this.#known.set(body, pieces);
    return pieces;
  }
}
