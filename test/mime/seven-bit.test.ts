import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodedBody, type Entity, parseEntity, partsOf } from '../../src/mime/entity.ts';
import { canBeSevenBit, isCanonical, isSevenBit, sevenBit } from '../../src/mime/seven-bit.ts';

const crlf = (text: string) => Buffer.from(text.replace(/\r?\n/g, '\r\n'));
const recoded = (bytes: Buffer): string | null => {
  const made = sevenBit(parseEntity(bytes));
  expect(canBeSevenBit(parseEntity(bytes))).toBe(made !== null);
  return made?.toString('latin1') ?? null;
};
const leaves = (entity: Entity): Entity[] => {
  const parts = partsOf(entity);
  return parts.length > 0 ? parts.flatMap(leaves) : [entity];
};

describe('isSevenBit', () => {
  it.each<[string, string | Buffer, boolean]>([
    ['text', 'a\r\nb\r\n', true],
    ['nothing', '', true],
    ['998 octets in a line', `${'x'.repeat(998)}\r\n`, true],
    ['999', `${'x'.repeat(999)}\r\n`, false],
    ['no last line end', 'a', true],
    ['an octet of 8 bits', Buffer.from([0xe4]), false],
    ['NUL', 'a\0b', false],
    ['a bare LF', 'a\nb', false],
    ['a bare CR', 'a\rb', false],
    ['a CR at the end', 'a\r', false],
  ])('%s', (_, bytes, expected) => expect(isSevenBit(Buffer.from(bytes))).toBe(expected));
});

it.each([
  ['a\r\nb\r\n', true],
  ['\u00e4\0', true],
  ['\nb', false],
  ['a\r\n\nb', false],
  ['a\rb\r\n', false],
  ['a\r', false],
])('isCanonical %j: %s', (text, expected) => expect(isCanonical(Buffer.from(text))).toBe(expected));

describe('sevenBit', () => {
  it('leaves what is 7 bit as it is, byte for byte', () => {
    const entity = crlf('content-TYPE:  text/plain\nX-Odd:   a\n\nDear,\n . \n');
    expect(recoded(entity)).toBe(entity.toString('latin1'));
  });

  it('makes 8-bit text quoted-printable and keeps the other fields', () => {
    const entity = crlf(
      'Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\nContent-Language: de\n\nGrüße\n',
    );
    expect(recoded(entity)).toBe(
      'Content-Type: text/plain; charset=utf-8\r\nContent-Language: de\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n',
    );
  });

  it.each<[string, string, Buffer]>([
    ['a picture', 'image/png', Buffer.from([0x89, 0x50, 0x0a, 0, 0xff])],
    ['text in UTF-16', 'text/plain; charset=utf-16', Buffer.from('\ufeffgrün\n', 'utf16le')],
  ])('makes %s base64', (_, type, body) => {
    const head = crlf(`Content-Type: ${type}\nContent-Transfer-Encoding: binary\n\n`);
    const made = parseEntity(Buffer.from(recoded(Buffer.concat([head, body])) ?? '', 'latin1'));
    expect(made.encoding).toBe('base64');
    expect(decodedBody(made)).toEqual(body);
  });

  it('recodes the leaves of a multipart that need it, and says 7bit of it', () => {
    const entity = crlf(`Content-Type: multipart/mixed; boundary=o
Content-Transfer-Encoding: 8bit

preamble
--o
Content-Type: multipart/alternative; boundary=i
Content-Transfer-Encoding: 8bit

--i

plain
--i
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: 8bit

<p>Grüße
--i--
--o
Content-Type: application/pdf
Content-Transfer-Encoding: base64

AAAA
--o--
epilogue
`);
    const made = recoded(entity) ?? '';
    expect(isSevenBit(Buffer.from(made, 'latin1'))).toBe(true);
    expect(made).not.toContain('8bit');
    expect(made.match(/Content-Transfer-Encoding: 7bit/g)).toHaveLength(2);
    expect(made).toContain('\r\n--i\r\n\r\nplain\r\n--i\r\n');
    expect(made).toContain('\r\npreamble\r\n--o\r\n');
    expect(made.endsWith('\r\n--o--\r\nepilogue\r\n')).toBe(true);
    const bodies = (bytes: Buffer) => leaves(parseEntity(bytes)).map((leaf) => decodedBody(leaf).toString());
    expect(bodies(Buffer.from(made, 'latin1'))).toEqual(bodies(entity));
  });

  it('gives line ends of Unix their CR and keeps what base64 says', () => {
    expect(recoded(Buffer.from('Content-Type: a/b\nContent-Transfer-Encoding: base64\n\nAAAA\nBBBB\n'))).toBe(
      'Content-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\nBBBB\r\n',
    );
    expect(recoded(Buffer.from('\nhello\nworld'))).toBe('\r\nhello\r\nworld');
  });

  it('breaks lines that are too long', () => {
    const made = recoded(crlf(`Content-Type: text/plain\n\n${'x'.repeat(2000)}\n`));
    expect(isSevenBit(Buffer.from(made ?? '\u00e4'))).toBe(true);
    expect(decodedBody(parseEntity(Buffer.from(made ?? ''))).toString()).toBe(`${'x'.repeat(2000)}\r\n`);
  });

  it.each([
    ['what somebody signed', 'multipart/signed; boundary=b', '--b\n\ngrün\n--b--\n'],
    ['a forwarded message', 'message/rfc822', 'Subject: x\n\ngrün\n'],
    ['a multipart without parts', 'multipart/mixed; boundary=b', 'grün\n'],
    ['a preamble of 8 bits', 'multipart/mixed; boundary=b', 'grün\n--b\n\nx\n--b--\n'],
    ['a header of 8 bits', 'text/plain; name=grün', 'x\n'],
    ['an unknown encoding', 'text/plain\nContent-Transfer-Encoding: x-uuencode', 'grün\n'],
    [
      'a signed part within',
      'multipart/mixed; boundary=o',
      '--o\nContent-Type: multipart/signed; boundary=b\n\n--b\n\ngrün\n--b--\n--o--\n',
    ],
  ])('gives up on %s', (_, type, body) => {
    expect(recoded(crlf(`Content-Type: ${type}\n\n${body}`))).toBeNull();
  });

  it('gives up on a depth that nobody needs', () => {
    let entity = 'Content-Type: text/plain\n\ngrün\n';
    for (let i = 0; i < 30; i++)
      entity = `Content-Type: multipart/mixed; boundary=b${i}x\n\n--b${i}x\n${entity}\n--b${i}x--\n`;
    expect(recoded(crlf(entity))).toBeNull();
  });

  it('never changes what the content says, whatever that is', () => {
    const line = fc.string({ unit: 'grapheme', maxLength: 1200 }).map((text) => text.replace(/[\r\n]/g, ''));
    const text = fc
      .array(line, { maxLength: 6 })
      .map((lines) => Buffer.from(lines.map((one) => `${one}\r\n`).join('')));
    const said = (type: string, encoding: string, body: Buffer): Buffer => {
      const head = crlf(`Content-Type: ${type}\nContent-Transfer-Encoding: ${encoding}\n\n`);
      const made = sevenBit(parseEntity(Buffer.concat([head, body])));
      if (made === null || !isSevenBit(made)) throw new Error('not 7 bit');
      return decodedBody(parseEntity(made));
    };
    fc.assert(
      fc.property(text, (body) => {
        expect(said('text/plain; charset=utf-8', '8bit', body)).toEqual(body);
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), (octets) => {
        const body = Buffer.from(octets);
        expect(said('image/png', 'binary', body)).toEqual(body);
      }),
    );
  });
});
