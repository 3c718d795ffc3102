import { describe, expect, it } from 'vitest';
import { decodeCharset, decodeWords, encodeWords } from '../../src/mime/words.ts';

describe('decodeWords', () => {
  it.each([
    ['plain', 'plain'],
    ['=?utf-8?q?Gr=C3=BC=C3=9Fe?=', 'Grüße'],
    ['=?ISO-8859-1?Q?Gr=FC=DFe_an?= alle', 'Grüße an alle'],
    ['=?utf-8?B?R3LDvMOfZQ==?=', 'Grüße'],
    ['=?utf-8?b?R3LDvMOfZQ?= (no padding)', 'Grüße (no padding)'],
    // RFC 2047 8
    ['(=?ISO-8859-1?Q?a?= b)', '(a b)'],
    ['(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)', '(ab)'],
    ['(=?ISO-8859-1?Q?a?=  \t =?ISO-8859-1?Q?b?=)', '(ab)'],
    ['(=?ISO-8859-1?Q?a_b?=)', '(a b)'],
    ['(=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=)', '(a b)'],
    ['a character in two words: =?utf-8?q?=C3?= =?UTF-8?b?vA==?=', 'a character in two words: ü'],
    ['=?utf-8*de?q?Gru=C3=9F?=', 'Gruß'],
    ['=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=', '日本'],
    ['=?windows-1252?q?=80?=', '€'],
    ['=?x-unknown?q?=C3=BC?=', 'ü'],
    ['=?x-unknown?q?=FC?=', 'ü'],
    ['=?utf-8?q?broken =ZZ =?=', 'broken =ZZ ='],
    ['=?utf-8?x?a?=', '=?utf-8?x?a?='],
    ['=?utf-8?q?no end', '=?utf-8?q?no end'],
    ['=?utf-7?q?+AGE-?=', '+AGE-'],
    ['=?utf-8?q?a=0D=0ABcc:_b=00?=', 'a Bcc: b '],
    ['', ''],
  ])('%j', (text, decoded) => {
    expect(decodeWords(text)).toBe(decoded);
  });

  it('is quick on text that begins words without end', () => {
    expect(decodeWords('=?utf-8?q?'.repeat(30_000)).length).toBeGreaterThan(0);
    expect(decodeWords('=?a?b?'.repeat(10) + ' '.repeat(200_000)).length).toBeGreaterThan(0);
  });
});

describe('encodeWords', () => {
  it.each([
    ['only ASCII, as it is', 'only ASCII, as it is'],
    ['one ü here', 'one =?utf-8?b?w7w=?= here'],
    ['from ä to ö', 'from =?utf-8?q?=C3=A4_to_=C3=B6?='],
    ['a\u0001b', '=?utf-8?q?a_b?='],
    ['=?utf-8?q?x?= =?utf-8?q?y?= z', '=?utf-8?q?x?= =?utf-8?q?y?= z'],
    ['a =?utf-8?q?x?= bcdef ü', 'a =?utf-8?q?x_bcdef_=C3=BC?='],
    ['日本', '=?utf-8?b?5pel5pys?='],
  ])('%j', (text, encoded) => {
    expect(encodeWords(text)).toBe(encoded);
  });

  it('makes words of 75 characters at most that hold whole characters (RFC 2047 2, 5)', () => {
    const text = `${'𠀀é'.repeat(60)} and ${'plain '.repeat(40)}ü`;
    const words = encodeWords(text).split(' ');
    expect(words.length).toBeGreaterThan(5);
    for (const word of words) {
      expect(word.length).toBeLessThanOrEqual(75);
      expect(decodeWords(word)).not.toContain('\ufffd');
    }
    expect(decodeWords(words.join(' '))).toBe(text);
  });
});

describe('decodeCharset', () => {
  it('never throws', () => {
    expect(decodeCharset(Buffer.from([0xfc]), 'no such charset')).toBe('ü');
    expect(decodeCharset(Buffer.from([0xfc]), '\0')).toBe('ü');
    expect(decodeCharset(Buffer.from([0xfc]), 'utf-8')).toBe('\ufffd');
  });
});
