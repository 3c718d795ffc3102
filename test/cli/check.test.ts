import { createPrivateKey } from 'node:crypto';
import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { checkConfigurationFile, checkRoom, type Finding } from '../../src/flow/check-files.ts';
import { makeCa, type TestCa } from '../kit/pki.ts';
import { makeRoot, type Root } from './kit.ts';

interface Report {
  readonly ok: boolean;
  readonly findings: readonly Finding[];
}

let ca: TestCa;
beforeAll(async () => {
  ca = await makeCa();
});

/** A port where something answers. */
async function relayPort(): Promise<number> {
  const server = createServer((socket) => socket.end());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

async function goodRoot(): Promise<Root> {
  const root = makeRoot(`hostname: lists.example\ntrust.cafile: ca.pem\nrelay.port: ${await relayPort()}\n`);
  root.file('ca.pem', ca.certPem);
  await root.json('list', 'create', 'team@lists.example', '--key', 'p-256', '--owner', 'olga@example.org');
  return root;
}

async function check(root: Root): Promise<{ code: number; report: Report; problems: string[] }> {
  const { code, stdout } = await root.run('check', '--json');
  const report = JSON.parse(stdout) as Report;
  const problems = report.findings
    .filter((one) => one.level === 'problem')
    .map((one) => `${one.about}: ${one.text}`);
  return { code, report, problems };
}

describe('check', () => {
  it('finds nothing wrong where nothing is', async () => {
    const root = await goodRoot();
    const { code, report, problems } = await check(root);
    expect(problems).toEqual([]);
    expect({ code, ok: report.ok }).toEqual({ code: 0, ok: true });
    const text = await root.run('check');
    expect(text.stdout).toMatch(
      /\ngood {5}team@lists\.example: key pair and certificate are right, until \d{4}-\d\d-\d\d\n/,
    );
    expect(text.stdout).toMatch(/\n0 problems, \d warnings?\.\n$/);
  });

  it.each<[string, (root: Root, folder: string) => unknown, RegExp]>([
    [
      'a key that others may read',
      (_, folder) => chmodSync(join(folder, 'private_key'), 0o644),
      /private_key may be read or changed by other users \(chmod 600/,
    ],
    [
      'a broken key',
      (_, folder) => writeFileSync(join(folder, 'private_key'), 'x'),
      /private_key cannot be used: it holds no private key/,
    ],
    [
      'a certificate without its key',
      (root) => root.file('etc/lists/team@lists.example/cert.pem.2020', 'x'),
      /cert\.pem\.2020 is not used, because there is no private_key\.2020/,
    ],
    [
      'a certificate of another key',
      async (_, folder) =>
        writeFileSync(
          join(folder, 'cert.pem'),
          (await ca.issue({ name: 'x', address: 'team@lists.example' })).certPem,
        ),
      /do not belong together/,
    ],
    [
      'an expired certificate',
      async (root, folder) => {
        const old = await ca.issue({
          name: 'x',
          address: 'team@lists.example',
          notBefore: new Date(0),
          notAfter: new Date(86_400_000),
        });
        writeFileSync(join(folder, 'cert.pem'), old.certPem);
        writeFileSync(join(folder, 'private_key'), readFileSync(old.keyPath));
        return root;
      },
      /its certificate expired on 1970-01-02: get a new one/,
    ],
    [
      'an open folder of keys',
      (root) => chmodSync(join(root.path, 'etc/lists'), 0o755),
      /open to other users \(mode 755\): chmod 700/,
    ],
    [
      'an open spool',
      (root) => chmodSync(join(root.path, 'spool'), 0o750),
      /spool: the spool is open to other users/,
    ],
    [
      'a configuration that others may write',
      (root) => chmodSync(join(root.path, 'etc/reseal.yaml'), 0o666),
      /the configuration may be changed by other users/,
    ],
    [
      'no authority file',
      (root) => root.file('etc/reseal.yaml', 'trust.cafile: nix.pem\n'),
      /nix\.pem cannot be read \(ENOENT\)/,
    ],
    [
      'no file of revocation lists',
      (root) => root.file('etc/reseal.yaml', 'trust.crlfile: nix.crl\n'),
      /trust: the revocation lists in .*nix\.crl cannot be read \(ENOENT\)/,
    ],
    [
      'a file that holds no revocation list',
      (root) => {
        root.file('etc/reseal.yaml', 'trust: {cafile: ca.pem, crlfile: ca.pem}\n');
      },
      /^trust: a revocation list cannot be read: .*ca\.pem: it holds no revocation list/,
    ],
    [
      'an outdated revocation list',
      (root) => {
        root.file('etc/reseal.yaml', 'trust: {cafile: ca.pem, crlfile: old.crl}\n');
        root.file('old.crl', ca.crl({ thisUpdate: new Date(0), nextUpdate: new Date(86_400_000) }));
      },
      /^trust: the revocation list .*old\.crl of CN=Test Root ended on 1970-01-02: get the newest one/,
    ],
    [
      'a list that asks for revocation lists where there are none',
      (root) => root.json('list', 'set', 'team', 'revocation=hard'),
      /^team@lists\.example: revocation: hard trusts no certificate without a current revocation list/,
    ],
    [
      'no relay',
      (root) => root.file('etc/reseal.yaml', 'relay.port: 1\n'),
      /relay 127\.0\.0\.1:1: no connection \(ECONNREFUSED\)/,
    ],
    [
      'no folder of templates',
      (root) => root.file('etc/reseal.yaml', 'templates: mine\n'),
      /mine: the templates cannot be read \(ENOENT\)/,
    ],
    [
      'a template with a mistake',
      (root) => {
        root.file('etc/reseal.yaml', 'templates: mine\n');
        root.file('mine/de/refused.tt2', '[% IF x %]');
      },
      /mine\/de\/refused\.tt2: /,
    ],
    [
      'a damaged database',
      (root) => root.file('spool/reseal.db', 'this is no database, '.repeat(100)),
      /is damaged or no SQLite database/,
    ],
  ])('finds %s', async (_, damage, sentence) => {
    const root = await goodRoot();
    await damage(root, join(root.path, 'etc/lists/team@lists.example'));
    const { code, problems } = await check(root);
    expect(code).toBe(1);
    expect(
      problems.filter((one) => sentence.test(one)),
      problems.join('\n'),
    ).not.toEqual([]);
  });

  it('says once, not for each list, what is wrong with what all of them use', async () => {
    const root = await goodRoot();
    const none = (await check(root)).report.findings.filter((one) =>
      /no revocation lists are given/.test(one.text),
    );
    expect(none).toMatchObject([{ about: 'trust', level: 'warning' }]);
    root.file('etc/reseal.yaml', 'trust: {cafile: ca.pem, crlfile: nix.crl}\n');
    const { problems } = await check(root);
    expect(problems.filter((one) => /nix\.crl/.test(one))).toEqual([expect.stringMatching(/^trust: /)]);
  });

  it('only warns of a passphrase that the daemon may have by LoadCredential', async () => {
    const root = await goodRoot();
    const path = join(root.path, 'etc/lists/team@lists.example/private_key');
    const key = createPrivateKey(readFileSync(path));
    const pem = key.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'pass' });
    writeFileSync(path, pem);
    const { code, report } = await check(root);
    const found = report.findings.filter(
      (one) => one.about === 'team@lists.example' && /private_key/.test(one.text),
    );
    expect(found).toEqual([
      {
        about: 'team@lists.example',
        level: 'warning',
        text: expect.stringMatching(
          /needs a passphrase and none is set; the daemon may have one by LoadCredential, .*`systemd-run --pty --uid=\S+ -E RESEAL_ROOT=\S+ -p LoadCredential=passphrase:\S+ \S+ check`/,
        ),
      },
    ]);
    expect(code).toBe(0);
    // Where passphrases come from a file, we see what the daemon sees.
    root.file(
      'etc/reseal.yaml',
      `${readFileSync(join(root.path, 'etc/reseal.yaml'), 'utf8')}keys.passphrase-file: etc/no\n`,
    );
    expect((await check(root)).problems).toEqual([
      expect.stringMatching(
        /needs a passphrase and none is set; the passphrase comes from keys\.passphrase-file/,
      ),
    ]);
  });

  it('ends with 2 where the configuration is wrong', async () => {
    const root = makeRoot('relay.prt: 25\n');
    const result = await root.run('check');
    expect(result).toMatchObject({ code: 2, stdout: '' });
    expect(result.stderr).toMatch(
      /^reseal: .*reseal\.yaml:1:1: there is no setting "relay\.prt"; did you mean "relay\.port"\?\n$/,
    );
  });

  it('makes nothing where nothing is yet', async () => {
    const root = makeRoot();
    const { report } = await check(root);
    expect(report.findings.map((one) => one.text)).toContain(
      'there is no database yet: `reseal serve` or `reseal list create` makes it',
    );
    expect(readdirSync(root.path)).toEqual([]);
  });
});

