import { constants, createCipheriv, publicEncrypt, randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseContentInfo } from '../../src/cms/content-info.ts';
import { type DecryptionKey, openEnveloped } from '../../src/cms/enveloped-data.ts';
import { cmsLimits } from '../../src/cms/limits.ts';
import { parseSignedData } from '../../src/cms/signed-data.ts';
import { derAlgorithm, keyOid } from '../../src/pki/algorithms.ts';
import { parseCertificate, publicKeyOf } from '../../src/pki/certificate.ts';
import * as w from '../../src/pki/der.ts';
import { type Identity, makeCa } from '../kit/pki.ts';
import {
  cbc,
  contentTypeAttribute,
  digestAttribute,
  forgeEnvelope,
  forgeSignedData,
  nameOf,
  transportTo,
} from './forge.ts';
import { decryptionKey } from './keys.ts';

const text = Buffer.from('Content-Type: text/plain\r\n\r\nHello.\r\n');
let alice: Identity;
let bob: Identity;
let key: DecryptionKey;

beforeAll(async () => {
  const ca = await makeCa('Budget Root');
  alice = await ca.issue({ name: 'Alice', address: 'alice@a.example' });
  bob = await ca.issue({ name: 'Bob', address: 'bob@a.example', key: 'p256' });
  key = decryptionKey(alice);
});

const budget = expect.objectContaining({ code: 'cms-budget' });
const certificate = (identity: Identity) => parseCertificate(identity.certDer);
const envelope = (recipients: Buffer[], ciphertext = Buffer.alloc(16)) =>
  forgeEnvelope({ recipients, algorithm: cbc(Buffer.alloc(16)), ciphertext });
const openWith = (der: Buffer, limits = cmsLimits) =>
  openEnveloped(parseContentInfo(der).content, [key], limits);

describe('the budget of an encrypted message (RULES 7)', () => {
  it.each([1_001, 10_000])('%i recipients are too many', (count) => {
    const der = envelope(Array(count).fill(transportTo(certificate(bob), Buffer.alloc(256))));
    expect(() => openWith(der)).toThrowError(budget);
  });

  it('1000 are not', () => {
    const der = envelope(Array(1000).fill(transportTo(certificate(bob), Buffer.alloc(256))));
    expect(openWith(der)).toMatchObject({ opened: false, reason: 'no-recipient', recipients: 1000 });
  });

  it('1001 keys in one key agreement are too many', () => {
    const encryptedKey = w.derSequence(nameOf(certificate(bob)), w.derOctets(Buffer.alloc(40)));
    const kari = w.derContext(
      1,
      w.derInteger(3),
      w.derContext(0, w.derContext(1, derAlgorithm(keyOid.ec), w.derBits(Buffer.alloc(65, 4)))),
      derAlgorithm('1.3.132.1.11.1', derAlgorithm('2.16.840.1.101.3.4.1.45')),
      w.derSequence(...Array(1001).fill(encryptedKey)),
    );
    expect(() => openWith(envelope([kari]))).toThrowError(budget);
  });

  it.each([
    [3, true],
    [4, false],
  ])('a right key behind %i wrong ones for us opens: %s', (wrong, opened) => {
    const contentKey = randomBytes(32);
    const cipher = createCipheriv('aes-256-cbc', contentKey, Buffer.alloc(16));
    const ciphertext = Buffer.concat([cipher.update(text), cipher.final()]);
    const wrapped = publicEncrypt(
      { key: publicKeyOf(certificate(alice)), padding: constants.RSA_PKCS1_PADDING },
      contentKey,
    );
    // Keys of all zeros unpad by accident once in some 256 times; these are fixed per key, so choose ones that do not.
    const useless = (seed: number): Buffer => {
      const candidate = transportTo(certificate(alice), Buffer.alloc(256, seed));
      return openWith(envelope([candidate], ciphertext)).opened ? useless(seed + 16) : candidate;
    };
    const recipients = [
      ...Array.from({ length: wrong }, (_, i) => useless(i)),
      transportTo(certificate(alice), wrapped),
    ];
    const result = openWith(envelope(recipients, ciphertext));
    expect(result.opened ? result.content.expose().equals(text) : result.reason).toBe(
      opened || 'decrypt-failed',
    );
  });

  it('counts the content before it allocates for it', () => {
    const limits = { ...cmsLimits, openedSize: 1000 };
    const recipients = [transportTo(certificate(alice), Buffer.alloc(256))];
    expect(() => openWith(envelope(recipients, Buffer.alloc(1008)), limits)).toThrowError(budget);
    expect(() => openWith(envelope(recipients, Buffer.alloc(992)), limits)).not.toThrow();
    // Also in segments.
    const whole = envelope(recipients, Buffer.alloc(0)).toString('hex');
    expect(whole.endsWith('8000')).toBe(true);
  });
});

