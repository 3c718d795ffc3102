import { constants, createCipheriv, createHmac, publicEncrypt, randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { openAuthEnveloped } from '../../src/cms/auth-enveloped-data.ts';
import { parseContentInfo } from '../../src/cms/content-info.ts';
import { encryptContent, recipientOf } from '../../src/cms/encrypt.ts';
import { type DecryptionKey, type OpenResult, openEnveloped } from '../../src/cms/enveloped-data.ts';
import { recoverOaep } from '../../src/cms/oaep.ts';
import { rawDecrypt, recoverRsa15 } from '../../src/cms/rsa15.ts';
import { substituteKey } from '../../src/cms/substitute.ts';
import { type Certificate, parseCertificate, publicKeyOf } from '../../src/pki/certificate.ts';
import * as w from '../../src/pki/der.ts';
import { type Identity, makeCa } from '../kit/pki.ts';
import { attribute, cbc, contentTypeAttribute, forgeEnvelope, gcm, transportTo } from './forge.ts';
import { decryptionKey } from './keys.ts';

/** Whoever sends to the list may send again and again and look at the answers: they must tell him nothing (RULES 6). */

const text = Buffer.from('Content-Type: text/plain\r\n\r\nBurn after reading.\r\n');
let alice: Identity;
let bob: Identity;
let certificate: Certificate;
let key: DecryptionKey;

beforeAll(async () => {
  const ca = await makeCa('Oracle Root');
  alice = await ca.issue({ name: 'Alice', address: 'alice@a.example' });
  bob = await ca.issue({ name: 'Bob', address: 'bob@a.example', key: 'p256' });
  certificate = parseCertificate(alice.certDer);
  key = decryptionKey(alice);
});

const open = (der: Buffer, keys: readonly DecryptionKey[] = [key]): OpenResult => {
  const info = parseContentInfo(der);
  return (info.kind === 'enveloped-data' ? openEnveloped : openAuthEnveloped)(info.content, keys);
};
const failed = (cipher: string, kind = 'ktri') => ({
  opened: false,
  reason: 'decrypt-failed',
  detail: 'it could not be decrypted',
  cipher,
  recipients: 1,
  kinds: [kind],
});

const wrap = (block: Buffer, padding: number = constants.RSA_PKCS1_PADDING) =>
  publicEncrypt({ key: publicKeyOf(certificate), padding }, block);
const nonce = Buffer.alloc(12, 7);

function encryptedGcm(contentKey: Buffer, d: { aad?: Buffer; tagLength?: number } = {}) {
  const cipher = createCipheriv('aes-256-gcm', contentKey, nonce, { authTagLength: d.tagLength ?? 16 });
  if (d.aad) cipher.setAAD(d.aad);
  const ciphertext = Buffer.concat([cipher.update(text), cipher.final()]);
  return { ciphertext, mac: cipher.getAuthTag() };
}

function encryptedCbc(contentKey: Buffer, padded: Buffer): Buffer {
  const cipher = createCipheriv('aes-256-cbc', contentKey, Buffer.alloc(16)).setAutoPadding(false);
  return Buffer.concat([cipher.update(padded), cipher.final()]);
}

describe('RSA v1.5 key transport', () => {
  it('answers 200 changed encrypted keys in one and the same way', () => {
    const contentKey = randomBytes(32);
    const encrypted = encryptedGcm(contentKey);
    const wrapped = wrap(contentKey);
    const send = (encryptedKey: Buffer) =>
      open(
        forgeEnvelope({
          recipients: [transportTo(certificate, encryptedKey)],
          algorithm: gcm(nonce, 16),
          ...encrypted,
        }),
      );
    expect(send(wrapped)).toMatchObject({ opened: true, cipher: 'aes-256-gcm' });
    const answers = Array.from({ length: 200 }, (_, i) => {
      const changed = Buffer.from(wrapped);
      changed[i] = (changed[i] as number) ^ 0x55;
      return send(changed);
    });
    for (const answer of answers) expect(answer).toEqual(failed('aes-256-gcm'));
  });

  /** Raw RSA of 0x00 0x02, padding of 0x5a, 0x00 and a key of 32 octets 0x5a, with some octets otherwise. */
  const padded = (otherwise: Record<number, number> = {}) => {
    const block = Buffer.alloc(256, 0x5a);
    for (const [at, octet] of Object.entries({ 0: 0, 1: 2, 223: 0, ...otherwise })) block[Number(at)] = octet;
    return wrap(block, constants.RSA_NO_PADDING);
  };
  const blocks: [string, () => Buffer][] = [
    ['a key of 16 octets', () => wrap(randomBytes(16))],
    ['a key of 31 octets', () => wrap(randomBytes(31))],
    ['a key of 33 octets', () => wrap(randomBytes(33))],
    ['no key at all', () => wrap(Buffer.alloc(0))],
    ['first octet not 0', () => padded({ 0: 1 })],
    ['block type 1', () => padded({ 1: 1 })],
    ['no separator', () => padded({ 223: 0x5a })],
    ['a zero in the first eight octets of padding', () => padded({ 5: 0 })],
    ['a zero in the last octet of padding', () => padded({ 222: 0 })],
    ['zero', () => Buffer.alloc(256)],
    ['a number above the modulus', () => Buffer.alloc(256, 0xff)],
    ['too few octets', () => wrap(randomBytes(32)).subarray(1)],
    ['too many octets', () => Buffer.concat([Buffer.alloc(1), wrap(randomBytes(32))])],
    ['nothing', () => Buffer.alloc(0)],
  ];
  it.each(blocks)(
    'gives a key of the right length for %s, the same each time, that is no key in it',
    (_, make) => {
      const encryptedKey = make();
      const recovered = recoverRsa15(alice.key, encryptedKey, 32);
      expect(recovered).toHaveLength(32);
      expect(recoverRsa15(alice.key, encryptedKey, 32).equals(recovered)).toBe(true);
      expect(recovered.equals(Buffer.alloc(32, 0x5a)) || recovered.equals(Buffer.alloc(32))).toBe(false);
      const other = recoverRsa15(alice.key, Buffer.concat([encryptedKey, Buffer.alloc(257)]), 32);
      expect(other.equals(recovered), 'another ciphertext, another key').toBe(false);
    },
  );

  it('the block that these are changed from is right', () => {
    expect(recoverRsa15(alice.key, padded(), 32).equals(Buffer.alloc(32, 0x5a))).toBe(true);
  });

  it('an encrypted key without its leading zero octet is none (RFC 8017 7.2.2)', () => {
    const contentKey = randomBytes(32);
    let wrapped = wrap(contentKey);
    while (wrapped[0] !== 0) wrapped = wrap(contentKey);
    expect(recoverRsa15(alice.key, wrapped, 32).equals(contentKey)).toBe(true);
    expect(recoverRsa15(alice.key, wrapped.subarray(1), 32).equals(contentKey)).toBe(false);
  });

  it('the substitute cannot be foreseen without the private key', () => {
    const guess = createHmac('sha256', alice.certDer).update(Buffer.alloc(256)).digest();
    expect(recoverRsa15(alice.key, Buffer.alloc(256), 32).equals(guess)).toBe(false);
  });

  it('the same CBC message opens to the same result each time, whatever that is', () => {
    for (let i = 0; i < 40; i++) {
      const der = forgeEnvelope({
        recipients: [transportTo(certificate, randomBytes(255))],
        algorithm: cbc(Buffer.alloc(16)),
        ciphertext: randomBytes(32),
      });
      const [first, second] = [open(der), open(der)];
      expect(second).toEqual(first);
      if (!first.opened) expect(first).toEqual(failed('aes-256-cbc'));
    }
  });
});

describe('RSA-OAEP key transport', () => {
  const contentKey = Buffer.alloc(32, 9);
  const parameters = { hash: 'sha256', mask: 'sha256', label: Buffer.alloc(0) } as const;
  const wrapOaep = (d: { label?: string; octets?: Buffer } = {}) => {
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    const options = d.label === undefined ? {} : { oaepLabel: Buffer.from(d.label) };
    const target = { key: publicKeyOf(certificate), padding, oaepHash: 'sha256', ...options };
    return publicEncrypt(target, d.octets ?? contentKey);
  };
  /** A right encoding with its first octet set to 1, which Manger's attack wants to be told apart. */
  const overflown = () => {
    const encoded = rawDecrypt(alice.key, wrapOaep());
    encoded[0] = 1;
    return wrap(encoded, constants.RSA_NO_PADDING);
  };

  it.each<[string, () => Buffer]>([
    ['another label', () => wrapOaep({ label: 'other' })],
    ['a key of 31 octets', () => wrapOaep({ octets: Buffer.alloc(31, 9) })],
    ['a key of 33 octets', () => wrapOaep({ octets: Buffer.alloc(33, 9) })],
    ['a key of 33 octets that begins like the separator', () => wrapOaep({ octets: Buffer.alloc(33, 1) })],
    ['a first octet that is not 0', overflown],
    ['v1.5 padding', () => wrap(contentKey)],
    ['a number above the modulus', () => Buffer.alloc(256, 0xff)],
  ])('gives the substitute for %s', (_, make) => {
    const encryptedKey = make();
    const substitute = substituteKey(alice.key, encryptedKey, 32);
    expect(recoverOaep(alice.key, encryptedKey, 32, parameters).equals(substitute)).toBe(true);
  });

  it('gives the key for its own label', () => {
    expect(recoverOaep(alice.key, wrapOaep(), 32, parameters).equals(contentKey)).toBe(true);
    const label = Buffer.from('other');
    const recovered = recoverOaep(alice.key, wrapOaep({ label: 'other' }), 32, { ...parameters, label });
    expect(recovered.equals(contentKey)).toBe(true);
  });
});

describe('CBC padding', () => {
  const contentKey = Buffer.alloc(32, 3);
  const send = (ciphertext: Buffer) =>
    open(
      forgeEnvelope({
        recipients: [transportTo(certificate, wrap(contentKey))],
        algorithm: cbc(Buffer.alloc(16)),
        ciphertext,
      }),
    );
  const lastBlock = (octets: number[]) => {
    const block = Buffer.alloc(32, 0x41);
    block.set(octets, 32 - octets.length);
    return encryptedCbc(contentKey, block);
  };

  it.each<[string, number[], number]>([
    ['one octet', [1], 31],
    ['two', [2, 2], 30],
    ['fifteen', Array(15).fill(15), 17],
    ['a whole block', Array(16).fill(16), 16],
  ])('%s is right', (_, octets, length) => {
    const result = send(lastBlock(octets));
    expect(result.opened && result.content.length).toBe(length);
  });

  it.each<[string, () => Buffer]>([
    ['0', () => lastBlock([0])],
    ['more than a block', () => lastBlock(Array(17).fill(17))],
    ['255', () => lastBlock([255])],
    ['of which the first octet is wrong', () => lastBlock([9, 4, 4, 4])],
    ['of which the last but one octet is wrong', () => lastBlock([4, 4, 9, 4])],
    ['no whole block', () => lastBlock([1]).subarray(0, 20)],
    ['no ciphertext', () => Buffer.alloc(0)],
  ])('%s fails', (_, ciphertext) => {
    expect(send(ciphertext())).toEqual(failed('aes-256-cbc'));
  });
});

describe('GCM', () => {
  const contentKey = Buffer.alloc(32, 3);
  const recipients = () => [transportTo(certificate, wrap(contentKey))];

  it.each([12, 13, 14, 15, 16])('a tag of %i octets opens if it is announced', (tagLength) => {
    const encrypted = encryptedGcm(contentKey, { tagLength });
    const algorithm = gcm(nonce, tagLength);
    expect(open(forgeEnvelope({ recipients: recipients(), algorithm, ...encrypted })).opened).toBe(true);
  });

  it('12 octets are what no announcement means (RFC 5084 3.2)', () => {
    const send = (tagLength: number) =>
      open(
        forgeEnvelope({
          recipients: recipients(),
          algorithm: gcm(nonce),
          ...encryptedGcm(contentKey, { tagLength }),
        }),
      );
    expect(send(12).opened).toBe(true);
    expect(send(16)).toEqual(failed('aes-256-gcm'));
  });

  it.each([0, 4, 8, 11, 17, 64])('an announced tag of %i octets is refused', (tagLength) => {
    const { ciphertext, mac } = encryptedGcm(contentKey);
    const der = forgeEnvelope({
      recipients: recipients(),
      algorithm: gcm(nonce, tagLength),
      ciphertext,
      mac: mac.subarray(0, tagLength),
    });
    expect(() => open(der)).toThrowError(expect.objectContaining({ code: 'cms-malformed' }));
  });

  it.each([0, 4, 12, 15])('a tag cut to %i octets, announced as 16, fails', (length) => {
    const { ciphertext, mac } = encryptedGcm(contentKey);
    const cut = { ciphertext, mac: mac.subarray(0, length) };
    expect(open(forgeEnvelope({ recipients: recipients(), algorithm: gcm(nonce, 16), ...cut }))).toEqual(
      failed('aes-256-gcm'),
    );
  });

  it('notices every changed octet of ciphertext, tag, nonce and attributes', () => {
    const attributes = [contentTypeAttribute(), attribute('1.2.3.4', w.derUtf8('hello'))];
    const aad = w.derSetOf(...attributes);
    const encrypted = encryptedGcm(contentKey, { aad });
    const parts = { recipients: recipients(), algorithm: gcm(nonce, 16), ...encrypted };
    const der = forgeEnvelope({ ...parts, authAttrs: w.derContext(1, ...attributes) });
    expect(open(der).opened, 'attributes are authenticated with the tag of a SET (RFC 5083 2.2)').toBe(true);
    expect(open(forgeEnvelope(parts)), 'and are missed').toEqual(failed('aes-256-gcm'));
    const starts = [encrypted.ciphertext, encrypted.mac, nonce, Buffer.from('hello')].map((part) => ({
      at: der.indexOf(part),
      length: part.length,
    }));
    for (const { at, length } of starts) {
      for (let i = at; i < at + length; i++) {
        const changed = Buffer.from(der);
        changed[i] = (changed[i] as number) ^ 0x80;
        expect(open(changed)).toEqual(failed('aes-256-gcm'));
      }
    }
  });
});

describe('ECDH', () => {
  const sealed = () => {
    const encrypted = encryptContent(text, 'aes-256-gcm');
    return Buffer.concat([
      encrypted.prefixFor(recipientOf(parseCertificate(bob.certDer), 'ecdh')),
      encrypted.tail,
    ]);
  };

  it('answers a point off the curve, a wrong point and a wrong wrapped key in the same way', () => {
    const der = sealed();
    const bobs = [decryptionKey(bob)];
    expect(open(der, bobs).opened).toBe(true);
    // BIT STRING of an uncompressed P-256 point; OCTET STRING of a wrapped 256-bit key.
    const point = der.indexOf(Buffer.from('03420004', 'hex')) + 4;
    const wrapped = der.indexOf(Buffer.from('0428', 'hex')) + 2;
    expect(Math.min(point, wrapped)).toBeGreaterThan(4);
    const other = sealed();
    const otherPoint = other.subarray(other.indexOf(Buffer.from('03420004', 'hex')) + 4).subarray(0, 64);
    const change = (at: number, octets: Buffer) => {
      const changed = Buffer.from(der);
      changed.set(octets, at);
      return open(changed, bobs);
    };
    expect(change(point, randomBytes(64))).toEqual(failed('aes-256-gcm', 'kari'));
    expect(change(point, Buffer.alloc(64))).toEqual(failed('aes-256-gcm', 'kari'));
    expect(change(point - 1, Buffer.from([5]))).toEqual(failed('aes-256-gcm', 'kari'));
    expect(change(point, otherPoint)).toEqual(failed('aes-256-gcm', 'kari'));
    for (let i = 0; i < 40; i++)
      expect(change(wrapped + i, Buffer.from([(der[wrapped + i] as number) ^ 1]))).toEqual(
        failed('aes-256-gcm', 'kari'),
      );
  });
});
