import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { certsOnly } from '../../src/cms/sign.ts';
import { certificatesInFile, mostFileOctets } from '../../src/flow/certificates/certificate-files.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { pkcs12 } from '../kit/openssl.ts';
import { type Identity, makeCa, pem, type TestCa } from '../kit/pki.ts';
import { tempFolder } from '../kit/tmp.ts';

let ca: TestCa;
let alice: Identity;
let bob: Identity;
let bundle: Buffer;
beforeAll(async () => {
  ca = await makeCa();
  alice = await ca.issue({ name: 'Alice', address: 'alice@example.org', key: 'p256' });
  bob = await ca.issue({ name: 'Bob', address: 'bob@example.org', key: 'p256' });
  bundle = certsOnly([alice, bob].map((one) => parseCertificate(one.certDer)));
});

const base64 = (der: Buffer): string => der.toString('base64');
/** As vCard and LDIF writers do: lines of at most 75, continued by a blank. */
const folded = (line: string, end = '\r\n'): string =>
  (line.match(/^.{1,75}|.{1,74}/g) ?? []).join(`${end} `);

/** What the blocks of a file give, those that are certificates and those that are none. */
function found(file: Buffer) {
  const all = [...certificatesInFile(file)];
  return {
    certificates: all.filter((one) => one.certificate !== null),
    problems: all.filter((one) => one.certificate === null),
  };
}

/** `alice@example.org bob@example.org | unreadable`. */
function read(file: string | Buffer): string {
  const { certificates, problems } = found(Buffer.from(file));
  const names = certificates.map(({ certificate }) => certificate.addresses[0] ?? certificate.subject).sort();
  return [names.join(' '), ...problems.map(({ reason }) => reason)].join(' | ');
}

/** What OpenSSL makes of PEM certificates. */
function crl2pkcs7(...more: string[]): Buffer {
  const path = join(tempFolder(), 'in.pem');
  writeFileSync(path, alice.certPem + bob.certPem);
  return execFileSync('openssl', ['crl2pkcs7', '-nocrl', '-certfile', path, ...more]);
}

const both = 'alice@example.org bob@example.org';
const vcard = (...lines: string[]): string =>
  ['BEGIN:VCARD', 'VERSION:3.0', 'FN:Alice', ...lines, 'END:VCARD', ''].join('\r\n');
const ldif = (...lines: string[]): string =>
  ['version: 1', '', 'dn: cn=Alice,dc=example', 'objectClass: person', ...lines, ''].join('\n');

