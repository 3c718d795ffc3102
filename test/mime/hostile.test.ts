import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Fault } from '../../src/base/errors.ts';
import { canonicalAddress, mailboxesOf, theMailbox } from '../../src/mime/address.ts';
import { isAutomatic } from '../../src/mime/auto.ts';
import { parseContentType, parseDisposition } from '../../src/mime/content-type.ts';
import { parseDate } from '../../src/mime/date.ts';
import { decodedBody, type Entity, parseEntity, partsOf } from '../../src/mime/entity.ts';
import { parseEnvelopeLine } from '../../src/mime/envelope.ts';
import { fieldBytes, formatField, parseFields } from '../../src/mime/header.ts';
import { taggedSubject } from '../../src/mime/subject.ts';
import { decodeTransfer, encodeBase64, encodeQuotedPrintable } from '../../src/mime/transfer.ts';
import { decodeWords, encodeWords } from '../../src/mime/words.ts';

/** Text made of what MIME and address parsers stumble over. */
const nastyText = (pieces: readonly string[], maxLength = 30) =>
  fc
    .array(fc.oneof(fc.constantFrom(...pieces), fc.string({ maxLength: 3, unit: 'binary' })), { maxLength })
    .map((parts) => parts.join(''));

const mimePieces = [
  ...[
    '\r\n',
    '\n',
    '\r',
    '\r\n\r\n',
    ' ',
    '\t',
    '\0',
    '--',
    '--b',
    '--bb',
    '\r\n--b\r\n',
    '\r\n--b--\r\n',
    '\n--c\n',
  ],
  ...['Content-Type: multipart/mixed; boundary=b\r\n', 'Content-Type: multipart/signed; boundary="c"\r\n'],
  ...[
    'Content-Type: multipart/digest; boundary*0=b; boundary*1=\r\n',
    'Content-Transfer-Encoding: base64\r\n',
  ],
  ...['Content-Transfer-Encoding: quoted-printable\r\n', 'From ', 'A:', ':', '=', '=3D', '=\r\n', 'YQ=='],
];
const mime = nastyText(mimePieces, 40).map((text) => Buffer.from(text, 'latin1'));
const headerText = nastyText([
  ...'"()<>@,;:\\[]=?*%\'. \t\0\r\n',
  '=?utf-8?q?',
  '?=',
  'a@b.c',
  '*0*',
  "utf-8''%C3",
]);

/** All entities below and including this one. */
function everything(entity: Entity): Entity[] {
  return [entity, ...partsOf(entity).flatMap(everything)];
}

