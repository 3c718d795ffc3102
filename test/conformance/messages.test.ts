import { createPrivateKey } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { DecryptionKey } from '../../src/cms/enveloped-data.ts';
import { defaultFloor } from '../../src/pki/algorithms.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { certificatesFromPem } from '../../src/pki/pem.ts';
import { revocationOff } from '../../src/pki/revocation.ts';
import { type OpenReport, openMessage } from '../../src/smime/open.ts';
import { needs } from '../kit/needs.ts';
import { cmsEntity, mailOf, signedEntity } from '../kit/smime-mime.ts';
import { requestOf } from '../smime/messages.ts';

/** Every message that others published, through the whole engine: layers, signatures, trust and From. */
const corpora = '../shared/corpora';
const present = (name: string) => needs(`the corpus ${name}`, existsSync(join(corpora, name)));
const crlf = (mail: Buffer) => Buffer.from(mail.toString('latin1').replace(/\r?\n/g, '\r\n'), 'latin1');

function open(
  message: Buffer,
  d: {
    anchors?: Buffer[];
    known?: Buffer[];
    keys?: DecryptionKey[];
    at: string;
    allowWeak?: boolean;
    crls?: Buffer[];
  },
): OpenReport {
  const { at, allowWeak = false, crls, ...known } = d;
  const floor = { ...defaultFloor, allowWeak };
  const revocation = crls ? ({ mode: 'hard', evidence: { crls, ocsp: [] } } as const) : revocationOff;
  return openMessage(requestOf(message, { ...known, at: Date.parse(at), floor, revocation }));
}

describe.skipIf(!present('rfc4134'))('RFC 4134', () => {
  const read = (name: string) => readFileSync(join(corpora, 'rfc4134', name));
  const anchors = () => [read('CarlDSSSelf.cer'), read('CarlRSASelf.cer')];
  const people = () => [read('AliceRSASignByCarl.cer'), read('DianeRSASignByCarl.cer')];
  const at = '2005-06-01';
  const text = () => read('ExContent.bin');
  const from = (address: string) => [['From', address]] as const;
  const opaque = (name: string, address: string) =>
    mailOf(from(address), cmsEntity(read(name), 'signed-data'));

  // The name is the section of RFC 4134.
  it.each<[string, () => Buffer, Partial<OpenReport> | object]>([
    ['3.1 plain data in BER', () => opaque('3.1.bin', 'alicedss@example.com'), { verdict: 'unsigned' }],
    ['3.2 plain data in DER', () => opaque('3.2.bin', 'alicedss@example.com'), { verdict: 'unsigned' }],
    ['4.1 DSA', () => opaque('4.1.bin', 'alicedss@example.com'), { verdict: 'signed' }],
    ['4.2 RSA', () => opaque('4.2.bin', 'alicersa@example.com'), { verdict: 'signed' }],
    [
      '4.3 detached',
      () => mailOf(from('alicedss@example.com'), signedEntity(text(), read('4.3.bin'), 'sha1')),
      { verdict: 'signed' },
    ],
    ['4.4 with many attributes', () => opaque('4.4.bin', 'alicedss@example.com'), { verdict: 'signed' }],
    ['4.5 signed by RSA', () => opaque('4.5.bin', 'alicersa@example.com'), { verdict: 'signed' }],
    ['4.7 named by key identifier', () => opaque('4.7.bin', 'alicedss@example.com'), { verdict: 'signed' }],
    // Its From says examples.com, the certificate example.com.
    [
      '4.8 multipart/signed',
      () => crlf(read('4.8.eml')),
      { verdict: 'mismatch', reasons: ['no-address-match'], layers: [{ signers: [{ intact: true }] }] },
    ],
    [
      '4.9 opaque',
      () => crlf(read('4.9.eml')),
      { verdict: 'mismatch', reasons: ['no-address-match'], layers: [{ signers: [{ intact: true }] }] },
    ],
    ['4.10 of another content type', () => opaque('4.10.bin', 'alicedss@example.com'), { verdict: 'signed' }],
    ['4.11 certificates only', () => opaque('4.11.bin', 'alicedss@example.com'), { verdict: 'unsigned' }],
    ['6.0 digested', () => opaque('6.0.bin', 'alicedss@example.com'), { verdict: 'unsigned' }],
    [
      '7.1 encrypted by a shared key',
      () => opaque('7.1.bin', 'alicedss@example.com'),
      { verdict: 'unsigned' },
    ],
    [
      '7.2 encrypted by a shared key',
      () => opaque('7.2.bin', 'alicedss@example.com'),
      { verdict: 'unsigned' },
    ],
  ])('%s, where weak algorithms are allowed', (_, message, expected) => {
    expect(open(message(), { anchors: anchors(), known: people(), at, allowWeak: true })).toMatchObject(
      expected,
    );
  });

  it('4.6 two signers: every one is reported', () => {
    const message = opaque('4.6.bin', 'alicedss@example.com');
    const known = [read('DianeDSSSignByCarlInherit.cer'), ...people()];
    const report = open(message, { anchors: anchors(), known, at, allowWeak: true });
    expect(report.layers).toMatchObject([
      { signers: [{ addresses: ['alicedss@example.com'], intact: true }, expect.anything()] },
    ]);
  });

  // Its lists do not say when the next one comes: nobody is known to be good by them (RFC 5280 5.1.2.5), but revoked.
  it.each([
    ['CarlRSACRLEmpty', ['crl-expired']],
    ['CarlRSACRLForCarl', ['crl-expired']],
    ['CarlRSACRLForAll', ['revoked']],
  ])('%s, where a revocation list is required', (name, reasons) => {
    const d = { anchors: anchors(), known: people(), at, allowWeak: true, crls: [read(`${name}.crl`)] };
    expect(open(opaque('4.2.bin', 'alicersa@example.com'), d)).toMatchObject({
      verdict: 'untrusted',
      reasons,
    });
  });

  it('all of them are weak today, and weak is not signed (RULES 5)', () => {
    const report = open(opaque('4.2.bin', 'alicersa@example.com'), {
      anchors: anchors(),
      known: people(),
      at,
    });
    expect(report).toMatchObject({ verdict: 'untrusted', author: null });
    expect(report.reasons).toEqual(expect.arrayContaining(['weak-digest', 'weak-key']));
  });

  const bob = (): DecryptionKey => ({
    certificate: parseCertificate(read('BobRSASignByCarl.cer')),
    key: createPrivateKey({ key: read('BobPrivRSAEncrypt.pri'), format: 'der', type: 'pkcs8' }),
  });
  const enveloped = (name: string) =>
    mailOf(from('alicedss@example.com'), cmsEntity(read(name), 'enveloped-data'));

  it.each<[string, () => Buffer, object]>([
    [
      '5.1 triple DES',
      () => enveloped('5.1.bin'),
      { verdict: 'unsigned', encrypted: true, layers: [{ cipher: 'des-ede3-cbc', opened: true }] },
    ],
    [
      '5.2 RC2',
      () => enveloped('5.2.bin'),
      { verdict: 'unopened', reasons: ['unsupported'], layers: [{ cipher: 'rc2-cbc', opened: false }] },
    ],
    [
      '5.3 mail with triple DES',
      () => crlf(read('5.3.eml')),
      { verdict: 'unsigned', encrypted: true, layers: [{ cipher: 'des-ede3-cbc', opened: true }] },
    ],
  ])('%s', (_, message, expected) => {
    expect(open(message(), { keys: [bob()], at })).toMatchObject(expected);
  });
});

