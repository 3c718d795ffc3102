import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
} from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { attributeOid } from '../../src/cms/attributes.ts';
import { signDetached } from '../../src/cms/sign.ts';
import type { SignerInfo } from '../../src/cms/signed-data.ts';
import { type SignerReport, verifySigner } from '../../src/cms/verify.ts';
import {
  createDigest,
  type DigestName,
  defaultFloor,
  derAlgorithm,
  keyOid,
} from '../../src/pki/algorithms.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import * as w from '../../src/pki/der.ts';
import { mustRun } from '../kit/client.ts';
import { subjectKeyId } from '../kit/issue.ts';
import { hasProgram, needs } from '../kit/needs.ts';
import { cmsSign, cmsVerify } from '../kit/openssl.ts';
import { type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import {
  attribute,
  contentTypeAttribute,
  digestAttribute,
  type Forgery,
  forgeSignedData,
  oid,
  readSigned,
  sha256,
} from './forge.ts';

const content = Buffer.from('Content-Type: text/plain\r\n\r\nSigned in every way.\r\n');
const both = () => [contentTypeAttribute(), digestAttribute(content)];
let ca: TestCa;
let alice: Identity;

beforeAll(async () => {
  ca = await makeCa('Signer Root');
  alice = await ca.issue({ name: 'Alice', address: 'alice@a.example' });
});

function reports(der: Buffer, detached: Buffer | null = null): SignerReport[] {
  const data = readSigned(der);
  const covered = detached ? [detached] : (data.content ?? []);
  return data.signers.map((signer) => verifySigner(data, signer, covered, [], defaultFloor));
}
const forged = (d: Partial<Forgery> = {}): Buffer =>
  forgeSignedData({ signer: alice, content, attributes: both(), ...d });
const report = (d: Partial<Forgery> = {}): SignerReport => reports(forged(d))[0] as SignerReport;

describe('attributes that are there once with one value', () => {
  /** A value that is right where a wrong one would have reasons of its own. */
  const right = new Map<string, () => Buffer>([
    [attributeOid.contentType, () => w.derOid(oid.data)],
    [attributeOid.messageDigest, () => w.derOctets(sha256(content))],
    [attributeOid.signingTime, () => w.derTime(1_700_000_000_000)],
    [attributeOid.capabilities, () => w.derSequence()],
    [attributeOid.encryptionKeyPreference, () => w.derContextPrimitive(2, Buffer.from([1]))],
    [
      attributeOid.signingCertificate,
      () => w.derSequence(w.derSequence(w.derSequence(w.derOctets(sha1(alice.certDer))))),
    ],
    [
      attributeOid.signingCertificateV2,
      () => w.derSequence(w.derSequence(w.derSequence(w.derOctets(sha256(alice.certDer))))),
    ],
    [
      attributeOid.algorithmProtection,
      () =>
        w.derSequence(
          derAlgorithm('2.16.840.1.101.3.4.2.1'),
          w.derContext(1, w.derOid(keyOid.rsa), w.derNull()),
        ),
    ],
  ]);
  const sha1 = (bytes: Buffer) => createHash('sha1').update(bytes).digest();
  const others = (type: string) =>
    [contentTypeAttribute(), digestAttribute(content)].filter(
      (_, i) => type !== [oid.contentType, oid.messageDigest][i],
    );

  // RFC 2634 1.3.4: receipt request, label, expansion history, hints, digest, identifier, equivalent labels, reference.
  const ess = [1, 2, 3, 4, 5, 7, 9, 10].map((arc) => `1.2.840.113549.1.9.16.2.${arc}`);
  it.each([...right.keys(), ...ess])('%s', (type) => {
    const value = right.get(type)?.() ?? w.derSequence();
    const with_ = (...attributes: Buffer[]) => report({ attributes: [...others(type), ...attributes] });
    expect(with_(attribute(type, value))).toMatchObject({ intact: true, reasons: [] });
    const twice = [attribute(type, value), attribute(type, value)];
    for (const wrong of [twice, [attribute(type, value, value)], [attribute(type)]]) {
      const { intact, reasons, signingTime, capabilities, preference } = with_(...wrong);
      expect({ intact, first: reasons[0] }).toEqual({ intact: false, first: 'duplicate-attribute' });
      expect([signingTime, capabilities, preference]).toEqual([null, null, null]);
    }
  });

  it('an attribute that is not known may be there twice', () => {
    const extra = attribute('1.2.3.4', w.derNull(), w.derNull());
    expect(report({ attributes: [...both(), extra, extra] })).toMatchObject({ intact: true });
  });
});

describe('signingTime (RFC 8551 2.5.1, RFC 5652 11.3)', () => {
  const time = (tag: number, text: string) =>
    report({ attributes: [...both(), attribute(oid.signingTime, w.der(tag, Buffer.from(text)))] });
  it.each<[string, number, string, number | null]>([
    ['UTCTime of this century', 23, '260102030405Z', Date.UTC(2026, 0, 2, 3, 4, 5)],
    ['UTCTime, 49 is 2049', 23, '491231235959Z', Date.UTC(2049, 11, 31, 23, 59, 59)],
    ['UTCTime, 50 is 1950', 23, '500101000000Z', Date.UTC(1950, 0, 1)],
    ['GeneralizedTime from 2050', 24, '20500101000000Z', Date.UTC(2050, 0, 1)],
    [
      'GeneralizedTime before it, which no sender should write',
      24,
      '20260102030405Z',
      Date.UTC(2026, 0, 2, 3, 4, 5),
    ],
    ['without seconds', 23, '2601020304Z', null],
    ['with a zone', 23, '260102030405+0100', null],
    ['without a zone', 24, '20260102030405', null],
    ['the 13th month', 23, '261302030405Z', null],
    ['words', 23, 'yesterday', null],
    ['another type', 12, '260102030405Z', null],
  ])('%s', (_, tag, text, expected) => {
    // A time that cannot be read claims nothing, and says nothing against the signature.
    expect(time(tag, text)).toMatchObject({ intact: true, reasons: [], signingTime: expected });
  });
});

describe('who signed', () => {
  it.each([
    ['one octet', Buffer.from([7])],
    ['text that is no hash', Buffer.from('key of Alice')],
    ['64 octets', Buffer.alloc(64, 5)],
  ])('by the key identifier in the extension, whatever it is: %s', async (_, keyId) => {
    const carol = await ca.issue({ name: 'Carol', keyFrom: alice, extensions: [subjectKeyId(keyId)] });
    const id = w.derContextPrimitive(0, keyId);
    const certificates = [alice.certDer, carol.certDer];
    expect(report({ id, certificates })).toMatchObject({
      intact: true,
      certificate: { sha256: parseCertificate(carol.certDer).sha256 },
      certificates: [{ sha256: parseCertificate(carol.certDer).sha256 }],
      id: { kind: 'key-id', keyId },
    });
    expect(report({ id })).toMatchObject({ intact: false, certificate: null, reasons: ['signer-unknown'] });
  });

  it('a certificate without a key identifier is not named by an empty one', async () => {
    const extensions = [{ oid: '2.5.29.14', valueDer: null }] as never;
    const dave = await ca.issue({ name: 'Dave', keyFrom: alice, extensions });
    const id = w.derContextPrimitive(0, Buffer.alloc(0));
    expect(report({ id, certificates: [dave.certDer] })).toMatchObject({ reasons: ['signer-unknown'] });
  });

  it('nobody is no signer at all', () => {
    expect(reports(forged({ repeat: 0 }))).toEqual([]);
  });

  it('each of several is reported, whatever the others are', () => {
    const data = readSigned(forged({ repeat: 3 }));
    const [one, two, three] = data.signers as [SignerInfo, SignerInfo, SignerInfo];
    const changed = {
      ...data,
      signers: [one, { ...two, signature: Buffer.alloc(256, 1) }, { ...three, digest: null }],
    };
    const made = changed.signers.map((s) => verifySigner(changed, s, data.content ?? [], [], defaultFloor));
    expect(made.map(({ intact, reasons }) => ({ intact, reasons }))).toEqual([
      { intact: true, reasons: [] },
      { intact: false, reasons: ['bad-signature'] },
      { intact: false, reasons: ['unsupported'] },
    ]);
  });
});

// Made here: `openssl cms` 3.0 signs with neither key.
describe('EdDSA (RFC 8419)', () => {
  const identity = async (key: KeyObject): Promise<Identity> =>
    ca.issue({ name: 'Eddie', address: 'e@a.example', keyFrom: { ...alice, key } });
  const shake256Len = () => derAlgorithm('2.16.840.1.101.3.4.2.18', w.derInteger(512));
  const digestOf = (name: DigestName) =>
    attribute(oid.messageDigest, w.derOctets(createDigest(name).update(content).digest()));

  it.each([
    ['ed25519', 'sha512', () => derAlgorithm('2.16.840.1.101.3.4.2.3')],
    ['ed448', 'shake256', shake256Len],
  ] as const)('%s with signed attributes and %s', async (type, name, digest) => {
    const signer = await identity(makeKey(type));
    const attributes = [contentTypeAttribute(), digestOf(name)];
    const signature = sign(null, w.der(0x31, ...attributes), signer.key);
    const forgery = {
      signer,
      attributes,
      signature,
      algorithm: derAlgorithm(keyOid[type]),
      digest: digest(),
    };
    expect(report(forgery)).toMatchObject({ intact: true, weak: false, algorithm: type, digest: name });
    signature[5] = (signature[5] as number) ^ 1;
    expect(report(forgery)).toMatchObject({ intact: false, reasons: ['bad-signature'] });
  });

  it.each(['ed25519', 'ed448'] as const)('%s over the content itself', async (type) => {
    const signer = await identity(makeKey(type));
    const digest = type === 'ed448' ? shake256Len() : derAlgorithm('2.16.840.1.101.3.4.2.3');
    const signature = sign(null, content, signer.key);
    const forgery = { signer, attributes: null, signature, algorithm: derAlgorithm(keyOid[type]), digest };
    expect(report(forgery)).toMatchObject({ intact: true, algorithm: type });
    expect(report({ ...forgery, content: Buffer.from('other') })).toMatchObject({
      reasons: ['bad-signature'],
    });
  });

  it('one does not pass for the other', async () => {
    const signer = await identity(makeKey('ed25519'));
    const attributes = [contentTypeAttribute(), digestOf('sha512')];
    const signature = sign(null, w.der(0x31, ...attributes), signer.key);
    const digest = derAlgorithm('2.16.840.1.101.3.4.2.3');
    expect(
      report({ signer, attributes, signature, digest, algorithm: derAlgorithm(keyOid.ed448) }),
    ).toMatchObject({ intact: false, reasons: ['bad-signature'] });
  });

  function makeKey(type: 'ed25519' | 'ed448'): KeyObject {
    return type === 'ed25519'
      ? generateKeyPairSync('ed25519').privateKey
      : generateKeyPairSync('ed448').privateKey;
  }
});

describe.skipIf(!needs('openssl', hasProgram('openssl')))('other keys, both ways with OpenSSL', () => {
  it.each([
    'brainpoolP256r1',
    'brainpoolP320r1',
    'brainpoolP384r1',
    'brainpoolP512r1',
    'secp256k1',
    'secp384r1',
  ])('ECDSA on %s', async (namedCurve) => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve });
    const signer = await ca.issue({
      name: 'Eve',
      address: 'e@a.example',
      keyFrom: { ...alice, key: privateKey },
    });
    const der = await cmsSign(signer, content, { digest: 'sha512' });
    expect(reports(der, content)).toMatchObject([{ intact: true, weak: false, algorithm: 'ecdsa-sha512' }]);
    const certificate = parseCertificate(signer.certDer);
    const ours = signDetached(content, { key: signer.key, certificate, chain: [], at: Date.now() });
    expect(await cmsVerify(ca, ours, content)).toMatchObject({ intact: true });
  });

  it('an RSASSA-PSS key that allows one digest only verifies with it', async () => {
    const { stdout } = await mustRun('openssl', [
      ...['genpkey', '-algorithm', 'RSA-PSS', '-pkeyopt', 'rsa_keygen_bits:2048'],
      ...['-pkeyopt', 'rsa_pss_keygen_md:sha384', '-pkeyopt', 'rsa_pss_keygen_mgf1_md:sha384'],
      ...['-pkeyopt', 'rsa_pss_keygen_saltlen:48'],
    ]);
    const key = createPrivateKey(stdout);
    expect(createPublicKey(key).asymmetricKeyDetails).toMatchObject({ hashAlgorithm: 'sha384' });
    const signer = await ca.issue({ name: 'Pia', keyFrom: { ...alice, key } });
    const der = await cmsSign(signer, content, { digest: 'sha384', pss: true });
    expect(reports(der, content)).toMatchObject([{ intact: true, algorithm: 'rsa-pss-sha384' }]);
  });
});

