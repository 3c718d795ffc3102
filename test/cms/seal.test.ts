import { beforeAll, describe, expect, it } from 'vitest';
import { type AgreementName, agreementOid } from '../../src/cms/agreements.ts';
import { openAuthEnveloped } from '../../src/cms/auth-enveloped-data.ts';
import { parseContentInfo } from '../../src/cms/content-info.ts';
import { encryptContent, type KeyTransport, recipientOf } from '../../src/cms/encrypt.ts';
import { openEnveloped } from '../../src/cms/enveloped-data.ts';
import type { ContentCipher } from '../../src/pki/algorithms.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { derOid } from '../../src/pki/der.ts';
import { hasProgram, needs } from '../kit/needs.ts';
import { cmsDecrypt } from '../kit/openssl.ts';
import { type Identity, type KeyKind, makeCa, type TestCa } from '../kit/pki.ts';
import { decryptionKey } from './keys.ts';

const entity = Buffer.from('Content-Type: text/plain; charset=utf-8\r\n\r\nFür alle.\r\n');
const people = new Map<KeyKind, Identity>();
let ca: TestCa;
const person = (kind: KeyKind): Identity => people.get(kind) as Identity;

beforeAll(async () => {
  ca = await makeCa('Sealing Root');
  for (const key of [
    'rsa',
    'rsa1024',
    'rsa-pss',
    'p256',
    'p384',
    'p521',
    'brainpool256',
    'x25519',
    'ed25519',
  ] as const)
    people.set(key, await ca.issue({ name: `Owner of ${key}`, address: 'o@a.example', key }));
});

const recipient = (identity: Identity, transport: KeyTransport) =>
  recipientOf(parseCertificate(identity.certDer), transport);

function seal(content: Buffer, cipher: ContentCipher, identity: Identity, transport: KeyTransport): Buffer {
  const encrypted = encryptContent(content, cipher);
  return Buffer.concat([encrypted.prefixFor(recipient(identity, transport)), encrypted.tail]);
}

function open(der: Buffer, identity: Identity) {
  const info = parseContentInfo(der);
  const opener = info.kind === 'enveloped-data' ? openEnveloped : openAuthEnveloped;
  const result = opener(info.content, [decryptionKey(identity)]);
  return result.opened ? result.content.expose() : Buffer.from(result.reason);
}

const ciphers = [
  'aes-128-cbc',
  'aes-192-cbc',
  'aes-256-cbc',
  'aes-128-gcm',
  'aes-192-gcm',
  'aes-256-gcm',
] as const;
const transports: [KeyKind, KeyTransport][] = [
  ['rsa', 'rsa'],
  ['rsa', 'rsa-oaep-sha1'],
  ['rsa', 'rsa-oaep-sha256'],
  ['rsa', 'rsa-oaep-sha384'],
  ['rsa', 'rsa-oaep-sha512'],
  ['p256', 'ecdh'],
  ['p384', 'ecdh'],
  ['p521', 'ecdh'],
  ['brainpool256', 'ecdh'],
  ['p256', 'ecdh-sha512kdf'],
  ['p384', 'ecdh-cofactor-sha256kdf'],
];

describe.skipIf(!needs('openssl', hasProgram('openssl')))('what we encrypt, opened by OpenSSL', () => {
  const rows = [
    ...transports.map(([key, transport]) => ({ key, transport, cipher: 'aes-256-cbc' as ContentCipher })),
    ...ciphers.map((cipher) => ({ key: 'rsa' as KeyKind, transport: 'rsa' as KeyTransport, cipher })),
    ...ciphers.map((cipher) => ({ key: 'p256' as KeyKind, transport: 'ecdh' as KeyTransport, cipher })),
  ];
  it.each(rows)('$cipher for $key by $transport', async ({ key, transport, cipher }) => {
    const der = seal(entity, cipher, person(key), transport);
    const opened = await cmsDecrypt(person(key), der);
    expect({ ok: opened.ok, text: opened.content.toString() }, opened.said).toEqual({
      ok: true,
      text: entity.toString(),
    });
  });
});

