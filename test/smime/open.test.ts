import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { openMessage } from '../../src/smime/open.ts';
import { forgeSignedData } from '../cms/forge.ts';
import { decryptionKey } from '../cms/keys.ts';
import { cmsEncrypt, cmsSign, cmsVerify } from '../kit/openssl.ts';
import { cmsEntity, mailOf, signedEntity, splitSigned, textEntity } from '../kit/smime-mime.ts';
import {
  encrypted,
  from,
  layersOf,
  makePeople,
  opaque,
  open,
  openEntity,
  type People,
  plain,
  requestOf,
  shown,
  signed,
} from './messages.ts';

let people: People;
beforeAll(async () => {
  people = await makePeople();
});

const summary = (entity: Buffer, o = {}) => {
  const report = openEntity(people, entity, o);
  const { verdict, author, encrypted: cipher, reasons } = report;
  return { layers: layersOf(report), verdict, author, encrypted: cipher, reasons };
};

describe('nesting, From: Alice', () => {
  const alice = 'alice@example.org';
  it.each<[string, (p: People) => Promise<Buffer>, string, string, string | null, boolean, string[]]>([
    ['plain', async () => plain, 'none', 'unsigned', null, false, []],
    ['detached', (p) => signed(p.alice, plain), 'detached', 'signed', alice, false, []],
    ['opaque', (p) => opaque(p.alice, plain), 'opaque', 'signed', alice, false, []],
    [
      'opaque, BER in segments',
      (p) => opaque(p.alice, plain, { stream: true }),
      'opaque',
      'signed',
      alice,
      false,
      [],
    ],
    ['detached, PSS', (p) => signed(p.alice, plain, { pss: true }), 'detached', 'signed', alice, false, []],
    ['encrypted, unsigned', (p) => encrypted(p.list, plain), 'encrypted', 'unsigned', null, true, []],
    [
      'encrypted with GCM, unsigned',
      (p) => encrypted(p.list, plain, { cipher: 'aes-256-gcm' }),
      'encrypted',
      'unsigned',
      null,
      true,
      [],
    ],
    [
      'encrypted(signed)',
      async (p) => encrypted(p.list, await signed(p.alice, plain)),
      'encrypted detached',
      'signed',
      alice,
      true,
      [],
    ],
    [
      'encrypted(opaque)',
      async (p) => encrypted(p.list, await opaque(p.alice, plain), { stream: true }),
      'encrypted opaque',
      'signed',
      alice,
      true,
      [],
    ],
    // RULES 1: whoever captured the inner part can put his own, or nothing, around it.
    [
      'signed(encrypted)',
      async (p) => signed(p.alice, await encrypted(p.list, plain)),
      'detached encrypted',
      'unsigned',
      null,
      true,
      ['outer-only'],
    ],
    [
      'opaque(encrypted)',
      async (p) => opaque(p.alice, await encrypted(p.list, plain)),
      'opaque encrypted',
      'unsigned',
      null,
      true,
      ['outer-only'],
    ],
    [
      'signed(encrypted(signed))',
      async (p) => signed(p.mallory, await encrypted(p.list, await signed(p.alice, plain))),
      'detached encrypted detached',
      'signed',
      alice,
      true,
      [],
    ],
    [
      'signed by Alice around what Mallory signed',
      async (p) => signed(p.alice, await encrypted(p.list, await signed(p.mallory, plain))),
      'detached encrypted detached',
      'mismatch',
      null,
      true,
      ['no-address-match'],
    ],
    [
      'encrypted(encrypted(signed))',
      async (p) => encrypted(p.list, await encrypted(p.list, await signed(p.alice, plain))),
      'encrypted encrypted detached',
      'signed',
      alice,
      true,
      [],
    ],
    [
      'encrypted(signed(encrypted))',
      async (p) => encrypted(p.list, await signed(p.alice, await encrypted(p.list, plain))),
      'encrypted detached encrypted',
      'unsigned',
      null,
      true,
      ['outer-only'],
    ],
    // The outermost signature inside the innermost encryption is the message's; one further in is content.
    [
      'encrypted(signed(signed by Mallory))',
      async (p) => encrypted(p.list, await signed(p.alice, await opaque(p.mallory, plain))),
      'encrypted detached opaque',
      'signed',
      alice,
      true,
      [],
    ],
    [
      'encrypted(signed by Mallory(signed))',
      async (p) => encrypted(p.list, await signed(p.mallory, await opaque(p.alice, plain))),
      'encrypted detached opaque',
      'mismatch',
      null,
      true,
      ['no-address-match'],
    ],
    [
      'mixed with a signed part inside',
      async (p) =>
        Buffer.concat([
          Buffer.from('Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n'),
          await signed(p.alice, plain),
          Buffer.from('\r\n--m--\r\n'),
        ]),
      'none',
      'unsigned',
      null,
      false,
      [],
    ],
    [
      'mixed with an encrypted part inside',
      async (p) =>
        Buffer.concat([
          Buffer.from('Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n'),
          await encrypted(p.list, plain),
          Buffer.from('\r\n--m--\r\n'),
        ]),
      'none',
      'unsigned',
      null,
      false,
      [],
    ],
    [
      'a message in a message',
      async (p) =>
        Buffer.concat([Buffer.from('Content-Type: message/rfc822\r\n\r\n'), await signed(p.alice, plain)]),
      'none',
      'unsigned',
      null,
      false,
      [],
    ],
  ])('%s', async (_, make, layers, verdict, author, isEncrypted, reasons) => {
    const made = await make(people);
    expect(summary(made)).toEqual({ layers, verdict, author, encrypted: isEncrypted, reasons });
  });

  it('more than ten layers break the budget', () => {
    const signer = people.alice;
    const unsigned = (content: Buffer) =>
      cmsEntity(forgeSignedData({ signer, attributes: null, content, repeat: 0 }), 'signed-data');
    let entity = plain;
    for (let i = 0; i < 10; i++) entity = unsigned(entity);
    expect(summary(entity)).toMatchObject({ verdict: 'unsigned', reasons: ['no-signers'] });
    const report = openEntity(people, unsigned(entity));
    expect(report).toMatchObject({ verdict: 'malformed', reasons: ['budget'], entity: null, author: null });
  });

  it.each<[string, (entity: Buffer) => Promise<Buffer>]>([
    ['signatures', (entity) => opaque(people.alice, entity)],
    ['private-key operations', (entity) => encrypted(people.list, entity)],
  ])('more than four %s break the budget, over all layers (RULES 7)', async (_, wrap) => {
    let entity = plain;
    for (let i = 0; i < 4; i++) entity = await wrap(entity);
    expect(summary(entity)).not.toMatchObject({ verdict: 'malformed' });
    const report = openEntity(people, await wrap(entity));
    expect(report).toMatchObject({ verdict: 'malformed', reasons: ['budget'], entity: null, author: null });
  });
});

