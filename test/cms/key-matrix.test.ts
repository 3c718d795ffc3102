import { createCipheriv, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseContentInfo } from '../../src/cms/content-info.ts';
import { type OpenResult, openEnveloped } from '../../src/cms/enveloped-data.ts';
import { agreementSchemes, derAlgorithm, type KeyWrap } from '../../src/pki/algorithms.ts';
import * as w from '../../src/pki/der.ts';
import { mustRun, withFiles } from '../kit/client.ts';
import { hasProgram, needs } from '../kit/needs.ts';
import { cmsDecrypt } from '../kit/openssl.ts';
import { type Identity, type KeyKind, makeCa } from '../kit/pki.ts';
import { agreeWith } from './agreement.ts';
import { cbc, forgeEnvelope } from './forge.ts';
import { decryptionKey } from './keys.ts';

/** Most rows are made or opened by OpenSSL as well. */
const withOpenssl = describe.skipIf(!needs('openssl', hasProgram('openssl')));

/** Every way a content key can be given to us, each parameter with each other one. */

const text = Buffer.from('Content-Type: text/plain\r\n\r\nOne of many ways.\r\n');
const hashes = ['sha1', 'sha224', 'sha256', 'sha384', 'sha512'] as const;
const curves = ['p256', 'p384', 'p521', 'brainpool256'] as const;
const people = new Map<KeyKind | 'x448', Identity>();
const person = (kind: KeyKind | 'x448'): Identity => people.get(kind) as Identity;

beforeAll(async () => {
  const ca = await makeCa('Matrix Root');
  for (const key of ['rsa', ...curves, 'x25519'] as const)
    people.set(key, await ca.issue({ name: `Owner of ${key}`, address: 'o@a.example', key }));
  const x448: KeyObject = generateKeyPairSync('x448').privateKey;
  people.set('x448', await ca.issue({ name: 'Owner of x448', keyFrom: { ...person('rsa'), key: x448 } }));
});

const open = (der: Buffer, identity: Identity): OpenResult =>
  openEnveloped(parseContentInfo(der).content, [decryptionKey(identity)]);
const textOf = (result: OpenResult): string =>
  result.opened ? result.content.expose().toString() : `${result.reason}: ${result.detail}`;

const encrypt = (identity: Identity, keyOptions: readonly string[]): Promise<Buffer> =>
  withFiles({ text }, async (paths) => {
    const args = ['cms', '-encrypt', '-binary', '-outform', 'DER', '-in', paths.text, '-aes-256-cbc'];
    args.push('-recip', identity.certPath, ...keyOptions.flatMap((option) => ['-keyopt', option]));
    return (await mustRun('openssl', args)).stdout;
  });

withOpenssl('made by OpenSSL', () => {
  describe.each(hashes)('RSA-OAEP with %s', (hash) => {
    it.each(hashes)('and MGF1 with %s', async (mask) => {
      const options = ['rsa_padding_mode:oaep', `rsa_oaep_md:${hash}`, `rsa_mgf1_md:${mask}`];
      const result = open(await encrypt(person('rsa'), options), person('rsa'));
      expect(result).toMatchObject({ keyTransport: 'rsa-oaep', kdf: hash, wrap: null, kinds: ['ktri'] });
      expect(textOf(result)).toBe(text.toString());
    });
  });

  it('RSA-OAEP with a label', async () => {
    const label = Buffer.from('the meeting').toString('hex');
    const options = ['rsa_padding_mode:oaep', 'rsa_oaep_md:sha256', `rsa_oaep_label:${label}`];
    expect(textOf(open(await encrypt(person('rsa'), options), person('rsa')))).toBe(text.toString());
  });

  const agreements = curves.flatMap((key) =>
    hashes.flatMap((hash) => [0, 1].map((cofactor) => ({ key, hash, cofactor }))),
  );
  it.each(agreements)('ECDH $key, X9.63 with $hash, cofactor: $cofactor', async ({ key, hash, cofactor }) => {
    const der = await encrypt(person(key), [`ecdh_kdf_md:${hash}`, `ecdh_cofactor_mode:${cofactor}`]);
    const scheme = agreementSchemes.find(
      (s) => s.kdf === 'x963' && s.digest === hash && s.cofactor === (cofactor === 1),
    );
    expect(der.includes(w.derOid(scheme?.oid ?? ''))).toBe(true);
    const result = open(der, person(key));
    expect(result).toMatchObject({ keyTransport: 'ecdh', kdf: `x963-${hash}`, kinds: ['kari'] });
    expect(textOf(result)).toBe(text.toString());
  });
});