describe.skipIf(!present('thunderbird-smime'))('Thunderbird', () => {
  const folder = join(corpora, 'thunderbird-smime');
  const signed = existsSync(folder) ? readdirSync(folder).filter((name) => /sig\./.test(name)) : [];
  const at = '2026-11-01';

  it.each(signed)('%s', (name) => {
    const anchors = certificatesFromPem(readFileSync(join(folder, 'TestCA.pem'))).certificates.map(
      (c) => c.der,
    );
    const report = open(crlf(readFileSync(join(folder, name))), { anchors, at });
    const expected = name.includes('.bad.')
      ? { verdict: 'invalid', author: null }
      : name.includes('SHA1')
        ? { verdict: 'untrusted', reasons: ['weak-digest'] }
        : { verdict: 'signed', author: 'alice@example.com' };
    expect(report).toMatchObject(expected);
  });

  it('alice.env.eml is not for us', () => {
    expect(open(crlf(readFileSync(join(folder, 'alice.env.eml'))), { at })).toMatchObject({
      verdict: 'unopened',
      reasons: ['no-recipient'],
    });
  });
});

describe.skipIf(!present('rfc9788-hp'))('RFC 9788', () => {
  it('the protected header fields are the ones that count', () => {
    const anchor = certificatesFromPem(readFileSync(join(corpora, 'rfc9216/ca.rsa.crt'))).certificates[0];
    const message = readFileSync(join(corpora, 'rfc9788-hp/smime-multipart-hp.eml'));
    const report = open(message, { anchors: anchor ? [anchor.der] : [], at: '2021-06-01' });
    expect(report).toMatchObject({
      verdict: 'signed',
      author: 'alice@smime.example',
      protected: { form: 'clear', from: 'alice@smime.example' },
    });
    expect(report.subject).toBe(report.protected?.subject);
  });
});
