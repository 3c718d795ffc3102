/** Octets of one reply, all lines together: no relay has this much to say (RFC 5321 4.5.3.1.5 allows 512 a line). */
const longest = 64 * 1024;

/** A line of a reply that is not its last: `250-`. */
const goesOn = /^\d{3}-/;

/**
 * Cuts what a relay sends into replies (RFC 5321 4.2.1), lines parted by LF and without the last line end. A line that
 * is no reply comes as a reply of its own: `readReply` finds no code in it.
 */
export class ReplyReader {
  #rest = '';
  #lines: string[] = [];
  #size = 0;
  readonly #decoder = new TextDecoder();

  /** The replies that `chunk` completes, in order. */
  push(chunk: Buffer): string[] {
    const lines = (this.#rest + this.#decoder.decode(chunk, { stream: true })).split('\n');
    this.#rest = lines.pop() ?? '';
    const replies: string[] = [];
    for (const line of lines) {
      this.#lines.push(line.endsWith('\r') ? line.slice(0, -1) : line);
      this.#size += line.length;
      if (this.#size > longest) replies.push(this.#tooLong());
      else if (!goesOn.test(line)) replies.push(this.#take());
    }
    if (this.#size + this.#rest.length > longest) {
      this.#lines.push(this.#rest);
      this.#rest = '';
      replies.push(this.#tooLong());
    }
    return replies;
  }

  /** Whether a reply has begun and is not whole. */
  get isAmid(): boolean {
    return this.#rest !== '' || this.#lines.length > 0;
  }

  /** Not as it began: `250-` is no 250 until its last line has come. */
  #tooLong(): string {
    return `a reply that does not end: ${this.#take()}`;
  }

  #take(): string {
    this.#size = 0;
    return this.#lines.splice(0).join('\n');
  }
}
