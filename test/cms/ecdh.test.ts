import { execFileSync } from 'node:child_process';
import { createCipheriv, createPublicKey, diffieHellman, generateKeyPairSync } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseContentInfo } from '../../src/cms/content-info.ts';
import { deriveKek, wrapKey } from '../../src/cms/ecdh.ts';
import { openEnveloped } from '../../src/cms/enveloped-data.ts';
import {
  type AgreementScheme,
  agreementSchemes,
  derAlgorithm,
  keyOid,
  keyWrapOid,
} from '../../src/pki/algorithms.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import * as w from '../../src/pki/der.ts';
import { hasProgram, needs } from '../kit/needs.ts';
import { type Identity, makeCa } from '../kit/pki.ts';
import { cbc, forgeEnvelope, nameOf } from './forge.ts';
import { decryptionKey } from './keys.ts';

const ukm = Buffer.from('0102030405060708', 'hex');
const wrap = 'id-aes256-wrap';
const wrapDer = derAlgorithm(keyWrapOid(wrap));
// ECC-CMS-SharedInfo (RFC 5753 7.2), by hand: id-aes256-wrap, [0] the ukm, [2] 256 bits.
const infoWithUkm = '3021' + '300b060960864801650304012d' + 'a00a04080102030405060708' + 'a206040400000100';
const infoWithout = '3015' + '300b060960864801650304012d' + 'a206040400000100';
const named = (oid: string) => agreementSchemes.find((scheme) => scheme.oid === oid) as AgreementScheme;

describe.skipIf(!needs('openssl', hasProgram('openssl')))('key derivation, against OpenSSL', () => {
  const secret = Buffer.from('00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff', 'hex');
  const openssl = (kdf: string, digest: string, info: string, more: string[] = []) => {
    const options = [
      `digest:${digest}`,
      `${kdf === 'HKDF' ? 'hexkey' : 'hexsecret'}:${secret.toString('hex')}`,
      `hexinfo:${info}`,
      ...more,
    ];
    const args = [
      'kdf',
      '-keylen',
      '32',
      '-binary',
      ...options.flatMap((option) => ['-kdfopt', option]),
      kdf,
    ];
    return execFileSync('openssl', args).toString('hex');
  };
  const ours = (oid: string, material: Buffer | null) =>
    deriveKek(secret, { scheme: named(oid), wrap, wrapDer, ukm: material }).toString('hex');

  it.each([
    ['1.3.133.16.840.63.0.2', 'SHA1'],
    ['1.3.132.1.11.0', 'SHA224'],
    ['1.3.132.1.11.1', 'SHA256'],
    ['1.3.132.1.11.2', 'SHA384'],
    ['1.3.132.1.11.3', 'SHA512'],
  ])('X9.63, %s, %s', (oid, digest) => {
    expect(ours(oid, null)).toBe(openssl('X963KDF', digest, infoWithout));
    expect(ours(oid, ukm)).toBe(openssl('X963KDF', digest, infoWithUkm));
  });

  // RFC 8418 2.2: the ukm is the salt, and in the shared info as well.
  it.each([
    ['1.2.840.113549.1.9.16.3.19', 'SHA256'],
    ['1.2.840.113549.1.9.16.3.20', 'SHA384'],
    ['1.2.840.113549.1.9.16.3.21', 'SHA512'],
  ])('HKDF, %s, %s', (oid, digest) => {
    expect(ours(oid, null)).toBe(openssl('HKDF', digest, infoWithout));
    expect(ours(oid, ukm)).toBe(openssl('HKDF', digest, infoWithUkm, [`hexsalt:${ukm.toString('hex')}`]));
  });
});