describe('checkRoom', () => {
  const gigabyte = { bsize: 1000, blocks: 1_000_000 };
  it.each([
    ['enough', { ...gigabyte, bavail: 100_000 }, 'good', /^100 MB \(10\.0 %\) of its file system are free$/],
    ['few octets', { ...gigabyte, bavail: 99_999 }, 'problem', /^only 99 MB \(10\.0 %\)/],
    ['a small part', { ...gigabyte, bsize: 1e6, bavail: 9_999 }, 'problem', /^only 9999 MB \(1\.0 %\)/],
  ])('%s', async (_, room, level, text) => {
    expect(await checkRoom('/spool', async () => room)).toEqual([
      { level, about: '/spool', text: expect.stringMatching(text) },
    ]);
  });
  it('says nothing where the size is not told', async () => {
    expect(await checkRoom('/spool', async () => ({ bsize: 1, blocks: 0, bavail: 0 }))).toEqual([]);
    expect(await checkRoom('/nowhere/spool')).toEqual([]);
  });
});

it('a configuration that the owner of the spool cannot read is a problem', async () => {
  const found = await checkConfigurationFile('/nowhere/reseal.yaml');
  expect(found.level).toBe('problem');
  expect(found.text).toMatch(/^the configuration cannot be read by the owner of the spool \(ENOENT\)/);
});

describe('config', () => {
  it('example is what the file in etc is, and show tells what holds', async () => {
    const root = makeRoot('queue.lifetime: 3d\ndefaults: {language: de}\n');
    const example = await root.run('config', 'example');
    expect(example.stdout).toBe(
      readFileSync(new URL('../../etc/reseal.yaml.example', import.meta.url), 'utf8'),
    );
    expect(await root.json('config', 'show')).toMatchObject({
      'queue.lifetime': 3 * 86_400_000,
      'defaults.language': 'de',
      root: root.path,
    });
    expect((await root.run('config', 'show')).stdout).toMatch(/\nqueue\.lifetime +3d\n/);
  });
});