describe('the budget of a signed message (RULES 7)', () => {
  const forged = (d: { certificates?: number; signers?: number; attributes?: number }) =>
    forgeSignedData({
      signer: alice,
      content: text,
      attributes: [...Array(d.attributes ?? 1).fill(contentTypeAttribute()), digestAttribute(text)],
      certificates: Array(d.certificates ?? 1).fill(alice.certDer),
      repeat: d.signers ?? 1,
    });
  const parse = (der: Buffer) => parseSignedData(parseContentInfo(der).content);

  it.each([{ certificates: 21 }, { signers: 5 }, { attributes: 50 }])('%j is too much', (d) => {
    expect(() => parse(forged(d))).toThrowError(budget);
  });

  it.each([{ certificates: 20 }, { signers: 4 }, { attributes: 49 }])('%j is not', (d) => {
    expect(() => parse(forged(d))).not.toThrow();
  });

  it('leaves out and counts certificates that cannot be read', () => {
    const broken = w.derSequence(w.derNull());
    const der = forgeSignedData({
      signer: alice,
      content: text,
      attributes: null,
      certificates: [broken, alice.certDer],
    });
    expect(parse(der)).toMatchObject({
      badCertificates: 1,
      certificates: [{ sha256: certificate(alice).sha256 }],
    });
  });
});

describe('structures', () => {
  it.each<[string, () => Buffer]>([
    ['nothing', () => Buffer.alloc(0)],
    ['text', () => Buffer.from('hello')],
    ['no content', () => w.derSequence(w.derOid('1.2.840.113549.1.7.3'))],
    ['a length beyond the end', () => Buffer.from('3084ffffffff06', 'hex')],
  ])('%s is cms-malformed', (_, bytes) => {
    expect(() => parseContentInfo(bytes())).toThrowError(expect.objectContaining({ code: 'cms-malformed' }));
  });

  it('nesting beyond the limit is cms-budget', () => {
    let nested = w.derNull();
    for (let i = 0; i < 60; i++) nested = w.derSequence(nested);
    expect(() => parseContentInfo(nested)).toThrowError(budget);
  });

  it('broken parameters of a key transport that names us are cms-malformed', () => {
    const broken = derAlgorithm(keyOid.rsaOaep, w.derSequence(w.derContext(0, w.derNull())));
    const der = envelope([transportTo(certificate(alice), Buffer.alloc(256), broken)]);
    expect(() => openWith(der)).toThrowError(expect.objectContaining({ code: 'cms-malformed' }));
  });

  it('names the kinds, and other for the rest', () => {
    const kindOf = (oid: string) =>
      parseContentInfo(w.derSequence(w.derOid(oid), w.derContext(0, w.derNull()))).kind;
    expect(kindOf('1.2.840.113549.1.9.16.1.9')).toBe('compressed-data');
    expect(kindOf('1.2.840.113549.1.7.6')).toBe('encrypted-data');
    expect(kindOf('1.2.3.4')).toBe('other');
  });
});
