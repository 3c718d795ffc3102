import {
  constants,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
} from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { defaultFloor, derAlgorithm, derDigest, digestOid, keyOid } from '../../src/pki/algorithms.ts';
import { contentOf, readBer } from '../../src/pki/ber.ts';
import { type Certificate, parseCertificate, publicKeyOf } from '../../src/pki/certificate.ts';
import { derContext, derInteger, derNull, derSequence } from '../../src/pki/der.ts';
import { certificatesFromPem } from '../../src/pki/pem.ts';
import {
  digestWeakness,
  keyWeakness,
  type SignatureScheme,
  signatureSchemeOf,
  verifySignature,
} from '../../src/pki/signatures.ts';
import { mustRun } from '../kit/client.ts';
import { needs } from '../kit/needs.ts';
import { nextKey } from '../kit/pki.ts';
import { tempFolder } from '../kit/tmp.ts';
import { hex, labelOf, needsWycheproof, wycheproof } from '../kit/wycheproof.ts';

const nameOf = (der: Buffer, digest?: Parameters<typeof signatureSchemeOf>[1]) =>
  signatureSchemeOf(der, digest)?.name ?? null;

/** RSASSA-PSS-params with fields as given. */
const pss = (...fields: Buffer[]) => derAlgorithm(keyOid.rsaPss, derSequence(...fields));
const mgf1 = (digest: Buffer) => derContext(1, derAlgorithm(keyOid.mgf1, digest));
const sha256 = derDigest('sha256');
const hash = derContext(0, sha256);
const salt = (octets: number) => derContext(2, derInteger(octets));

describe('what a signature algorithm means', () => {
  it.each([
    ['bare RSA and a digest', derAlgorithm(keyOid.rsa, derNull()), 'sha256', 'rsa-sha256'],
    ['bare RSA in a certificate', derAlgorithm(keyOid.rsa, derNull()), null, null],
    ['RSA with SHA-512', derAlgorithm('1.2.840.113549.1.1.13', derNull()), null, 'rsa-sha512'],
    ['RSA with SHA-512 and the same digest', derAlgorithm('1.2.840.113549.1.1.13'), 'sha512', 'rsa-sha512'],
    ['RSA with SHA-256 over an MD5 digest', derAlgorithm('1.2.840.113549.1.1.11'), 'md5', null],
    ['bare EC key and a digest', derAlgorithm(keyOid.ec), 'sha384', 'ecdsa-sha384'],
    ['Ed25519 with the digest of the content', derAlgorithm(keyOid.ed25519), 'sha512', 'ed25519'],
    ['unknown', derAlgorithm('1.2.3.4'), 'sha256', null],
    ['PSS', pss(hash, mgf1(sha256), salt(32)), 'sha256', 'rsa-pss-sha256'],
    ['PSS with defaults: SHA-1', pss(), null, 'rsa-pss-sha1'],
    [
      'PSS with NULL beside the digest',
      pss(derContext(0, derAlgorithm(digestOid('sha256'), derNull())), mgf1(sha256)),
      null,
      'rsa-pss-sha256',
    ],
    ['PSS with another digest than CMS says', pss(hash, mgf1(sha256)), 'sha1', null],
    ['PSS with another MGF1 digest', pss(hash, mgf1(derDigest('sha512'))), null, 'rsa-pss-sha256'],
    ['PSS with SHA-256 and the default MGF1 digest', pss(hash), 'sha256', 'rsa-pss-sha256'],
    ['PSS with an unknown MGF1 digest', pss(hash, mgf1(derAlgorithm('1.2.3'))), null, null],
    ['PSS without parameters', derAlgorithm(keyOid.rsaPss), 'sha256', null],
    ['PSS with the trailer 1', pss(hash, mgf1(sha256), derContext(3, derInteger(1))), null, 'rsa-pss-sha256'],
    ['PSS with another trailer', pss(hash, mgf1(sha256), derContext(3, derInteger(2))), null, null],
    ['PSS with a field of the future', pss(hash, mgf1(sha256), derContext(4, derInteger(1))), null, null],
    ['PSS with a field twice', pss(hash, hash, mgf1(sha256)), null, null],
    ['PSS with another mask', pss(hash, derContext(1, derAlgorithm('1.2.3', sha256))), null, null],
    [
      'PSS with the name of a signature for a digest',
      pss(derContext(0, derAlgorithm('1.2.840.113549.1.1.11')), mgf1(sha256)),
      null,
      null,
    ],
    ['broken', Buffer.from([0x30, 0x05]), null, null],
  ] as const)('%s', (_what, der, digest, expected) => {
    expect(nameOf(der, digest)).toBe(expected);
  });

  it('takes the salt length from the parameters', () => {
    expect(signatureSchemeOf(pss(hash, mgf1(sha256), salt(17)))?.saltLength).toBe(17);
    expect(signatureSchemeOf(pss(hash, mgf1(sha256)))?.saltLength).toBe(20);
  });
});

