import { describe, expect, it } from 'vitest';
import { parseEntity } from '../../src/mime/entity.ts';
import { classify } from '../../src/smime/classify.ts';

const entity = (header: string, body = 'AAAA\n') =>
  parseEntity(Buffer.from(`${header}\n\n${body}`.replace(/\n/g, '\r\n')));
const kindOf = (header: string, body?: string): string => classify(entity(header, body)).kind;

const textPart = 'Content-Type: text/plain\n\nhello';
const part = (type: string, more = '') => `Content-Type: ${type}\n${more}\nAAAA`;
const body = (...parts: string[]) => `${parts.map((one) => `--b\n${one}\n`).join('')}--b--\n`;
const signed = (protocol: string | null) =>
  `Content-Type: multipart/signed; ${protocol === null ? '' : `protocol="${protocol}"; `}boundary=b`;

describe('an entity of one part is', () => {
  it.each([
    ['Content-Type: application/pkcs7-mime; smime-type=enveloped-data', 'cms'],
    ['Content-Type: application/x-pkcs7-mime; smime-type=signed-data', 'cms'],
    ['Content-Type: APPLICATION/PKCS7-MIME', 'cms'],
    ['Content-Type: application/pkcs7-mime; name=smime.p7m', 'cms'],
    ['Content-Type: application/pkcs7-mime; smime-type=whatever; name=x.exe', 'cms'],
    ['Content-Type: application/octet-stream; name="smime.p7m"', 'cms'],
    ['Content-Type: application/octet-stream\nContent-Disposition: attachment; filename=SMIME.P7M', 'cms'],
    ['Content-Type: application/octet-stream; name=smime.p7s', 'cms'],
    ['Content-Type: application/octet-stream; name="certificates.P7C"', 'cms'],
    ['Content-Type: application/octet-stream; name=smime.p7z', 'cms'],
    ['Content-Type: application/octet-stream; name=request.p7b', 'none'],
    ['Content-Type: application/octet-stream; name=smime.p7m.exe', 'none'],
    ['Content-Type: application/octet-stream; name=letter.pdf', 'none'],
    ['Content-Type: application/octet-stream; name=p7m', 'none'],
    ['Content-Type: application/octet-stream', 'none'],
    ['Content-Type: text/plain; name=smime.p7m', 'none'],
    ['Content-Type: application/pkcs7-signature; name=smime.p7s', 'none'],
    ['Content-Type: application/pgp-encrypted', 'none'],
    ['Content-Type: text/plain', 'none'],
    ['Subject: no content type', 'none'],
    ['Content-Type: nonsense', 'none'],
  ])('%s: %s', (header, kind) => expect(kindOf(header)).toBe(kind));
});

const p7 = 'application/pkcs7-signature';

describe('a multipart is', () => {
  it.each<[string, string, string, string]>([
    ['signed', signed(p7), body(textPart, part(p7)), 'detached'],
    [
      'signed with the x- names',
      signed('application/x-pkcs7-signature'),
      body(textPart, part('application/x-pkcs7-signature')),
      'detached',
    ],
    ['signed, names mixed', signed(p7), body(textPart, part('application/x-pkcs7-signature')), 'detached'],
    [
      'signed, protocol in capitals',
      signed('APPLICATION/PKCS7-SIGNATURE'),
      body(textPart, part(p7)),
      'detached',
    ],
    ['signed without protocol', signed(null), body(textPart, part(p7)), 'detached'],
    [
      'signed, the signature an octet-stream by name',
      signed(p7),
      body(textPart, part('application/octet-stream; name=smime.p7s')),
      'detached',
    ],
    ['signed, last delimiter missing', signed(p7), `--b\n${textPart}\n--b\n${part(p7)}\n`, 'detached'],
    [
      'PGP/MIME',
      signed('application/pgp-signature'),
      body(textPart, part('application/pgp-signature')),
      'none',
    ],
    ['PGP without protocol', signed(null), body(textPart, part('application/pgp-signature')), 'none'],
    ['another protocol with our signature', signed('application/x-other'), body(textPart, part(p7)), 'none'],
    ['signed with three parts', signed(p7), body(textPart, part(p7), textPart), 'malformed'],
    ['signed with one part', signed(p7), body(textPart), 'malformed'],
    ['signed with no part', signed(p7), 'nothing\n', 'malformed'],
    ['signed, the second part something else', signed(p7), body(textPart, part('text/html')), 'malformed'],
    ['signed with three parts and no protocol', signed(null), body(textPart, part(p7), textPart), 'none'],
    [
      'signed without boundary',
      `Content-Type: multipart/signed; protocol="${p7}"`,
      body(textPart, part(p7)),
      'malformed',
    ],
    // Covert content (EFAIL): what is not the entity itself is content and never opened.
    [
      'mixed with an encrypted part',
      'Content-Type: multipart/mixed; boundary=b',
      body(part('application/pkcs7-mime; smime-type=enveloped-data', 'Content-Transfer-Encoding: base64\n')),
      'none',
    ],
    [
      'mixed with a signed part',
      'Content-Type: multipart/mixed; boundary=b',
      body(textPart, part(p7)),
      'none',
    ],
    [
      'a message in a message',
      'Content-Type: message/rfc822',
      'Content-Type: application/pkcs7-mime\n\nAAAA',
      'none',
    ],
  ])('%s', (_, header, text, kind) => expect(kindOf(header, text)).toBe(kind));

  it('signed: gives the first part as the content, the second as the signature', () => {
    const wrapping = classify(entity(signed(p7), body(textPart, part(p7))));
    expect(wrapping.kind === 'detached' && wrapping.content.contentType.type).toBe('text/plain');
    expect(wrapping.kind === 'detached' && wrapping.signature.contentType.type).toBe(p7);
  });
});
