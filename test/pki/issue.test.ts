import { createPrivateKey } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { defaultFloor } from '../../src/pki/algorithms.ts';
import { mayServe, parseCertificate } from '../../src/pki/certificate.ts';
import { keyKinds, makeCsr, makeKey, privateKeyPem, selfSigned } from '../../src/pki/issue.ts';
import { belongsTo, privateKeyFromPem } from '../../src/pki/keys.ts';
import { validatePath } from '../../src/pki/path.ts';
import { toPem } from '../../src/pki/pem.ts';
import { mustRun } from '../kit/client.ts';
import { nextKey } from '../kit/pki.ts';
import { tempFolder } from '../kit/tmp.ts';

const from = Math.floor(Date.now() / 1000) * 1000;
const naming = { commonName: 'List "conseil"', address: 'conseil@lists.example.org' };

const openssl = async (command: string, content: string): Promise<string> => {
  const path = join(tempFolder(), 'in.pem');
  writeFileSync(path, content);
  const { stdout, stderr } = await mustRun('openssl', command.replaceAll('FILE', path).split(' '));
  return stdout.toString() + stderr;
};

describe('makeKey', () => {
  it.each(keyKinds.filter((kind) => kind !== 'rsa-4096'))('%s', async (kind) => {
    const { modulusLength, namedCurve } = (await makeKey(kind)).asymmetricKeyDetails ?? {};
    const curves = { 'p-256': 'prime256v1', 'p-384': 'secp384r1' } as Record<string, string>;
    expect(modulusLength ?? namedCurve).toBe(curves[kind] ?? Number(kind.slice(4)));
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
    expect(() => makeCsr({ key, ...naming })).toThrow(expect.objectContaining({ code: 'issue-key' }));
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
