import { beforeAll, describe, expect, it } from 'vitest';
import { formatCapabilities, ownCapabilities, parseCapabilities } from '../../src/cms/capabilities.ts';
import { parseContentInfo } from '../../src/cms/content-info.ts';
import { certsOnly, signatureDigest, signDetached, signOpaque } from '../../src/cms/sign.ts';
import { parseSignedData, type SignerInfo } from '../../src/cms/signed-data.ts';
import { verifySigner } from '../../src/cms/verify.ts';
import { defaultFloor, derAlgorithm, keyOid } from '../../src/pki/algorithms.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import * as w from '../../src/pki/der.ts';
import { runProgram, saidBy, withFiles } from '../kit/client.ts';
import { hasProgram, needs } from '../kit/needs.ts';
import { cmsVerify } from '../kit/openssl.ts';
import { type Identity, type KeyKind, makeCa, type TestCa } from '../kit/pki.ts';
import { oid } from './forge.ts';

const entity = Buffer.from('Content-Type: text/plain\r\n\r\nThe list wrote this.\r\n');
const at = Date.UTC(2026, 10, 22, 10, 0, 0);
let ca: TestCa;
let middle: TestCa;
const people = new Map<KeyKind, Identity>();
const kinds: KeyKind[] = ['rsa', 'rsa4096', 'rsa-pss', 'p256', 'p384', 'p521', 'ed25519'];

beforeAll(async () => {
  ca = await makeCa('Signing Root');
  middle = await ca.intermediate({ name: 'Signing Intermediate' });
  for (const key of kinds)
    people.set(key, await middle.issue({ name: `Owner of ${key}`, address: 'list@a.example', key }));
});

const certificate = (identity: Identity) => parseCertificate(identity.certDer);
function sign(
  kind: KeyKind,
  more: { capabilities?: Buffer; encryption?: ReturnType<typeof certificate> } = {},
): Buffer {
  const identity = people.get(kind) as Identity;
  const chain = [certificate(middle), certificate(ca)];
  return signDetached(entity, { key: identity.key, certificate: certificate(identity), chain, at, ...more });
}
const parse = (der: Buffer) => parseSignedData(parseContentInfo(der).content);

describe('a signature of ours', () => {
  it.each(kinds)('by a %s key is intact, DER, and carries the chain without the root', (kind) => {
    const der = sign(kind, { capabilities: formatCapabilities(ownCapabilities('rsa')) });
    const data = parse(der);
    const report = verifySigner(data, data.signers[0] as SignerInfo, [entity], [], defaultFloor);
    expect(report).toMatchObject({ intact: true, weak: false, reasons: [], signingTime: at });
    expect(report.digest).toBe(signatureDigest((people.get(kind) as Identity).key));
    expect(parseCapabilities(report.capabilities as Buffer)).toEqual(ownCapabilities('rsa'));
    expect(data.content).toBeNull();
    expect(data.certificates.map((c) => c.subject).sort()).toEqual([
      `CN=Owner of ${kind}`,
      'CN=Signing Intermediate',
    ]);
    expect(data.signers[0]?.attributes.map((a) => a.oid).sort()).toEqual(
      [
        oid.contentType,
        oid.messageDigest,
        oid.signingTime,
        oid.capabilities,
        oid.signingCertificateV2,
      ].sort(),
    );
  });

  // Ed25519 in CMS: OpenSSL from 3.2 on.
  it.skipIf(!needs('openssl', hasProgram('openssl'))).each(kinds.filter((kind) => kind !== 'ed25519'))(
    'by a %s key is trusted by OpenSSL',
    async (kind) => {
      const der = sign(kind, { capabilities: formatCapabilities(ownCapabilities('rsa')) });
      expect(await cmsVerify(ca, der, entity)).toMatchObject({ intact: true, trusted: true });
      expect(await cmsVerify(ca, der, Buffer.from('other'))).toMatchObject({ intact: false });
    },
  );

  it.skipIf(!needs('openssl', hasProgram('openssl')))(
    'binds the certificate for OpenSSL too (CAdES, RFC 5035)',
    async () => {
      const der = sign('p384', { capabilities: formatCapabilities(ownCapabilities('ec')) });
      const said = await withFiles({ der, entity }, async (paths) => {
        const args = ['cms', '-verify', '-cades', '-binary', '-inform', 'DER', '-in', paths.der];
        return runProgram('openssl', [
          ...args,
          '-content',
          paths.entity,
          '-CAfile',
          ca.certPath,
          '-purpose',
          'any',
        ]);
      });
      expect(saidBy(said)).toContain('CAdES Verification successful');
    },
  );

  it('opaque carries the content inside, octet by octet', async () => {
    const identity = people.get('rsa') as Identity;
    const content = Buffer.from('lines\nas they\rare\r\n');
    const signing = {
      key: identity.key,
      certificate: certificate(identity),
      chain: [certificate(middle)],
      at,
    };
    const der = signOpaque(content, signing);
    expect(await cmsVerify(ca, der, null)).toMatchObject({ intact: true, trusted: true, content });
    const data = parse(der);
    const report = verifySigner(data, data.signers[0] as SignerInfo, [content], [], defaultFloor);
    expect(report).toMatchObject({ intact: true, reasons: [] });
  });

  it('names the certificate to encrypt to and carries it (RFC 8551 2.5.3)', async () => {
    const encryption = certificate(
      await middle.issue({ name: 'Encryption', address: 'list@a.example', key: 'p256' }),
    );
    const data = parse(sign('rsa', { encryption }));
    expect(data.signers[0]?.preference).toMatchObject({
      kind: 'issuer-serial',
      serialDer: encryption.serialDer,
    });
    expect(data.certificates.map((c) => c.sha256)).toContain(encryption.sha256);
  });

  it('cannot be made with a key that does not sign', async () => {
    const x25519 = await middle.issue({ name: 'Exchange', key: 'x25519' });
    const d = { key: x25519.key, certificate: certificate(x25519), chain: [], at };
    expect(() => signDetached(entity, d)).toThrowError(expect.objectContaining({ code: 'cms-signer' }));
  });

  it('certs-only carries certificates, each once, and no signature', () => {
    const all = [...people.values()].slice(0, 3).map(certificate);
    const data = parse(certsOnly([...all, ...all]));
    expect(data).toMatchObject({ signers: [], content: null, badCertificates: 0 });
    expect(data.certificates.map((c) => c.sha256).sort()).toEqual(all.map((c) => c.sha256).sort());
  });
});

