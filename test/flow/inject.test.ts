import { describe, expect, it } from 'vitest';
import { wireForm } from '../../src/flow/pipeline/inject.ts';

/** The message in pieces of `size` octets, as a pipe may cut it. */
async function* pieces(text: string, size: number): AsyncGenerator<Buffer> {
  const bytes = Buffer.from(text, 'latin1');
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

describe('wireForm', () => {
  it.each<[string, string, string]>([
    ['LF becomes CRLF', 'A: b\n\nhi\n', 'A: b\r\n\r\nhi\r\n'],
    ['CRLF stays', 'A: b\r\n\r\nhi\r\n', 'A: b\r\n\r\nhi\r\n'],
    ['both in one message', 'A: b\r\n\nhi\n', 'A: b\r\n\r\nhi\r\n'],
    ['the last line gets an end', 'A: b\n\nhi', 'A: b\r\n\r\nhi\r\n'],
    ['empty lines stay', '\n\n\n', '\r\n\r\n\r\n'],
    ['a mailbox line goes', 'From a@b Thu Jan  1\nA: b\n\n', 'A: b\r\n\r\n'],
    ['a From field stays', 'From: a@b\n\nFrom here\n', 'From: a@b\r\n\r\nFrom here\r\n'],
    ['8-bit octets stay', 'A: b\n\n\xe4\xff\n', 'A: b\r\n\r\n\xe4\xff\r\n'],
  ])('%s', async (_, text, expected) => {
    for (const size of [1, 2, 3, 100])
      expect((await wireForm(pieces(text, size), 1000)).toString('latin1')).toBe(expected);
  });

  it.each<[string, string, string]>([
    ['a carriage return in a line', 'A: b\n\nhi\rho\n', 'inject-bare-cr'],
    ['one before CRLF', 'A: b\r\r\n', 'inject-bare-cr'],
    ['one at the end', 'A: b\n\nhi\r', 'inject-bare-cr'],
    ['nothing', '', 'inject-empty'],
    ['a mailbox line alone', 'From a@b', 'inject-empty'],
    ['too much', 'x'.repeat(101), 'inject-size'],
  ])('refuses %s', async (_, text, code) => {
    await expect(wireForm(pieces(text, 7), 100)).rejects.toMatchObject({ code });
  });
});
