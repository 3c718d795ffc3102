import type { Socket } from 'node:net';
import { type RelayError, readReply } from './outcome.ts';
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

/** Both directions of a connection after its handshake: octets out, replies in, in their order. */
export class Wire {
  /** Resolves when the connection is closed, by whomever. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #reader = new ReplyReader();
  readonly #replies: string[] = [];
  #wake: (() => void) | null = null;
  #end: RelayError | null = null;
  /** Nothing is awaited: whatever the relay says now ends the connection. */
  #idle = true;

  constructor(socket: Socket, closed: Promise<void>) {
    this.#socket = socket;
    this.closed = closed;
    socket.on('data', (chunk: Buffer) => {
      this.#replies.push(...this.#reader.push(chunk));
      if (this.#idle) this.destroy();
      this.#notify();
    });
    socket.on('timeout', () => this.#stop(relayError('ETIMEDOUT', 'timeout: the relay fell silent')));
    socket.on('error', (error) => this.#stop(relayError('ESOCKET', error.message || 'the connection broke')));
    socket.on('close', () => this.#stop(gone));
    void closed.then(() => this.#stop(gone));
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

  /** Resolves when so much has left that more may follow; sooner if the relay says something or goes. */
  async flushed(): Promise<void> {
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

  /** The next reply. Never rejects. One caller at a time. */
  async answer(): Promise<Answer> {
    for (;;) {
      const reply = this.#replies.shift();
      if (reply !== undefined) return { reply, code: readReply(reply).code };
      if (this.#end !== null) return { error: this.#end };
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
    if (error !== gone) this.#socket.destroy();
    this.#notify();
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }
}
