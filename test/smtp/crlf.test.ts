import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LineEnds } from '../../src/smtp/crlf.ts';

/** Feeds the chunks; whether nothing was wrong, also at the end. */
function acceptable(chunks: readonly Buffer[]): boolean {
  const lines = new LineEnds();
  return chunks.every((chunk) => lines.accept(chunk)) && lines.mayEnd();
}

const cases: [string, boolean][] = [
  ['', true],
  ['text', true],
  ['\r\n', true],
  ['a\r\nb\r\n', true],
  ['\n', false],
  ['\r', false],
  ['a\nb', false],
  ['a\rb', false],
  ['\r\r\n', false],
  ['\r\n\n', false],
  ['\n\r', false],
  ['a\r\n\r', false],
];

describe('LineEnds', () => {
  it.each(cases)('%j: %s, however it is cut', (text, expected) => {
    const bytes = Buffer.from(text);
    for (let first = 0; first <= bytes.length; first++)
      for (let second = first; second <= bytes.length; second++) {
        const chunks = [bytes.subarray(0, first), bytes.subarray(first, second), bytes.subarray(second)];
        expect(acceptable(chunks)).toBe(expected);
      }
  });

  it('agrees with a regular expression on any text in any chunks', () => {
    const chunk = fc.string({ unit: fc.constantFrom('\r', '\n', '\r\n', 'a', '.'), maxLength: 6 });
    fc.assert(
      fc.property(fc.array(chunk, { maxLength: 8 }), (texts) => {
        const bare = /\r(?!\n)|(?<!\r)\n/.test(texts.join(''));
        expect(acceptable(texts.map((text) => Buffer.from(text)))).toBe(!bare);
      }),
    );
  });
});