const iv = Buffer.alloc(16, 4);
function encryptedCbc(contentKey: Buffer): Buffer {
  const cipher = createCipheriv(`aes-${contentKey.length * 8}-cbc`, contentKey, iv);
  return Buffer.concat([cipher.update(text), cipher.final()]);
}

/** AES-256-CBC under a key that is agreed on in the way given. */
function agreed(
  kind: KeyKind | 'x448',
  scheme: string,
  d: { ukm?: Buffer | null; wrap?: KeyWrap } = {},
): Buffer {
  const contentKey = randomBytes(32);
  const recipients = [agreeWith({ to: person(kind), scheme, contentKey, ...d })];
  return forgeEnvelope({ recipients, algorithm: cbc(iv), ciphertext: encryptedCbc(contentKey) });
}

const materials: [string, Buffer | null][] = [
  ['no user keying material', null],
  ['8 octets of it', Buffer.from('0102030405060708', 'hex')],
  ['64 octets of it', Buffer.alloc(64, 7)],
];

withOpenssl.each(materials)('with %s', (_, ukm) => {
  const x963 = agreementSchemes.filter(({ kdf }) => kdf === 'x963');
  it.each(x963)('P-384, $oid, and OpenSSL agrees', async ({ oid, digest }) => {
    const der = agreed('p384', oid, { ukm });
    expect(textOf(open(der, person('p384')))).toBe(text.toString());
    expect(open(der, person('p384'))).toMatchObject({ kdf: `x963-${digest}`, wrap: 'id-aes256-wrap' });
    // What we derive from the material is right only if another implementation derives the same.
    expect((await cmsDecrypt(person('p384'), der)).content.toString()).toBe(text.toString());
  });

  const hkdf = agreementSchemes.filter(({ kdf }) => kdf === 'hkdf');
  it.each(
    hkdf.flatMap(({ oid, digest }) => (['x25519', 'x448'] as const).map((key) => ({ key, oid, digest }))),
  )('$key with HKDF and $digest (RFC 8418)', ({ key, oid, digest }) => {
    const result = open(agreed(key, oid, { ukm }), person(key));
    expect(textOf(result)).toBe(text.toString());
    expect(result).toMatchObject({ keyTransport: 'ecdh', kdf: `hkdf-${digest}` });
  });
});

withOpenssl('key wraps', () => {
  const sha1kdf = '1.3.133.16.840.63.0.2';
  it.each(['id-aes128-wrap', 'id-aes192-wrap', 'id-aes256-wrap', 'des3-wrap'] as const)(
    '%s of a key for AES-256',
    async (wrap) => {
      const der = agreed('p256', sha1kdf, { wrap });
      expect(open(der, person('p256'))).toMatchObject({ opened: true, wrap });
      if (wrap !== 'des3-wrap')
        expect((await cmsDecrypt(person('p256'), der)).content.toString()).toBe(text.toString());
    },
  );

  it('3DES wrap of a 3DES key (RFC 3217), which OpenSSL opens as well', async () => {
    const contentKey = randomBytes(24);
    const cipher = createCipheriv('des-ede3-cbc', contentKey, iv.subarray(8));
    const der = forgeEnvelope({
      recipients: [agreeWith({ to: person('p256'), scheme: sha1kdf, contentKey, wrap: 'des3-wrap' })],
      algorithm: derAlgorithm('1.2.840.113549.3.7', w.derOctets(iv.subarray(8))),
      ciphertext: Buffer.concat([cipher.update(text), cipher.final()]),
    });
    expect(open(der, person('p256'))).toMatchObject({
      opened: true,
      cipher: 'des-ede3-cbc',
      wrap: 'des3-wrap',
    });
    expect((await cmsDecrypt(person('p256'), der)).content.toString()).toBe(text.toString());
  });

  it('RC2 wrap (RFC 3217 4) is unsupported', () => {
    const whole = agreed('p256', sha1kdf).toString('hex');
    const other = whole.replace('60864801650304012d', '2a864886f70d0199'.padEnd(18, '7'));
    expect(open(Buffer.from(other, 'hex'), person('p256'))).toMatchObject({
      opened: false,
      reason: 'unsupported',
      detail: 'the key encryption algorithm is not supported',
    });
  });
});
