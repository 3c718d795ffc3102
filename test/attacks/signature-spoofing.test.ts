import { beforeAll, describe, expect, it } from 'vitest';
import * as w from '../../src/pki/der.ts';
import { attribute } from '../cms/forge.ts';
import { signersOf, withSignature, withSigners } from '../e2e/surgery.ts';
import { cmsSign } from '../kit/openssl.ts';
import { type Identity, makeCa, makeSelfSigned } from '../kit/pki.ts';
import { cmsEntity, mailOf, signedEntity, textEntity } from '../kit/smime-mime.ts';
import {
  encrypted,
  from,
  makePeople,
  type Opening,
  opaque,
  open,
  openEntity,
  type People,
  plain,
  shown,
  signed,
} from '../smime/messages.ts';
import { answer, crlf, multipartOf, outcome, replaced, signedBy } from './scene.ts';

// Somebody wants to be taken for Alice. The cases of "Johnny, you are fired!" (Müller et al. 2019) are named after it.

const alice = 'alice@example.org';
const evil = textEntity('Send it to Mallory.\n');
let people: People;
beforeAll(async () => {
  people = await makePeople();
});

const opened = (entity: Buffer, o: Opening = {}) => outcome(openEntity(people, entity, o));

describe('signature spoofing by eContent confusion ("Johnny, you are fired!", CMS)', () => {
  it('an eContent beside a detached part, the same as shown or another', async () => {
    const der = await cmsSign(people.alice, plain, { opaque: true });
    for (const displayed of [evil, plain])
      expect(opened(signedEntity(displayed, der))).toEqual(
        answer('broken', 'invalid', 'content-beside-detached'),
      );
  });

  it('an empty eContent beside a detached part', async () => {
    const der = await cmsSign(people.alice, Buffer.alloc(0), { opaque: true });
    expect(opened(signedEntity(evil, der))).toEqual(answer('broken', 'invalid', 'content-beside-detached'));
  });

  it('opaque: what is signed is what is passed on, whatever stands beside it', async () => {
    const der = await cmsSign(people.alice, plain, { opaque: true });
    const behind = cmsEntity(Buffer.concat([der, evil]), 'signed-data');
    const report = openEntity(people, behind);
    expect(outcome(report)).toEqual(signedBy(alice, 'opaque'));
    const list = Buffer.concat([cmsEntity(der, 'signed-data'), crlf('\n--\nA list adds this footer.\n')]);
    expect(opened(list)).toEqual(signedBy(alice, 'opaque'));
  });

  it('a detached signature as opaque one has no content, so it signs nothing', async () => {
    const der = await cmsSign(people.alice, plain);
    const report = openEntity(people, cmsEntity(der, 'signed-data'));
    expect(outcome(report)).toEqual(answer('broken', 'invalid', 'malformed'));
  });

  it('a text that reads as the signed attributes of another message (Strenzke 2023)', async () => {
    const der = await cmsSign(people.alice, plain, { opaque: true });
    const [signer = Buffer.alloc(0)] = signersOf(der);
    const { readBer, bytesOf } = await import('../../src/pki/ber.ts');
    const fields = readBer(signer).children;
    const set = Buffer.from(bytesOf(fields[3] as (typeof fields)[number]));
    set[0] = 0x31;
    const bare = w.derSequence(...fields.filter((_, n) => n !== 3).map(bytesOf));
    const data = readBer(der).children[1]?.children[0]?.children ?? [];
    const content = w.derSequence(w.derOid('1.2.840.113549.1.7.1'), w.derContext(0, w.derOctets(set)));
    const forged = w.derSequence(
      w.derOid('1.2.840.113549.1.7.2'),
      w.derContext(
        0,
        w.derSequence(
          ...data.map((one, n) =>
            n === 2 ? content : n === data.length - 1 ? w.der(0x31, bare) : bytesOf(one),
          ),
        ),
      ),
    );
    expect(opened(cmsEntity(forged, 'signed-data'))).toEqual(
      answer('broken', 'invalid', 'missing-attribute'),
    );
  });
});

