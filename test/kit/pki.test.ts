import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { derNull } from '../../src/pki/der.ts';
import { hasProgram, needs } from './needs.ts';
import { type CertificateOptions, type Identity, type KeyKind, makeCa, makeSelfSigned } from './pki.ts';

const opensslText = (identity: Identity) =>
  execFileSync('openssl', ['x509', '-in', identity.certPath, '-noout', '-text', '-nameopt', 'RFC2253'], {
    encoding: 'utf8',
  });

describe.skipIf(!needs('openssl', hasProgram('openssl')))(
  'the issuer of test certificates, read by OpenSSL',
  () => {
    it('writes what the options say', async () => {
      const ca = await makeCa('Root One');
      const text = opensslText(
        await ca.issue({
          name: 'Alice',
          address: ['alice@a.example', 'al@a.example'],
          dnEmail: 'old@a.example',
          usage: 'digitalSignature,nonRepudiation',
          eku: 'emailProtection,clientAuth',
          notBefore: new Date('2020-01-02T03:04:05Z'),
          notAfter: new Date('2051-01-01T00:00:00Z'),
          serial: Buffer.from('0102030405', 'hex'),
        }),
      );
      for (const line of [
        'Issuer: CN=Root One',
        'Subject: emailAddress=old@a.example,CN=Alice',
        'Not Before: Jan  2 03:04:05 2020 GMT',
        'Not After : Jan  1 00:00:00 2051 GMT',
        'Serial Number: 4328719365 (0x102030405)',
        'Digital Signature, Non Repudiation\n',
        'E-mail Protection, TLS Web Client Authentication\n',
        'email:alice@a.example, email:al@a.example',
        'X509v3 Basic Constraints: critical\n                CA:FALSE',
      ])
        expect(text).toContain(line);
    });

    it.each<KeyKind>(['rsa', 'rsa-pss', 'p256', 'p384', 'p521', 'brainpool256', 'ed25519'])(
      'signs with a %s key so that OpenSSL verifies the path',
      async (key) => {
        const ca = await makeCa('Root Two', { key, digest: 'sha384' });
        const middle = await ca.intermediate({ name: 'Middle', key, pathLength: 0 });
        const leaf = await middle.issue({ name: 'Leaf', address: 'l@a.example', key });
        const said = execFileSync(
          'openssl',
          [
            'verify',
            '-x509_strict',
            '-CAfile',
            ca.certPath,
            '-untrusted',
            middle.certPath,
            '-purpose',
            'smimesign',
            leaf.certPath,
          ],
          { encoding: 'utf8' },
        );
        expect(said.trim()).toBe(`${leaf.certPath}: OK`);
      },
    );

    it('lists revoked certificates', async () => {
      const ca = await makeCa('Root Three');
      const leaf = await ca.issue({ name: 'Leaf' });
      const text = execFileSync('openssl', ['crl', '-noout', '-text'], {
        input: ca.crl({ revoked: [leaf] }),
        encoding: 'utf8',
      });
      expect(text).toContain(`Serial Number: ${leaf.serial.toString('hex').toUpperCase()}`);
      expect(() =>
        execFileSync('openssl', ['crl', '-noout', '-CAfile', ca.certPath], {
          input: ca.crl(),
          stdio: 'pipe',
        }),
      ).not.toThrow();
    });
  },
);

describe('odd certificates', () => {
  const standard = [
    'CA:FALSE',
    'X509v3 Subject Key Identifier',
    'X509v3 Key Usage',
    'X509v3 Extended Key Usage',
  ];
  const rows: [string, Omit<CertificateOptions, 'name'>, string[]][] = [
    ['no usages', { usage: 'none', eku: 'none' }, standard.slice(0, 2)],
    [
      'an extension replaced',
      { extensions: [{ oid: '2.5.29.14', valueDer: null }] },
      standard.filter((_, i) => i !== 1),
    ],
    [
      'an unknown critical extension',
      { extensions: [{ oid: '1.2.3.4', critical: true, valueDer: derNull() }] },
      [...standard, '1.2.3.4: critical'],
    ],
  ];
  it.each(rows)('has %s', async (_, options, present) => {
    const text = opensslText(await makeSelfSigned({ name: 'Odd', ...options }));
    for (const line of [...standard, '1.2.3.4: critical'])
      expect(text.includes(line), line).toBe(present.includes(line));
  });

  it('takes serial, issuer, key and a name with NUL as given', async () => {
    const ca = await makeCa('Root Four');
    const first = await ca.issue({ name: 'First', address: 'a@a.example' });
    const renewed = await ca.issue({ name: 'First', address: 'a@a.example', keyFrom: first });
    const forged = await makeSelfSigned({
      name: 'Forged',
      address: 'a@a.example\0.evil.example',
      serial: first.serial,
      issuerDer: ca.subjectDer,
    });
    const [x, y, z] = [first, renewed, forged].map((identity) => new X509Certificate(identity.certDer));
    expect([z?.serialNumber, z?.issuer]).toEqual([x?.serialNumber, x?.issuer]);
    expect(y?.publicKey.equals(x?.publicKey ?? first.key)).toBe(true);
    expect(z?.publicKey.equals(x?.publicKey ?? first.key)).toBe(false);
    expect(forged.certDer.includes('a@a.example\0.evil.example')).toBe(true);
  });
});
