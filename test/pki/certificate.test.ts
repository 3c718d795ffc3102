import { createHash, createPublicKey } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isFault } from '../../src/base/errors.ts';
import { mayServe, parseCertificate, publicKeyOf } from '../../src/pki/certificate.ts';
import {
  der,
  derBits,
  derBoolean,
  derContext,
  derContextPrimitive,
  derInteger,
  derNull,
  derOid,
  derSequence,
  derSetOf,
  derUtf8,
} from '../../src/pki/der.ts';
import { mustRun } from '../kit/client.ts';
import { distinguishedName, type Extension } from '../kit/issue.ts';
import { type CertificateOptions, makeSelfSigned } from '../kit/pki.ts';

const make = async (options: Partial<CertificateOptions> = {}) =>
  parseCertificate((await makeSelfSigned({ name: 'Ann', key: 'p256', ...options })).certDer);

const attribute = (oid: string, value: Buffer) => derSetOf(derSequence(derOid(oid), value));
const altNames = (...names: Buffer[]): Extension => ({ oid: '2.5.29.17', valueDer: derSequence(...names) });
const rfc822 = (text: string) => derContextPrimitive(1, Buffer.from(text, 'latin1'));
const utf8Mailbox = (text: string) =>
  derContext(0, derOid('1.3.6.1.5.5.7.8.9'), derContext(0, derUtf8(text)));

describe('addresses', () => {
  it.each([
    ['as they are', [rfc822('ann@example.org')], ['ann@example.org']],
    ['in lower case', [rfc822('Ann.Lee@Example.ORG')], ['ann.lee@example.org']],
    [
      'several, without repeats',
      [rfc822('a@b.example'), rfc822('A@b.example'), rfc822('c@b.example')],
      ['a@b.example', 'c@b.example'],
    ],
    ['internationalised (RFC 8398)', [utf8Mailbox('änn@Bücher.example')], ['änn@xn--bcher-kva.example']],
    ['NUL cuts what some readers see', [rfc822('ann@example.org\0.evil.example')], []],
    ['line feed', [rfc822('ann@example.org\nboss@example.org')], []],
    ['blank', [rfc822('ann @example.org')], []],
    ['two mailboxes', [rfc822('ann@example.org,boss@example.org')], []],
    ['two @', [rfc822('ann@example.org@evil.example')], []],
    ['display name', [rfc822('Boss <boss@example.org>')], []],
    ['comment', [rfc822('ann(boss)@example.org')], []],
    ['no @', [rfc822('example.org')], []],
    ['no local part', [rfc822('@example.org')], []],
    ['no domain', [rfc822('ann@')], []],
    ['8 bit in an IA5String', [rfc822('\xe4nn@example.org')], []],
    ['invisible characters', [utf8Mailbox('ann\u200b@example.org')], []],
    ['right-to-left override', [utf8Mailbox('\u202eann@example.org')], []],
    [
      'broken UTF-8',
      [
        derContext(
          0,
          derOid('1.3.6.1.5.5.7.8.9'),
          derContext(0, der(12, Buffer.from('c3@example.org', 'latin1'), Buffer.from([0xc3]))),
        ),
      ],
      [],
    ],
    [
      'another kind of otherName',
      [derContext(0, derOid('1.3.6.1.4.1.311.20.2.3'), derContext(0, derUtf8('ann@example.org')))],
      [],
    ],
    ['server names are no addresses', [derContextPrimitive(2, Buffer.from('ann@example.org'))], []],
  ])('%s', async (_what, names, expected) => {
    expect((await make({ extensions: [altNames(...names)] })).addresses).toEqual(expected);
  });

  it('come from the subject too', async () => {
    const certificate = await make({ address: 'ann@example.org', dnEmail: 'Ann@Old.example' });
    expect(certificate.addresses).toEqual(['ann@example.org', 'ann@old.example']);
  });

  it('do not come from the common name', async () => {
    expect((await make({ name: 'boss@example.org' })).addresses).toEqual([]);
  });
});

