import { beforeAll, describe, expect, it } from 'vitest';
import { formatMailbox, mailboxesOf, theMailbox } from '../../src/mime/address.ts';
import { composeMessage } from '../../src/mime/compose.ts';
import { parseEntity } from '../../src/mime/entity.ts';
import { formatField } from '../../src/mime/header.ts';
import { taggedSubject } from '../../src/mime/subject.ts';
import { decodeWords } from '../../src/mime/words.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import * as w from '../../src/pki/der.ts';
import { cmsSign } from '../kit/openssl.ts';
import { mailOf, signedEntity } from '../kit/smime-mime.ts';
import {
  encrypted,
  from,
  makePeople,
  open,
  openEntity,
  type People,
  plain,
  signed,
} from '../smime/messages.ts';
import { answer, outcome } from './scene.ts';

// A line end or NUL that somebody smuggles into a name, an address or a subject must not come out as a header field.
// What the daemon itself makes of them: see README.md for the rows of test/e2e and test/flow.

let people: People;
beforeAll(async () => {
  people = await makePeople();
});

const word = (hex: string) => `=?utf-8?q?${hex.replace(/../g, '=$&')}?=`;
const ends = ['\r\n', '\n', '\r', '\0', '\r\n ', '\n\t', '\u0085', '\u2028', '\v', '\f', '\x1b[2J'];
const smuggled = ends.map((end) => `hello${end}Bcc: evil@evil.example`);
const hidden = smuggled.map((text) => word(Buffer.from(text).toString('hex')));

/** Fields of a message with these lines in it: exactly those that were meant, each on lines of printable octets. */
function fieldsOf(message: Buffer): string[] {
  const head = message.toString('latin1').split('\r\n\r\n')[0] ?? '';
  expect(head).not.toMatch(/\r(?!\n)|(?<!\r)\n|[\0\v\f\x1b]/);
  return parseEntity(message).fields.map((field) => field.name);
}

describe('header injection through subjects', () => {
  it.each([...smuggled, ...hidden])('%j becomes one Subject', (subject) => {
    const tagged = taggedSubject(subject, 'team');
    const message = composeMessage(
      [
        ['Subject', tagged],
        ['To', 'a@example.org'],
      ],
      plain,
    );
    expect(fieldsOf(message).filter((name) => !/^content|mime/i.test(name))).toEqual(['Subject', 'To']);
    expect(decodeWords(subject)).not.toMatch(/[\r\n\0]/);
  });

  it.each(smuggled.filter((text) => /[\r\n\0]/.test(text)))(
    '%j as a value is refused: a Fault, nothing is written',
    (value) => {
      for (const name of ['Subject', 'From', 'Reply-To', 'In-Reply-To'])
        expect(() => formatField(name, value)).toThrowError(
          expect.objectContaining({ code: 'header-injection' }),
        );
    },
  );

  it.each(['Sub\r\nject', 'Subject:', 'a b', '', 'Sub\0ject', '\u00e9'])(
    '%j as a name is refused',
    (name) => {
      expect(() => formatField(name, 'x')).toThrowError(
        expect.objectContaining({ code: 'header-injection' }),
      );
    },
  );
});