describe('multiple signers ("Johnny, you are fired!", CMS)', () => {
  const both = async (order: (good: Buffer, bad: Buffer) => Buffer[]) => {
    const der = await cmsSign(people.alice, plain, { also: [people.mallory] });
    const [good = Buffer.alloc(0)] = signersOf(await cmsSign(people.alice, plain));
    const [bad = Buffer.alloc(0)] = signersOf(await cmsSign(people.mallory, evil));
    return withSigners(der, () => order(good, bad));
  };
  it.each<[string, (good: Buffer, bad: Buffer) => Buffer[]]>([
    ['one good, then one bad', (good, bad) => [good, bad]],
    ['one bad, then one good', (good, bad) => [bad, good]],
    ['one bad between two good', (good, bad) => [good, bad, good]],
  ])('%s: invalid', async (_, order) => {
    expect(opened(signedEntity(plain, await both(order)))).toEqual(answer('broken', 'invalid', 'bad-digest'));
  });

  it('the author and a stranger, both good: the author\u2019s; a stranger alone: nobody\u2019s', async () => {
    const two = signedEntity(plain, await cmsSign(people.mallory, plain, { also: [people.alice] }));
    expect(opened(two)).toEqual(signedBy(alice, 'detached'));
    expect(opened(await signed(people.mallory, plain))).toEqual(
      answer('detached', 'mismatch', 'no-address-match'),
    );
  });

  it('a bad one of an unknown signer beside a good one: not signed', async () => {
    const [stranger = Buffer.alloc(0)] = signersOf(
      await cmsSign(await makeSelfSigned({ name: 'S', address: 's@evil.example' }), evil),
    );
    const der = withSigners(await cmsSign(people.alice, plain), (signers) => [...signers, stranger]);
    expect(opened(signedEntity(plain, der))).toEqual(
      answer('broken', 'untrusted', 'bad-digest', 'signer-unknown'),
    );
  });
});

describe('no signers ("Johnny, you are fired!", CMS)', () => {
  it('detached and opaque', async () => {
    const detached = withSigners(await cmsSign(people.alice, plain), () => []);
    const whole = withSigners(await cmsSign(people.alice, plain, { opaque: true }), () => []);
    expect(opened(signedEntity(plain, detached))).toEqual(answer('broken', 'unsigned', 'no-signers'));
    expect(opened(cmsEntity(whole, 'signed-data'))).toEqual(answer('broken', 'unsigned', 'no-signers'));
  });

  it('an empty signature part, and one that is no CMS', async () => {
    for (const der of [Buffer.alloc(0), Buffer.from('hello'), w.derSequence()])
      expect(opened(signedEntity(plain, der))).toEqual(answer('none', 'malformed', 'malformed'));
  });

  it('a signature without a value', async () => {
    const der = withSigners(await cmsSign(people.alice, plain), (signers) =>
      signers.map((one) => withSignature(one, () => Buffer.alloc(0))),
    );
    expect(opened(signedEntity(plain, der))).toEqual(answer('broken', 'invalid', 'bad-signature'));
  });
});

