import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { derContext, derInteger, derOid, derSequence } from '../../src/pki/der.ts';
import { toPem } from '../../src/pki/pem.ts';
import { type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import { makeTeam, type Root } from './kit.ts';

// Files that people find on the net, or that somebody made to hurt: an import ends soon, in little memory, and says why.

let ca: TestCa;
let alice: Identity;
beforeAll(async () => {
  ca = await makeCa();
  alice = await ca.issue({ name: 'Alice', address: 'alice@example.org', key: 'p256' });
});

const program = fileURLToPath(new URL('../../bin/reseal.mjs', import.meta.url));

interface Report {
  readonly code: number;
  readonly seconds: number;
  readonly certificates: readonly { readonly outcome: string; readonly reason: string | null; why: string }[];
  readonly problems: readonly { readonly file: string; readonly reason: string; readonly why: string }[];
}

/** Imports in a process of its own, whose heap may grow to 160 MB. */
async function imported(root: Root, ...paths: string[]): Promise<Report> {
  const started = performance.now();
  const args = [
    '--max-old-space-size=160',
    program,
    'cert',
    'import',
    ...paths,
    '--json',
    '--root',
    root.path,
  ];
  const { code, stdout } = await promisify(execFile)(process.execPath, args, { maxBuffer: 1 << 28 }).then(
    (done) => ({ ...done, code: 0 }),
    (error: { code: number; stdout: string }) => error,
  );
  return { ...(JSON.parse(stdout) as Report), code, seconds: (performance.now() - started) / 1000 };
}

const signedData = (certificates: Buffer): Buffer =>
  derSequence(
    derOid('1.2.840.113549.1.7.2'),
    derContext(
      0,
      derSequence(
        derInteger(1),
        Buffer.from('3100', 'hex'),
        derSequence(derOid('1.2.840.113549.1.7.1')),
        derContext(0, certificates),
        Buffer.from('3100', 'hex'),
      ),
    ),
  );

describe('an import of', () => {
  it.each<[string, () => Buffer | string, number, RegExp | null]>([
    [
      '50 MB of PEM',
      () => alice.certPem.repeat(Math.ceil(50e6 / alice.certPem.length / 2)).padEnd(50e6, '#\n'),
      1,
      null,
    ],
    [
      '50 MB of PEM in small blocks',
      () => toPem(Buffer.from([1])).repeat(800_000),
      0,
      /more than 50000 blocks: import it in parts/,
    ],
    [
      'PKCS #7 with 100,000 certificates',
      () => signedData(Buffer.concat(Array(100_000).fill(alice.certDer))),
      0,
      /more than 400000 elements, which is more than reseal reads/,
    ],
    [
      'LDIF with a million values',
      () => `dn: cn=x\n${'userCertificate;binary:: MIIB\n'.repeat(1_000_000)}`,
      0,
      /more than 50000 blocks/,
    ],
    [
      'LDIF of one value in ten million lines',
      () => `dn: cn=x\nuserCertificate;binary:: MI\n${' AAA\n'.repeat(10_000_000)}`,
      0,
      /./,
    ],
    ['a vCard of one value that never ends', () => `BEGIN:VCARD\nKEY;ENCODING=b:${'A'.repeat(50e6)}`, 0, /./],
    ['50 MB of nothing', () => Buffer.alloc(50e6), 0, /it holds no certificate/],
    ['65 MB', () => Buffer.alloc(65 * 1024 ** 2, 0x30), 0, /more than 64 MB/],
  ])(
    '%s',
    async (_, make, count, words) => {
      const root = await makeTeam(ca);
      const report = await imported(root, root.file('hostile', make()));
      expect(report.certificates.filter((one) => one.outcome === 'imported')).toHaveLength(count);
      expect(report.code).toBe(count > 0 ? 0 : 1);
      if (words) expect(report.problems.map((one) => one.why).join('; ')).toMatch(words);
      expect(report.problems.length).toBeLessThan(3);
      expect(report.seconds).toBeLessThan(60);
    },
    90_000,
  );

  it('a device without end', async () => {
    const report = await imported(await makeTeam(ca), '/dev/zero');
    expect(report).toMatchObject({ code: 1, problems: [{ file: '/dev/zero', reason: 'too-large' }] });
  }, 60_000);

  it('a folder with pipes, links to nowhere and in a ring, folders and what is no certificate', async () => {
    const root = await makeTeam(ca);
    const folder = join(root.path, 'heap');
    mkdirSync(join(folder, 'below'), { recursive: true });
    writeFileSync(join(folder, 'good'), alice.certPem);
    symlinkSync('good', join(folder, 'link'));
    symlinkSync('nowhere', join(folder, 'dangling'));
    symlinkSync('ring', join(folder, 'ring'));
    symlinkSync('.', join(folder, 'below/up'));
    symlinkSync('/dev/zero', join(folder, 'zero'));
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    const report = await imported(root, folder);
    expect(report.certificates).toMatchObject([{ outcome: 'imported' }]);
    expect(report.problems.map(({ file, why }) => [file.slice(folder.length + 1), why])).toEqual([
      ['dangling', expect.stringMatching(/does not exist|no such file|is not there/i)],
      ['ring', expect.stringMatching(/ELOOP/)],
    ]);
  });
});

it('names that would lead elsewhere stay in the directory, and say nothing to a terminal', async () => {
  const root = await makeTeam(ca);
  const folder = join(root.path, 'heap');
  mkdirSync(folder);
  const names = [
    '..%2f..%2fevil@example.org',
    '.._2f.._2fevil@example.org',
    'nul%00@example.org',
    'nul_00@example.org',
    'line\nfeed@example.org',
    'line_0afeed@example.org',
    '\u001b[31mred@example.org',
    `${'a'.repeat(240)}@example.org`,
  ];
  for (const name of names) writeFileSync(join(folder, name), alice.certPem);
  const report = await imported(root, folder);
  expect(report.certificates.filter((one) => one.outcome === 'imported').length).toBeLessThan(2);
  const { stdout, stderr } = await root.run('cert', 'import', folder);
  expect(stdout + stderr).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
  const evil = await ca.issue({ name: 'Evil', address: '../../evil@example.org', key: 'p256' });
  const slash = await ca.issue({ name: 'Slash', address: 'a/../b@example.org', key: 'p256' });
  const more = await imported(
    root,
    root.file('evil.pem', evil.certPem),
    root.file('slash.pem', slash.certPem),
  );
  expect(more.certificates.length).toBe(2);
  const written = readdirSync(join(root.path, 'spool/certificates'));
  expect(written.filter((file) => file.includes('evil'))).toEqual([]);
  for (const file of written) expect(file).toMatch(/^[-+.0-9@A-Za-z_]+$/);
  expect(readdirSync(root.path).filter((file) => file.includes('@'))).toEqual([]);
  expect(readdirSync(join(root.path, 'spool')).filter((file) => file.includes('@'))).toEqual([]);
});

it('a certificate of many addresses is taken for one that is named, not for all; one of 10,000 not at all', async () => {
  const root = await makeTeam(ca);
  const issue = (count: number) => {
    const address = Array.from({ length: count }, (_, n) => `member-${n}@example.org`);
    return ca.issue({ name: 'Many', address, key: 'p256' });
  };
  const file = root.file('many.pem', (await issue(1000)).certPem);
  expect((await imported(root, file)).certificates.map(({ reason, why }) => [reason, why])).toEqual([
    ['many-addresses', 'it names 1000 addresses, more than 100 (--address ADDRESS takes it for one of them)'],
  ]);
  expect(await root.json('cert', 'list')).toEqual([]);
  await root.json('cert', 'import', file, '--address', 'member-7@example.org');
  expect(readdirSync(join(root.path, 'spool/certificates'))).toEqual(['member-7@example.org']);
  const report = await imported(root, root.file('more.pem', (await issue(10_000)).certPem));
  expect(report.problems.map((one) => one.why)).toEqual(['the certificate cannot be read: it is too large']);
  expect(report.seconds).toBeLessThan(20);
});
