import { constants, createHash, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { derAlgorithm, derRsaEncryption, keyOid } from '../../src/pki/algorithms.ts';
import { bytesOf, readBer } from '../../src/pki/ber.ts';
import { parseCertificate, publicKeyOf } from '../../src/pki/certificate.ts';
import * as w from '../../src/pki/der.ts';
import {
  attribute,
  contentInfo,
  contentTypeAttribute,
  digestAttribute,
  type Forgery,
  forgeSignedData,
  oid,
} from '../cms/forge.ts';
import { signersOf, withSigners } from '../e2e/surgery.ts';
import { distinguishedName, signCertificate, spkiOf, subjectAltName } from '../kit/issue.ts';
import { cmsEncrypt, cmsSign } from '../kit/openssl.ts';
import type { Identity } from '../kit/pki.ts';
import { cmsEntity, signedEntity } from '../kit/smime-mime.ts';
import { makePeople, openEntity, type People, plain } from '../smime/messages.ts';
import { answer, outcome, signedBy } from './scene.ts';

// Somebody changes what a signature or a key says of its algorithms, or its encoding.

let people: People;
let carol: Identity;
beforeAll(async () => {
  people = await makePeople();
  carol = await people.ca.issue({ name: 'Carol', address: 'alice@example.org', key: 'p256' });
});

const alice = 'alice@example.org';
const opened = (der: Buffer) => outcome(openEntity(people, cmsEntity(der, 'signed-data')));
const detached = (der: Buffer) => outcome(openEntity(people, signedEntity(plain, der)));
const invalid = (...reasons: string[]) => answer('broken', 'invalid', ...reasons);
const untrusted = (...reasons: string[]) => answer('broken', 'untrusted', ...reasons);

/** Opaque, by Alice, with these attributes or without. */
const forged = (more: Partial<Forgery> = {}) =>
  forgeSignedData({
    signer: people.alice,
    content: plain,
    attributes: [contentTypeAttribute(), digestAttribute(plain)],
    ...more,
  });

/** A SignerInfo with other algorithms: [version, id, digest, attributes, algorithm, signature]. */
const withField = (signer: Buffer, at: number, field: Buffer): Buffer =>
  w.derSequence(...readBer(signer).children.map((one, n) => (n === at ? field : bytesOf(one))));

const sha = {
  1: '1.3.14.3.2.26',
  256: '2.16.840.1.101.3.4.2.1',
  512: '2.16.840.1.101.3.4.2.3',
  384: '2.16.840.1.101.3.4.2.2',
};
const digest = (bits: keyof typeof sha) => derAlgorithm(sha[bits], w.derNull());
const pss = (hash: Buffer, mask: Buffer, salt: number, trailer?: number): Buffer =>
  derAlgorithm(
    keyOid.rsaPss,
    w.derSequence(
      w.derContext(0, hash),
      w.derContext(1, derAlgorithm(keyOid.mgf1, mask)),
      w.derContext(2, w.derInteger(salt)),
      ...(trailer === undefined ? [] : [w.derContext(3, w.derInteger(trailer))]),
    ),
  );

describe('algorithm substitution', () => {
  it('the forgery that this file makes is good but for its change', () => {
    expect(opened(forged())).toEqual(signedBy(alice, 'opaque'));
  });

  it.each<[string, () => Buffer, ReturnType<typeof answer>]>([
    ['the digest called SHA-1', () => digest(1), invalid('bad-digest', 'bad-signature', 'weak-digest')],
    ['the digest called SHA-512', () => digest(512), invalid('bad-digest', 'bad-signature')],
    [
      'the digest called by the OID of a SHA-1 signature',
      () => derAlgorithm('1.2.840.113549.1.1.5', w.derNull()),
      invalid('bad-digest', 'bad-signature', 'weak-digest'),
    ],
    ['a digest that nobody knows', () => derAlgorithm('1.2.3.4'), untrusted('unsupported')],
  ])('%s', async (_, make, expected) => {
    const der = withSigners(await cmsSign(people.alice, plain), (signers) =>
      signers.map((one) => withField(one, 2, make())),
    );
    const report = detached(der);
    expect({ ...report, reasons: report.reasons.toSorted() }).toEqual({
      ...expected,
      reasons: expected.reasons.toSorted(),
    });
  });

  it.each<[string, () => Buffer, ReturnType<typeof answer>]>([
    [
      'sha1WithRSAEncryption beside SHA-256',
      () => derAlgorithm('1.2.840.113549.1.1.5', w.derNull()),
      untrusted('unsupported'),
    ],
    [
      'sha512WithRSAEncryption beside SHA-256',
      () => derAlgorithm('1.2.840.113549.1.1.13', w.derNull()),
      untrusted('unsupported'),
    ],
    ['PSS for PKCS#1 v1.5', () => pss(digest(256), digest(256), 32), invalid('bad-signature')],
    ['ECDSA for RSA', () => derAlgorithm('1.2.840.10045.4.3.2'), invalid('bad-signature')],
    ['Ed25519 for RSA', () => derAlgorithm('1.3.101.112'), invalid('bad-signature')],
    ['an RSA encryption scheme', () => derAlgorithm(keyOid.rsaOaep), untrusted('unsupported')],
    ['an unknown one', () => derAlgorithm('1.2.3.4'), untrusted('unsupported')],
    ['a MAC', () => derAlgorithm('1.2.840.113549.2.9', w.derNull()), untrusted('unsupported')],
  ])('the signature algorithm said to be %s', (_, make, expected) => {
    expect(opened(forged({ algorithm: make() }))).toEqual(expected);
  });

  it.each<[string, () => Buffer, ReturnType<typeof answer>]>([
    ['a salt of 0', () => pss(digest(256), digest(256), 0), invalid('bad-signature')],
    ['a salt of 20', () => pss(digest(256), digest(256), 20), invalid('bad-signature')],
    [
      'a salt of 2^40',
      () =>
        derAlgorithm(
          keyOid.rsaPss,
          w.derSequence(
            w.derContext(0, digest(256)),
            w.derContext(1, derAlgorithm(keyOid.mgf1, digest(256))),
            w.derContext(2, w.derInteger(Buffer.from('010000000000', 'hex'))),
          ),
        ),
      untrusted('unsupported'),
    ],
    ['another hash', () => pss(digest(512), digest(512), 64), untrusted('unsupported')],
    ['MGF1 with another hash', () => pss(digest(256), digest(1), 32), invalid('bad-signature')],
    ['another trailer', () => pss(digest(256), digest(256), 32, 2), untrusted('unsupported')],
    ['no parameters', () => derAlgorithm(keyOid.rsaPss), untrusted('unsupported')],
    [
      'the defaults, which are SHA-1',
      () => derAlgorithm(keyOid.rsaPss, w.derSequence()),
      untrusted('unsupported'),
    ],
  ])('PSS parameters altered: %s', async (_, make, expected) => {
    const der = await cmsSign(people.alice, plain, { pss: true });
    expect(detached(der)).toEqual(signedBy(alice, 'detached'));
    const changed = withSigners(der, (signers) => signers.map((one) => withField(one, 4, make())));
    expect(detached(changed)).toEqual(expected);
  });

  it.each([
    [
      'digest',
      () => w.derSequence(digest(512), w.derContext(1, ...readBer(derRsaEncryption()).children.map(bytesOf))),
    ],
    ['signature', () => w.derSequence(digest(256), w.derContext(1, w.derOid('1.2.840.113549.1.1.5')))],
    ['nothing', () => w.derSequence()],
  ])('CMSAlgorithmProtection (RFC 6211) that names another %s', (_, value) => {
    const attributes = [
      contentTypeAttribute(),
      digestAttribute(plain),
      attribute(oid.algorithmProtection, value()),
    ];
    expect(opened(forged({ attributes }))).toEqual(invalid('bad-signature'));
  });

  it.each<[string, string]>([
    ['sha1', 'weak-digest'],
    ['md5', 'weak-digest'],
  ])(
    '%s (collisions: SHAttered 2017, chosen prefix 2020) is weak, however good the signature',
    async (name, reason) => {
      const der = await cmsSign(people.alice, plain, { digest: name as 'sha1' | 'md5' });
      expect(detached(der)).toEqual(answer('detached', 'untrusted', reason));
    },
  );

  it('a certificate signed with SHA-1 by an authority is weak too', async () => {
    const weak = await people.ca.issue({ name: 'Alice', address: alice, digest: 'sha1' });
    expect(detached(await cmsSign(weak, plain))).toEqual(
      answer('detached', 'untrusted', 'weak', 'weak-digest'),
    );
  });

  it('GCM\u2192CBC: see "cross-mode downgrade"; a 3DES or RC2 name over AES ciphertext opens to nothing', async () => {
    const der = await cmsEncrypt([people.list], plain, { cipher: 'aes-128-cbc' });
    const hex = der.toString('hex').replace('0609608648016503040102', '06092a864886f70d030700');
    const report = openEntity(people, cmsEntity(Buffer.from(hex, 'hex'), 'enveloped-data'));
    expect(outcome(report)).toEqual(answer('locked', 'unopened', 'unsupported'));
  });
});

describe('weak and monstrous keys', () => {
  const withKey = async (spkiDer: Buffer): Promise<Buffer> => {
    const certDer = signCertificate({
      serial: Buffer.from('0123456789', 'hex'),
      issuerDer: people.ca.subjectDer,
      subjectDer: distinguishedName('Monster'),
      notBefore: new Date(Date.now() - 1000),
      notAfter: new Date(Date.now() + 1e9),
      spkiDer,
      extensions: [subjectAltName([alice])],
      signer: people.ca.key,
      digest: 'sha256',
    });
    return forged({ signer: { certDer, key: people.alice.key } });
  };
  const rsaKey = (modulus: Buffer, exponent: Buffer) =>
    w.derSequence(derRsaEncryption(), w.derBits(w.derSequence(w.der(2, modulus), w.der(2, exponent))));
  const modulus = (octets: number) => Buffer.concat([Buffer.from([0]), Buffer.alloc(octets, 0xff)]);
  const e = Buffer.from('010001', 'hex');
  const own = () => {
    const { n = '' } = createPublicKey(people.alice.key).export({ format: 'jwk' });
    return Buffer.concat([Buffer.from([0]), Buffer.from(n, 'base64url')]);
  };

  it('RSA of 512 and 1024 bits is weak (DROWN\u2019s and FREAK\u2019s exports; RFC 8550 4.3)', async () => {
    const weak = await people.ca.issue({ name: 'Alice', address: alice, key: 'rsa1024' });
    expect(detached(await cmsSign(weak, plain))).toEqual(answer('detached', 'untrusted', 'weak-key', 'weak'));
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 512 });
    const der = await withKey(spkiOf(privateKey));
    expect(opened(der)).toEqual(invalid('bad-signature'));
  });

  it.each<[string, () => Buffer, string]>([
    ['an RSA modulus of 8200 bits', () => rsaKey(modulus(1025), e), 'unsupported'],
    ['an RSA modulus of 100,000 bits', () => rsaKey(modulus(12_500), e), 'unsupported'],
    ['an RSA exponent of 2048 bits', () => rsaKey(own(), modulus(256)), 'unsupported'],
    ['an RSA exponent of 1 (every signature fits)', () => rsaKey(own(), Buffer.from([1])), 'unsupported'],
    ['an RSA exponent of 2', () => rsaKey(own(), Buffer.from([2])), 'unsupported'],
    ['an RSA exponent of 0', () => rsaKey(own(), Buffer.from([0])), 'unsupported'],
    ['a negative RSA exponent', () => rsaKey(own(), Buffer.from([0xff])), 'bad-signature'],
    ['a modulus of 0', () => rsaKey(Buffer.from([0]), e), 'unsupported'],
  ])('%s: refused at once', async (_, spki, reason) => {
    const der = await withKey(spki());
    const began = process.cpuUsage();
    const report = opened(der);
    expect([report.verdict, report.author]).toEqual([
      reason === 'unsupported' ? 'untrusted' : 'invalid',
      null,
    ]);
    expect(report.reasons).toContain(reason);
    expect(process.cpuUsage(began).user).toBeLessThan(500_000);
  });

  it('a certificate of 200 kB is left out before it is read', () => {
    const certificates = [w.derSequence(w.derOctets(Buffer.alloc(200_000))), people.mallory.certDer];
    expect(opened(forged({ certificates }))).toEqual(untrusted('signer-unknown'));
  });

  it('explicit curve parameters (CVE-2020-0601) are no known curve', async () => {
    // P-256 written out, with the victim's point as generator: the private key would be 1.
    const key = parseCertificate(carol.certDer).spkiDer;
    const point = readBer(key).children[1];
    if (!point) throw new Error('no point');
    const p = Buffer.from('00ffffffff00000001000000000000000000000000ffffffffffffffffffffffff', 'hex');
    const a = Buffer.from('ffffffff00000001000000000000000000000000fffffffffffffffffffffffc', 'hex');
    const b = Buffer.from('5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b', 'hex');
    const n = Buffer.from('00ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex');
    const generator = point.source.subarray(point.contentStart + 1, point.contentEnd);
    const explicit = w.derSequence(
      w.derInteger(1),
      w.derSequence(w.derOid('1.2.840.10045.1.1'), w.der(2, p)),
      w.derSequence(w.derOctets(a), w.derOctets(b)),
      w.derOctets(generator),
      w.der(2, n),
      w.derInteger(1),
    );
    const spki = w.derSequence(derAlgorithm(keyOid.ec, explicit), bytesOf(point));
    const certDer = signCertificate({
      serial: carol.serial,
      issuerDer: people.ca.subjectDer,
      subjectDer: carol.subjectDer,
      notBefore: new Date(Date.now() - 1000),
      notAfter: new Date(Date.now() + 1e9),
      spkiDer: spki,
      extensions: [subjectAltName([alice])],
      signer: people.ca.key,
      digest: 'sha256',
    });
    const certificate = parseCertificate(certDer);
    expect(certificate.curve).toBe(null);
    expect(() => publicKeyOf(certificate)).toThrowError(expect.objectContaining({ code: 'key-unsupported' }));
    const der = forged({
      signer: { certDer, key: people.alice.key },
      algorithm: derAlgorithm('1.2.840.10045.4.3.2'),
    });
    expect(opened(der)).toEqual(untrusted('unsupported'));
  });

  it('an authority with explicit parameters and a trusted name signs nobody (CVE-2020-0601)', async () => {
    const rogue = await people.ca.issue({
      name: 'x',
      key: 'p256',
      isCa: true,
      subjectDer: people.ca.subjectDer,
    });
    const fake = signCertificate({
      serial: Buffer.from('77', 'hex'),
      issuerDer: rogue.subjectDer,
      subjectDer: distinguishedName('Alice'),
      notBefore: new Date(Date.now() - 1000),
      notAfter: new Date(Date.now() + 1e9),
      spkiDer: spkiOf(people.alice.key),
      extensions: [subjectAltName([alice])],
      signer: carol.key,
      digest: 'sha256',
    });
    const report = opened(forged({ signer: { certDer: fake, key: people.alice.key } }));
    expect(report).toMatchObject({ verdict: 'untrusted', author: null });
  });
});