describe('what cannot be read', () => {
  const garbled = (entity: Buffer, change: (base64: string) => string): Buffer => {
    const at = entity.indexOf('\r\n\r\n') + 4;
    return Buffer.concat([
      entity.subarray(0, at),
      Buffer.from(change(entity.subarray(at).toString('latin1'))),
    ]);
  };

  it.each<[string, (base64: string) => string]>([
    ['cut off in the middle', (base64) => base64.slice(0, 400)],
    ['cut off at the end', (base64) => base64.slice(0, -20)],
    ['no base64 at all', () => '\u{fffd}!!!\r\n'],
    ['nothing', () => ''],
    ['other octets', () => Buffer.from('hello, this is no CMS').toString('base64')],
    ['lengths without end', () => Buffer.from('3084ffffffff', 'hex').toString('base64')],
    ['nesting without end', () => Buffer.from('3080'.repeat(5000), 'hex').toString('base64')],
  ])('encrypted, %s, is malformed', async (_, change) => {
    const report = openEntity(people, garbled(await encrypted(people.list, plain), change));
    expect(report).toMatchObject({ verdict: 'malformed', author: null, entity: null, signature: null });
    expect(['malformed', 'budget']).toContain(report.reasons[0]);
  });

  it('a truncated CMS inside encryption is malformed too', async () => {
    const inner = garbled(await opaque(people.alice, plain), (base64) => base64.slice(0, 500));
    expect(summary(await encrypted(people.list, inner))).toMatchObject({
      layers: 'encrypted',
      verdict: 'malformed',
    });
  });

  it('encrypted to somebody else is unopened: no-recipient', async () => {
    expect(summary(await encrypted(people.mallory, plain))).toMatchObject({
      layers: 'locked',
      verdict: 'unopened',
      reasons: ['no-recipient'],
      encrypted: true,
    });
    expect(summary(await encrypted(people.list, plain), { keys: [] })).toMatchObject({
      reasons: ['no-recipient'],
    });
  });

  it('a certificate with the wrong key, and a changed ciphertext, are the same decrypt-failed', async () => {
    const wrong = { ...decryptionKey(people.list), key: people.mallory.key };
    expect(summary(await encrypted(people.list, plain), { keys: [wrong] })).toMatchObject({
      verdict: 'unopened',
      reasons: ['decrypt-failed'],
    });
    const der = await cmsEncrypt([people.list], plain, { cipher: 'aes-256-gcm' });
    der[der.length - 30] = (der[der.length - 30] ?? 0) ^ 1;
    expect(summary(cmsEntity(der, 'authEnveloped-data'))).toMatchObject({ reasons: ['decrypt-failed'] });
  });

  it('the second of two layers that will not open leaves the message unopened, and nothing to pass on', async () => {
    const report = openEntity(people, await encrypted(people.list, await encrypted(people.mallory, plain)));
    expect([layersOf(report), report.verdict, report.entity]).toEqual(['encrypted locked', 'unopened', null]);
  });

  it('opened size is counted over all layers before it is used', async () => {
    const big = textEntity('x'.repeat(3000));
    const once = await encrypted(people.list, big);
    const twice = await encrypted(people.list, once);
    const budget = { verdict: 'malformed', reasons: ['budget'] };
    expect(summary(once, { openedSize: 4000 })).toMatchObject({ verdict: 'unsigned' });
    expect(summary(once, { openedSize: 2999 })).toMatchObject(budget);
    expect(summary(twice, { openedSize: 12_000 })).toMatchObject({ verdict: 'unsigned' });
    expect(summary(twice, { openedSize: once.length + 2999 })).toMatchObject(budget);
    expect(summary(await opaque(people.alice, big), { openedSize: 2999 })).toMatchObject(budget);
  });

  it('nothing that is wrong with a message makes it throw, and no changed content stays signed', async () => {
    const mail = mailOf(from('alice@example.org'), await signed(people.alice, plain));
    const start = mail.indexOf('Dear friends');
    const whole = fc.tuple(fc.nat(mail.length - 1), fc.integer({ min: 1, max: 255 }));
    const content = fc.tuple(fc.integer({ min: start, max: start + 38 }), fc.integer({ min: 1, max: 255 }));
    const verdictOf = ([at, change]: readonly [number, number]): string => {
      const changed = Buffer.from(mail);
      changed[at] = (changed[at] ?? 0) ^ change;
      return open(people, changed).verdict;
    };
    fc.assert(
      fc.property(whole, (flip) => void expect(typeof verdictOf(flip)).toBe('string')),
      { numRuns: 300 },
    );
    fc.assert(
      fc.property(content, (flip) => void expect(verdictOf(flip)).not.toBe('signed')),
      { numRuns: 100 },
    );
  });

  it('changed octets of an encrypted message never throw', async () => {
    const der = await cmsEncrypt([people.list], await opaque(people.alice, plain));
    fc.assert(
      fc.property(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const changed = Buffer.from(der);
        changed[at] = (changed[at] ?? 0) ^ change;
        expect(openEntity(people, cmsEntity(changed, 'enveloped-data'))).toHaveProperty('verdict');
      }),
      { numRuns: 200 },
    );
  });

  it('any octets are opened without an exception', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (message) => {
        expect(openMessage(requestOf(message, { openedSize: 1000 }))).toHaveProperty('verdict');
      }),
    );
  });
});

