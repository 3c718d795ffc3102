import { describe, expect, it } from 'vitest';
import { type Attachment, composeEntity, composeMessage, multipart } from '../../src/mime/compose.ts';
import { decodedBody, entityBytes, parseEntity, partsOf } from '../../src/mime/entity.ts';

const attachment: Attachment = {
  fileName: 'a.bin',
  contentType: 'application/octet-stream',
  content: Buffer.from([0, 255, 10]),
};

describe('composeEntity', () => {
  it('leaves plain text readable', () => {
    expect(composeEntity({ text: 'Dear member,\nhello.\n', boundary: 'b' }).toString()).toBe(
      'Content-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n\r\nDear member,\r\nhello.\r\n',
    );
  });

  it.each([
    ['another charset', 'Grüße\n', 'Gr=C3=BC=C3=9Fe\r\n'],
    ['a long line', 'x'.repeat(100), `${'x'.repeat(75)}=\r\n${'x'.repeat(25)}\r\n`],
    ['From at the start of a line', 'a\nFrom here\n', 'a\r\n=46rom here\r\n'],
    ['a dot at the start of a line', '.\n', '=2E\r\n'],
    ['a blank at the end of a line', 'a \nb\t\n', 'a=20\r\nb=09\r\n'],
    ['a control character', 'a\u0007b\n', 'a=07b\r\n'],
    ['an equals sign beside it', 'ü=\n', '=C3=BC=3D\r\n'],
  ])('encodes text with %s (RFC 8551 3.1.3)', (_, text, body) => {
    const entity = composeEntity({ text, boundary: 'b' });
    expect(entity.toString('latin1')).toContain(
      'charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n',
    );
    expect(entity.toString('latin1').split('\r\n\r\n')[1]).toBe(body);
  });

  it('makes every kind of line end CRLF, and adds the last', () => {
    expect(composeEntity({ text: 'a\rb\nc\r\nd', boundary: 'b' }).toString()).toMatch(
      /\r\n\r\na\r\nb\r\nc\r\nd\r\n$/,
    );
  });

  it('puts attachments behind the text', () => {
    const entity = parseEntity(
      composeEntity({ text: 'see below', attachments: [attachment], boundary: 'b1' }),
    );
    const [text, file, ...others] = partsOf(entity);
    expect(others).toEqual([]);
    expect(entity.contentType.type).toBe('multipart/mixed');
    expect(text && decodedBody(text).toString()).toBe('see below\r\n');
    expect(file && decodedBody(file)).toEqual(attachment.content);
    expect(file).toMatchObject({
      fileName: 'a.bin',
      encoding: 'base64',
      disposition: { type: 'attachment' },
    });
  });

  it.each([
    'smime.p7c',
    'two words.txt',
    'Müller "x" \\.txt',
    'a\r\nBcc: x',
    "a'b%c*",
    'x'.repeat(90),
    '日本.txt',
    '',
    'a\ud800b',
  ])('the file name %j survives', (fileName) => {
    const entity = parseEntity(
      composeEntity({ text: '', attachments: [{ ...attachment, fileName }], boundary: 'b' }),
    );
    expect(partsOf(entity)[1]?.fileName).toBe(fileName.replace('\ud800', '\ufffd').replace('\r\n', ' '));
  });

  it('does not encode an attached message, unless it must (RFC 2046 5.2.1, RFC 6532 3.7)', () => {
    const attach = (content: string) => {
      const attachments = [
        { fileName: 'm.eml', contentType: 'message/rfc822', content: Buffer.from(content) },
      ];
      return partsOf(parseEntity(composeEntity({ text: 'x', attachments, boundary: 'b' })))[1];
    };
    expect(attach('Subject: x\r\n\r\nx\r\n')).toMatchObject({
      encoding: '7bit',
      contentType: { type: 'message/rfc822' },
    });
    expect(attach('Subject: ü\r\n\r\nx\r\n')).toMatchObject({
      encoding: 'base64',
      contentType: { type: 'message/global' },
    });
    expect(attach('Subject: x\n\nx\n')).toMatchObject({
      encoding: 'base64',
      contentType: { type: 'message/global' },
    });
  });

  it('gives the same bytes for the same input', () => {
    const composition = { text: 'ü', attachments: [attachment], boundary: 'b' };
    expect(composeEntity(composition)).toEqual(composeEntity(composition));
  });

  it.each(['', 'a b ', 'a"b', 'a\r\nb', 'ü', 'x'.repeat(61)])('refuses the boundary %j', (boundary) => {
    expect(() => composeEntity({ text: '', attachments: [attachment], boundary })).toThrowError(
      expect.objectContaining({ code: 'boundary-unusable' }),
    );
  });
});

describe('multipart', () => {
  it('keeps the parts byte for byte', () => {
    const parts = [Buffer.from('A: b\r\n\r\nx'), Buffer.from('\r\n'), Buffer.from('C: d\r\n\r\ny\r\n\r\n')];
    const entity = parseEntity(multipart('signed; protocol="application/pkcs7-signature"', parts, 'b'));
    expect(partsOf(entity).map(entityBytes)).toEqual(parts);
    expect(entity.contentType.parameters.get('protocol')).toBe('application/pkcs7-signature');
  });

  it('lengthens a boundary that the content holds', () => {
    const part = Buffer.from('\r\n--b\r\n\r\nfake\r\n--b=--\r\n');
    const entity = parseEntity(multipart('mixed', [part], 'b'));
    expect(partsOf(entity).map(entityBytes)).toEqual([part]);
  });

  it('gives up on content made to hold all of them', () => {
    const part = Buffer.from(`--b${'='.repeat(20)}`);
    expect(() => multipart('mixed', [part], 'b')).toThrowError(
      expect.objectContaining({ code: 'boundary-unusable' }),
    );
  });
});

describe('composeMessage', () => {
  it('puts the header in the order given', () => {
    const entity = composeEntity({ text: 'x\n', boundary: 'b' });
    const message = composeMessage(
      [
        ['From', 'LIST <list@example.org>'],
        ['Subject', 'Grüße'],
      ],
      entity,
    );
    expect(message.toString()).toBe(
      `From: LIST <list@example.org>\r\nSubject: =?utf-8?b?R3LDvMOfZQ==?=\r\nMIME-Version: 1.0\r\n${entity}`,
    );
  });

  it('refuses a value with a line end', () => {
    expect(() => composeMessage([['Subject', 'a\r\nBcc: b']], Buffer.alloc(0))).toThrowError(
      expect.objectContaining({ code: 'header-injection' }),
    );
  });
});