describe('duplicate and missing attributes', () => {
  const type = contentTypeAttribute();
  const good = () => digestAttribute(plain);
  const evil = digestAttribute(Buffer.from('evil'));
  it.each<[string, () => Buffer[], string[]]>([
    [
      'two digests, the right one first',
      () => [type, good(), evil],
      ['duplicate-attribute', 'missing-attribute'],
    ],
    [
      'two digests, the right one last',
      () => [type, evil, good()],
      ['duplicate-attribute', 'missing-attribute'],
    ],
    ['the same digest twice', () => [type, good(), good()], ['duplicate-attribute', 'missing-attribute']],
    [
      'two digests in one attribute',
      () => [
        type,
        attribute(
          oid.messageDigest,
          w.derOctets(createHash('sha256').update(plain).digest()),
          w.derOctets(Buffer.alloc(32)),
        ),
      ],
      ['duplicate-attribute', 'missing-attribute'],
    ],
    ['no digest', () => [type], ['missing-attribute']],
    [
      'an empty digest',
      () => [type, attribute(oid.messageDigest, w.derOctets(Buffer.alloc(0)))],
      ['bad-digest'],
    ],
    [
      'a digest cut short',
      () => [
        type,
        attribute(
          oid.messageDigest,
          w.derOctets(createHash('sha256').update(plain).digest().subarray(0, 16)),
        ),
      ],
      ['bad-digest'],
    ],
    ['no content type', () => [good()], ['missing-attribute']],
    [
      'another content type',
      () => [contentTypeAttribute('1.2.840.113549.1.9.16.1.4'), good()],
      ['content-type-mismatch'],
    ],
    [
      'two content types',
      () => [type, contentTypeAttribute('1.2.3'), good()],
      ['duplicate-attribute', 'missing-attribute'],
    ],
    [
      'two signing times',
      () => [
        type,
        good(),
        attribute(oid.signingTime, w.derTime(0)),
        attribute(oid.signingTime, w.derTime(1e12)),
      ],
      ['duplicate-attribute'],
    ],
    ['no attributes in the set', () => [], ['missing-attribute']],
    [
      'a signing certificate that is another\u2019s',
      () => [
        type,
        good(),
        attribute(
          oid.signingCertificateV2,
          w.derSequence(
            w.derSequence(
              w.derSequence(w.derOctets(createHash('sha256').update(people.mallory.certDer).digest())),
            ),
          ),
        ),
      ],
      ['certificate-binding'],
    ],
  ])('%s', (_, attributes, reasons) => {
    expect(opened(forged({ attributes: attributes() }))).toEqual(invalid(...reasons));
  });

  it('without attributes, over another content type than data', () => {
    expect(opened(forged({ attributes: null, eContentType: '1.2.3.4' }))).toEqual(
      invalid('content-type-mismatch'),
    );
  });
});