describe('the entity to pass on', () => {
  it('is what was encrypted, octet by octet, and a signature in it still verifies', async () => {
    const inner = await signed(people.alice, plain);
    const report = openEntity(people, await encrypted(people.list, inner));
    expect(report.entity?.expose().equals(inner)).toBe(true);
    const { content, signatureDer } = splitSigned(report.entity?.expose() ?? Buffer.alloc(0));
    expect(await cmsVerify(people.ca, signatureDer, content)).toMatchObject({ intact: true, trusted: true });
  });

  it('of a clear message is its content without the header around it', async () => {
    const entity = await signed(people.alice, plain);
    expect(openEntity(people, entity).entity?.expose().equals(entity)).toBe(true);
    expect(shown(open(people, Buffer.from('From: a@b.example\r\n\r\nhello\r\n')))).toBe('\r\nhello\r\n');
  });

  it('has none of the unsigned fields around a signed part', async () => {
    const inner = await signed(people.alice, plain);
    const forged = Buffer.concat([
      Buffer.from('Subject: kill him\r\nFrom: boss@example.org\r\nMIME-Version: 1.0\r\nX-Y: z\r\n'),
      inner,
    ]);
    const report = openEntity(people, await encrypted(people.list, forged));
    expect([report.verdict, shown(report)]).toEqual(['signed', inner.toString('latin1')]);
  });

  it('has them not from an unsigned part either, unless they are header protection (RFC 9788)', async () => {
    const header = 'From: Alice <alice@example.org>\r\nSubject: the secret subject\r\n';
    const unprotected = Buffer.from(`${header}Content-Type: text/plain\r\n\r\nhello\r\n`);
    expect(shown(openEntity(people, await encrypted(people.list, unprotected)))).toBe(
      'Content-Type: text/plain\r\n\r\nhello\r\n',
    );
    const hp = Buffer.from(`${header}Content-Type: text/plain; hp="cipher"\r\n\r\nhello\r\n`);
    const report = openEntity(people, await encrypted(people.list, hp));
    expect(shown(report)).toBe(hp.toString('latin1'));
    expect(report.protected).toMatchObject({
      form: 'cipher',
      subject: 'the secret subject',
      from: 'alice@example.org',
    });
  });

  it('names what it needs even where the entity is made anew', async () => {
    const der = await cmsSign(people.alice, plain, { opaque: true, noCertificates: true });
    const binary = Buffer.concat([
      Buffer.from(
        'X-Unsigned: 1\r\nContent-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: binary\r\n\r\n',
      ),
      der,
    ]);
    const report = openEntity(people, await encrypted(people.list, binary));
    const [need] = report.needs;
    expect(need?.kind === 'issuer-serial' && need.serialDer.equals(people.alice.serial)).toBe(true);
  });
});