describe('nested multipart ("Johnny, you are fired!", MIME)', () => {
  const html = (text: string) => crlf(`Content-Type: text/html\n\n${text}`);
  const name = (entity: Buffer, header: string) => Buffer.concat([crlf(header), entity]);

  it.each<[string, (hers: Buffer) => Buffer]>([
    ['an attacker\u2019s text before her signed part', (hers) => multipartOf('multipart/mixed', evil, hers)],
    ['an attacker\u2019s text after it', (hers) => multipartOf('multipart/mixed', hers, evil)],
    ['her signed part alone in a mixed', (hers) => multipartOf('multipart/mixed', hers)],
    ['as the other form of an alternative', (hers) => multipartOf('multipart/alternative', evil, hers)],
    [
      'shown as an image by cid, in a related',
      (hers) =>
        multipartOf('multipart/related', html('Pay.<img src="cid:s">'), name(hers, 'Content-ID: <s>\n')),
    ],
    [
      'in an iframe by cid',
      (hers) =>
        multipartOf(
          'multipart/related',
          html('Pay.<iframe src="cid:s" style="display:none">'),
          name(hers, 'Content-ID: <s>\n'),
        ),
    ],
    [
      'hidden by a plaintext element that is open',
      (hers) => multipartOf('multipart/mixed', html('Pay.<plaintext style="display:none">'), hers),
    ],
    ['as a forwarded message', (hers) => Buffer.concat([crlf('Content-Type: message/rfc822\n\n'), hers])],
    [
      'as an attached message',
      (hers) =>
        multipartOf(
          'multipart/mixed',
          evil,
          Buffer.concat([crlf(`Content-Type: message/rfc822\n\nFrom: ${alice}\nMIME-Version: 1.0\n`), hers]),
        ),
    ],
    ['two levels down', (hers) => multipartOf('multipart/mixed', multipartOf('multipart/mixed', hers), evil)],
  ])('%s: nobody signed it', async (_, wrap) => {
    const detached = await signed(people.alice, plain);
    expect(opened(wrap(detached))).toEqual(answer('none', 'unsigned'));
    expect(opened(wrap(await opaque(people.alice, plain)))).toEqual(answer('none', 'unsigned'));
    // Inside an encryption of the attacker's too.
    expect(opened(await encrypted(people.list, wrap(detached)))).toEqual(answer('encrypted', 'unsigned'));
  });

  it('her signed part is the first part of an attacker\u2019s multipart/signed', async () => {
    const hers = replaced(await signed(people.alice, plain), /=_kit_signed/g, '=_hers');
    expect(opened(await signed(people.mallory, hers))).toEqual(
      answer('detached detached', 'mismatch', 'no-address-match'),
    );
  });

  it.each<[string, (hers: Buffer) => Buffer, ReturnType<typeof answer>]>([
    [
      'a third part',
      (hers) => replaced(hers, '\r\n--=_kit_signed--', '\r\n--=_kit_signed\r\n\r\nevil\r\n--=_kit_signed--'),
      answer('none', 'malformed', 'malformed'),
    ],
    [
      'a part before her own',
      (hers) =>
        replaced(hers, '\r\n\r\n--=_kit_signed', '\r\n\r\n--=_kit_signed\r\n\r\nevil\r\n--=_kit_signed'),
      answer('none', 'malformed', 'malformed'),
    ],
    [
      'no signature part',
      (hers) =>
        replaced(hers, /\r\n--=_kit_signed\r\nContent-Type: application[\s\S]*/, '\r\n--=_kit_signed--'),
      answer('none', 'malformed', 'malformed'),
    ],
    [
      'the parts exchanged',
      (hers) => {
        const [head = '', one = '', two = '', end = ''] = hers.toString('latin1').split('--=_kit_signed\r\n');
        const [signature = '', close = ''] = (two + end).split('--=_kit_signed--');
        return Buffer.from(
          `${head}--=_kit_signed\r\n${signature}\r\n--=_kit_signed\r\n${one}--=_kit_signed--${close}`,
          'latin1',
        );
      },
      answer('none', 'malformed', 'malformed'),
    ],
  ])('a multipart/signed with %s', async (_, change, expected) => {
    expect(opened(change(await signed(people.alice, plain)))).toEqual(expected);
  });

  it.each([
    ['a preamble', '\r\n\r\n--=_kit_signed', '\r\n\r\nevil preamble\r\n--=_kit_signed'],
    ['an epilogue', '--=_kit_signed--\r\n', '--=_kit_signed--\r\nevil epilogue\r\n'],
  ])('%s is not shown and not signed; it does not count as her text', async (_, was, is) => {
    const entity = replaced(await signed(people.alice, plain), was, is);
    const report = openEntity(people, entity);
    expect(outcome(report)).toEqual(signedBy(alice, 'detached'));
  });
});