describe('header injection through addresses', () => {
  it.each([...smuggled, ...hidden])('the display name %j', (name) => {
    const decoded = decodeWords(name);
    const message = composeMessage(
      [['From', formatMailbox({ name: decoded, address: 'team@lists.example' })]],
      plain,
    );
    expect(fieldsOf(message).filter((one) => !/^content|mime/i.test(one))).toEqual(['From']);
    expect(mailboxesOf(parseEntity(message).fields, 'From').map((one) => one.address)).toEqual([
      'team@lists.example',
    ]);
  });

  it.each([
    'alice\r\n@example.org',
    'alice@example.org\0.evil.example',
    '"alice\r\n"@example.org',
    '"al\0ice"@example.org',
    'alice@example.org%0d%0aBcc:x',
    'alice@[127.0.0.1\r\n]',
    `${word('616c6963650d0a')}@example.org`,
    'alice@exam\u00adple.org',
    'alice@example\u3002org',
  ])('From %j is nobody\u2019s address, or one without control characters', async (address) => {
    const entity = parseEntity(Buffer.from(`From: ${address}\r\n\r\n`));
    const found = theMailbox(entity.fields, 'From')?.address ?? null;
    expect(found ?? '').toMatch(/^[!-~]*$/);
    expect(found).not.toBe('alice@example.org');
    let listed: string[] = [];
    try {
      listed = mailboxesOf(entity.fields, 'From').map((one) => one.address);
    } catch {
      // A Fault: hostile.test.ts proves that it is nothing else.
    }
    for (const one of listed) expect(one).toMatch(/^[!-~\u0080-\uffff]*$/);
  });

  it.each([
    'alice@example.org\r\nBcc: evil@evil.example',
    'alice@example.org\0.evil.example',
    'alice@example.org\n',
    'al\0ice@example.org',
    'al\r\nice@example.org',
    'al ice@example.org',
    ' alice@example.org',
    'alice@example.org,evil@evil.example',
    '<alice@example.org>',
    'Alice <alice@example.org>',
    '=?utf-8?q?alice?=@example.org',
  ])('in a certificate, %j is no address (CVE-2009-2408)', async (address) => {
    const odd = await people.ca.issue({ name: 'odd', address });
    const { addresses } = parseCertificate(odd.certDer);
    for (const one of addresses) expect(one).toMatch(/^[!-~]+$/);
    if (address.trim() !== 'alice@example.org') expect(addresses).not.toContain('alice@example.org');
    const report = outcome(openEntity(people, await signed(odd, plain)));
    if (addresses.length === 0) expect(report).toEqual(answer('detached', 'mismatch', 'no-address'));
  });

  it('in the emailAddress of a subject, NUL and line ends', async () => {
    for (const dnEmail of ['alice@example.org\0.evil.example', 'alice@example.org\r\nX: y']) {
      const odd = await people.ca.issue({ name: 'odd', dnEmail });
      expect(parseCertificate(odd.certDer).addresses).toEqual([]);
      expect(outcome(openEntity(people, await signed(odd, plain)))).toEqual(
        answer('detached', 'mismatch', 'no-address'),
      );
    }
  });

  it('a name in a certificate with line ends is shown in one line', async () => {
    const subjectDer = w.derSequence(
      w.derSetOf(w.derSequence(w.derOid('2.5.4.3'), w.derUtf8('Alice\r\nBcc: evil@evil.example\0\x1b[2J'))),
    );
    const odd = await people.ca.issue({ name: 'odd', address: 'alice@example.org', subjectDer });
    const report = openEntity(people, signedEntity(plain, await cmsSign(odd, plain)));
    const [layer] = report.layers;
    const subject = layer?.kind === 'signed' ? (layer.signers[0]?.subject ?? '') : '';
    expect(subject).toContain('Alice');
    expect(subject).not.toMatch(/[\r\n\0\x1b]/);
  });
});

describe('a header that ends early', () => {
  it.each([
    ['NUL in From', 'alice@example.org\0'],
    ['an encoded line end', `${word('0d0a')} <alice@example.org>\0`],
  ])('%s: no one From', async (_, value) => {
    const report = open(people, mailOf(from(value), await signed(people.alice, plain)));
    expect(outcome(report)).toEqual(answer('detached', 'mismatch', 'two-from'));
  });

  it('a bare CR, behind which some readers see another field: malformed', async () => {
    const hers = await signed(people.alice, plain);
    const mail = mailOf(from('alice@example.org\rTo: x'), hers);
    expect(outcome(open(people, mail))).toEqual(answer('none', 'malformed', 'malformed'));
    const inner = Buffer.concat([Buffer.from('Content-Description: a\rContent-Type: text/html\r\n'), hers]);
    expect(outcome(openEntity(people, await encrypted(people.list, inner)))).toEqual(
      answer('encrypted', 'malformed', 'malformed'),
    );
  });

  it('a line that is no field ends the header: what follows is not taken for one', async () => {
    const hers = await signed(people.alice, plain);
    const report = open(
      people,
      Buffer.concat([Buffer.from('From: alice@example.org\r\nno field\r\n'), hers]),
    );
    expect(outcome(report)).toEqual(answer('none', 'unsigned'));
  });
});
