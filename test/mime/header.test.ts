import { describe, expect, it } from 'vitest';
import { fieldBytes, fieldsNamed, fieldValue, formatField, parseFields } from '../../src/mime/header.ts';

const parse = (text: string, limits?: { fields: number; octets: number }) => {
  const source = Buffer.from(text, 'latin1');
  return { source, ...parseFields(source, 0, source.length, limits) };
};

describe('parseFields', () => {
  it.each([
    ['folded with CRLF', 'A: one\r\n two\r\n\tthree\r\n\r\n', 'one two\tthree'],
    ['folded with LF', 'A: one\n two\n\n', 'one two'],
    ['folded over a blank line of blanks', 'A: one\r\n \r\n two\r\n\r\n', 'one  two'],
    ['nothing', 'A:\r\n\r\n', ''],
    ['only blanks', 'A: \t \r\n\r\n', ''],
    ['no blank after the colon', 'A:b:c\r\n\r\n', 'b:c'],
    ['a bare CR', 'A: b\rB: c\r\n\r\n', 'b\rB: c'],
    ['UTF-8', 'A: M\xc3\xbcller\r\n\r\n', 'Müller'],
    ['Latin-1', 'A: M\xfcller\r\n\r\n', 'Müller'],
    ['NUL', 'A: a\0b\r\n\r\n', 'a\0b'],
    ['encoded words are left alone', 'A: =?utf-8?q?a?=\r\n\r\n', '=?utf-8?q?a?='],
    ['no-break space is text', 'A: \xc2\xa0b\xc2\xa0\r\n\r\n', '\u00a0b\u00a0'],
    ['the end of the source', 'A: b', 'b'],
  ])('value: %s', (_, text, value) => {
    const { fields, bodyStart } = parse(text);
    expect(fields.map((field) => field.value)).toEqual([value]);
    expect(bodyStart).toBe(text.length);
  });

  it.each([
    ['an empty header', '\r\nbody', [], 'body'],
    ['an empty header with LF', '\nbody', [], 'body'],
    ['nothing at all', '', [], ''],
    ['a body only', 'no field here\r\n\r\nmore', [], 'no field here\r\n\r\nmore'],
    ['a first line with a blank', ' A: b\r\n\r\n', [], ' A: b\r\n\r\n'],
    ['a name with a blank inside', 'A: b\r\nA B: c\r\n\r\n', ['A'], 'A B: c\r\n\r\n'],
    ['an 8-bit name', 'A: b\r\n\xc4: c\r\n\r\n', ['A'], '\xc4: c\r\n\r\n'],
    ['a line of CR CR LF', 'A: b\r\n\r\r\nB: c', ['A'], '\r\r\nB: c'],
    ['blanks before the colon', 'A \t: b\r\n\r\n', ['A'], ''],
    ['From with a blank before the colon is a field', 'From : a@b\r\n\r\n', ['From'], ''],
    ['mbox', 'From a Tue Dec 1\r\nA: b\r\n\r\n', ['A'], ''],
    ['mbox, escaped', '>From a Tue Dec 1\nA: b\n\n', ['A'], ''],
    ['mbox line further down', 'A: b\r\nFrom a Tue Dec 1\r\nB: c', ['A'], 'From a Tue Dec 1\r\nB: c'],
  ])('%s', (_, text, names, body) => {
    const { source, fields, bodyStart } = parse(text);
    expect(fields.map((field) => field.name)).toEqual(names);
    expect(source.toString('latin1', bodyStart)).toBe(body);
  });

  it('keeps the exact bytes', () => {
    const { source, fields } = parse('a: b\r\nX-Y:  c \r\n\td\r\n\r\nbody');
    expect(fields.map((field) => fieldBytes(source, field).toString())).toEqual([
      'a: b\r\n',
      'X-Y:  c \r\n\td\r\n',
    ]);
  });

  it('reads no further than its end', () => {
    const source = Buffer.from('A: b\r\nC: d\r\n\r\n');
    expect(parseFields(source, 0, 6).fields.map(({ name }) => name)).toEqual(['A']);
    expect(parseFields(source, 0, 3)).toMatchObject({
      fields: [{ name: 'A', value: '', end: 3 }],
      bodyStart: 3,
    });
  });

  it.each([
    [
      'one more field than allowed',
      'A: b\r\n'.repeat(4),
      { fields: 3, octets: 1000 },
      'more than 3 header fields',
    ],
    ['one endless line', `A: ${'b'.repeat(300_000)}`, undefined, 'more than 262144 octets of header'],
    ['an endlessly folded field', `A: b${'\r\n b'.repeat(100_000)}`, undefined, 'more than 262144 octets'],
    ['many small fields', 'A: b\r\n'.repeat(1001), undefined, 'more than 1000 header fields'],
  ])('budget: %s', (_, text, limits, message) => {
    expect(() => parse(text, limits)).toThrowError(
      expect.objectContaining({ code: 'mime-budget', message: expect.stringContaining(message) }),
    );
  });

  it('a long body does not count', () => {
    expect(parse(`A: b\r\n\r\n${'x'.repeat(1_000_000)}`).bodyStart).toBe(8);
    expect(parse(`${'x'.repeat(1_000_000)}`).bodyStart).toBe(0);
  });
});

