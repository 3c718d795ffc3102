import { beforeAll, describe, expect, it } from 'vitest';
import { openAuthEnveloped } from '../../src/cms/auth-enveloped-data.ts';
import { parseContentInfo } from '../../src/cms/content-info.ts';
import { openEnveloped } from '../../src/cms/enveloped-data.ts';
import { hasProgram, needs } from '../kit/needs.ts';
import { cmsEncrypt, type EncryptOptions } from '../kit/openssl.ts';
import { type Identity, type KeyKind, makeCa, type TestCa } from '../kit/pki.ts';
import { decryptionKey } from './keys.ts';

const small = Buffer.from('Content-Type: text/plain\r\n\r\nThe meeting is at nine.\r\n');
/** Several segments when streamed, several pieces when decrypted; not a multiple of any block. */
const large = Buffer.alloc(300_001, 'A line of text that is long enough to be boring.\r\n');

function open(der: Buffer, identities: readonly Identity[]) {
  const info = parseContentInfo(der);
  const keys = identities.map(decryptionKey);
  if (info.kind === 'enveloped-data') return openEnveloped(info.content, keys);
  if (info.kind === 'auth-enveloped-data') return openAuthEnveloped(info.content, keys);
  throw new Error(`encrypted data is ${info.kind}`);
}

/** 'as sent', what it was opened to instead, or the reason why not; comparing octets by `toEqual` is slow. */
function opensTo(content: Buffer, der: Buffer, identities: readonly Identity[]): string {
  const result = open(der, identities);
  if (!result.opened) return result.reason;
  return result.content.expose().equals(content)
    ? 'as sent'
    : result.content.expose().toString('latin1', 0, 80);
}

describe.skipIf(!needs('openssl', hasProgram('openssl')))('what OpenSSL encrypts, opened', () => {
  const people = new Map<KeyKind, Identity>();
  let ca: TestCa;
  const person = (kind: KeyKind): Identity => people.get(kind) as Identity;

  beforeAll(async () => {
    ca = await makeCa('Opening Root');
    for (const key of ['rsa', 'rsa4096', 'p256', 'p384', 'p521', 'brainpool256'] as const)
      people.set(key, await ca.issue({ name: `Owner of ${key}`, address: 'o@a.example', key }));
  });

  const ciphers = [
    'aes-128-cbc',
    'aes-192-cbc',
    'aes-256-cbc',
    'des-ede3-cbc',
    'aes-128-gcm',
    'aes-192-gcm',
    'aes-256-gcm',
  ] as const;
  it.each(ciphers.flatMap((cipher) => [false, true].map((stream) => ({ cipher, stream }))))(
    '$cipher, streamed: $stream',
    async ({ cipher, stream }) => {
      const der = await cmsEncrypt([person('rsa')], large, { cipher, stream });
      const result = open(der, [person('rsa')]);
      expect(result).toMatchObject({ opened: true, cipher, keyTransport: 'rsa', recipients: 1 });
      expect(opensTo(large, der, [person('rsa')])).toBe('as sent');
    },
  );

  const oaep: EncryptOptions[] = [
    { oaep: 'sha1' },
    { oaep: 'sha256' },
    { oaep: 'sha384' },
    { oaep: 'sha512' },
    { oaep: 'sha256', mgf1: 'sha1' },
    { oaep: 'sha1', mgf1: 'sha512' },
  ];
  it.each(oaep)('RSA-OAEP %j', async (options) => {
    const der = await cmsEncrypt([person('rsa')], small, { ...options, cipher: 'aes-256-gcm' });
    expect(open(der, [person('rsa')])).toMatchObject({
      opened: true,
      keyTransport: 'rsa-oaep',
      kdf: options.oaep,
    });
    expect(opensTo(small, der, [person('rsa')])).toBe('as sent');
  });

  const kdfs = ['sha1', 'sha224', 'sha256', 'sha384', 'sha512'] as const;
  const curves = ['p256', 'p384', 'p521', 'brainpool256'] as const;
  const agreements = [
    ...kdfs.map((kdf) => ({ key: 'p256' as const, kdf, cipher: 'aes-256-cbc' as const })),
    ...curves.map((key) => ({ key, kdf: 'sha256' as const, cipher: 'aes-128-gcm' as const })),
    { key: 'p384' as const, kdf: 'sha384' as const, cipher: 'aes-192-cbc' as const },
  ];
  it.each(agreements)('ECDH %j', async ({ key, kdf, cipher }) => {
    const der = await cmsEncrypt([person(key)], small, { kdf, cipher });
    expect(open(der, [person(key)])).toMatchObject({
      opened: true,
      keyTransport: 'ecdh',
      kdf: `x963-${kdf}`,
      cipher,
    });
    expect(opensTo(small, der, [person(key)])).toBe('as sent');
  });

  it.each<KeyKind>(['rsa', 'rsa4096', 'p256'])('a %s recipient named by key identifier', async (key) => {
    const der = await cmsEncrypt([person(key)], small, { keyId: true });
    expect(opensTo(small, der, [person(key)])).toBe('as sent');
  });

  it.each(['aes-256-cbc', 'aes-256-gcm'] as const)('no content at all, %s', async (cipher) => {
    const der = await cmsEncrypt([person('rsa')], Buffer.alloc(0), { cipher });
    expect(opensTo(Buffer.alloc(0), der, [person('rsa')])).toBe('as sent');
  });

  it('finds our key among several recipients and several keys of ours', async () => {
    const der = await cmsEncrypt([person('rsa4096'), person('p384'), person('rsa')], small);
    const result = open(der, [person('p256'), person('rsa')]);
    expect(result).toMatchObject({
      opened: true,
      recipients: 3,
      keySha256: decryptionKey(person('rsa')).certificate.sha256,
    });
  });

  it('says no-recipient when it is for others, though the key would fit', async () => {
    const renewed = await ca.issue({ name: 'Renewed', address: 'o@a.example', keyFrom: person('rsa') });
    const der = await cmsEncrypt([person('rsa')], small);
    expect(opensTo(small, der, [renewed, person('p256')])).toBe('no-recipient');
    const byKeyId = await cmsEncrypt([person('rsa')], small, { keyId: true });
    expect(opensTo(small, byKeyId, [person('rsa4096'), person('p256')])).toBe('no-recipient');
    expect(opensTo(small, byKeyId, [renewed]), 'the same key has the same identifier').toBe('as sent');
  });

  it('says unsupported for a cipher that it does not have', async () => {
    const result = open(await cmsEncrypt([person('rsa')], small, { cipher: 'rc2-cbc' }), [person('rsa')]);
    expect(result).toMatchObject({ opened: false, reason: 'unsupported', cipher: 'rc2-cbc' });
  });

  it('gives the content in a buffer of its own, which wiping clears', async () => {
    const result = open(await cmsEncrypt([person('rsa')], small), [person('rsa')]);
    if (!result.opened) throw new Error('not opened');
    const bytes = result.content.expose();
    expect(bytes.buffer.byteLength).toBeLessThan(small.length + 17);
    result.content.wipe();
    expect(bytes.every((octet) => octet === 0)).toBe(true);
    expect(JSON.stringify({ ...result, content: undefined })).not.toContain('meeting');
  });
});
