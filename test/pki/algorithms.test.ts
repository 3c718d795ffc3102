import { describe, expect, it } from 'vitest';
import {
  cipherNameOf,
  cipherOf,
  contentCipherOf,
  contentCiphers,
  createDigest,
  curves,
  digestLength,
  digestNames,
  digestOf,
  digestOid,
  keyWrapFor,
  keyWrapOid,
  strengthOf,
} from '../../src/pki/algorithms.ts';
import { derOid } from '../../src/pki/der.ts';
import { reasons, sentenceOf } from '../../src/pki/reasons.ts';
import { runProgram } from '../kit/client.ts';

/** What OpenSSL calls an object identifier. */
async function opensslName(oid: string): Promise<string> {
  const { stdout } = await runProgram('openssl', ['asn1parse', '-inform', 'DER'], { input: derOid(oid) });
  return stdout.toString().trim().split(':').at(-1) ?? '';
}

describe('object identifiers are those of OpenSSL', () => {
  it.each([
    ...digestNames.map((name) => [name, digestOid(name), name] as const),
    ...contentCiphers.map(
      (name) => [name, cipherOf(name).oid, name.replace(/^aes-(\d+)-gcm$/, 'aes-$1-gcm')] as const,
    ),
    ...[...curves].map(([oid, { name }]) => [name, oid, name] as const),
    ...[16, 24, 32].map(
      (octets) => [`wrap of ${octets}`, keyWrapOid(keyWrapFor(octets)), `id-aes${octets * 8}-wrap`] as const,
    ),
  ])('%s', async (_name, oid, expected) => {
    expect((await opensslName(oid)).toLowerCase()).toBe(expected.toLowerCase());
  });
});

describe('digests', () => {
  it.each(digestNames)('%s gives as many octets as the table says', (name) => {
    expect(createDigest(name).update('x').digest()).toHaveLength(digestLength(name));
    expect(digestOf(digestOid(name))).toBe(name);
  });
});

describe('ciphers', () => {
  it('knows what it can read from what it can only name', () => {
    expect(contentCipherOf('2.16.840.1.101.3.4.1.42')).toBe('aes-256-cbc');
    expect(contentCipherOf('1.2.840.113549.3.2')).toBeNull();
    expect(cipherNameOf('1.2.840.113549.3.2')).toBe('rc2-cbc');
    expect(cipherNameOf('1.2.3.4')).toBe('1.2.3.4');
    expect(['des-ede3-cbc', 'aes-128-gcm', 'aes-256-cbc'].map((c) => strengthOf(c as 'aes-256-cbc'))).toEqual(
      [112, 128, 256],
    );
  });
});

describe('reasons', () => {
  it.each(reasons)('%s has a sentence that reads well without data, and with it', (reason) => {
    const data = { subject: 'CN=Ann', issuer: 'CN=CA', algorithm: 'sha1', address: 'a@b.example' };
    for (const sentence of [sentenceOf(reason), sentenceOf(reason, data)])
      expect(sentence).toMatch(/^[a-z](?!.*(undefined|null|\.$| {2})).*\S$/);
  });
});