describe('BER ambiguity', () => {
  it('indefinite lengths and segments are the same signature', async () => {
    const der = await cmsSign(people.alice, plain, { opaque: true, stream: true });
    expect(der.subarray(0, 2).toString('hex')).toBe('3080');
    expect(opened(der)).toEqual(signedBy(alice, 'opaque'));
  });

  it('attributes signed in DER and sent in another order or in BER count by what was signed', () => {
    const list = [contentTypeAttribute(), digestAttribute(plain)];
    const set = w.derSetOf(...list);
    expect(opened(forged({ attributes: [...list].reverse(), covered: set }))).toEqual(
      signedBy(alice, 'opaque'),
    );
  });

  it('a second SignedData behind the first, or inside the same wrapper, is not looked at', async () => {
    const hers = await cmsSign(people.alice, plain, { opaque: true });
    const other = await cmsSign(people.mallory, plain, { opaque: true });
    expect(opened(Buffer.concat([other, hers]))).toEqual(answer('opaque', 'mismatch', 'no-address-match'));
    const inner = (der: Buffer) => bytesOf(readBer(der).children[1]?.children[0] as never);
    const two = w.derSequence(w.derOid(oid.signedData), w.derContext(0, inner(other), inner(hers)));
    expect(opened(two)).toEqual(answer('opaque', 'mismatch', 'no-address-match'));
  });

  it('two eContents in one wrapper: the first is verified and is what is shown', async () => {
    const der = await cmsSign(people.alice, plain, { opaque: true });
    const data = readBer(der).children[1]?.children[0]?.children ?? [];
    const twice = (first: Buffer, second: Buffer) =>
      contentInfo(
        oid.signedData,
        w.derSequence(
          ...data.map((one, n) =>
            n === 2
              ? w.derSequence(w.derOid(oid.data), w.derContext(0, w.derOctets(first), w.derOctets(second)))
              : bytesOf(one),
          ),
        ),
      );
    const evil = Buffer.from('Content-Type: text/plain\r\n\r\nevil\r\n');
    const report = openEntity(people, cmsEntity(twice(evil, plain), 'signed-data'));
    expect(outcome(report)).toEqual(invalid('bad-digest'));
    expect(opened(twice(plain, evil))).toEqual(signedBy(alice, 'opaque'));
  });

  it.each<[string, string]>([
    ['a length of eight octets', '30880000000000000002'],
    ['an indefinite primitive', '0480'],
    ['a tag number of five octets', '3f8181818101'],
    ['end of contents alone', '0000'],
    ['an indefinite length without an end', '3080'],
  ])('%s is malformed', (_, hex) => {
    expect(opened(Buffer.from(hex, 'hex'))).toEqual(answer('none', 'malformed', 'malformed'));
  });

  it('a signature or a serial number in another encoding of the same number proves nothing', async () => {
    const [signer = Buffer.alloc(0)] = signersOf(await cmsSign(people.alice, plain));
    const padded = w.derSequence(
      bytesOf(readBer(people.ca.subjectDer)),
      w.der(2, Buffer.concat([Buffer.from([0]), people.alice.serial])),
    );
    const der = withSigners(await cmsSign(people.alice, plain), () => [withField(signer, 1, padded)]);
    expect(detached(der)).toEqual(untrusted('signer-unknown'));
  });

  it('a negative serial number is a number like others, and not its positive twin', async () => {
    const negative = await people.ca.issue({ name: 'N', address: alice, serial: Buffer.from('80', 'hex') });
    expect(parseCertificate(negative.certDer).serial).toBe('-80');
    expect(detached(await cmsSign(negative, plain))).toEqual(signedBy(alice, 'detached'));
    const twin = await people.ca.issue({ name: 'P', address: alice, serial: Buffer.from('0080', 'hex') });
    expect(detached(await cmsSign(twin, plain, { noCertificates: true, chain: [negative] }))).toEqual(
      untrusted('signer-unknown'),
    );
  });

  it('unused bits in the signature of a certificate do not make a second certificate of it', async () => {
    const whole = readBer(people.alice.certDer).children;
    const signature = whole[2];
    if (!signature) throw new Error('no signature');
    const octets = signature.source.subarray(signature.contentStart + 1, signature.contentEnd);
    const tbs = bytesOf(whole[0] as NonNullable<(typeof whole)[0]>);
    const algorithm = bytesOf(whole[1] as NonNullable<(typeof whole)[0]>);
    const remade = (unused: number) =>
      w.derSequence(tbs, algorithm, w.der(3, Buffer.concat([Buffer.from([unused]), octets])));
    expect(() => parseCertificate(remade(8))).toThrowError(
      expect.objectContaining({ code: 'certificate-malformed' }),
    );
    // Pins and the store go by the hash of all octets: the twin is another certificate there.
    expect(parseCertificate(remade(1)).sha256).not.toBe(parseCertificate(people.alice.certDer).sha256);
  });
});

it('a signature over the digest of the digest, or with another padding, is none', () => {
  const set = w.derSetOf(contentTypeAttribute(), digestAttribute(plain));
  const twice = sign('sha256', createHash('sha256').update(set).digest(), people.alice.key);
  const attributes = [contentTypeAttribute(), digestAttribute(plain)];
  expect(opened(forged({ attributes, signature: twice }))).toEqual(invalid('bad-signature'));
  const pssSigned = sign('sha256', set, { key: people.alice.key, padding: constants.RSA_PKCS1_PSS_PADDING });
  expect(opened(forged({ attributes, signature: pssSigned }))).toEqual(invalid('bad-signature'));
});
