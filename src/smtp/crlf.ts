const cr = 0x0d;
const lf = 0x0a;

/**
 * Watches a stream for a CR without LF or an LF without CR, across chunk borders (RFC 5321 2.3.8: such octets must
 * not be sent). A server that lets them pass hands smuggled commands to the next one that takes `LF.LF` for an end.
 */
export class LineEnds {
  #open = false;

  /** Takes the next octets; false if they hold a bare CR or LF, also one that began in the chunk before. */
  accept(chunk: Uint8Array): boolean {
    let open = this.#open;
    for (let i = 0; i < chunk.length; i++) {
      const octet = chunk[i];
      if (open !== (octet === lf)) return false;
      open = octet === cr;
    }
    this.#open = open;
    return true;
  }

  /** Whether the stream may end here: not after a CR that waits for its LF. */
  mayEnd(): boolean {
    return !this.#open;
  }
}
