import { execFileSync } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseContentInfo } from '../../src/cms/content-info.ts';
import { encryptContent, type KeyTransport, recipientOf } from '../../src/cms/encrypt.ts';
import { openEnveloped } from '../../src/cms/enveloped-data.ts';
import { signDetached } from '../../src/cms/sign.ts';
import { parseSignedData } from '../../src/cms/signed-data.ts';
import { verifySigner } from '../../src/cms/verify.ts';
import { defaultFloor } from '../../src/pki/algorithms.ts';
import { type Certificate, parseCertificate } from '../../src/pki/certificate.ts';
import { certificatesFromPem } from '../../src/pki/pem.ts';
import { hasProgram, needs } from '../kit/needs.ts';
import { cmsOf, splitSigned } from '../kit/smime-mime.ts';

const corpora = '../shared/corpora';
const present = (name: string) => needs(`the corpus ${name}`, existsSync(join(corpora, name)));
const crlf = (text: Buffer) => Buffer.from(text.toString('latin1').replace(/\r?\n/g, '\r\n'), 'latin1');

function verify(der: Buffer, content: Buffer | null, known: readonly Certificate[] = []) {
  const data = parseSignedData(parseContentInfo(der).content);
  const covered = content ? [content] : (data.content ?? []);
  return data.signers.map((signer) => verifySigner(data, signer, covered, known, defaultFloor));
}

describe.skipIf(!present('rfc4134'))('RFC 4134', () => {
  const read = (name: string) => readFileSync(join(corpora, 'rfc4134', name));
  const certificate = (name: string) => parseCertificate(read(`${name}.cer`));
  const content = () => read('ExContent.bin');

  // 1999: SHA-1, DSA and RSA with 1024 bits; right, and weak.
  it.each([
    ['4.1.bin', null],
    ['4.2.bin', null],
    ['4.3.bin', content],
    ['4.4.bin', null],
    ['4.5.bin', null],
    ['4.7.bin', null],
    ['4.10.bin', null],
  ])('%s is intact and weak', (name, detached) => {
    for (const report of verify(read(name), detached?.() ?? null))
      expect(report).toMatchObject({ intact: true, weak: true, reasons: ['weak-digest', 'weak-key'] });
  });

  it('4.3 over another text is not intact', () => {
    expect(verify(read('4.3.bin'), Buffer.from('other'))).toMatchObject([{ intact: false }]);
  });

  it('4.6 has two signers, the second with inherited DSA parameters, which are not supported', () => {
    expect(verify(read('4.6.bin'), null, [certificate('DianeDSSSignByCarlInherit')])).toMatchObject([
      { intact: true },
      { intact: false, reasons: expect.arrayContaining(['unsupported']) },
    ]);
  });

  it('4.8 is clear-signed mail', () => {
    const { content, signatureDer } = splitSigned(crlf(read('4.8.eml')));
    expect(verify(signatureDer, content)).toMatchObject([{ intact: true }]);
    expect(verify(signatureDer, Buffer.concat([content, Buffer.from(' ')]))).toMatchObject([
      { intact: false },
    ]);
  });

  it('4.9 is opaque mail', () => {
    expect(verify(cmsOf(crlf(read('4.9.eml'))), null)).toMatchObject([{ intact: true }]);
  });

  it('4.11 only carries certificates', () => {
    const data = parseSignedData(parseContentInfo(read('4.11.bin')).content);
    expect(data).toMatchObject({ signers: [], content: null, badCertificates: 0, ocsp: [] });
    expect(data.crls).toHaveLength(1);
    expect(data.certificates.map((c) => c.subject)).toEqual(['CN=CarlDSS', 'CN=AliceDSS']);
  });

  const bob = () => ({
    certificate: certificate('BobRSASignByCarl'),
    key: createPrivateKey({ key: read('BobPrivRSAEncrypt.pri'), format: 'der', type: 'pkcs8' }),
  });

  it.each([
    ['5.1', () => read('5.1.bin')],
    ['5.3', () => cmsOf(crlf(read('5.3.eml')))],
  ])('%s opens with 3DES', (_, der) => {
    const result = openEnveloped(parseContentInfo(der()).content, [bob()]);
    expect(result).toMatchObject({ opened: true, cipher: 'des-ede3-cbc' });
    expect(result.opened && result.content.expose().toString()).toContain('This is some sample content.');
  });

  it('5.2 is RC2', () => {
    expect(openEnveloped(parseContentInfo(read('5.2.bin')).content, [bob()])).toMatchObject({
      opened: false,
      reason: 'unsupported',
      cipher: 'rc2-cbc',
      recipients: 2,
    });
  });
});

