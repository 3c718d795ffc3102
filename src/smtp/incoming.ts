import { finished, type Readable } from 'node:stream';
import { LineEnds } from './crlf.ts';
import { fault } from './faults.ts';
import { type Answer, answers } from './replies.ts';

/**
 * The octets of one DATA command, dots un-stuffed. Iterating throws a Fault when the message may not be kept:
 * `client-gone`, `bare-line-end`, `message-too-big`. Whoever writes it down must then remove what he wrote.
 */
export class IncomingMessage implements AsyncIterable<Buffer> {
  readonly #stream: Readable;
  readonly #limit: number;
  #octets = 0;
  #refusal: Answer | null = null;
  #complete = false;

  constructor(stream: Readable, limit: number) {
    this.#stream = stream;
    this.#limit = limit;
    // smtp-server destroys the stream with an error; between two listeners of ours nobody would catch it.
    stream.on('error', () => {});
  }

  /** Why the client is refused, if the fault is in what it sent. */
  get refusal(): Answer | null {
    return this.#refusal;
  }

  /** Whether the consumer has read all of it and nothing was wrong. */
  get complete(): boolean {
    return this.#complete;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    const lines = new LineEnds();
    // The stream must outlive a consumer that stops: destroyed, smtp-server would answer in the middle of DATA.
    for await (const chunk of this.#chunks()) {
      this.#octets += chunk.length;
      if (this.#octets > this.#limit) {
        this.#refusal = answers.tooBig;
        throw fault('message-too-big', { limit: this.#limit });
      }
      if (!lines.accept(chunk)) throw this.#bareLineEnd();
      yield chunk;
    }
    if (!lines.mayEnd()) throw this.#bareLineEnd();
    this.#complete = true;
  }

  /** Reads what is left up to the final dot; at once if the client has gone. */
  async drain(): Promise<void> {
    if (this.#stream.destroyed || this.#stream.readableEnded) return;
    await new Promise<void>((resolve) => {
      finished(this.#stream, { writable: false }, () => resolve());
      this.#stream.resume();
    });
  }

  async *#chunks(): AsyncGenerator<Buffer> {
    const chunks: AsyncIterable<Buffer> = this.#stream.iterator({ destroyOnReturn: false });
    try {
      yield* chunks;
    } catch (error) {
      throw fault('client-gone', { octets: this.#octets }, { cause: error });
    }
  }

  #bareLineEnd() {
    this.#refusal = answers.bareLineEnd;
    return fault('bare-line-end', { octets: this.#octets });
  }
}
