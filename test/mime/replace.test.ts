import { describe, expect, it } from 'vitest';
import { parseFields } from '../../src/mime/header.ts';
import { editHeader } from '../../src/mime/replace.ts';
import { taggedSubject } from '../../src/mime/subject.ts';
import { decodeWords } from '../../src/mime/words.ts';

describe('editHeader', () => {
  const edit = (text: string, dropped: readonly string[], ...prepend: readonly string[]) => {
    const source = Buffer.from(text, 'latin1');
    const { fields } = parseFields(source, 0, source.length);
    return editHeader(source, fields, {
      drop: (name) => dropped.includes(name.toLowerCase()),
      prepend: prepend.map((line) => Buffer.from(line, 'latin1')),
    }).toString('latin1');
  };

  it('keeps the bytes of what stays, and its order', () => {
    const header = 'a :  x\r\nSubject: =?q?\xff\r\n\t y \r\nDKIM-Signature: 1\r\nB:\r\n';
    expect(edit(`${header}\r\nbody`, [])).toBe(header);
    expect(edit(`${header}\r\nbody`, ['dkim-signature'], 'Received: us\r\n', 'List-Id: <l>\r\n')).toBe(
      'Received: us\r\nList-Id: <l>\r\na :  x\r\nSubject: =?q?\xff\r\n\t y \r\nB:\r\n',
    );
  });

  it('drops every field of a name', () => {
    expect(edit('A: 1\r\nB: 2\r\na: 3\r\n\r\n', ['a'])).toBe('B: 2\r\n');
  });

  it('ends a field that the end of the message cut off', () => {
    expect(edit('A: 1', [], 'B: 2\r\n')).toBe('B: 2\r\nA: 1\r\n');
  });

  it.each([
    'B: 2',
    'B: 2\n',
    'B: 2\n 3\r\n',
    'B: 2\r\n\r\n',
    'B: 2\r\nC: 3\r\n',
    'B: \r2\r\n',
    'no field\r\n',
    '',
    '\r\n',
  ])('refuses to prepend %j', (line) => {
    expect(() => edit('A: 1\r\n\r\n', [], line)).toThrowError(
      expect.objectContaining({ code: 'header-injection' }),
    );
  });

  it('takes folded fields to prepend', () => {
    expect(edit('\r\n', [], 'B: 2\r\n 3\r\n\t4\r\n')).toBe('B: 2\r\n 3\r\n\t4\r\n');
  });
});

describe('taggedSubject', () => {
  it.each([
    ['hello', '[tag] hello'],
    ['', '[tag]'],
    ['Re: hello', 'Re: [tag] hello'],
    ['Re:', 'Re: [tag]'],
    ['RE: AW: Sv:  hello', 'Re: [tag] hello'],
    ['Re[2]: hello', 'Re: [tag] hello'],
    ['Re (3) : hello', 'Re: [tag] hello'],
    ['Re：hello', 'Re: [tag] hello'],
    ['Fwd: hello', 'Fwd: [tag] hello'],
    ['WG: hello', 'Fwd: [tag] hello'],
    ['Re: Fwd: hello', 'Re: Fwd: [tag] hello'],
    ['[tag] hello', '[tag] hello'],
    ['[TAG] hello', '[tag] hello'],
    ['Re: [tag] hello', 'Re: [tag] hello'],
    ['[tag] Re: hello', 'Re: [tag] hello'],
    ['Re: [tag] AW: [tag] hello', 'Re: [tag] hello'],
    ['Re: [other] hello', 'Re: [tag] [other] hello'],
    ['was: [tag] hello', '[tag] was: hello'],
    ['Regarding: hello', '[tag] Regarding: hello'],
    ['Re-election: hello', '[tag] Re-election: hello'],
    ['tag hello', '[tag] tag hello'],
    ['a\0b\rc', '[tag] a b c'],
    // Encoded words stay as they are …
    [
      '=?iso-8859-1?q?Gr=FC=DFe?= from =?utf-8?b?w5Y=?=',
      '[tag] =?iso-8859-1?q?Gr=FC=DFe?= from =?utf-8?b?w5Y=?=',
    ],
    ['Re: [tag] =?iso-8859-1?q?Gr=FC=DFe?=', 'Re: [tag] =?iso-8859-1?q?Gr=FC=DFe?='],
    // … unless the prefix or the tag is in them.
    ['=?utf-8?q?Re=3A_=5Btag=5D_Gr=C3=BC=C3=9Fe?=', 'Re: [tag] =?utf-8?b?R3LDvMOfZQ==?='],
    ['=?utf-8?q?AW=3A?= hello', 'Re: [tag] hello'],
    ['=?utf-8?q?Gr=C3=BC?= [tag] =?utf-8?q?=C3=9Fe?=', '[tag] =?utf-8?q?Gr=C3=BC_=C3=9Fe?='],
    ['=?utf-8?q?a=0D=0ABcc:_x?=', '[tag] =?utf-8?q?a=0D=0ABcc:_x?='],
  ])('%j', (value, tagged) => {
    expect(taggedSubject(value, 'tag')).toBe(tagged);
    expect(taggedSubject(tagged, 'tag')).toBe(tagged);
  });

  it.each(['Müll', 'a.*b', '(x', '[x', 'x]', '\\', '^$|/-{2}+?'])('takes the tag %j by the letter', (tag) => {
    const once = taggedSubject('Re: =?utf-8?q?Gr=C3=BC=C3=9Fe?= hello', tag);
    expect(decodeWords(once)).toBe(`Re: [${tag}] Grüße hello`);
    expect(decodeWords(taggedSubject(once, tag))).toBe(`Re: [${tag}] Grüße hello`);
  });

  it('is quick on long subjects', () => {
    for (const piece of ['Re: ', 'Re', '[tag] ', '[', ' ', '=?', 're '])
      expect(taggedSubject(piece.repeat(60_000), 'tag')).toContain('[tag]');
  });
});
