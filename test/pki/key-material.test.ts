import type { KeyObject } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { asksForPassphrase, readKeyMaterial } from '../../src/pki/key-material.ts';
import { pemBlocks } from '../../src/pki/pem.ts';
import { mustRun, runProgram } from '../kit/client.ts';
import { needs } from '../kit/needs.ts';
import { type Identity, makeCa, type TestCa } from '../kit/pki.ts';

const words = 'correct horse';
const passphrase = Buffer.from(words);
const { code: withoutLegacy } = await runProgram('openssl', ['list', '-provider', 'legacy', '-providers']);
const legacy = needs("OpenSSL's legacy provider", withoutLegacy === 0);

let ca: TestCa;
let ec: Identity;
let rsa: Identity;
beforeAll(async () => {
  ca = await makeCa('Root', { key: 'p256' });
  ec = await ca.issue({ name: 'EC', key: 'p256' });
  rsa = await ca.issue({ name: 'RSA', key: 'rsa' });
});

const openssl = async (...args: string[]): Promise<Buffer> => (await mustRun('openssl', args)).stdout;
const derOf = (pem: Buffer): Buffer => pemBlocks(pem)[0]?.der ?? Buffer.alloc(0);
const caught = (doing: () => unknown): unknown => {
  try {
    doing();
  } catch (error) {
    return error;
  }
  return null;
};

describe('one private key', () => {
  const forms: readonly (readonly [name: string, encrypted: boolean, make: () => Promise<Buffer>])[] = [
    ['PKCS#8', false, async () => readFileSync(ec.keyPath)],
    ['PKCS#8, DER', false, async () => derOf(readFileSync(ec.keyPath))],
    ['SEC 1', false, () => openssl('ec', '-in', ec.keyPath)],
    ['SEC 1, DER', false, () => openssl('ec', '-in', ec.keyPath, '-outform', 'DER')],
    ['PKCS#1', false, () => openssl('rsa', '-in', rsa.keyPath, '-traditional')],
    ['PKCS#1, DER', false, () => openssl('rsa', '-in', rsa.keyPath, '-traditional', '-outform', 'DER')],
    [
      'PKCS#1 with AES',
      true,
      () => openssl('rsa', '-in', rsa.keyPath, '-traditional', '-aes256', '-passout', `pass:${words}`),
    ],
    ['PBES2', true, () => openssl('pkcs8', '-topk8', '-in', ec.keyPath, '-passout', `pass:${words}`)],
    [
      'PBES2, DER',
      true,
      () => openssl('pkcs8', '-topk8', '-in', ec.keyPath, '-passout', `pass:${words}`, '-outform', 'DER'),
    ],
    [
      'scrypt',
      true,
      () => openssl('pkcs8', '-topk8', '-scrypt', '-in', ec.keyPath, '-passout', `pass:${words}`),
    ],
    ...(legacy
      ? (['PBE-MD5-DES', 'PBE-SHA1-RC2-40', 'PBE-SHA1-3DES'] as const).map(
          (scheme) =>
            [
              scheme,
              true,
              () =>
                openssl(
                  ...['pkcs8', '-topk8', '-v1', scheme, '-in', ec.keyPath, '-passout', `pass:${words}`],
                  ...['-provider', 'legacy', '-provider', 'default'],
                ),
            ] as const,
        )
      : []),
  ];

  it.each(forms)('%s', async (_, encrypted, make) => {
    // A file is overwritten when it is read.
    const file = await make();
    const read = (secret: Buffer | null) => readKeyMaterial(Buffer.from(file), secret, 'key.pem');
    const { keys, certificates, problems } = read(encrypted ? passphrase : null);
    expect({ certificates, problems }).toEqual({ certificates: [], problems: [] });
    // `equals` of unlike keys leaves an error behind that fails the next import (Node 20).
    const own = (key: KeyObject) => (key.asymmetricKeyType === 'rsa' ? rsa.key : ec.key);
    expect(keys.map((key) => key.equals(own(key)))).toEqual([true]);
    if (!encrypted) return;
    for (const wrong of [null, Buffer.from('battery staple')]) {
      const fault = caught(() => read(wrong));
      expect(asksForPassphrase(fault)).toBe(true);
      expect(String(fault)).toContain('key.pem');
      expect(String(fault)).not.toContain('battery');
    }
  });
});

describe('several things in one file', () => {
  it('keys and certificates in any order, with words between them', async () => {
    const pem = [
      ec.certPem,
      'Bag Attributes\n',
      readFileSync(rsa.keyPath),
      rsa.certPem,
      ca.certPem,
      readFileSync(ec.keyPath),
    ];
    const { keys, certificates, problems } = readKeyMaterial(Buffer.from(pem.join('')), null, 'all.pem');
    expect(problems).toEqual([]);
    expect(keys.map((key) => key.asymmetricKeyType)).toEqual(['rsa', 'ec']);
    expect(certificates.map((one) => one.der)).toEqual([ec.certDer, rsa.certDer, ca.certDer]);
  });

  const p12 = '../shared/corpora/rfc9216/bob.p12';
  it.skipIf(!needs('the corpus rfc9216', existsSync(p12)))('PKCS#12 in PEM', () => {
    const { keys } = readKeyMaterial(readFileSync(join(p12)), Buffer.from('bob'), 'bob.p12');
    expect(keys).toHaveLength(2);
  });
});

it.each([
  ['nothing', ''],
  ['words', 'hello'],
  ['something else in DER', Buffer.from('3003020101', 'hex')],
  ['a certificate that is cut off', '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n'],
])('%s: no key, and a problem said', (_, file) => {
  const { keys, certificates, problems } = readKeyMaterial(Buffer.from(file), null, 'x');
  expect([keys, certificates]).toEqual([[], []]);
  expect(problems).toHaveLength(1);
});
