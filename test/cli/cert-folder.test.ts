import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { type Identity, makeCa, makeSelfSigned, pem, type TestCa } from '../kit/pki.ts';
import { sympaDirectory, sympaName, sympaOldName } from '../kit/sympa.ts';
import { makeTeam, type Root } from './kit.ts';

// `cert import` of folders: a Sympa site's certificates, and heaps of files.

let ca: TestCa;
beforeAll(async () => {
  ca = await makeCa();
});

const issue = (address: string, more: object = {}): Promise<Identity> =>
  ca.issue({ name: 'Somebody', address, key: 'p256', ...more });
const idOf = (one: Identity): string => parseCertificate(one.certDer).sha256;

interface Report {
  readonly dryRun: boolean;
  readonly certificates: readonly {
    readonly sha256: string;
    readonly outcome: string;
    readonly reason: string | null;
    readonly why: string | null;
    readonly where: string;
  }[];
  readonly problems: readonly { readonly file: string; readonly reason: string }[];
  readonly summary: Readonly<Record<string, number>>;
}

async function imported(root: Root, ...args: string[]): Promise<Report & { code: number }> {
  const { code, stdout } = await root.run('cert', 'import', ...args, '--json');
  return { code, ...(JSON.parse(stdout) as Report) };
}

async function inUse(root: Root): Promise<Record<string, string>> {
  const rows = (await root.json('cert', 'list')) as {
    address: string;
    purpose: string;
    state: string;
    sha256: string;
  }[];
  return Object.fromEntries(
    rows.filter((row) => row.state === 'in-use').map((row) => [`${row.address} ${row.purpose}`, row.sha256]),
  );
}

// Every address of the table in Sympa's own documentation of its escaping that is an address for us too.
const addresses = [
  'alice@example.org',
  'alice+lists@example.org',
  "bob.o'brien@example.org",
  'x/y@example.org',
  'a%b@example.org',
  'a&b=c@example.org',
  'first_last@example.org',
  '~t^u{v}|w`@example.org',
  'anna_21@example.org',
  'anna!@example.org',
  'caf\u00e9@example.org',
];

describe.each(['new', 'old'] as const)("a Sympa site's certificates, %s naming", (naming) => {
  it('are taken over, each for its address and use, and mirrored', async () => {
    const root = await makeTeam(ca);
    const certificates = [];
    const expected: Record<string, string> = {};
    for (const address of addresses) {
      const one = await issue(address);
      certificates.push({ address, use: '' as const, pem: one.certPem });
      expected[`${address} sign`] = idOf(one);
      expected[`${address} enc`] = idOf(one);
    }
    const split = 'kay/split@example.org';
    const sign = await issue(split, { usage: 'digitalSignature' });
    // May sign as well, but is there to be encrypted to.
    const enc = await issue(split);
    certificates.push({ address: split, use: '@sign' as const, pem: sign.certPem });
    certificates.push({ address: split, use: '@enc' as const, pem: enc.certPem });
    expected[`${split} sign`] = idOf(sign);
    expected[`${split} enc`] = idOf(enc);
    const folder = join(root.path, 'X509-user-certs');
    sympaDirectory(folder, { naming, certificates });

    const dry = await imported(root, folder, '--dry-run');
    expect(dry).toMatchObject({ code: 0, dryRun: true, problems: [], summary: { imported: 13, refused: 0 } });
    expect(await inUse(root)).toEqual({});
    expect(readdirSync(join(root.path, 'spool'))).not.toContain('certificates');

    expect(await imported(root, folder)).toMatchObject({ code: 0, summary: { imported: 13 } });
    expect(await inUse(root)).toEqual(expected);
    expect(readdirSync(join(root.path, 'spool/certificates')).sort()).toEqual(
      certificates.map(({ address, use }) => sympaName(address) + use).sort(),
    );
    for (const { address, use, pem: text } of certificates)
      expect(readFileSync(join(root.path, 'spool/certificates', sympaName(address) + use), 'utf8')).toBe(
        text,
      );
    expect(await imported(root, folder)).toMatchObject({ code: 0, summary: { imported: 0, known: 13 } });
  });
});

it("the test's own rules are Sympa's: its documented names", () => {
  const rows = ['first_last@example.org', 'x/y@example.org', '"q r"@example.org', 'a%26b@example.org'];
  expect(rows.map((one) => [sympaOldName(one), sympaName(one)])).toEqual([
    ['first_last@example.org', 'first_5flast@example.org'],
    ['x%a5y@example.org', 'x_2fy@example.org'],
    ['%22q%20r%22@example.org', '_22q_20r_22@example.org'],
    ['a%2526b@example.org', 'a_2526b@example.org'],
  ]);
});