describe('whatever arrives', () => {
  it('parses to positions inside the source, children in order and apart', () => {
    fc.assert(
      fc.property(mime, (source) => {
        for (const entity of everything(parseEntity(source))) {
          expect(entity.start <= entity.bodyStart && entity.bodyStart <= entity.end).toBe(true);
          let at = entity.bodyStart;
          for (const part of partsOf(entity)) {
            expect(part.start).toBeGreaterThanOrEqual(at);
            expect(part.end).toBeGreaterThanOrEqual(part.start);
            at = part.end;
          }
          expect(at).toBeLessThanOrEqual(entity.end);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('has a header whose fields follow each other without a gap', () => {
    fc.assert(
      fc.property(mime, (source) => {
        const { fields, bodyStart } = parseFields(source, 0, source.length);
        for (const [index, field] of fields.entries()) {
          const next = fields[index + 1];
          if (next) expect(next.start).toBe(field.end);
          expect(fieldBytes(source, field).toString('latin1').startsWith(field.name)).toBe(true);
          expect(field.end).toBeLessThanOrEqual(bodyStart);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('makes no parser throw anything but a Fault', () => {
    const parsers: ((text: string, bytes: Buffer) => unknown)[] = [
      (_, bytes) => everything(parseEntity(bytes)).map(decodedBody),
      (_, bytes) => parseEnvelopeLine(bytes),
      (text) => parseEnvelopeLine(Buffer.from(`${JSON.stringify(text)}\n`)),
      (text) => parseContentType(`a/b; ${text}`).parameters.size + parseContentType(text).type.length,
      (text) => parseDisposition(text),
      (text) => decodeWords(text),
      (text) => taggedSubject(text, 'tag'),
      (text) => parseDate(text),
      (text) => canonicalAddress(text),
      (text) => {
        const fields = [{ name: 'From', start: 0, end: 0, value: text }];
        theMailbox(fields, 'From');
        isAutomatic(fields);
        mailboxesOf(fields, 'From');
      },
    ];
    fc.assert(
      fc.property(headerText, mime, (text, bytes) => {
        for (const parser of parsers)
          try {
            parser(text, bytes);
          } catch (error) {
            expect(error).toBeInstanceOf(Fault);
          }
      }),
      { numRuns: 500 },
    );
  });
});

describe('what we write', () => {
  it('has no line end but the folds in a field, and reads back the same', () => {
    fc.assert(
      fc.property(headerText, (value) => {
        let bytes: Buffer;
        try {
          bytes = formatField('Subject', value);
        } catch (error) {
          expect(error).toMatchObject({ code: 'header-injection' });
          return;
        }
        expect(bytes.toString('latin1')).toMatch(
          /^Subject: (?:[^\r\n]|\r\n[ \t](?=[^\r\n]*[^ \t\r\n]))*\r\n$/,
        );
        const { fields } = parseFields(Buffer.concat([bytes, Buffer.from('\r\n')]), 0, bytes.length + 2);
        expect(fields).toHaveLength(1);
        if (/^[ -~]*$/.test(value)) expect(fields[0]?.value).toBe(value.trim());
      }),
      { numRuns: 500 },
    );
  });

  it('keeps text through encoded words', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        fc.pre(!/\p{Cc}|=\?/u.test(text));
        expect(decodeWords(encodeWords(text))).toBe(text);
      }),
      { numRuns: 500 },
    );
  });

  it('keeps the meaning of encoded words among other text', () => {
    const pieces = ['ü', 'a', ' ', '=?utf-8?q?=C3=BC?=', '=?utf-8?b?YSBi?=', '=?utf-8?q?open'];
    const mixed = fc.array(fc.constantFrom(...pieces), { maxLength: 8 }).map((parts) => parts.join(''));
    fc.assert(
      fc.property(mixed, (text) => {
        expect(decodeWords(encodeWords(text))).toBe(decodeWords(text));
      }),
      { numRuns: 500 },
    );
  });

  it('keeps every octet through base64, and text through quoted-printable', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (octets) => {
        const content = Buffer.from(octets);
        const base64 = encodeBase64(content);
        expect(base64.toString('latin1')).toMatch(/^(?:[A-Za-z0-9+/]{1,76}={0,2}\r\n)*$/);
        expect(decodeTransfer(base64, 'base64')).toEqual(content);
        const quoted = encodeQuotedPrintable(content);
        expect(quoted.toString('latin1')).toMatch(/^(?:[\t -~]{0,76}\r\n)*[\t -~]{0,76}$/);
        expect(decodeTransfer(quoted, 'quoted-printable')).toEqual(content);
      }),
      { numRuns: 300 },
    );
  });

  it('gives a canonical address that stays as it is', () => {
    const made = (...pieces: readonly string[]) =>
      fc.array(fc.constantFrom(...pieces), { minLength: 1, maxLength: 5 }).map((parts) => parts.join(''));
    const local = made('a', 'B', 'x.y', '"', 'ü', 'o\u0308', '用', '\u212a', '=?');
    const domain = made('a', 'B', 'x.y', '-', 'ü', 'xn--', 'SS', 'İ', 'ς');
    let accepted = 0;
    fc.assert(
      fc.property(local, domain, (left, right) => {
        const address = canonicalAddress(`${left}@${right}`);
        if (address === null) return;
        accepted++;
        expect(canonicalAddress(address)).toBe(address);
        expect(address).not.toMatch(/[\s,<>()\p{C}A-Z]/u);
      }),
      { numRuns: 1000 },
    );
    expect(accepted).toBeGreaterThan(100);
  });

  it('gives a tagged subject that stays as it is', () => {
    fc.assert(
      fc.property(
        nastyText(['Re: ', '[tag]', '=?utf-8?q?', 'Gr=C3=BC', '?=', ' ', 'AW:', '\0'], 8),
        (value) => {
          const once = taggedSubject(value, 'tag');
          expect(() => formatField('Subject', once)).not.toThrow();
          expect(decodeWords(taggedSubject(once, 'tag'))).toBe(decodeWords(once));
        },
      ),
      { numRuns: 300 },
    );
  });
});