describe('certificatesInFile', () => {
  it.each<[string, () => string | Buffer, string]>([
    ['PEM, text around it', () => `Alice:\n${alice.certPem}\nBob:\n${bob.certPem}`, both],
    ['PEM with CRLF', () => alice.certPem.replaceAll('\n', '\r\n'), 'alice@example.org'],
    ['PEM behind a byte order mark', () => `\ufeff${alice.certPem}`, 'alice@example.org'],
    [
      'PEM, one of them broken',
      () => alice.certPem + pem('CERTIFICATE', Buffer.from('30030101ff', 'hex')) + bob.certPem,
      `${both} | unreadable`,
    ],
    ['a key beside it', () => pem('PRIVATE KEY', Buffer.from('x')) + alice.certPem, 'alice@example.org'],
    ['DER', () => alice.certDer, 'alice@example.org'],
    ['DER, cut', () => alice.certDer.subarray(0, 200), ' | unreadable'],
    ['base64 alone', () => base64(alice.certDer), 'alice@example.org'],
    ['PKCS #7 in DER', () => bundle, both],
    ['PKCS #7 of OpenSSL in DER', () => crl2pkcs7('-outform', 'DER'), both],
    ['PKCS #7 of OpenSSL in PEM', () => crl2pkcs7(), both],
    ['PKCS #7 as CMS in PEM', () => pem('CMS', bundle), both],
    ['PKCS #7 in base64 alone, folded', () => base64(bundle).replace(/.{64}/g, '$&\r\n'), both],
    ['PKCS #7 without certificates', () => certsOnly([]), ' | no-certificate'],
    [
      'vCard 3',
      () => vcard(folded(`KEY;ENCODING=b;TYPE=X509:${base64(alice.certDer)}`)),
      'alice@example.org',
    ],
    [
      'vCard 3, in a group',
      () => vcard(folded(`item1.key;type=x509;encoding=B:${base64(alice.certDer)}`)),
      'alice@example.org',
    ],
    [
      'vCard 2.1',
      () => vcard(`KEY;X509;ENCODING=BASE64:\r\n ${base64(alice.certDer).replace(/.{70}/g, '$&\r\n ')}\r\n`),
      'alice@example.org',
    ],
    [
      'vCard 4',
      () => vcard(folded(`KEY:data:application/pkix-cert;base64,${base64(alice.certDer)}`)),
      'alice@example.org',
    ],
    [
      'vCard 4 with a parameter, LF and an escaped comma',
      () =>
        vcard(
          folded(`KEY;PREF=1;X-A="a:b":data:application/pkix-cert;base64\\,${base64(bob.certDer)}`),
        ).replaceAll('\r\n', '\n'),
      'bob@example.org',
    ],
    [
      'two vCards',
      () => vcard(`KEY;ENCODING=b:${base64(alice.certDer)}`) + vcard(`KEY;ENCODING=b:${base64(bob.certDer)}`),
      both,
    ],
    ['vCard with PKCS #7', () => vcard(`KEY:data:application/pkcs7-mime;base64,${base64(bundle)}`), both],
    [
      'vCard, a key of OpenPGP',
      () => vcard('KEY;TYPE=PGP;ENCODING=b:mQENBF', `KEY;ENCODING=b:${base64(alice.certDer)}`),
      'alice@example.org',
    ],
    [
      'vCard, elsewhere',
      () => vcard('KEY;MEDIATYPE=application/pkix-cert:http://127.0.0.1:1/alice.cer'),
      ' | not-here',
    ],
    ['vCard without a key', () => vcard(), ' | no-certificate'],
    [
      'LDIF',
      () => ldif(folded(`userCertificate;binary:: ${base64(alice.certDer)}`, '\n')),
      'alice@example.org',
    ],
    [
      'LDIF with CRLF',
      () => ldif(folded(`userCertificate;binary:: ${base64(alice.certDer)}`, '\n')).replaceAll('\n', '\r\n'),
      'alice@example.org',
    ],
    [
      'LDIF, userSMIMECertificate',
      () => ldif(folded(`userSMIMECertificate;binary:: ${base64(bundle)}`, '\n')),
      both,
    ],
    [
      'LDIF, other spellings, several values',
      () =>
        ldif(`usercertificate:: ${base64(alice.certDer)}`, `USERCERTIFICATE;binary::${base64(bob.certDer)}`),
      both,
    ],
    [
      'LDIF, broken base64 beside a good one',
      () => ldif('userCertificate;binary:: !!!', `userCertificate;binary:: ${base64(bob.certDer)}`),
      'bob@example.org | not-here',
    ],
    ['LDIF, a file', () => ldif('userCertificate;binary:< file:///etc/passwd'), ' | not-here'],
    ['LDIF, an authority', () => ldif(`cACertificate;binary:: ${base64(ca.certDer)}`), 'CN=Test Root'],
    ['nothing', () => '', ' | no-certificate'],
    ['rubbish', () => 'rubbish', ' | no-certificate'],
  ])('%s', (_, file, expected) => expect(read(file())).toBe(expected));

  it('says where each stands, and that PKCS #12 holds a key', async () => {
    const path = join(tempFolder(), 'alice.p12');
    await pkcs12(alice, path);
    expect(found(readFileSync(path))).toMatchObject({
      certificates: [],
      problems: [{ where: '', reason: 'private-key' }],
    });
    expect(found(Buffer.from(alice.certPem + bob.certPem)).certificates.map((one) => one.where)).toEqual([
      'block 1',
      'block 2',
    ]);
  });

  it('reads nothing that is too large', () => {
    expect(read(Buffer.alloc(mostFileOctets + 1, 0x30))).toBe(' | too-large');
  });

  it('throws for no file at all', () => {
    const files = fc.oneof(
      fc.uint8Array({ maxLength: 400 }).map((octets) => Buffer.from(octets)),
      fc.string({ maxLength: 400 }).map((text) => Buffer.from(vcard(`KEY:${text}`))),
      fc.string({ maxLength: 400 }).map((text) => Buffer.from(ldif(`userCertificate;binary:: ${text}`))),
      fc.tuple(fc.constantFrom('cert', 'bundle'), fc.nat(2000), fc.nat(255)).map(([what, at, octet]) => {
        const copy = Buffer.from(what === 'cert' ? alice.certDer : bundle);
        copy[at % copy.length] = octet;
        return copy;
      }),
    );
    fc.assert(
      fc.property(files, (file) => {
        const { certificates, problems } = found(file);
        expect(certificates.length + problems.length).toBeGreaterThan(0);
      }),
      { numRuns: 500 },
    );
  });

  it.each<[string, () => Buffer]>([
    ['lines that only begin', () => Buffer.from('-----BEGIN CERTIFICATE-----\n'.repeat(100_000))],
    ['a fold after each character', () => Buffer.from(vcard(`KEY;ENCODING=b:${'A\r\n '.repeat(500_000)}`))],
    ['a parameter without end', () => Buffer.from(vcard(`KEY${';A="'.repeat(300_000)}`))],
    ['a name without end', () => Buffer.from(ldif(`userCertificate${';a'.repeat(500_000)}`))],
    [
      'nested without end',
      () =>
        Buffer.concat([
          Buffer.from('3080060a2a864886f70d010702', 'hex'),
          Buffer.alloc(200_000, Buffer.from('a080', 'hex')),
        ]),
    ],
  ])('%s takes no time', (_, file) => {
    const started = performance.now();
    found(file());
    expect(performance.now() - started).toBeLessThan(2000);
  });
});