describe('verifySignature', () => {
  const content = Buffer.from('a message in three pieces');
  const pieces = [content.subarray(0, 5), content.subarray(5, 6), content.subarray(6)];
  const scheme = (der: Buffer) => signatureSchemeOf(der) as SignatureScheme;

  it.each([
    ['rsa', derAlgorithm('1.2.840.113549.1.1.11'), 'sha256'],
    ['rsa', derAlgorithm('2.16.840.1.101.3.4.3.14'), 'sha3-256'],
    ['p256', derAlgorithm('1.2.840.10045.4.3.2'), 'sha256'],
    ['p521', derAlgorithm('1.2.840.10045.4.3.4'), 'sha512'],
    ['brainpool256', derAlgorithm('1.2.840.10045.4.3.2'), 'sha256'],
    ['ed25519', derAlgorithm(keyOid.ed25519), null],
  ] as const)('%s: pieces, and not one octet more', async (kind, der, digest) => {
    const key = await nextKey(kind);
    const publicKey = createPublicKey(key);
    const signature = sign(digest, content, key);
    expect(verifySignature(scheme(der), publicKey, pieces, signature)).toBe(true);
    expect(verifySignature(scheme(der), publicKey, [content], signature)).toBe(true);
    expect(verifySignature(scheme(der), publicKey, [...pieces, Buffer.from('!')], signature)).toBe(false);
    expect(verifySignature(scheme(der), publicKey, pieces, signature.subarray(1))).toBe(false);
    expect(verifySignature(scheme(der), publicKey, pieces, Buffer.alloc(0))).toBe(false);
  });

  it('holds PSS to its salt length', async () => {
    const key = await nextKey('rsa');
    const signature = sign('sha256', content, {
      key,
      padding: constants.RSA_PKCS1_PSS_PADDING,
      saltLength: 32,
    });
    const judge = (octets: number) =>
      verifySignature(scheme(pss(hash, mgf1(sha256), salt(octets))), createPublicKey(key), pieces, signature);
    expect([judge(32), judge(20)]).toEqual([true, false]);
  });

  it('holds a PSS key to its own parameters', () => {
    const options = {
      modulusLength: 2048,
      hashAlgorithm: 'sha512',
      mgf1HashAlgorithm: 'sha512',
    };
    const { privateKey, publicKey } = generateKeyPairSync('rsa-pss', options);
    const signature = sign('sha512', content, privateKey);
    const sha512 = derDigest('sha512');
    expect(
      verifySignature(
        scheme(pss(derContext(0, sha512), mgf1(sha512), salt(64))),
        publicKey,
        pieces,
        signature,
      ),
    ).toBe(true);
    expect(verifySignature(scheme(pss(hash, mgf1(sha256), salt(32))), publicKey, pieces, signature)).toBe(
      false,
    );
  });

  it('does not take a key of another kind', async () => {
    const rsa = createPublicKey(await nextKey('rsa'));
    expect(verifySignature(scheme(derAlgorithm('1.2.840.10045.4.3.2')), rsa, pieces, content)).toBe(false);
    expect(verifySignature(scheme(derAlgorithm(keyOid.ed25519)), rsa, pieces, content)).toBe(false);
    const pssKey = createPublicKey(await nextKey('rsa-pss'));
    expect(verifySignature(scheme(derAlgorithm('1.2.840.113549.1.1.11')), pssKey, pieces, content)).toBe(
      false,
    );
  });

  it.each(['sha256', 'sha384', 'sha512'])(
    'verifies a PSS certificate that OpenSSL made with %s',
    async (digest) => {
      const args = `req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=Pss -${digest} -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32`;
      const made = await mustRun('openssl', args.split(' '));
      const certificate = certificatesFromPem(made.stdout).certificates[0];
      if (!certificate) throw new Error('no certificate');
      const found = scheme(certificate.signatureAlgorithmDer);
      expect(found.name).toBe(`rsa-pss-${digest}`);
      expect(
        verifySignature(found, publicKeyOf(certificate), [certificate.tbsDer], certificate.signature),
      ).toBe(true);
    },
  );
});