describe('messages of other senders', () => {
  let bob: Identity;
  let dana: Identity;
  beforeAll(async () => {
    const ca = await makeCa('Agreement Root');
    bob = await ca.issue({ name: 'Bob', key: 'p256' });
    dana = await ca.issue({ name: 'Dana', key: 'x25519' });
  });

  const contentKey = Buffer.alloc(32, 9);
  function message(
    identity: Identity,
    scheme: string,
    d: { material?: Buffer; wrapped?: Buffer; inside?: Buffer; keyId?: boolean; static?: boolean } = {},
  ) {
    const certificate = parseCertificate(identity.certDer);
    const ephemeral =
      certificate.keyType === 'ec'
        ? generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
        : generateKeyPairSync('x25519');
    const shared = diffieHellman({
      privateKey: ephemeral.privateKey,
      publicKey: createPublicKey(identity.key),
    });
    const agreement = { scheme: named(scheme), wrap, wrapDer, ukm: d.material ?? null } as const;
    const spki = ephemeral.publicKey.export({ type: 'spki', format: 'der' });
    const point = certificate.keyType === 'ec' ? spki.subarray(-65) : spki.subarray(-32);
    // RFC 5753 7.1.2: some senders write NULL for the curve.
    const algorithm =
      certificate.keyType === 'ec' ? derAlgorithm(keyOid.ec, w.derNull()) : derAlgorithm(keyOid.x25519);
    const recipient = d.keyId
      ? w.derContext(0, w.derOctets(certificate.subjectKeyId as Buffer))
      : nameOf(certificate);
    const originator = d.static ? nameOf(certificate) : w.derContext(1, algorithm, w.derBits(point));
    const kari = w.derContext(
      1,
      w.derInteger(3),
      w.derContext(0, originator),
      ...(d.material ? [w.derContext(1, w.derOctets(d.material))] : []),
      derAlgorithm(scheme, wrapDer),
      w.derSequence(
        w.derSequence(
          recipient,
          w.derOctets(d.wrapped ?? wrapKey(shared, d.inside ?? contentKey, agreement)),
        ),
      ),
    );
    const der = forgeEnvelope({ recipients: [kari], algorithm: cbc(Buffer.alloc(16)), ciphertext: hello() });
    return openEnveloped(parseContentInfo(der).content, [decryptionKey(bob), decryptionKey(dana)]);
  }
  const hello = () => {
    const cipher = createCipheriv('aes-256-cbc', contentKey, Buffer.alloc(16));
    return Buffer.concat([cipher.update('hello'), cipher.final()]);
  };

  it.each(agreementSchemes.filter(({ kdf }) => kdf === 'x963'))(
    'P-256 with $oid, cofactor: $cofactor',
    ({ oid }) => {
      expect(message(bob, oid)).toMatchObject({ opened: true });
      expect(message(bob, oid, { material: ukm })).toMatchObject({ opened: true });
    },
  );

  it.each(agreementSchemes.filter(({ kdf }) => kdf === 'hkdf'))('X25519 with $oid', ({ oid }) => {
    expect(message(dana, oid)).toMatchObject({ opened: true });
    expect(message(dana, oid, { material: ukm })).toMatchObject({ opened: true });
  });

  it('X25519 has a cofactor, so that the cofactor scheme is unsupported', () => {
    const result = message(dana, '1.3.132.1.14.1');
    expect(result).toMatchObject({ opened: false, reason: 'unsupported' });
  });

  it('a recipient by key identifier, in its own structure (RFC 5652 6.2.2)', () => {
    expect(message(bob, '1.3.132.1.11.1', { keyId: true })).toMatchObject({ opened: true });
  });

  it('static-static, where the sender is only named, is unsupported', () => {
    expect(message(bob, '1.3.132.1.11.1', { static: true })).toMatchObject({
      opened: false,
      reason: 'unsupported',
    });
  });

  it.each<[string, { wrapped?: Buffer; inside?: Buffer }]>([
    ['a wrapped key of another length, rightly wrapped', { inside: Buffer.alloc(16, 9) }],
    ['a wrapped key that is too short to be one', { wrapped: Buffer.alloc(8) }],
    ['a wrapped key of odd length', { wrapped: Buffer.alloc(41) }],
    ['no wrapped key', { wrapped: Buffer.alloc(0) }],
  ])('%s is decrypt-failed', (_, d) => {
    expect(message(bob, '1.3.132.1.11.1', d)).toMatchObject({ opened: false, reason: 'decrypt-failed' });
  });
});