it('a folder of everything: each block is judged on its own, and the sum is told', async () => {
  const root = await makeTeam(ca);
  const [alice, bob, carol, dave] = (await Promise.all(
    ['alice', 'bob', 'carol', 'dave'].map((name) => issue(`${name}@example.org`)),
  )) as [Identity, Identity, Identity, Identity];
  const old = await issue('old@example.org', { notBefore: new Date(0), notAfter: new Date(86_400_000) });
  const stranger = await makeSelfSigned({ name: 'Stranger', address: 'stranger@example.org', key: 'p256' });
  const wrong = await issue('wrong@example.org', { usage: 'digitalSignature' });
  root.file('in/alice.pem', alice.certPem + old.certPem + ca.certPem);
  root.file('in/bob.der', bob.certDer);
  root.file(
    'in/carol.vcf',
    `BEGIN:VCARD\r\nKEY;ENCODING=b:${carol.certDer.toString('base64')}\r\nEND:VCARD\r\n`,
  );
  root.file(
    'in/all.ldif',
    `dn: x\nuserCertificate;binary:: ${dave.certDer.toString('base64')}\nuserCertificate;binary:: AAAA\n`,
  );
  root.file('in/stranger@example.org', stranger.certPem);
  root.file('in/another@example.org', bob.certPem);
  root.file('in/wrong@example.org@enc', wrong.certPem);
  root.file('in/broken.pem', pem('CERTIFICATE', Buffer.from('rubbish')));
  const report = await imported(root, join(root.path, 'in'));
  expect(report).toMatchObject({
    code: 1,
    summary: { imported: 4, known: 0, refused: 4, authorities: 1, problems: 2 },
  });
  expect(report.certificates.flatMap((one) => one.reason ?? []).sort()).toEqual([
    'authority',
    'expired',
    'not-trusted',
    'other-address',
    'wrong-usage',
  ]);
  const other = report.certificates.find((one) => one.reason === 'other-address');
  expect(other?.why).toMatch(
    /^it does not name another@example\.org, as its file is called, but bob@example\.org/,
  );
  expect(other?.where).toMatch(/in\/another@example\.org$/);
  expect(report.problems.map(({ file, reason }) => [file.slice(root.path.length), reason])).toEqual([
    ['/in/all.ldif, block 2', 'unreadable'],
    ['/in/broken.pem', 'unreadable'],
  ]);
  const { stdout } = await root.run('cert', 'import', join(root.path, 'in'), '--dry-run');
  expect(stdout).toContain(
    'In all: 0 would be imported, 4 already known, 4 refused, 1 authority left out, 2 problems; nothing was changed.',
  );
});

it('what was revoked is refused, pinned or not; what an owner refused does not come back in a heap', async () => {
  const root = await makeTeam(ca);
  const [gone, good] = [await issue('gone@example.org'), await issue('good@example.org')];
  root.file('list.crl', ca.crl({ revoked: [gone] }));
  writeFileSync(
    join(root.path, 'etc/reseal.yaml'),
    `${readFileSync(join(root.path, 'etc/reseal.yaml'), 'utf8')}trust.crlfile: list.crl\n`,
  );
  const file = root.file('gone.pem', gone.certPem);
  expect((await imported(root, file)).certificates).toMatchObject([{ reason: 'revoked' }]);
  expect((await imported(root, file, '--pin', 'gone@example.org')).certificates).toMatchObject([
    { reason: 'revoked' },
  ]);
  const folder = join(root.path, 'heap');
  root.file('heap/good.pem', good.certPem);
  await imported(root, folder);
  await root.json('cert', 'remove', 'good@example.org');
  expect((await imported(root, folder)).certificates).toMatchObject([{ reason: 'refused-before' }]);
  expect((await imported(root, folder, '--address', 'good@example.org')).certificates).toMatchObject([
    { outcome: 'imported' },
  ]);
});

it('a pin does not help against the word of one list that it was revoked, whatever other lists know', async () => {
  const root = await makeTeam(ca);
  const gone = await issue('gone@example.org');
  root.file('list.crl', ca.crl({ revoked: [gone] }));
  // Looked at first, it trusts nobody who knows of it.
  const first = ['aaa@lists.example', '--key', 'p-256', '--yes', '--owner', 'olga@example.org'];
  root.file('other.pem', (await makeCa()).certPem);
  await root.json('list', 'create', ...first, '--set', `trust.cafile=${join(root.path, 'other.pem')}`);
  await root.json('list', 'set', 'team', `trust.crlfile=${join(root.path, 'list.crl')}`);
  const file = root.file('gone.pem', gone.certPem);
  const pinned = await imported(root, file, '--pin', 'gone@example.org');
  expect(pinned.certificates).toMatchObject([{ reason: 'revoked' }]);
});

it('of many for one address the best valid one is used; an older one stands beside it', async () => {
  const root = await makeTeam(ca);
  const year = 365 * 86_400_000;
  const at = (years: number) => new Date(Math.floor(Date.now() / 1000) * 1000 + years * year);
  const newer = await issue('eve@example.org', { notBefore: at(-1), notAfter: at(2) });
  const older = await issue('eve@example.org', { notBefore: at(-2), notAfter: at(1) });
  await imported(root, root.file('newer.pem', newer.certPem));
  expect(await imported(root, root.file('older.pem', older.certPem))).toMatchObject({
    summary: { imported: 1 },
  });
  expect(Object.values(await inUse(root))).toEqual([idOf(newer), idOf(newer)]);
  expect(await imported(root, join(root.path, 'older.pem'))).toMatchObject({ summary: { known: 1 } });
  const shown = (await root.json('cert', 'show', idOf(older))) as { history: readonly object[] }[];
  expect(shown[0]?.history).toMatchObject([
    { state: 'superseded', purpose: 'sign', source: 'imported' },
    { state: 'superseded', purpose: 'enc' },
  ]);
});