describe('Content-Type parameter smuggling', () => {
  const type = /Content-Type: multipart\/signed;[\s\S]*?boundary="=_kit_signed"/;
  const field = (parameters: string) => `Content-Type: multipart/signed; ${parameters}`;
  const ok = 'protocol="application/pkcs7-signature"; micalg=sha-256';

  it.each<[string, string, ReturnType<typeof answer>]>([
    [
      'two boundaries',
      `${ok}; boundary="x"; boundary="=_kit_signed"`,
      answer('none', 'malformed', 'malformed'),
    ],
    [
      'two boundaries, hers first',
      `${ok}; boundary="=_kit_signed"; boundary=x`,
      answer('none', 'malformed', 'malformed'),
    ],
    [
      'a boundary by RFC 2231 beside the plain one',
      `${ok}; boundary*=utf-8''x; boundary="=_kit_signed"`,
      answer('none', 'malformed', 'malformed'),
    ],
    [
      'a boundary in continuations beside the plain one',
      `${ok}; boundary*0=x; boundary*1=y; boundary="=_kit_signed"`,
      answer('none', 'malformed', 'malformed'),
    ],
    [
      'two protocols',
      'protocol="application/pgp-signature"; protocol="application/pkcs7-signature"; boundary="=_kit_signed"',
      answer('none', 'unsigned'),
    ],
    [
      'two protocols, S/MIME first',
      'protocol="application/pkcs7-signature"; protocol="application/pgp-signature"; boundary="=_kit_signed"',
      answer('none', 'malformed', 'malformed'),
    ],
    [
      'the protocol of PGP',
      'protocol="application/pgp-signature"; boundary="=_kit_signed"',
      answer('none', 'unsigned'),
    ],
    [
      'a boundary that ends with a blank',
      `${ok}; boundary="=_kit_signed "`,
      answer('none', 'malformed', 'malformed'),
    ],
    ['no boundary', ok, answer('none', 'malformed', 'malformed')],
    ['an empty boundary', `${ok}; boundary=""`, answer('none', 'malformed', 'malformed')],
    [
      'a boundary of 300 characters',
      `${ok}; boundary="${'b'.repeat(300)}"`,
      answer('none', 'malformed', 'malformed'),
    ],
    [
      'a boundary with a line end',
      `${ok}; boundary*=utf-8''%0d%0a`,
      answer('none', 'malformed', 'malformed'),
    ],
  ])('%s', async (_, parameters, expected) => {
    expect(opened(replaced(await signed(people.alice, plain), type, field(parameters)))).toEqual(expected);
  });

  it.each<[string, string]>([
    [
      'continuations of protocol',
      `protocol*0="application/pkcs7-"; protocol*1=signature; boundary="=_kit_signed"`,
    ],
    ['continuations of boundary', `${ok}; boundary*0="=_kit_"; boundary*1="signed"`],
    ['an extended boundary', `${ok}; boundary*=us-ascii''%3D_kit_signed`],
    ['upper case and comments', `PROTOCOL=(x)"application/PKCS7-signature"; Boundary="=_kit_signed" (y)`],
  ])('%s, given once, are what they say (RFC 2231)', async (_, parameters) => {
    expect(opened(replaced(await signed(people.alice, plain), type, field(parameters)))).toEqual(
      signedBy(alice, 'detached'),
    );
  });

  it.each<[string, string]>([
    ['two Content-Type fields', 'Content-Type: text/html\r\n'],
    ['two Content-Type fields, one in capitals', 'CONTENT-TYPE : text/html\r\n'],
  ])('%s, the other first: unsigned; hers first: malformed', async (_, other) => {
    const hers = await signed(people.alice, plain);
    expect(opened(Buffer.concat([Buffer.from(other), hers]))).toEqual(answer('none', 'unsigned'));
    const second = replaced(hers, '\r\n\r\n--', `\r\n${other}\r\n--`);
    expect(opened(second)).toEqual(answer('none', 'malformed', 'malformed'));
  });

  it.each(['base64', 'quoted-printable', 'x-uuencode', 'BASE64 '])(
    'Content-Transfer-Encoding %s on multipart/signed (RFC 2045 6.4)',
    async (encoding) => {
      const entity = Buffer.concat([
        Buffer.from(`Content-Transfer-Encoding: ${encoding}\r\n`),
        await signed(people.alice, plain),
      ]);
      expect(opened(entity)).toEqual(answer('none', 'malformed', 'malformed'));
    },
  );
});

describe('smime-type lies', () => {
  it.each(['enveloped-data', 'certs-only', 'compressed-data', 'authEnveloped-data', 'signed-receipt', 'x'])(
    'a SignedData called %s is what its structure says',
    async (type) => {
      const hers = await opaque(people.alice, plain);
      expect(opened(replaced(hers, 'signed-data', type))).toEqual(signedBy(alice, 'opaque'));
      const secret = await encrypted(people.list, plain);
      expect(opened(replaced(secret, 'enveloped-data', type))).toEqual(answer('encrypted', 'unsigned'));
    },
  );

  it('two smime-types: malformed', async () => {
    const hers = await opaque(people.alice, plain);
    const two = replaced(hers, 'smime-type=signed-data', 'smime-type=signed-data; smime-type=certs-only');
    expect(opened(two)).toEqual(answer('none', 'malformed', 'malformed'));
  });
});