describe('names as text', () => {
  it.each([
    [
      'most specific first',
      derSequence(attribute('2.5.4.6', derUtf8('DE')), attribute('2.5.4.3', derUtf8('Ann'))),
      'CN=Ann,C=DE',
    ],
    ['special characters', distinguishedName('A, "B" + C\\D;<E>'), 'CN=A\\, \\"B\\" \\+ C\\\\D\\;\\<E\\>'],
    ['blanks at the ends', distinguishedName(' A '), 'CN=\\ A\\ '],
    ['number sign in front', distinguishedName('#1'), 'CN=\\#1'],
    ['what could trick a terminal', distinguishedName('A\x1b[2J\u202e\0'), 'CN=A\\1b[2J\\e2\\80\\ae\\00'],
    [
      'BMPString',
      derSequence(attribute('2.5.4.3', der(30, Buffer.from('Änn', 'utf16le').swap16()))),
      'CN=Änn',
    ],
    ['TeletexString', derSequence(attribute('2.5.4.3', der(20, Buffer.from('Änn', 'latin1')))), 'CN=Änn'],
    ['unknown attribute', derSequence(attribute('1.2.3.4', derUtf8('x'))), '1.2.3.4=#0c0178'],
    [
      'several values in one part',
      derSequence(
        derSetOf(derSequence(derOid('2.5.4.3'), derUtf8('A')), derSequence(derOid('2.5.4.10'), derUtf8('B'))),
      ),
      'CN=A+O=B',
    ],
    ['empty', derSequence(), ''],
  ])('%s', async (_what, subjectDer, expected) => {
    expect((await make({ subjectDer })).subject).toBe(expected);
  });
});

describe('serial numbers', () => {
  it.each([
    ['01', '01'],
    ['00', '00'],
    ['00ff', 'ff'],
    ['0000ff', 'ff'],
    ['80', '-80'],
    ['ffff', '-01'],
    ['7f'.repeat(30), '7f'.repeat(30)],
  ])('content %s is %s', async (content, serial) => {
    const certificate = await make({ serial: Buffer.from(content, 'hex') });
    expect(certificate.serial).toBe(serial);
    expect(certificate.serialDer.toString('hex')).toBe(content);
  });
});

describe('keys', () => {
  it.each(['rsa', 'rsa1024', 'rsa3072', 'rsa-pss', 'p256', 'p384', 'p521', 'brainpool256'] as const)(
    '%s: the public key is the one that was certified',
    async (key) => {
      const identity = await makeSelfSigned({ name: 'Ann', key });
      const certificate = parseCertificate(identity.certDer);
      const expected = createPublicKey(identity.key);
      expect(publicKeyOf(certificate).equals(expected)).toBe(true);
      expect(certificate.rsaBits).toBe(expected.asymmetricKeyDetails?.modulusLength ?? null);
      expect(certificate.curve).toBe(expected.asymmetricKeyDetails?.namedCurve ?? null);
      const spki = expected.export({ type: 'spki', format: 'der' });
      expect(certificate.spkiSha256).toBe(createHash('sha256').update(spki).digest('hex'));
    },
  );

  it('refuses curves given by parameters (CVE-2020-0601)', async () => {
    const args = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit';
    const made = await mustRun(
      'openssl',
      `${args} -nodes -keyout /dev/null -outform DER -subj /CN=Odd`.split(' '),
    );
    const certDer = made.stdout;
    const certificate = parseCertificate(certDer);
    expect(certificate.curve).toBeNull();
    expect(() => publicKeyOf(certificate)).toThrow(/curve/);
  });

  it.each([
    ['1', derInteger(1)],
    ['even', derInteger(65536)],
    ['very long', derInteger(Buffer.alloc(200, 0x11))],
  ])('refuses an RSA exponent that is %s', async (_what, exponent) => {
    const certificate = parseCertificate((await makeSelfSigned({ name: 'Ann' })).certDer);
    const modulus = derInteger(Buffer.alloc(256, 0xc5));
    const spkiDer = derSequence(
      derSequence(derOid('1.2.840.113549.1.1.1'), derNull()),
      derBits(derSequence(modulus, exponent)),
    );
    expect(() => publicKeyOf({ ...certificate, spkiDer })).toThrow(/exponent/);
  });

  it('refuses RSA above 8192 bits', async () => {
    const certificate = parseCertificate((await makeSelfSigned({ name: 'Ann' })).certDer);
    expect(() => publicKeyOf({ ...certificate, rsaBits: 8193 })).toThrow(/8192/);
  });
});

