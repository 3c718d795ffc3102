import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { needs } from '../kit/needs.ts';
import { type Identity, makeCa, makeSelfSigned, type TestCa } from '../kit/pki.ts';
import { makeRoot, type Root } from './kit.ts';

const day = 86_400_000;

let root: Root;
let ca: TestCa;
let middle: TestCa;
let alice: Identity;
let carol: Identity;

beforeAll(async () => {
  root = makeRoot();
  ca = await makeCa('Root', { key: 'p256' });
  middle = await ca.intermediate({ name: 'Middle', key: 'p256' });
  alice = await ca.issue({ name: 'Alice', address: 'alice@example.org', key: 'p256' });
  carol = await middle.issue({ name: 'Carol', address: 'carol@example.org', key: 'p256' });
});

async function verify(certificate: string, ...args: readonly string[]) {
  const { code, stdout, stderr } = await root.run('cert', 'verify', certificate, ...args, '--json');
  return { code, stderr, value: JSON.parse(stdout) as Record<string, unknown> };
}

describe('cert verify', () => {
  const trust = () => ['--ca', ca.certPath];
  const crl = (authority: TestCa, d: Parameters<TestCa['crl']>[0] = {}) => [
    '--crl',
    root.file(`${Math.random()}.crl`, authority.crl(d)),
  ];
  interface Case {
    readonly name: string;
    readonly of: () => Identity | Promise<Identity>;
    readonly args: () => readonly string[];
    readonly is: Record<string, unknown>;
  }
  const valid = { valid: true, revocation: 'not-checked', reasons: ['not-checked'] };
  const cases: readonly Case[] = [
    { name: 'valid', of: () => alice, args: trust, is: { ...valid, path: ['CN=Alice', 'CN=Root'] } },
    {
      name: 'an intermediate authority',
      of: () => carol,
      args: () => [...trust(), '--untrusted', middle.certPath],
      is: { ...valid, path: ['CN=Carol', 'CN=Middle', 'CN=Root'] },
    },
    {
      name: 'the intermediate authority is missing',
      of: () => carol,
      args: trust,
      is: {
        valid: false,
        path: ['CN=Carol'],
        reasons: ['no-path', 'not-checked'],
        revocation: 'not-checked',
      },
    },
    {
      name: 'no authority given',
      of: () => alice,
      args: () => [],
      is: { valid: false, path: ['CN=Alice'], reasons: ['no-path', 'not-checked'] },
    },
    {
      name: 'trusted as itself',
      of: () => alice,
      args: () => ['--ca', alice.certPath],
      is: { ...valid, path: ['CN=Alice'] },
    },
    {
      name: 'expired',
      of: () => alice,
      args: () => [...trust(), '--at', new Date(Date.now() + 700 * day).toISOString()],
      is: { valid: false, reasons: ['expired', 'not-checked'] },
    },
    {
      name: 'not yet valid',
      of: () => alice,
      args: () => [...trust(), '--at', '2020-01-01T12:00+02:00'],
      is: { valid: false, reasons: ['not-yet-valid', 'not-checked'] },
    },
    {
      name: 'good by a current list',
      of: () => alice,
      args: () => [...trust(), ...crl(ca)],
      is: { valid: true, reasons: [], revocation: 'good', path: ['CN=Alice', 'CN=Root'] },
    },
    {
      name: 'revoked',
      of: () => alice,
      args: () => [...trust(), ...crl(ca, { revoked: [alice] })],
      is: { valid: false, reasons: ['revoked'], revocation: 'revoked' },
    },
    {
      name: 'an outdated list',
      of: () => alice,
      args: () => [
        ...trust(),
        ...crl(ca, { thisUpdate: new Date(Date.now() - 9 * day), nextUpdate: new Date(Date.now() - day) }),
      ],
      is: { valid: false, reasons: ['crl-expired'], revocation: 'unknown' },
    },
    {
      name: 'a list for the leaf, none for the authority above it',
      of: () => carol,
      args: () => [...trust(), '--untrusted', middle.certPath, ...crl(middle)],
      is: { valid: false, reasons: ['crl-missing'], revocation: 'unknown' },
    },
    {
      name: 'a list for each but the anchor',
      of: () => carol,
      args: () => [...trust(), '--untrusted', middle.certPath, ...crl(middle), ...crl(ca)],
      is: { valid: true, reasons: [], revocation: 'good' },
    },
    {
      name: 'the authority in between is revoked',
      of: () => carol,
      args: () => [
        ...trust(),
        '--untrusted',
        middle.certPath,
        ...crl(middle),
        ...crl(ca, { revoked: [middle] }),
      ],
      is: { valid: false, reasons: ['revoked'], revocation: 'revoked' },
    },
    {
      name: 'any purpose by default',
      of: () => ca.issue({ name: 'Server', key: 'p256', eku: 'serverAuth' }),
      args: trust,
      is: { valid: true },
    },
    {
      name: 'for encryption a key that may only sign',
      of: () => ca.issue({ name: 'Signer', key: 'p256', usage: 'digitalSignature' }),
      args: () => [...trust(), '--purpose', 'encrypt'],
      is: { valid: false, reasons: ['wrong-usage', 'not-checked'] },
    },
    {
      name: 'for signing the same key',
      of: () => ca.issue({ name: 'Signer', key: 'p256', usage: 'digitalSignature' }),
      args: () => [...trust(), '--purpose', 'sign'],
      is: { valid: true },
    },
    {
      name: 'a weak key',
      of: () => ca.issue({ name: 'Weak', key: 'rsa1024' }),
      args: trust,
      is: { valid: false, reasons: ['weak', 'weak-key', 'not-checked'] },
    },
    {
      name: 'a weak key, allowed',
      of: () => ca.issue({ name: 'Weak', key: 'rsa1024' }),
      args: () => [...trust(), '--allow-weak'],
      is: { valid: true },
    },
  ];
  it.each(cases)('$name', async ({ of, args, is }) => {
    const { code, stderr, value } = await verify((await of()).certPath, ...args());
    expect(value).toMatchObject(is);
    expect(Object.keys(value)).toEqual(['valid', 'path', 'reasons', 'revocation']);
    expect({ code, stderr }).toEqual({ code: value.valid === true ? 0 : 1, stderr: '' });
  });

  it('takes further certificates of the file as intermediate ones, and DER', async () => {
    const chain = root.file('chain.pem', `${carol.certPem}${middle.certPem}`);
    expect((await verify(chain, '--ca', root.file('ca.der', ca.certDer))).value.valid).toBe(true);
  });

  it('reads standard input, built, without a configuration', async () => {
    const result = await root.pipe(alice.certPem, 'cert', 'verify', '-', '--ca', ca.certPath, '--json');
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(result.stdout)).toMatchObject({ valid: true });
  });

  it('tells people why, and what would change it', async () => {
    const self = await makeSelfSigned({ name: 'Sel', address: 'sel@example.org', key: 'p256' });
    const { code, stdout } = await root.run('cert', 'verify', self.certPath, '--ca', ca.certPath);
    const text = stdout.replace(/\s+/g, ' ');
    expect(code).toBe(1);
    expect(text).toMatch(
      /^NOT VALID at \S+: its chain ends at CN=Sel, which is not among the authorities given; add it/,
    );
    expect(text).toContain('What would change it: - if you trust the authority');
    const good = await root.run('cert', 'verify', alice.certPath, '--ca', ca.certPath);
    expect(good.stdout).toMatch(/^VALID at /);
    expect(good.stdout).toMatch(/CN=Alice \(\w{8}, until \d{4}-\d\d-\d\d\)\n {2}CN=Root/);
    expect(good.stdout).toContain('Revocation: not checked; `--crl FILE`');
  });

  it.each<[string, () => readonly string[], string]>([
    [
      'who was revoked',
      () => crl(ca, { revoked: [alice] }),
      'the certificate of CN=Alice (issued by CN=Root) was revoked.',
    ],
    [
      'whose list is missing',
      () => crl(middle),
      'no current revocation list of CN=Root was found for the certificate of CN=Alice',
    ],
    [
      'who had expired',
      () => ['--at', '2090-01-01'],
      'the certificate of CN=Alice (issued by CN=Root) had expired',
    ],
  ])('names %s', async (_, args, sentence) => {
    const { stdout } = await root.run('cert', 'verify', alice.certPath, ...trust(), ...args());
    expect(stdout.replace(/\s+/g, ' ')).toContain(sentence);
  });

  it.each<[string, () => readonly string[], RegExp]>([
    ['no file', () => [], /missing required argument/],
    ['a missing file', () => ['/nowhere/a.pem'], /there is no such file/],
    ['no certificate', () => [root.file('x.pem', 'hello')], /is no file of certificates/],
    ['a key', () => [alice.keyPath], /is no file of certificates/],
    [
      'a broken certificate',
      () => [root.file('cut.der', alice.certDer.subarray(0, 200))],
      /is no file of certificates/,
    ],
    ['a wrong purpose', () => [alice.certPath, '--purpose', 'tea'], /--purpose cannot be "tea"/],
    ['a wrong instant', () => [alice.certPath, '--at', '12:00'], /--at cannot be "12:00"/],
    [
      'a list that is none',
      () => [alice.certPath, '--crl', alice.certPath],
      /is no file of revocation lists/,
    ],
  ])('%s: one sentence, exit code 2', async (_, args, sentence) => {
    const result = await root.run('cert', 'verify', ...args());
    expect(result).toMatchObject({ code: 2, stdout: '' });
    expect(result.stderr).toMatch(sentence);
    expect(result.stderr.trimEnd().split('\n')).toHaveLength(1);
  });
});

