import { createPrivateKey, verify } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { defaultFloor } from '../../src/pki/algorithms.ts';
import { mayServe, parseCertificate, publicKeyOf } from '../../src/pki/certificate.ts';
import { makeCsr, makeKey, privateKeyPem, selfSigned } from '../../src/pki/issue.ts';
import { belongsTo, privateKeyFromPem } from '../../src/pki/keys.ts';
import { validatePath } from '../../src/pki/path.ts';
import { toPem } from '../../src/pki/pem.ts';
import { mustRun } from '../kit/client.ts';
import { nextKey } from '../kit/pki.ts';
import { tempFolder } from '../kit/tmp.ts';

const from = Math.floor(Date.now() / 1000) * 1000;
const naming = {
  commonName: 'List "conseil"',
  address: 'conseil@lists.example.org',
  use: 'both',
} as const;
const keyKinds = ['rsa-2048', 'rsa-3072', 'rsa-4096', 'p-256', 'p-384', 'ed25519', 'x25519'] as const;

const openssl = async (command: string, content: string): Promise<string> => {
  const path = join(tempFolder(), 'in.pem');
  writeFileSync(path, content);
  const { stdout, stderr } = await mustRun('openssl', command.replaceAll('FILE', path).split(' '));
  return stdout.toString() + stderr;
};

describe('makeKey', () => {
  it.each(keyKinds)('%s', async (kind) => {
    const { asymmetricKeyDetails, asymmetricKeyType } = await makeKey(kind);
    const { modulusLength, namedCurve } = asymmetricKeyDetails ?? {};
    const names: Record<string, string | number> = {
      'p-256': 'prime256v1',
      'p-384': 'secp384r1',
      'rsa-2048': 2048,
      'rsa-4096': 4096,
      'rsa-3072': 3072,
    };
    expect(modulusLength ?? namedCurve ?? asymmetricKeyType).toBe(names[kind] ?? kind);
  });
});

describe.each([
  ['rsa', 'Digital Signature, Key Encipherment'],
  ['p256', 'Digital Signature, Key Agreement'],
  ['p384', 'Digital Signature, Key Agreement'],
] as const)('with a key of kind %s', (kind, usage) => {
  it('makes a certificate that OpenSSL verifies and reads the same', async () => {
    const key = await nextKey(kind);
    const der = selfSigned({ key, ...naming, from, days: 30 });
    const text = await openssl('x509 -in FILE -noout -text', toPem(der));
    expect(text).toContain('CA:FALSE');
    expect(text).toContain(usage);
    expect(text).toContain('E-mail Protection');
    expect(text).toContain('email:conseil@lists.example.org');
    expect(text).toContain('Version: 3');
    const verified = await openssl(
      'verify -x509_strict -check_ss_sig -purpose smimesign -CAfile FILE FILE',
      toPem(der),
    );
    expect(verified).toContain(': OK');
    // OpenSSL asks keyEncipherment of EC keys too; RFC 5480 3 does not allow it to them.
    if (kind === 'rsa')
      await openssl('verify -x509_strict -purpose smimeencrypt -CAfile FILE FILE', toPem(der));
  });

  it('makes a certificate for both uses, valid only where it is an anchor', async () => {
    const key = await nextKey(kind);
    const certificate = parseCertificate(selfSigned({ key, ...naming, from, days: 30 }));
    expect(certificate).toMatchObject({
      subject: 'CN=List \\"conseil\\"',
      addresses: ['conseil@lists.example.org'],
      notBefore: from,
      notAfter: from + 30 * 86_400_000,
      isCa: false,
      unknownCritical: [],
    });
    expect([mayServe(certificate, 'sign'), mayServe(certificate, 'encrypt')]).toEqual([true, true]);
    expect(belongsTo(certificate, key)).toBe(true);
    const request = { intermediates: [], at: from, purpose: 'sign', floor: defaultFloor } as const;
    expect(validatePath(certificate, { ...request, anchors: { certificates: [certificate] } }).valid).toBe(
      true,
    );
    expect(validatePath(certificate, { ...request, anchors: { certificates: [] } }).valid).toBe(false);
  });

  it('makes a request that OpenSSL verifies', async () => {
    const text = await openssl(
      'req -in FILE -noout -verify -text',
      toPem(makeCsr({ key: await nextKey(kind), ...naming }), 'CERTIFICATE REQUEST'),
    );
    expect(text).toMatch(/verify OK/i);
    expect(text).toContain('email:conseil@lists.example.org');
    expect(text).toContain('E-mail Protection');
    expect(text).toContain(usage);
  });
});