describe('one ciphertext for many', () => {
  // Around every change of length encoding: the heads count the tail.
  it.each([0, 1, 15, 16, 17, 80, 127, 128, 255, 256, 65_400, 65_536, 200_000])('%i octets', (size) => {
    const content = Buffer.alloc(size, 'x');
    for (const cipher of ['aes-128-cbc', 'aes-256-gcm'] as const) {
      const encrypted = encryptContent(content, cipher);
      for (const [key, transport] of [...transports, ['x25519', 'ecdh'] as const]) {
        const der = Buffer.concat([encrypted.prefixFor(recipient(person(key), transport)), encrypted.tail]);
        expect(parseContentInfo(der).content.end, 'definite lengths to the last octet').toBe(der.length);
        expect(open(der, person(key)).equals(content)).toBe(true);
      }
    }
  });

  it.each<[KeyKind, AgreementName]>([
    ['p256', 'ecdh-sha512kdf'],
    ['p521', 'ecdh-sha256kdf'],
    ['brainpool256', 'ecdh-cofactor-sha384kdf'],
    ['x25519', 'ecdh-sha256kdf'],
    ['x25519', 'ecdh-hkdf-sha512'],
  ])('for a %s key by %s', (key, transport) => {
    const der = seal(entity, 'aes-256-gcm', person(key), transport);
    expect(open(der, person(key))).toEqual(entity);
    expect(der.includes(derOid(agreementOid(transport)))).toBe(true);
  });

  it('shares the tail, and our side of an agreement, between members, and nothing at all between entities', () => {
    const [first, second] = [encryptContent(entity, 'aes-256-cbc'), encryptContent(entity, 'aes-256-cbc')];
    expect(first.tail.equals(second.tail)).toBe(false);
    const one = first.prefixFor(recipient(person('p256'), 'ecdh'));
    expect(open(Buffer.concat([one, first.tail]), person('p256'))).toEqual(entity);
    expect(open(Buffer.concat([one, second.tail]), person('p256'))).not.toEqual(entity);
  });

  it('writes versions by RFC 5652 6.1 and RFC 5083 2.1', () => {
    const versionOf = (cipher: ContentCipher, key: KeyKind, transport: KeyTransport) =>
      parseContentInfo(seal(entity, cipher, person(key), transport)).content.children[0];
    const octets = (node: ReturnType<typeof versionOf>) => node?.source[node.contentStart];
    expect(octets(versionOf('aes-256-cbc', 'rsa', 'rsa'))).toBe(0);
    expect(octets(versionOf('aes-256-cbc', 'p256', 'ecdh'))).toBe(2);
    expect(octets(versionOf('aes-256-gcm', 'rsa', 'rsa'))).toBe(0);
    expect(octets(versionOf('aes-256-gcm', 'p256', 'ecdh'))).toBe(0);
  });

  it.each<[KeyKind, KeyTransport]>([
    ['rsa-pss', 'rsa'],
    ['ed25519', 'ecdh'],
    ['p256', 'rsa'],
    ['rsa', 'ecdh'],
    ['rsa', 'ecdh-sha256kdf'],
    ['p256', 'ecdh-hkdf-sha256'],
    ['x25519', 'ecdh-cofactor-sha256kdf'],
    ['rsa1024', 'rsa-oaep-sha512'],
  ])('refuses a %s key for %s', (key, transport) => {
    const encrypted = encryptContent(entity, 'aes-256-cbc');
    expect(() => encrypted.prefixFor(recipient(person(key), transport))).toThrowError(
      expect.objectContaining({ code: 'cms-recipient' }),
    );
  });

  it('refuses v1.5 for a key that is bound to OAEP', () => {
    const bound = { ...recipient(person('rsa'), 'rsa'), keyType: 'rsa-oaep' as const };
    const encrypted = encryptContent(entity, 'aes-256-cbc');
    expect(() => encrypted.prefixFor(bound)).toThrowError(expect.objectContaining({ code: 'cms-recipient' }));
    expect(() => encrypted.prefixFor({ ...bound, transport: 'rsa-oaep-sha256' })).not.toThrow();
  });

  it('gives nobody the key after dispose, and never shows it', () => {
    const encrypted = encryptContent(entity, 'aes-256-cbc');
    expect(JSON.stringify(encrypted)).not.toContain('ontentKey');
    encrypted.dispose();
    expect(() => encrypted.prefixFor(recipient(person('rsa'), 'rsa'))).toThrowError(
      expect.objectContaining({ code: 'cms-disposed' }),
    );
  });
});