const pkits = '../shared/corpora/pkits';
describe.skipIf(!needs('the corpus pkits', existsSync(join(pkits, 'expected.tsv'))))('NIST PKITS', () => {
  const certificate = (name: string) => join(pkits, 'certs', `${name}.crt`);
  const list = (name: string) => ['--crl', join(pkits, 'crls', `${name}.crl`)];
  const lists = [...list('GoodCACRL'), ...list('TrustAnchorRootCRL')];
  it.each<[string, string, readonly string[], Record<string, unknown>]>([
    ['4.1.1', 'ValidCertificatePathTest1EE', lists, { valid: true, reasons: [], revocation: 'good' }],
    [
      '4.4.3',
      'InvalidRevokedEETest3EE',
      lists,
      { valid: false, reasons: ['revoked'], revocation: 'revoked' },
    ],
    [
      '4.1.1 without the list of its authority',
      'ValidCertificatePathTest1EE',
      list('TrustAnchorRootCRL'),
      { valid: false, reasons: ['crl-missing'], revocation: 'unknown' },
    ],
  ])('%s %s', async (_, name, crls, is) => {
    const args = [
      '--ca',
      certificate('TrustAnchorRootCertificate'),
      '--untrusted',
      certificate('GoodCACert'),
    ];
    const { value } = await verify(certificate(name), ...args, ...crls, '--at', '2010-12-10', '--allow-weak');
    expect(value).toMatchObject(is);
  });
});