describe('revocation lists and responses in the message', () => {
  const crl = () => Buffer.from(ca.crl().replace(/-----.*-----|\n/g, ''), 'base64');
  const response = w.derSequence(w.der(10, Buffer.from([6])));
  const other = (format: string, info: Buffer) => w.derContext(1, w.derOid(format), info);
  const ocsp = (info = response) => other('1.3.6.1.5.5.7.16.2', info);
  const read = (revocations: Buffer[]) => {
    const { crls, ocsp } = readSigned(forged({ revocations }));
    return { crls, ocsp };
  };

  it('are given as they came: CRLs, and OCSP responses (RFC 5940)', () => {
    const list = crl();
    expect(read([list, ocsp()])).toEqual({ crls: [list], ocsp: [response] });
    expect(reports(forged({ revocations: [list, ocsp()] }))).toMatchObject([{ intact: true }]);
  });

  it('are none where there are none', () => {
    const { crls, ocsp } = readSigned(forged());
    expect({ crls, ocsp }).toEqual({ crls: [], ocsp: [] });
  });

  it.each<[string, () => Buffer]>([
    ['SCVP', () => other('1.3.6.1.5.5.7.16.4', w.derSequence())],
    ['an OCSP response that is none', () => ocsp(w.derNull())],
    ['a format without an identifier', () => w.derContext(1, w.derNull())],
    ['nothing in it', () => w.derContext(1)],
    ['an unknown choice', () => w.derContext(2, w.derNull())],
  ])('%s is passed over', (_, info) => {
    const list = crl();
    expect(read([info(), list])).toEqual({ crls: [list], ocsp: [] });
  });

  it('ten are read, eleven are too many', () => {
    expect(read([...Array<Buffer>(6).fill(crl()), ...Array<Buffer>(4).fill(ocsp())])).toMatchObject({
      crls: { length: 6 },
      ocsp: { length: 4 },
    });
    expect(() => read(Array<Buffer>(11).fill(crl()))).toThrowError(
      expect.objectContaining({ code: 'cms-budget' }),
    );
  });
});