describe('mayServe', () => {
  it.each([
    [{ key: 'rsa', usage: 'none', eku: 'none' }, true, true],
    [{ key: 'rsa', usage: 'digitalSignature' }, true, false],
    [{ key: 'rsa', usage: 'nonRepudiation' }, true, false],
    [{ key: 'rsa', usage: 'keyEncipherment' }, false, true],
    [{ key: 'rsa', usage: 'dataEncipherment' }, false, false],
    [{ key: 'rsa', usage: 'none', eku: 'serverAuth' }, false, false],
    [{ key: 'rsa', usage: 'none', eku: 'any' }, true, true],
    [{ key: 'rsa-pss', usage: 'none' }, true, false],
    [{ key: 'p256', usage: 'digitalSignature,keyAgreement' }, true, true],
    [{ key: 'p256', usage: 'keyEncipherment' }, false, false],
  ] as const)('%j', async (options, sign, encrypt) => {
    const certificate = await make(options);
    expect([mayServe(certificate, 'sign'), mayServe(certificate, 'encrypt')]).toEqual([sign, encrypt]);
  });

  it('lets X25519 be encrypted to and not sign', async () => {
    const certificate = { ...(await make({ usage: 'none' })), keyType: 'x25519' as const };
    expect([mayServe(certificate, 'sign'), mayServe(certificate, 'encrypt')]).toEqual([false, true]);
  });
});

describe('odd certificates', () => {
  it('takes one without any extension', async () => {
    const none = ['2.5.29.19', '2.5.29.14', '2.5.29.35'].map((oid) => ({ oid, valueDer: null }));
    const certificate = await make({ usage: 'none', eku: 'none', extensions: none });
    expect(certificate.extensions.size).toBe(0);
    expect([certificate.keyUsage, certificate.extendedKeyUsage, certificate.isCa]).toEqual([
      null,
      null,
      false,
    ]);
  });

  it.each<[string, Extension[]]>([
    ['key usage that is no bit string', [{ oid: '2.5.29.15', valueDer: derNull() }]],
    ['extended key usage that is no list', [{ oid: '2.5.29.37', valueDer: derUtf8('any') }]],
    ['alternative names that are none', [{ oid: '2.5.29.17', valueDer: Buffer.from([0x30, 0x05, 0x01]) }]],
    [
      'an extension twice',
      [
        { oid: '1.2.3', valueDer: derNull() },
        { oid: '1.2.3', valueDer: derNull() },
      ],
    ],
  ])('refuses %s', async (_what, extensions) => {
    const { certDer } = await makeSelfSigned({ name: 'Ann', key: 'p256', extensions });
    expect(() => parseCertificate(certDer)).toThrow(
      expect.objectContaining({ code: 'certificate-malformed' }),
    );
  });

  it('ignores key identifiers that are broken: they are hints', async () => {
    const broken = ['2.5.29.14', '2.5.29.35'].map((oid) => ({ oid, valueDer: derBoolean(true) }));
    const certificate = await make({ extensions: broken });
    expect([certificate.subjectKeyId, certificate.authorityKeyId]).toEqual([null, null]);
  });

  it('refuses a signature algorithm that is not the one that was signed (RFC 5280 4.1.1.2)', async () => {
    const { tbsDer, signature } = await make();
    const other = derSequence(derOid('1.2.840.10045.4.3.4'));
    expect(() => parseCertificate(derSequence(tbsDer, other, derBits(signature)))).toThrow(/two signature/);
  });

  it('refuses octets after the end', async () => {
    const { certDer } = await makeSelfSigned({ name: 'Ann', key: 'p256' });
    expect(() => parseCertificate(Buffer.concat([certDer, Buffer.from([0])]))).toThrow(/follow/);
  });

  it('does not keep the message alive that it came in', async () => {
    const { certDer } = await makeSelfSigned({ name: 'Ann', key: 'p256' });
    const message = Buffer.concat([Buffer.alloc(1_000_000), certDer]);
    const certificate = parseCertificate(message.subarray(1_000_000));
    expect(certificate.tbsDer.buffer.byteLength).toBe(certDer.length);
  });

  it('throws only faults, whatever octets are changed', async () => {
    const { certDer } = await makeSelfSigned({ name: 'Ann', key: 'p256', address: 'ann@example.org' });
    const octet = fc.tuple(fc.nat(certDer.length - 1), fc.nat(255));
    fc.assert(
      fc.property(fc.array(octet, { minLength: 1, maxLength: 5 }), (changes) => {
        const changed = Buffer.from(certDer);
        for (const [at, value] of changes) changed[at] = value;
        try {
          publicKeyOf(parseCertificate(changed));
          return true;
        } catch (error) {
          return isFault(error, 'certificate-malformed') || isFault(error, 'key-unsupported');
        }
      }),
      { numRuns: 1000 },
    );
  });
});
