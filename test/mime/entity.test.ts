import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { bodyBytes, decodedBody, entityBytes, parseEntity, partsOf } from '../../src/mime/entity.ts';
import { outlineOf, readFixture } from './outline.ts';

const folder = join(import.meta.dirname, 'fixtures');

describe('the structure of odd MIME', () => {
  it.each(readdirSync(folder))('%s', (file) => {
    const { message, expected } = readFixture(readFileSync(join(folder, file), 'utf8'));
    expect(outlineOf(parseEntity(message))).toBe(expected);
  });
});

describe('parseEntity', () => {
  const parse = (text: string) => parseEntity(Buffer.from(text, 'latin1'));

  it('gives offsets into the received bytes', () => {
    const entity = parse('A: b\r\n\r\nbody');
    expect([entity.start, entity.bodyStart, entity.end]).toEqual([0, 8, 12]);
    expect(entityBytes(entity).toString()).toBe('A: b\r\n\r\nbody');
    expect(bodyBytes(entity).toString()).toBe('body');
  });

  it('copies nothing', () => {
    const entity = parse('Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--');
    for (const part of partsOf(entity)) expect(part.source.buffer).toBe(entity.source.buffer);
    expect(bodyBytes(entity).buffer).toBe(entity.source.buffer);
  });

  it.each([
    ['', '7bit'],
    ['Content-Transfer-Encoding: BASE64\r\n', 'base64'],
    ['Content-Transfer-Encoding: base64 (of course)\r\n', 'base64'],
    ['Content-Transfer-Encoding: quoted-printable;\r\n', 'quoted-printable'],
    ['Content-Transfer-Encoding:\r\n', '7bit'],
  ])('reads the transfer encoding of %j', (header, encoding) => {
    expect(parse(`${header}\r\n`).encoding).toBe(encoding);
  });

  it.each([
    ['Content-Disposition: attachment; filename=smime.p7m\r\n', 'smime.p7m'],
    ['Content-Type: application/octet-stream; name="smime.p7m"\r\n', 'smime.p7m'],
    ['Content-Type: a/b; name=other\r\nContent-Disposition: inline; filename=this\r\n', 'this'],
    ["Content-Disposition: attachment; filename*=utf-8''M%C3%BCll.txt\r\n", 'Müll.txt'],
    ['Content-Disposition: attachment; filename="=?utf-8?q?M=C3=BCll?="\r\n', 'Müll'],
    ['Content-Disposition: attachment\r\n', null],
    ['', null],
  ])('finds the file name of %j', (header, fileName) => {
    expect(parse(`${header}\r\n`).fileName).toBe(fileName);
  });

  it('tells that Content-Transfer-Encoding and Content-Disposition are there twice', () => {
    const twice = 'Content-Disposition: a\r\nContent-Transfer-Encoding: base64\r\n'.repeat(2);
    const entity = parse(`${twice}\r\n`);
    expect(entity.ambiguous).toEqual(['Content-Transfer-Encoding', 'Content-Disposition']);
  });
});

describe('partsOf', () => {
  const multipart = (body: string, boundary = 'b') =>
    parseEntity(
      Buffer.from(`Content-Type: multipart/mixed; boundary="${boundary}"\r\n\r\n${body}`, 'latin1'),
    );

  it('gives none for what is no multipart or has no usable boundary', () => {
    const type = (value: string) =>
      parseEntity(Buffer.from(`Content-Type: ${value}\r\n\r\n--b\r\n\r\nx\r\n--b--`));
    expect(partsOf(type('text/plain; boundary=b'))).toEqual([]);
    expect(partsOf(type('multipart/mixed'))).toEqual([]);
    expect(partsOf(type('multipart/mixed; boundary=""'))).toEqual([]);
    expect(partsOf(multipart('--\xe4\r\n\r\nx', '\xe4'))).toEqual([]);
  });

  it('takes boundaries of up to 200 characters, though RFC 2046 allows 70 only', () => {
    for (const [length, parts] of [
      [70, 1],
      [200, 1],
      [201, 0],
    ] as const) {
      const boundary = 'x'.repeat(length);
      expect(partsOf(multipart(`--${boundary}\r\n\r\nbody`, boundary))).toHaveLength(parts);
    }
  });

  it('gives a part without any octet its place, where two delimiters share a line end', () => {
    const [part] = partsOf(multipart('--b\r\n--b\r\n'));
    expect(part).toMatchObject({ start: part?.end, bodyStart: part?.end });
  });

  it('stops at the limit', () => {
    const body = '--b\r\n\r\n'.repeat(4);
    expect(partsOf(multipart(body), { parts: 4 })).toHaveLength(4);
    expect(() => partsOf(multipart(body), { parts: 3 })).toThrowError(
      expect.objectContaining({ code: 'mime-budget' }),
    );
    expect(() => partsOf(multipart('--b\r\n\r\n'.repeat(1001)))).toThrowError(/more than 1000 parts/);
  });

  it('finishes with 10 MB of lines that look like delimiters', () => {
    const alike = `--${'-'.repeat(60)}x\r\n`;
    const body = `--${'-'.repeat(60)}\r\n\r\n${alike.repeat(160_000)}`;
    const [part, ...others] = partsOf(multipart(body, '-'.repeat(60)));
    expect(others).toEqual([]);
    expect(part && bodyBytes(part).length).toBe(160_000 * alike.length);
  });

  it('finishes with 10 MB of nothing but the boundary', () => {
    expect(partsOf(multipart('-'.repeat(10_000_000), '-'.repeat(68)))).toEqual([]);
    expect(partsOf(multipart(`--b${' '.repeat(10_000_000)}x\r\n--b\r\n\r\nx`))).toHaveLength(1);
  });
});

describe('decodedBody', () => {
  const decoded = (encoding: string, body: string) =>
    decodedBody(
      parseEntity(Buffer.from(`Content-Transfer-Encoding: ${encoding}\r\n\r\n${body}`, 'latin1')),
    ).toString('latin1');

  it.each([
    ['base64', 'aGVs\r\nbG8=\r\n', 'hello'],
    ['base64', 'aG Vs\tbG\r\n\r\n8=', 'hello'],
    ['base64', 'aGVs*bG8', 'hello'],
    ['base64', 'aGVsbG8=\r\n-- \r\na footer that somebody added', 'hello'],
    ['base64', '', ''],
    ['base64', '====', ''],
    ['quoted-printable', 'a=3Db=e4=E4', 'a=b\xe4\xe4'],
    ['quoted-printable', 'soft =\r\nbreak', 'soft break'],
    ['quoted-printable', 'soft= \t\r\nbreak', 'softbreak'],
    ['quoted-printable', 'soft=\nbreak', 'softbreak'],
    ['quoted-printable', 'padding \t\r\nnext=20\r\n', 'padding\r\nnext \r\n'],
    ['quoted-printable', 'padding at the end  ', 'padding at the end'],
    ['quoted-printable', 'broken =G1 =4', 'broken =G1 =4'],
    ['quoted-printable', 'ends with =', 'ends with '],
    ['7bit', 'as=20is\r\n', 'as=20is\r\n'],
    ['8bit', '\xe4', '\xe4'],
    ['binary', '\0\xff', '\0\xff'],
    ['x-uuencode', 'begin 644 x', 'begin 644 x'],
  ])('%s %j', (encoding, body, content) => {
    expect(decoded(encoding, body)).toBe(content);
  });
});