describe('a forged bundle', () => {
  const bySerial = async (victim: Identity): Promise<Identity> =>
    (await makeCa('Test Root')).issue({ name: 'Alice', address: victim.address, serial: victim.serial });

  it('same issuer and serial number as hers, before and after the genuine one', async () => {
    const fake = await bySerial(people.alice);
    for (const chain of [[people.alice], []])
      expect(opened(await signed(fake, plain, { chain }))).toEqual(
        answer('detached', 'untrusted', 'no-path'),
      );
    // And the forged one in the bag does not displace hers.
    expect(opened(await signed(people.alice, plain, { chain: [fake] }))).toEqual(signedBy(alice, 'detached'));
  });

  it('same key identifier', async () => {
    const { parseCertificate } = await import('../../src/pki/certificate.ts');
    const keyId = parseCertificate(people.alice.certDer).subjectKeyId ?? Buffer.alloc(0);
    const fake = await makeSelfSigned({
      name: 'Alice',
      address: alice,
      extensions: [{ oid: '2.5.29.14', valueDer: w.derOctets(keyId) }],
    });
    expect(opened(await signed(fake, plain, { chain: [people.alice], keyId: true }))).toEqual(
      answer('detached', 'untrusted', 'no-path'),
    );
  });

  it('a root of the same name in the bag is no anchor ("Johnny", trust issues)', async () => {
    const root = await makeCa('Test Root');
    const rogue = await root.intermediate({ name: 'Rogue' });
    const fake = await rogue.issue({ name: 'Alice', address: alice });
    expect(opened(await signed(fake, plain, { chain: [rogue, root] }))).toEqual(
      answer('detached', 'untrusted', 'no-path'),
    );
  });

  it('a member as authority', async () => {
    const as = await makeCa('x', { keyFrom: people.mallory, subjectDer: people.mallory.subjectDer });
    const fake = await as.issue({ name: 'Alice', address: alice });
    const report = openEntity(people, await signed(fake, plain, { chain: [people.mallory] }));
    expect(outcome(report)).toEqual(answer('detached', 'untrusted', 'not-a-ca', 'wrong-usage'));
  });
});

describe('who speaks ("Johnny, you are fired!", identity)', () => {
  const outcomeFrom = async (header: string, who = people.mallory) => {
    const entity = await signed(who, plain);
    const mail = Buffer.concat([
      Buffer.from(`${header}\r\nTo: x@example.org\r\nMIME-Version: 1.0\r\n`),
      entity,
    ]);
    return outcome(open(people, mail));
  };
  const two = answer('detached', 'mismatch', 'two-from');
  const another = answer('detached', 'mismatch', 'no-address-match');

  it.each<[string, string, ReturnType<typeof answer>]>([
    ['two From fields', `From: ${alice}\r\nFrom: mallory@evil.example`, two],
    ['two From fields, the attacker first', `From: mallory@evil.example\r\nfrom: ${alice}`, two],
    [
      'two From fields, one with a blank before its colon',
      `From: ${alice}\r\nFrom : mallory@evil.example`,
      two,
    ],
    ['two mailboxes', `From: ${alice}, mallory@evil.example`, two],
    ['a group', `From: Friends: ${alice};`, two],
    ['no From', 'Subject: x', two],
    ['an empty From', 'From: ', two],
    ['an address as display name, bare', `From: ${alice} <mallory@evil.example>`, two],
    [
      'an address and an angle address that follow each other',
      `From: <${alice}> <mallory@evil.example>`,
      two,
    ],
    ['an encoded display name', 'From: =?utf-8?q?alice=40example=2Eorg?= <mallory@evil.example>', two],
    [
      'an encoded display name with NUL',
      'From: =?utf-8?q?alice=40example=2Eorg=00?= <mallory@evil.example>',
      two,
    ],
    ['NUL after the address', `From: ${alice}\0 <mallory@evil.example>`, two],
    ['a homograph (Cyrillic a)', 'From: \u0430lice@example.org', another],
    ['the Kelvin sign and the dotless i', 'From: al\u0131ce@example.org', another],
    ['an encoded word as address', 'From: =?utf-8?q?alice=40example=2Eorg?=', two],
    ['a route', `From: <@mallory@evil.example:${alice}>`, two],
    [
      'From/Sender: the attacker signs as Sender under her From',
      `From: ${alice}\r\nSender: mallory@evil.example`,
      answer('detached', 'mismatch', 'signed-by-sender'),
    ],
    ['a Resent-From', `From: ${alice}\r\nResent-From: mallory@evil.example`, another],
    ['a Reply-To', `From: ${alice}\r\nReply-To: mallory@evil.example`, another],
  ])('%s', async (_, header, expected) => {
    expect(await outcomeFrom(header)).toEqual(expected);
  });

  it.each<[string, string]>([
    ['quoted', `From: "${alice}" <mallory@evil.example>`],
    ['in a comment', `From: mallory@evil.example (${alice})`],
    ['in Sender', `From: mallory@evil.example\r\nSender: ${alice}`],
  ])('her address as a display name, %s: the signer is the author, not the name', async (_, header) => {
    expect(await outcomeFrom(header)).toEqual(signedBy('mallory@evil.example', 'detached'));
    expect(await outcomeFrom(header, people.alice)).toMatchObject({ verdict: 'mismatch', author: null });
  });

  it('a From inside what she signed, without header protection, decides nothing', async () => {
    const inner = Buffer.concat([crlf(`From: ${alice}\nSubject: x\n`), plain]);
    expect(opened(await signed(people.mallory, inner))).toEqual(another);
    const hers = open(people, mailOf(from('mallory@evil.example'), await signed(people.alice, inner)));
    expect(outcome(hers)).toEqual(another);
  });

  it.each<[string, string]>([
    ['of the attacker', 'From: mallory@evil.example\n'],
    ['twice', `From: ${alice}\nFrom: ${alice}\n`],
    ['with two mailboxes', `From: ${alice}, mallory@evil.example\n`],
    ['that is no address', 'From: Alice\n'],
  ])('a protected From %s (RFC 9788)', async (_, header) => {
    const inner = crlf(`${header}Content-Type: text/plain; hp="clear"\n\nhello\n`);
    expect(opened(await signed(people.alice, inner))).toEqual(
      answer('detached', 'mismatch', 'header-mismatch'),
    );
  });
});

