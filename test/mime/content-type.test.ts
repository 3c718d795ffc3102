import { describe, expect, it } from 'vitest';
import { parseContentType, parseDisposition } from '../../src/mime/content-type.ts';

/** type, parameters in order, repeated names. */
const read = (value: string | null) => {
  const { type, parameters, repeated } = parseContentType(value);
  return [type, Object.fromEntries(parameters), repeated];
};

describe('parseContentType', () => {
  it.each<[string | null, string, Record<string, string>]>([
    ['text/html', 'text/html', {}],
    ['Text/HTML; Charset=UTF-8', 'text/html', { charset: 'UTF-8' }],
    [
      'multipart/signed; boundary="a b\\"c"; micalg=sha-256',
      'multipart/signed',
      { boundary: 'a b"c', micalg: 'sha-256' },
    ],
    ['text/plain; charset=us-ascii (Plain text)', 'text/plain', { charset: 'us-ascii' }],
    ['text/plain (a; (nested) \\) comment); charset=x', 'text/plain', { charset: 'x' }],
    ['text/plain (\\); charset=y); charset=x', 'text/plain', { charset: 'x' }],
    ['text/plain; a="b" (; c=d) e (;) ; f=g', 'text/plain', { a: 'b', f: 'g' }],
    ['text / plain ; charset = x', 'text/plain', { charset: 'x' }],
    ['text/plain;; ;charset=x;', 'text/plain', { charset: 'x' }],
    ['text/plain; name=my file.txt; a=b', 'text/plain', { name: 'my file.txt', a: 'b' }],
    ['text/plain; name="a;b=c"; d=e', 'text/plain', { name: 'a;b=c', d: 'e' }],
    ['text/plain; name="no end; d=e', 'text/plain', { name: 'no end; d=e' }],
    ['text/plain; name="x" junk; d=e', 'text/plain', { name: 'x', d: 'e' }],
    ['text/plain; name; d=e', 'text/plain', { d: 'e' }],
    ['text/plain; =x; d=e', 'text/plain', { d: 'e' }],
    ['text/plain; a=', 'text/plain', { a: '' }],
    [
      'text/plain; __proto__=x; constructor=y',
      'text/plain',
      JSON.parse('{"__proto__":"x","constructor":"y"}'),
    ],
    // RFC 2045 5.2
    [null, 'text/plain', {}],
    ['', 'text/plain', {}],
    ['text', 'text/plain', {}],
    ['text/; charset=x', 'text/plain', {}],
    ['/plain', 'text/plain', {}],
    ['te xt/plain', 'text/plain', {}],
    ['multipart/mixed boundary=x', 'multipart/mixed', {}],
    ['text/plain\0; a=b', 'text/plain', {}],
    ['(open comment text/html', 'text/plain', {}],
  ])('%j', (value, type, parameters) => {
    expect(read(value)).toEqual([type, parameters, []]);
  });

  it.each<[string, Record<string, string>]>([
    // RFC 2231 3, 4, 4.1
    ['a/b; url*0="ftp://"; url*1="cs.utk.edu/pub"', { url: 'ftp://cs.utk.edu/pub' }],
    ["a/b; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun", { title: 'This is ***fun' }],
    [
      `a/b; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2="isn't it!"`,
      { title: "This is even more ***fun*** isn't it!" },
    ],
    ["a/b; t*1*=%C3%BC; t*0*=utf-8''%C3%A4", { t: 'äü' }],
    ["a/b; t*0*=utf-8''%C3; t*1*=%A4", { t: 'ä' }],
    ["a/b; t*=iso-8859-1''%E4", { t: 'ä' }],
    ["a/b; t*=''%C3%A4", { t: 'ä' }],
    ['a/b; t*=no%20quotes%zz', { t: 'no quotes%zz' }],
    ['a/b; t*0=a; t*2=c', { t: 'a' }],
    ['a/b; t*1=b; t*2=c', {}],
    ['a/b; t*00=a; t*x=b; t**=c', {}],
    ['a/b; *=x; *0=y', {}],
  ])('extended: %j', (value, parameters) => {
    expect(read(value)).toEqual(['a/b', parameters, []]);
  });

  it.each<[string, Record<string, string>, string[]]>([
    ['a/b; x=1; X=2', { x: '1' }, ['x']],
    ["a/b; x=1; x*=''2", { x: '2' }, ['x']],
    ["a/b; x*=''2; x=1", { x: '2' }, ['x']],
    ["a/b; x*0=1; x*=''2", { x: '2' }, ['x']],
    ['a/b; x*0=1; x*0=2', { x: '1' }, ['x']],
    ["a/b; x*0=1; x*0*=''2", { x: '2' }, ['x']],
  ])('repeated: %j', (value, parameters, repeated) => {
    expect(read(value)).toEqual(['a/b', parameters, repeated]);
  });

  it('is quick on hostile values', () => {
    for (const piece of ['a/b; x=(', '(', '\\', '"', '; ', "; x*0*=''", 'x*', '/ '])
      expect(parseContentType(`a/b;${piece.repeat(60_000)}`).type).toBe('a/b');
  });
});

describe('parseDisposition', () => {
  it('reads attachment and its file name, null for nothing', () => {
    expect(parseDisposition(null)).toBeNull();
    expect(parseDisposition(' ')).toBeNull();
    const found = parseDisposition('Attachment; FileName="smime.p7m"');
    expect(found?.type).toBe('attachment');
    expect(found?.parameters.get('filename')).toBe('smime.p7m');
  });
});