describe.skipIf(!present('thunderbird-smime'))('Thunderbird', () => {
  const folder = join(corpora, 'thunderbird-smime');
  const read = (name: string) => readFileSync(join(folder, name));
  const signed = existsSync(folder) ? readdirSync(folder).filter((name) => /sig\./.test(name)) : [];

  it.each(signed)('%s', (name) => {
    const mail = read(name);
    const { content, signatureDer } = name.includes('multipart')
      ? splitSigned(mail)
      : { content: null, signatureDer: cmsOf(mail) };
    const reports = verify(signatureDer, content);
    expect(reports).toHaveLength(1);
    expect(reports[0]).toMatchObject({ intact: !name.includes('.bad.'), weak: name.includes('SHA1') });
    if (!name.includes('.bad.')) expect(reports[0]?.certificate?.addresses).toEqual(['alice@example.com']);
  });

  it.skipIf(!needs('openssl', hasProgram('openssl')))('alice.env.eml opens with the key of Bob', () => {
    const pem = execFileSync(
      'openssl',
      ['pkcs12', '-legacy', '-in', join(folder, 'Bob.p12'), '-passin', 'pass:nss', '-nodes'],
      { stdio: ['ignore', 'pipe', 'ignore'] },
    );
    const key = createPrivateKey(pem);
    const certificate = certificatesFromPem(pem).certificates.find((c) => c.subject.includes('Bob'));
    if (!certificate) throw new Error('no certificate of Bob');
    const result = openEnveloped(parseContentInfo(cmsOf(read('alice.env.eml'))).content, [
      { certificate, key },
    ]);
    expect(result).toMatchObject({ opened: true, keyTransport: 'rsa' });
    expect(result.opened && result.content.expose().toString()).toContain(
      'This is a test message from Alice to Bob.',
    );
  });
});

describe.skipIf(!present('rfc9216'))('RFC 9216', () => {
  const read = (name: string) => readFileSync(join(corpora, 'rfc9216', name));
  const certificate = (name: string) =>
    certificatesFromPem(read(`${name}.crt`)).certificates[0] as Certificate;
  const key = (name: string) => createPrivateKey(read(`${name}.key`));
  const text = Buffer.from('Content-Type: text/plain\r\n\r\nHello.\r\n');

  it.each(['alice', 'bob', 'carlos', 'dana'])('%s signs and is verified', (name) => {
    const signer = { key: key(`${name}.sign`), certificate: certificate(`${name}.sign`), chain: [], at: 0 };
    const der = signDetached(text, signer);
    const algorithm = ['carlos', 'dana'].includes(name) ? 'ed25519' : 'rsa-sha256';
    expect(verify(der, text)).toMatchObject([{ intact: true, weak: false, algorithm }]);
    expect(verify(der, Buffer.from('other'))).toMatchObject([{ intact: false, reasons: ['bad-digest'] }]);
  });

  it.each<[string, KeyTransport]>([
    ['alice', 'rsa'],
    ['bob', 'rsa-oaep-sha256'],
    ['carlos', 'ecdh'],
    ['dana', 'ecdh'],
  ])('%s is encrypted to by %s and opens it', (name, transport) => {
    const owner = { key: key(`${name}.encrypt`), certificate: certificate(`${name}.encrypt`) };
    const encrypted = encryptContent(text, 'aes-256-cbc');
    const der = Buffer.concat([
      encrypted.prefixFor(recipientOf(owner.certificate, transport)),
      encrypted.tail,
    ]);
    const result = openEnveloped(parseContentInfo(der).content, [owner]);
    expect(result).toMatchObject({
      opened: true,
      kdf: name === 'bob' ? 'sha256' : transport === 'ecdh' ? 'hkdf-sha256' : null,
    });
  });
});

describe.skipIf(!present('rfc9788-hp'))('RFC 9788', () => {
  it('the signed message with protected header fields is intact', () => {
    const { content, signatureDer } = splitSigned(
      readFileSync(join(corpora, 'rfc9788-hp/smime-multipart-hp.eml')),
    );
    expect(verify(signatureDer, content)).toMatchObject([
      { intact: true, certificate: { addresses: ['alice@smime.example'] } },
    ]);
  });
});