/** A self-signed certificate that OpenSSL makes. */
async function opensslCertificate(args: string): Promise<Certificate> {
  const made = await mustRun(
    'openssl',
    `req -x509 -nodes -keyout /dev/null -subj /CN=Odd ${args}`.split(' '),
  );
  const certificate = certificatesFromPem(made.stdout).certificates[0];
  if (!certificate) throw new Error('no certificate');
  return certificate;
}

/** Whether its own key verifies it, whole and with one octet changed. */
function judgeSelfSigned(certificate: Certificate): [whole: boolean, changed: boolean] {
  const found = signatureSchemeOf(certificate.signatureAlgorithmDer) as SignatureScheme;
  const key = publicKeyOf(certificate);
  const changed = Buffer.from(certificate.tbsDer);
  changed[changed.length - 1] = (changed[changed.length - 1] ?? 0) ^ 1;
  return [
    verifySignature(found, key, [certificate.tbsDer], certificate.signature),
    verifySignature(found, key, [changed], certificate.signature),
  ];
}

describe('PSS with a mask digest of its own (RFC 4055 3.1), made by OpenSSL', () => {
  const pssArgs = (digest: string, mask: string, salt: number | 'max') =>
    `-${digest} -sigopt rsa_padding_mode:pss -sigopt rsa_mgf1_md:${mask} -sigopt rsa_pss_saltlen:${salt}`;
  it.each([
    ['rsa:2048', 'sha256', 'sha1', 32],
    ['rsa:2048', 'sha256', 'sha1', 0],
    ['rsa:2048', 'sha1', 'sha256', 20],
    ['rsa:2048', 'sha512', 'sha256', 64],
    ['rsa:2048', 'sha384', 'sha512', 'max'],
    // A size that leaves seven bits of the first octet unused.
    ['rsa:2050', 'sha256', 'sha512', 17],
    ['rsa:2056', 'sha256', 'sha384', 'max'],
  ] as const)('%s %s, mask %s, salt %s', async (key, digest, mask, octets) => {
    const certificate = await opensslCertificate(`-newkey ${key} ${pssArgs(digest, mask, octets)}`);
    expect(signatureSchemeOf(certificate.signatureAlgorithmDer)).toMatchObject({ digest, mask });
    expect(judgeSelfSigned(certificate)).toEqual([true, false]);
  });

  it('a key that is bound to these digests', async () => {
    const bound = '-pkeyopt rsa_pss_keygen_md:sha256 -pkeyopt rsa_pss_keygen_mgf1_md:sha1';
    const certificate = await opensslCertificate(
      `-newkey rsa-pss ${bound} -pkeyopt rsa_pss_keygen_saltlen:20 ${pssArgs('sha256', 'sha1', 24)}`,
    );
    expect(certificate.keyType).toBe('rsa-pss');
    expect(judgeSelfSigned(certificate)).toEqual([true, false]);
  });

  const content = Buffer.from('a message');
  const sha1Mask = pss(hash, mgf1(derDigest('sha1')), salt(32));
  const verify = (der: Buffer, key: KeyObject, signature: Buffer) =>
    verifySignature(signatureSchemeOf(der) as SignatureScheme, key, [content], signature);

  it('does not take one mask for another', async () => {
    const key = await nextKey('rsa');
    const padding = constants.RSA_PKCS1_PSS_PADDING;
    const signature = sign('sha256', content, { key, padding, saltLength: 32 });
    expect(verify(pss(hash, mgf1(sha256), salt(32)), createPublicKey(key), signature)).toBe(true);
    expect(verify(sha1Mask, createPublicKey(key), signature)).toBe(false);
  });

  it.each([
    ['its mask', { mgf1HashAlgorithm: 'sha256' }, false],
    ['its digest', { hashAlgorithm: 'sha512' }, false],
    ['its least salt', { saltLength: 33 }, false],
    ['nothing that the signature breaks', { saltLength: 32 }, true],
  ])('a key that is bound to %s', async (_what, differing, expected) => {
    const plain = { hashAlgorithm: 'sha256', mgf1HashAlgorithm: 'sha1', saltLength: 20 };
    // The types of Node 20 want a text for the salt length, node:crypto a number.
    const options: { modulusLength: number } = { modulusLength: 2048, ...plain, ...differing };
    const { privateKey, publicKey } = generateKeyPairSync('rsa-pss', options);
    // The same numbers without the binding make what the bound key would not.
    const bound8 = privateKey.export({ type: 'pkcs8', format: 'der' });
    const signature = await opensslPss(plainPkcs8(bound8), content);
    expect(verify(sha1Mask, publicKey, signature)).toBe(expected);
  });

  it('a PSS key with a mask of its own does not verify what names another', () => {
    const bound = { modulusLength: 2048, hashAlgorithm: 'sha256', mgf1HashAlgorithm: 'sha1' };
    const { privateKey, publicKey } = generateKeyPairSync('rsa-pss', bound);
    const signature = sign('sha256', content, privateKey);
    const octets = signature.length - 32 - 2;
    for (const length of [32, 20, octets])
      expect(verify(pss(hash, mgf1(sha256), salt(length)), publicKey, signature)).toBe(false);
  });
});

