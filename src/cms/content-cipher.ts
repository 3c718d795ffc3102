import type { Cipher, Decipher } from 'node:crypto';

/** Octets given to OpenSSL at a time: so much plaintext lies about in a buffer that is not the result. */
const piece = 64 * 1024;

/**
 * Passes `segments` through `cipher` into `out` from its start; gives the number of octets written. The intermediate
 * buffers are wiped, so the result is the only copy. `final` is left to the caller: it decides what failing means.
 */
export function cipherInto(cipher: Cipher | Decipher, segments: readonly Uint8Array[], out: Buffer): number {
  let written = 0;
  for (const segment of segments) {
    for (let at = 0; at < segment.length; at += piece) {
      const part = cipher.update(segment.subarray(at, at + piece));
      out.set(part, written);
      written += part.length;
      part.fill(0);
    }
  }
  return written;
}