describe('selfSigned', () => {
  it('gives each certificate a serial number of its own', async () => {
    const key = await nextKey('p256');
    const serials = Array.from(
      { length: 50 },
      () => parseCertificate(selfSigned({ key, ...naming, from, days: 1 })).serial,
    );
    expect(new Set(serials).size).toBe(50);
    expect(serials.filter((serial) => serial.startsWith('-') || serial.length !== 32)).toEqual([]);
  });

  it('writes an internationalised address so that it is read back', async () => {
    const der = selfSigned({
      key: await nextKey('p256'),
      commonName: 'x',
      address: 'räte@bücher.example',
      use: 'both',
      from,
      days: 1,
    });
    expect(parseCertificate(der).addresses).toEqual(['räte@xn--bcher-kva.example']);
  });

  it.each([
    ['an empty name', { commonName: ' ' }],
    ['a name of 65 characters', { commonName: 'x'.repeat(65) }],
    ['a line feed in the name', { commonName: 'a\nb' }],
    ['an address without domain', { address: 'list' }],
    ['an address with a blank', { address: 'my list@example.org' }],
  ])('refuses %s', async (_what, wrong) => {
    const key = await nextKey('p256');
    expect(() => selfSigned({ key, ...naming, from, days: 1, ...wrong })).toThrow(
      expect.objectContaining({ code: 'issue-name' }),
    );
  });

  it('refuses kinds of keys that cannot do both', async () => {
    const key = await nextKey('ed25519');
    expect(() => makeCsr({ key, ...naming })).toThrow(expect.objectContaining({ code: 'issue-use' }));
    const pss = await nextKey('rsa-pss');
    expect(() => makeCsr({ key: pss, ...naming })).toThrow(expect.objectContaining({ code: 'issue-key' }));
  });
});

describe('a key for each use', () => {
  const usageOf = (der: Buffer) => [...(parseCertificate(der).keyUsage ?? [])].sort();

  it.each([
    ['rsa', 'sign', ['digitalSignature']],
    ['rsa', 'encrypt', ['keyEncipherment']],
    ['p256', 'sign', ['digitalSignature']],
    ['p256', 'encrypt', ['keyAgreement']],
    ['ed25519', 'sign', ['digitalSignature']],
  ] as const)('%s to %s', async (kind, use, usage) => {
    const der = selfSigned({ key: await nextKey(kind), ...naming, use, from, days: 30 });
    expect(usageOf(der)).toEqual(usage);
    const text = await openssl('verify -x509_strict -check_ss_sig -CAfile FILE FILE', toPem(der));
    expect(text).toContain(': OK');
  });

  it('X25519, which cannot sign, is certified by the Ed25519 key beside it', async () => {
    const [signer, key] = [await nextKey('ed25519'), await nextKey('x25519')];
    const signing = parseCertificate(selfSigned({ key: signer, ...naming, use: 'sign', from, days: 30 }));
    const der = selfSigned({ key, ...naming, use: 'encrypt', from, days: 30, signer });
    const certificate = parseCertificate(der);
    expect(usageOf(der)).toEqual(['keyAgreement']);
    expect(belongsTo(certificate, key)).toBe(true);
    expect(certificate.authorityKeyId).toEqual(signing.subjectKeyId);
    expect(verify(null, certificate.tbsDer, publicKeyOf(signing), certificate.signature)).toBe(true);
    expect(mayServe(certificate, 'encrypt')).toBe(true);
    expect(() => makeCsr({ key, ...naming, use: 'encrypt' })).toThrow(
      expect.objectContaining({ code: 'issue-request' }),
    );
    expect(() => selfSigned({ key, ...naming, use: 'sign', from, days: 1, signer })).toThrow(
      expect.objectContaining({ code: 'issue-use' }),
    );
  });

  it('Ed25519 asks for a certificate', async () => {
    const csr = makeCsr({ key: await nextKey('ed25519'), ...naming, use: 'sign' });
    expect(await openssl('req -in FILE -noout -verify -text', toPem(csr, 'CERTIFICATE REQUEST'))).toMatch(
      /verify OK/i,
    );
  });
});

describe('privateKeyPem', () => {
  it('is encrypted if there is a passphrase', async () => {
    const key = await nextKey('p256');
    const passphrase = Buffer.from('correct horse');
    const pem = privateKeyPem(key, passphrase);
    expect(pem).toContain('ENCRYPTED');
    expect(privateKeyFromPem(Buffer.from(pem), passphrase).equals(key)).toBe(true);
    expect(createPrivateKey(privateKeyPem(key, null)).equals(key)).toBe(true);
  });
});
