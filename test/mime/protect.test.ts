import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { composeEntity } from '../../src/mime/compose.ts';
import { entityBytes, parseEntity, partsOf } from '../../src/mime/entity.ts';
import { isHidden, protectHeader } from '../../src/mime/protect.ts';
import { needs } from '../kit/needs.ts';

const folder = '../shared/corpora/rfc9788-hp';
const entity = composeEntity({ text: 'Hello.\n', boundary: 'b' });
const headers = [
  ['From', 'Team <team@lists.example>'],
  ['Subject', 'Grüße'],
] as const;

describe('protectHeader (RFC 9788)', () => {
  it('of a message that is only signed: its fields, and hp="clear"', () => {
    expect(protectHeader(entity, headers, { hp: 'clear' }).toString()).toBe(
      'From: Team <team@lists.example>\r\nSubject: =?utf-8?b?R3LDvMOfZQ==?=\r\n' +
        'Content-Type: text/plain; charset=us-ascii;\r\n hp="clear"\r\nContent-Transfer-Encoding: 7bit\r\n\r\nHello.\r\n',
    );
  });

  it('of an encrypted one: also what stands outside, and hp="cipher"', () => {
    const outside = [headers[0], ['Subject', '[...]']] as const;
    const made = parseEntity(protectHeader(entity, headers, { hp: 'cipher', outside }));
    expect(made.contentType.parameters.get('hp')).toBe('cipher');
    expect(made.fields.filter(({ name }) => name === 'HP-Outer').map(({ value }) => value)).toEqual([
      'From: Team <team@lists.example>',
      'Subject: [...]',
    ]);
    expect(made.fields.find(({ name }) => name === 'Subject')?.value).toBe('=?utf-8?b?R3LDvMOfZQ==?=');
  });

  it('adds no line that a value made up, and takes an entity of ours only', () => {
    const evil = [['Subject', 'x\r\nBcc: y']] as const;
    expect(() => protectHeader(entity, evil, { hp: 'clear' })).toThrowError(
      expect.objectContaining({ code: 'header-injection' }),
    );
    for (const other of ['', '\r\nx', 'Subject: x\r\nContent-Type: text/plain\r\n\r\nx'])
      expect(() => protectHeader(Buffer.from(other), headers, { hp: 'clear' })).toThrowError(
        expect.objectContaining({ code: 'header-injection' }),
      );
  });

  it.skipIf(!needs(folder, existsSync(folder)))('has the form of the sample of RFC 9788 C', () => {
    const sample = readFileSync(join(folder, 'smime-multipart-hp.eml'));
    const [signed] = partsOf(
      parseEntity(Buffer.from(sample.toString('latin1').replace(/\r?\n/g, '\r\n'), 'latin1')),
    );
    if (!signed) throw new Error('no signed part');
    const theirs = signed.fields.filter(({ name }) => !/^(content-|mime-)/i.test(name));
    const ours = parseEntity(
      protectHeader(
        entity,
        theirs.map(({ name, value }) => [name, value] as const),
        { hp: 'clear' },
      ),
    );
    const seen = (one: typeof ours) => [
      one.contentType.parameters.get('hp'),
      ...one.fields
        .filter(({ name }) => !/^(content-|mime-)/i.test(name))
        .map(({ name, value }) => `${name}: ${value}`),
    ];
    expect(seen(ours)).toEqual(seen(parseEntity(Buffer.from(entityBytes(signed)))));
  });
});

it.each([
  ['[...]', true],
  [' [...] ', true],
  ['[...] lunch', false],
  ['', false],
])('isHidden %j: %s', (subject, expected) => expect(isHidden(subject)).toBe(expected));