describe('SMIMECapabilities', () => {
  it('keeps the order, drops repeats, ignores what it does not know (RFC 8551 2.5.2)', () => {
    const capability = (type: string, ...parameters: Buffer[]) => derAlgorithm(type, ...parameters);
    const der = w.derSequence(
      capability('1.2.840.113549.3.2', w.derInteger(128)),
      capability('2.16.840.1.101.3.4.1.2'),
      capability('1.2.3.4.5', w.derNull()),
      capability('2.16.840.1.101.3.4.1.46'),
      capability('2.16.840.1.101.3.4.1.2'),
      capability('1.2.840.113549.3.7'),
    );
    expect(parseCapabilities(der)).toEqual({
      ciphers: ['aes-128-cbc', 'aes-256-gcm', 'des-ede3-cbc'],
      oaep: [],
      agreements: [],
    });
  });

  it('reads key agreements with their key wrap (RFC 5753 7.1.4), and writes them so', () => {
    const sha256kdf = '1.3.132.1.11.1';
    const hkdf = '1.2.840.113549.1.9.16.3.19';
    const aes256wrap = derAlgorithm('2.16.840.1.101.3.4.1.45');
    const der = w.derSequence(
      derAlgorithm(sha256kdf, aes256wrap),
      // SHA-1, and a wrap that nobody knows.
      derAlgorithm('1.3.133.16.840.63.0.2', aes256wrap),
      derAlgorithm(sha256kdf, derAlgorithm('1.2.3.4')),
      derAlgorithm(hkdf),
    );
    const read = parseCapabilities(der);
    expect(read.agreements).toEqual([
      { scheme: 'ecdh-sha256kdf', wrap: 'id-aes256-wrap' },
      { scheme: 'ecdh-hkdf-sha256', wrap: null },
    ]);
    expect(formatCapabilities(read)).toEqual(
      w.derSequence(derAlgorithm(sha256kdf, aes256wrap), derAlgorithm(hkdf)),
    );
  });

  it.each(['rsa', 'ec', 'x25519'] as const)('of ours for an %s key come back as they are', (keyType) => {
    const own = ownCapabilities(keyType);
    expect(parseCapabilities(formatCapabilities(own))).toEqual(own);
    expect([own.oaep.length > 0, own.agreements.length > 0]).toEqual([keyType === 'rsa', keyType !== 'rsa']);
  });

  it('takes OAEP with one hash for both only (RULES 11)', () => {
    const hash = (name: string) => derAlgorithm(name, w.derNull());
    const sha256 = '2.16.840.1.101.3.4.2.1';
    const sha1 = '1.3.14.3.2.26';
    const oaep = (digest: string, mask: string) =>
      derAlgorithm(
        keyOid.rsaOaep,
        w.derSequence(w.derContext(0, hash(digest)), w.derContext(1, derAlgorithm(keyOid.mgf1, hash(mask)))),
      );
    const read = (...all: Buffer[]) => parseCapabilities(w.derSequence(...all)).oaep;
    expect(read(oaep(sha256, sha1))).toEqual([]);
    expect(read(oaep(sha256, sha256), derAlgorithm(keyOid.rsaOaep, w.derSequence()))).toEqual([
      'sha256',
      'sha1',
    ]);
  });

  it('what is none is cms-malformed', () => {
    for (const der of [Buffer.alloc(0), w.derNull(), w.derSequence(w.derNull())])
      expect(() => parseCapabilities(der)).toThrowError(expect.objectContaining({ code: 'cms-malformed' }));
  });
});