describe('fieldsNamed, fieldValue', () => {
  const { fields } = parse('Received: 2\r\nsubject: s\r\nRECEIVED: 1\r\n\r\n');
  it('ignore case and keep the order', () => {
    expect(fieldsNamed(fields, 'received').map(({ value }) => value)).toEqual(['2', '1']);
    expect(fieldValue(fields, 'rEceived')).toBe('2');
    expect(fieldValue(fields, 'SUBJECT')).toBe('s');
    expect(fieldValue(fields, 'to')).toBeNull();
  });
});

describe('formatField', () => {
  it.each([
    ['Subject', 'plain', 'Subject: plain\r\n'],
    ['Subject', '  trimmed \t', 'Subject: trimmed\r\n'],
    ['Subject', '', 'Subject: \r\n'],
    ['Subject', 'Grüße', 'Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\n'],
    ['Subject', 'about the Grüße of today', 'Subject: about the =?utf-8?b?R3LDvMOfZQ==?= of today\r\n'],
    ['Subject', '=?utf-8?q?kept=20as_is?= x', 'Subject: =?utf-8?q?kept=20as_is?= x\r\n'],
    ['From', 'Jörg <joerg@example.org>', 'From: =?utf-8?q?J=C3=B6rg?= <joerg@example.org>\r\n'],
    [
      'To',
      '"Müller, J." <m@example.org>, x@y',
      'To: =?utf-8?q?M=C3=BCller=2C_J=2E?= <m@example.org>, x@y\r\n',
    ],
    ['To', '<müller@example.org>', 'To: <müller@example.org>\r\n'],
  ])('%s: %j', (name, value, line) => {
    expect(formatField(name, value).toString('utf8')).toBe(line);
  });

  it('folds at blanks, within 78 columns', () => {
    const value = Array.from({ length: 40 }, (_, index) => `<${index}@example.org>`).join(' ');
    const lines = formatField('References', value).toString().split('\r\n');
    expect(lines.length).toBeGreaterThan(8);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(78);
    expect(lines.join('')).toBe(`References: ${value}`);
  });

  it('does not leave the name alone on its line, and breaks no word', () => {
    const word = 'x'.repeat(200);
    expect(formatField('Subject', word).toString()).toBe(`Subject: ${word}\r\n`);
    expect(formatField('X', `a ${word} b`).toString()).toBe(`X: a\r\n ${word}\r\n b\r\n`);
  });

  it('keeps every line under 998 octets whatever the value (RFC 5322 2.1.1)', () => {
    const lines = formatField('Subject', 'x'.repeat(5000)).toString().split('\r\n');
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(78);
    expect(parse(formatField('Subject', 'ü'.repeat(500)).toString()).fields).toHaveLength(1);
  });

  it('is quick on values with quotes and brackets that have no end', () => {
    for (const piece of ['<', '"', '"\\"', '( <', 'ü <'])
      expect(formatField('From', piece.repeat(100_000)).length).toBeGreaterThan(100_000);
  });

  it.each([
    ['Subject', 'a\r\nBcc: victim@example.org'],
    ['Subject', 'a\nb'],
    ['Subject', 'a\rb'],
    ['Subject', 'a\0b'],
    ['Sub ject', 'a'],
    ['Subject:', 'a'],
    ['Sübject', 'a'],
    ['', 'a'],
    ['A\r\nB', 'a'],
  ])('refuses %j: %j', (name, value) => {
    expect(() => formatField(name, value)).toThrowError(
      expect.objectContaining({ code: 'header-injection' }),
    );
  });
});