/** The RSAPrivateKey in a PKCS#8 as PEM of a plain RSA key. */
function plainPkcs8(der: Buffer): string {
  const octets = readBer(der).children[2];
  if (!octets) throw new Error('no key');
  return createPrivateKey({ key: contentOf(octets), format: 'der', type: 'pkcs1' })
    .export({ type: 'pkcs8', format: 'pem' })
    .toString();
}

/** A signature with SHA-256, mask SHA-1 and 32 octets of salt. */
async function opensslPss(keyPem: string, content: Buffer): Promise<Buffer> {
  const folder = tempFolder();
  writeFileSync(join(folder, 'key.pem'), keyPem, { mode: 0o600 });
  writeFileSync(join(folder, 'content'), content);
  const options = ['rsa_padding_mode:pss', 'rsa_mgf1_md:sha1', 'rsa_pss_saltlen:32'].flatMap((o) => [
    '-sigopt',
    o,
  ]);
  const args = ['dgst', '-sha256', '-sign', join(folder, 'key.pem'), ...options, join(folder, 'content')];
  return (await mustRun('openssl', args)).stdout;
}

describe('curves beyond those of NIST, made by OpenSSL', () => {
  it.each(['256', '320', '384', '512'].flatMap((size) => [`brainpoolP${size}r1`, `brainpoolP${size}t1`]))(
    '%s',
    async (curve) => {
      const certificate = await opensslCertificate(`-newkey ec -pkeyopt ec_paramgen_curve:${curve} -sha384`);
      expect(certificate.curve).toBe(curve);
      expect(keyWeakness(certificate, defaultFloor)).toEqual([]);
      expect(judgeSelfSigned(certificate)).toEqual([true, false]);
    },
  );

  it.each(['ed25519', 'ed448'] as const)('%s', async (kind) => {
    const certificate = await opensslCertificate(`-newkey ${kind}`);
    expect(certificate.keyType).toBe(kind);
    expect(signatureSchemeOf(certificate.signatureAlgorithmDer)?.name).toBe(kind);
    expect(judgeSelfSigned(certificate)).toEqual([true, false]);
  });
});