describe('signatures that are no proof', () => {
  it('signs nothing: certs-only and no signers', async () => {
    const { certsOnly } = await import('../../src/cms/sign.ts');
    const { parseCertificate } = await import('../../src/pki/certificate.ts');
    const der = certsOnly([parseCertificate(people.alice.certDer)]);
    expect(summary(cmsEntity(der, 'certs-only'))).toMatchObject({
      verdict: 'unsigned',
      reasons: ['no-signers'],
    });
    expect(summary(signedEntity(plain, der))).toMatchObject({ verdict: 'unsigned', reasons: ['no-signers'] });
  });

  it('carries another content beside the detached one', async () => {
    const der = await cmsSign(people.alice, plain, { opaque: true });
    expect(summary(signedEntity(plain, der))).toMatchObject({
      verdict: 'invalid',
      author: null,
      reasons: ['content-beside-detached'],
    });
  });

  it('is an encryption in the place of a signature', async () => {
    const der = await cmsEncrypt([people.list], plain);
    expect(summary(signedEntity(plain, der))).toMatchObject({ verdict: 'invalid', author: null });
  });

  it('is over another text', async () => {
    const der = await cmsSign(people.alice, textEntity('pay ten'));
    expect(summary(signedEntity(textEntity('pay ten thousand'), der))).toMatchObject({
      verdict: 'invalid',
      reasons: ['bad-digest'],
    });
  });

  it('is one of two, of which the other is bad', async () => {
    const der = await cmsSign(people.alice, plain, { also: [people.mallory] });
    expect(summary(signedEntity(plain, der))).toMatchObject({
      verdict: 'signed',
      author: 'alice@example.org',
    });
    der[der.length - 1] = (der[der.length - 1] ?? 0) ^ 1;
    const report = openEntity(people, signedEntity(plain, der));
    expect(report).toMatchObject({ verdict: 'invalid', author: null, signature: null });
    expect(
      report.layers[0]?.kind === 'signed' && report.layers[0].signers.map((s) => s.intact).sort(),
    ).toEqual([false, true]);
  });

  it('more than four signers break the budget', async () => {
    const four = [people.mallory, people.list, people.ca];
    expect(summary(await signed(people.alice, plain, { also: four }))).toMatchObject({ verdict: 'signed' });
    const fifth = await people.ca.issue({ name: 'Fifth', address: 'fifth@example.org' });
    expect(summary(await signed(people.alice, plain, { also: [...four, fifth] }))).toMatchObject({
      verdict: 'malformed',
      reasons: ['budget'],
    });
  });
});