describe('unsigned attributes and countersignatures', () => {
  const withUnsigned = (der: Buffer, ...attributes: Buffer[]) =>
    withSigners(der, (signers) =>
      signers.map((one) => withSignature(one, (v) => v, w.derContext(1, ...attributes))),
    );

  it('anything in unsigned attributes changes nothing', async () => {
    const der = await cmsSign(people.alice, plain);
    const digest = attribute('1.2.840.113549.1.9.4', w.derOctets(Buffer.alloc(32)));
    const time = attribute('1.2.840.113549.1.9.5', w.derTime(0));
    const report = openEntity(people, signedEntity(plain, withUnsigned(der, digest, time)));
    expect(outcome(report)).toEqual(signedBy(alice, 'detached'));
    expect(report.signature?.signingTime).toBeGreaterThan(Date.now() - 600_000);
  });

  it('a countersignature of hers makes her nobody\u2019s author', async () => {
    const [hers = Buffer.alloc(0)] = signersOf(await cmsSign(people.alice, plain));
    const countersigned = withUnsigned(
      await cmsSign(people.mallory, plain, { chain: [people.alice] }),
      attribute('1.2.840.113549.1.9.6', hers),
    );
    expect(opened(signedEntity(plain, countersigned))).toEqual(another());
  });

  it('her capabilities, unsigned, are not taken', async () => {
    const der = await cmsSign(people.alice, plain, { noAttributes: true });
    const weak = attribute(
      '1.2.840.113549.1.9.15',
      w.derSequence(w.derSequence(w.derOid('1.2.840.113549.3.7'))),
    );
    const report = openEntity(people, signedEntity(plain, withUnsigned(der, weak)));
    expect(outcome(report)).toEqual(signedBy(alice, 'detached'));
    expect(report.signature?.capabilities).toBe(null);
  });
  const another = () => answer('detached', 'mismatch', 'no-address-match');

  it('unprotected attributes of an envelope change nothing', async () => {
    const { cmsEncrypt } = await import('../kit/openssl.ts');
    const { bytesOf, readBer } = await import('../../src/pki/ber.ts');
    const der = await cmsEncrypt([people.list], await signed(people.alice, plain));
    const data = readBer(der).children[1]?.children[0]?.children ?? [];
    const more = w.derContext(1, attribute('1.2.840.113549.1.9.15', w.derSequence()));
    const changed = w.derSequence(
      w.derOid('1.2.840.113549.1.7.3'),
      w.derContext(0, w.derSequence(...data.map(bytesOf), more)),
    );
    const report = openEntity(people, cmsEntity(changed, 'enveloped-data'));
    expect(outcome(report)).toEqual(signedBy(alice, 'encrypted detached'));
    expect(shown(report)).toContain('wedding');
  });
});