describe('weakness', () => {
  it.each([
    ['md5', ['weak-digest']],
    ['sha1', ['weak-digest']],
    ['sha224', ['weak-digest']],
    ['sha256', []],
    ['sha3-256', []],
    [null, []],
  ] as const)('of %s', (digest, expected) => {
    expect(digestWeakness(digest, defaultFloor)).toEqual(expected);
    expect(digestWeakness(digest, { ...defaultFloor, allowWeak: true })).toEqual([]);
  });

  it.each([
    [{ keyType: 'rsa', rsaBits: 2047, curve: null }, ['weak-key']],
    [{ keyType: 'rsa', rsaBits: 2048, curve: null }, []],
    [{ keyType: 'ec', rsaBits: null, curve: 'prime192v1' }, ['weak-key']],
    [{ keyType: 'ec', rsaBits: null, curve: 'prime256v1' }, []],
    [{ keyType: 'dsa', rsaBits: null, curve: null }, ['weak-key']],
    [{ keyType: 'ed25519', rsaBits: null, curve: null }, []],
  ] as const)('of %j', (key, expected) => {
    expect(keyWeakness(key, defaultFloor)).toEqual(expected);
    expect(keyWeakness(key, { ...defaultFloor, allowWeak: true })).toEqual([]);
  });
});

describe.skipIf(!needsWycheproof())('Project Wycheproof', () => {
  it.each([
    ['rsa_signature_2048_sha256_test.json', '1.2.840.113549.1.1.11'],
    ['ecdsa_secp256r1_sha256_test.json', '1.2.840.10045.4.3.2'],
  ])('%s', (file, oid) => {
    const scheme = signatureSchemeOf(derAlgorithm(oid)) as SignatureScheme;
    const wrong: string[] = [];
    for (const { publicKeyDer, tests } of wycheproof<{ publicKeyDer: string }, { msg: string; sig: string }>(
      file,
    )) {
      const key = createPublicKey({ key: hex(publicKeyDer), format: 'der', type: 'spki' });
      for (const vector of tests) {
        const verified = verifySignature(scheme, key, [hex(vector.msg)], hex(vector.sig));
        if (vector.result !== 'acceptable' && verified !== (vector.result === 'valid'))
          wrong.push(labelOf(vector));
      }
    }
    expect(wrong).toEqual([]);
  });
});

const rfc4134 = '../shared/corpora/rfc4134';
describe.skipIf(!needs('shared/corpora/rfc4134', existsSync(rfc4134)))('DSA of old mail', () => {
  it('is verified and weak', () => {
    const read = (name: string) => parseCertificate(readFileSync(`${rfc4134}/${name}`));
    const [alice, carl] = [read('AliceDSSSignByCarlNoInherit.cer'), read('CarlDSSSelf.cer')];
    const dsa = signatureSchemeOf(alice.signatureAlgorithmDer) as SignatureScheme;
    expect(verifySignature(dsa, publicKeyOf(carl), [alice.tbsDer], alice.signature)).toBe(true);
    expect(verifySignature(dsa, publicKeyOf(alice), [alice.tbsDer], alice.signature)).toBe(false);
    expect(keyWeakness(carl, defaultFloor)).toEqual(['weak-key']);
  });
});
