import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { base64Lines } from '../../src/smime/base64-lines.ts';

const text = (bytes: Buffer): string => base64Lines(bytes).toString('latin1');
const octets = (length: number): Buffer =>
  Buffer.from(Array.from({ length }, (_, i) => (i * 37 + (i >> 8)) % 256));
/** Buffer's base64, cut into lines: the second opinion. */
const plain = (bytes: Buffer): string =>
  (bytes.toString('base64').match(/.{1,76}/g) ?? []).map((line) => `${line}\r\n`).join('');

describe('base64Lines', () => {
  it('is RFC 2045 6.8: lines of 76 characters, CRLF after each, the last one too', () => {
    expect(text(Buffer.from('hello'))).toBe('aGVsbG8=\r\n');
    expect(
      text(octets(58))
        .split('\r\n')
        .map((line) => line.length),
    ).toEqual([76, 4, 0]);
    expect(text(Buffer.alloc(0))).toBe('');
  });

  it('is the base64 of Buffer for 0 to 200 octets', () => {
    for (let length = 0; length <= 200; length++) expect(text(octets(length))).toBe(plain(octets(length)));
  });

  // 57 octets fill a line; 768 kB is the piece in which it encodes.
  const piece = 3 * 256 * 1024;
  const edges = [57 * 3, 57 * 1000, piece, 2 * piece, piece + 57].flatMap((n) => [
    n - 2,
    n - 1,
    n,
    n + 1,
    n + 2,
  ]);
  it.each(edges)('is the base64 of Buffer for %i octets', (length) => {
    const bytes = octets(length);
    expect(base64Lines(bytes).equals(Buffer.from(plain(bytes)))).toBe(true);
  });

  it('is the base64 of Buffer for any octets', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1000 }), (bytes) => {
        expect(text(Buffer.from(bytes))).toBe(plain(Buffer.from(bytes)));
      }),
    );
  });

  it('writes into the memory it is given, as much as it asked for', () => {
    let given: SharedArrayBuffer | null = null;
    const lines = base64Lines(octets(1000), (size) => {
      given = new SharedArrayBuffer(size);
      return Buffer.from(given);
    });
    expect(lines.buffer).toBe(given);
    expect(lines.length).toBe(plain(octets(1000)).length);
    expect(Buffer.from(lines).toString('latin1')).toBe(plain(octets(1000)));
  });
});
