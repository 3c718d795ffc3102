import { inspect } from 'node:util';

declare const brand: unique symbol;

/** Bytes that may touch the disk or the wire, marked with how they came to be; see `brandAs`. */
type Branded<Name extends string> = Buffer & { readonly [brand]: Name };

/** A message exactly as an SMTP client sent it; made by `smtp/receive` and by reading the spool back. */
export type ReceivedBytes = Branded<'received'>;
/** Bytes encrypted for one recipient (or shared by all copies); made by `smime/seal` only. */
export type SealedBytes = Branded<'sealed'>;
/** A post that came in clear and that the list's policy lets leave in clear; made by `flow/post/prepare` only. */
export type ClearBytes = Branded<'clear'>;
/** Mail that reseal wrote itself from templates; made by `flow/mail/notify` only. */
export type ComposedBytes = Branded<'composed'>;

// Each brand has one maker; test/architecture.test.ts lists which file may import which of these functions.
export const brandReceived = (bytes: Buffer): ReceivedBytes => bytes as ReceivedBytes;
export const brandSealed = (bytes: Buffer): SealedBytes => bytes as SealedBytes;
export const brandClear = (bytes: Buffer): ClearBytes => bytes as ClearBytes;
export const brandComposed = (bytes: Buffer): ComposedBytes => bytes as ComposedBytes;

/** A part of received bytes, which is received as well; not copied. */
export function receivedPart(bytes: ReceivedBytes, start: number, end: number): ReceivedBytes {
  return bytes.subarray(start, end) as ReceivedBytes;
}

/**
 * The content of an encrypted message. It cannot be printed, logged, serialised to JSON or concatenated by
 * accident: every such way shows its size only. `expose()` is the one way to its bytes, easy to find by grep.
 */
export class Plaintext {
  readonly #bytes: Uint8Array;
  #wiped = false;

  /** Takes ownership: the caller must not keep or change `bytes`. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Size in octets. */
  get length(): number {
    return this.#bytes.length;
  }

  /**
   * The bytes themselves, not a copy. Never store, log or send what this returns unsealed.
   * Throws after `wipe`: sealing zeros in place of a message would lose it silently.
   */
  expose(): Buffer {
    if (this.#wiped) throw new Error('this plaintext was wiped');
    const b = this.#bytes;
    return Buffer.from(b.buffer, b.byteOffset, b.byteLength);
  }

  /** Overwrites the bytes with zeros (best effort: earlier copies inside OpenSSL or V8 are out of reach). */
  wipe(): void {
    this.#wiped = true;
    this.#bytes.fill(0);
  }

  toString(): string {
    return `<plaintext ${this.#bytes.length} octets>`;
  }

  toJSON(): string {
    return this.toString();
  }

  [inspect.custom](): string {
    return this.toString();
  }
}
