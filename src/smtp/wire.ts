import type { Socket } from 'node:net';
import { codeOfReply, type RelayError } from './outcome.ts';
import { ReplyReader } from './reply-reader.ts';

const relayError = (code: string, message: string): RelayError => ({ code, message, command: 'CONN' });
/** For a connection that closed while something was awaited of it. */
export const gone = relayError('ECONNECTION', 'the relay closed the connection');

/** A reply of the relay, lines parted by LF, with its code (null: not SMTP), or why none will come. */
export type Answer =
  | { readonly reply: string; readonly code: number | null }
  | { readonly error: RelayError };

/** Octets that leave at once; of more the relay must have taken the better part before anything else is sent. */
const handful = 256 * 1024;

/**
 * Replies that may stand unread, so that a relay that talks without end fills no memory: more than are ever owed, which is
 * those to the contents and to the next commands of a transaction with a hundred recipients.
 */
const mostUnread = 256;

/** Both directions of a connection after its handshake: octets out, replies in, in their order. */
export class Wire {
  /** Resolves when the connection is closed, by whomever. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #reader = new ReplyReader();
  readonly #replies: string[] = [];
  #wake: (() => void) | null = null;
  #end: RelayError | null = null;
  /** The socket's timer ran out meanwhile, and does not begin anew by itself. */
  #keptWaiting = false;
  /** Nothing is awaited: whatever the relay says now ends the connection. */
  #idle = true;
  readonly #timeoutMs: number;
  /** Runs while a reply has begun and is not whole: octets that drip keep the socket's own clock from ending it. */
  #dripping: NodeJS.Timeout | null = null;

  constructor(socket: Socket, d: { readonly closed: Promise<void>; readonly timeoutMs: number }) {
    this.#socket = socket;
    this.closed = d.closed;
    this.#timeoutMs = d.timeoutMs;
    socket.on('data', (chunk: Buffer) => {
      if (this.#end !== null) return;
      this.#replies.push(...this.#reader.push(chunk));
      this.#timeReply();
      if (this.#idle) this.destroy();
      else if (this.#replies.length > mostUnread)
        this.#stop(relayError('EPROTOCOL', 'the relay said more than it was asked'));
      this.#notify();
    });
    socket.on('timeout', () => {
      // Nothing is awaited of it: it is us who keep it waiting, for results that the disk does not take for example.
      if (this.#wake === null) this.#keptWaiting = true;
      else this.#stop(relayError('ETIMEDOUT', 'timeout: the relay fell silent'));
    });
    socket.on('error', (error) => this.#stop(relayError('ESOCKET', error.message || 'the connection broke')));
    socket.on('close', () => this.#stop(gone));
    void d.closed.then(() => this.#stop(gone));
  }

  get usable(): boolean {
    return this.#end === null;
  }

  /** Says whether replies are awaited from now on. */
  set busy(busy: boolean) {
    this.#idle = !busy;
    if (!busy && this.#replies.length > 0) this.destroy();
  }

  /** Replies that nobody has asked for yet. */
  get hasReply(): boolean {
    return this.#replies.length > 0;
  }

  /** Writes pieces in one go; they are not copied. */
  write(pieces: readonly (Buffer | string)[]): void {
    if (this.#end !== null) return;
    this.#socket.cork();
    for (const piece of pieces) this.#socket.write(piece);
    this.#socket.uncork();
  }

  /**
   * Resolves when so much has left that more may follow; sooner if the relay says something or goes. A relay that has
   * not taken it `withinMs` is cut off, however steadily it takes a little.
   */
  async flushed(withinMs: number): Promise<void> {
    const slow = setTimeout(
      () => this.#stop(relayError('ETIMEDOUT', 'timeout: the relay takes the message too slowly')),
      withinMs,
    );
    await this.#drained();
    clearTimeout(slow);
  }

  async #drained(): Promise<void> {
    while (this.#end === null && !this.hasReply && this.#socket.writableLength > handful) {
      await new Promise<void>((resolve) => {
        const done = () => {
          this.#socket.off('drain', done);
          this.#wake = null;
          resolve();
        };
        this.#wake = done;
        this.#socket.once('drain', done);
      });
    }
  }

  /** The next reply if it is there: several come in one packet, and each turn of a promise costs more than reading one. */
  next(): Answer | null {
    const reply = this.#replies.shift();
    return reply === undefined ? null : { reply, code: codeOfReply(reply) };
  }

  /** The next reply. Never rejects. One caller at a time. */
  async answer(): Promise<Answer> {
    for (;;) {
      const reply = this.next();
      if (reply !== null) return reply;
      if (this.#end !== null) return { error: this.#end };
      if (this.#keptWaiting) this.#socket.setTimeout(this.#socket.timeout ?? 0);
      this.#keptWaiting = false;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  destroy(): void {
    this.#stop(gone);
    this.#socket.destroy();
  }

  #stop(error: RelayError): void {
    if (this.#end !== null) return;
    this.#end = error;
    this.#timeReply();
    if (error !== gone) this.#socket.destroy();
    this.#notify();
  }

  #timeReply(): void {
    const isAmid = this.#end === null && this.#reader.isAmid;
    if (isAmid) {
      this.#dripping ??= setTimeout(
        () => this.#stop(relayError('ETIMEDOUT', 'timeout: the relay does not come to the end of its reply')),
        this.#timeoutMs,
      );
    } else if (this.#dripping !== null) {
      clearTimeout(this.#dripping);
      this.#dripping = null;
    }
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }
}
