import { createPrivateKey } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { checkConfigurationFile, checkRoom, type Finding } from '../../src/flow/operator/check-files.ts';
import { makeCa, type TestCa } from '../kit/pki.ts';
import { type SinkOptions, startSink } from '../kit/sink.ts';
import { createTeam, makeRoot, type Root } from './kit.ts';

interface Report {
  readonly ok: boolean;
  readonly findings: readonly Finding[];
}

let ca: TestCa;
beforeAll(async () => {
  ca = await makeCa();
});

/** The port of a relay. */
async function relayPort(options: SinkOptions = {}): Promise<number> {
  const sink = await startSink(options);
  onTestFinished(sink.close);
  return sink.port;
}

/** The port of a server that waits for its client to begin. */
async function silentPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function goodRoot(): Promise<Root> {
  const root = makeRoot(`hostname: lists.example\ntrust.cafile: ca.pem\nrelay.port: ${await relayPort()}\n`);
  root.file('ca.pem', ca.certPem);
  await createTeam(root, 'olga@example.org');
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
      'the second relay of two, which does not let us in',
      async (root) => {
        const port = await relayPort({
          extensions: ['AUTH PLAIN'],
          answer: (stage) => (stage === 'AUTH' ? '535 5.7.8 no' : null),
        });
        const second = `{port: ${port}, tls: none, user: u, password-file: etc/p}`;
        root.file('etc/reseal.yaml', `relay: [{port: ${await relayPort()}}, ${second}]\n`);
        writeFileSync(join(root.path, 'etc/p'), 'secret\n', { mode: 0o600 });
      },
      /^relay 127\.0\.0\.1:\d+: the login failed \(535 no\): are relay\.user and its password right/,
    ],
    [
      'a relay without TLS',
      async (root) => {
        const port = await relayPort({ answer: (stage) => (stage === 'STARTTLS' ? '502 5.5.1 no' : null) });
        root.file('etc/reseal.yaml', `relay: {port: ${port}, tls: required}\n`);
      },
      /^relay 127\.0\.0\.1:\d+: it does not do STARTTLS \(502 .*\), which relay\.tls: required asks for/,
    ],
    [
      'a relay whose TLS cannot be verified',
      async (root) => {
        const { certPem: cert, keyPath } = await ca.issue({ name: 'other.example' });
        const port = await relayPort({ tls: { cert, key: readFileSync(keyPath) } });
        root.file('etc/reseal.yaml', `relay: {port: ${port}, tls: required, cafile: ca.pem}\n`);
      },
      /^relay 127\.0\.0\.1:\d+: no TLS \(.*\): has its certificate the name/,
    ],
    [
      'a file of authorities without a certificate',
      (root) => {
        root.file(
          'key.pem',
          readFileSync(join(root.path, 'etc/lists/team@lists.example/cert.pem')).subarray(30),
        );
        root.file('etc/reseal.yaml', 'relay: {tls: required, cafile: key.pem}\n');
      },
      /^relay 127\.0\.0\.1:25: There is no certificate in PEM in .*key\.pem \(relay\.cafile\)/,
    ],
    [
      'a relay on a socket that is not there',
      (root) => root.file('etc/reseal.yaml', 'relay.path: nix.sock\n'),
      /^relay \/.*nix\.sock: no connection \(ENOENT\): .* is relay\.path right\?/,
    ],
    [
      'a relay that waits for TLS instead of greeting',
      async (root) =>
        root.file('etc/reseal.yaml', `relay: {port: ${await silentPort()}, tls: none, timeout: 1s}\n`),
      /^relay 127\.0\.0\.1:\d+: it does not answer \(.*\): .*not one with TLS from the beginning/,
    ],
    [
      'a relay that speaks another protocol',
      async (root) => root.file('etc/reseal.yaml', `relay: {port: ${await relayPort()}, protocol: lmtp}\n`),
      /^relay 127\.0\.0\.1:\d+: it does not speak as a mail server \(.*\): are relay\.port/,
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

  it.each<[string, [number, number], Finding['level'], RegExp]>([
    ['good for months', [-30, 60], 'good', /can be used, until \d{4}-/],
    ['that ends within 30 days', [-60, 29.5], 'warning', /expires on .*, in 30 days: renew it/],
    ['that ends within 7 days', [-83, 6.5], 'problem', /expires on .*, in 7 days: renew it, then .*SIGHUP/],
    ['that is over', [-90, -1], 'problem', /its certificate expired on .*, so clients refuse TLS: renew it/],
    ['of tomorrow', [1, 90], 'problem', /is valid from .* on only/],
    ['made for 6 days, with half of them left', [-3, 3], 'good', /until/],
    ['made for 6 days, with one left', [-5, 1], 'warning', /in a day/],
  ])('looks at the certificate of a listening socket: one %s', async (_, [from, until], level, sentence) => {
    const root = await goodRoot();
    const at = (days: number) => new Date(Date.now() + days * 86_400_000);
    const server = await ca.issue({ name: 'lists.example', notBefore: at(from), notAfter: at(until) });
    const tls = `{cert: ${server.certPath}, key: ${server.keyPath}}`;
    const config = readFileSync(join(root.path, 'etc/reseal.yaml'), 'utf8');
    root.file('etc/reseal.yaml', `${config}listen: [{port: 0, tls: ${tls}}]\n`);
    const { report } = await check(root);
    const found = report.findings.filter((one) => one.about.startsWith('listen '));
    expect(found).toMatchObject([{ level, text: expect.stringMatching(sentence) }]);
  });

  it('warns of a relay that takes less than posts may need, and of one without 8BITMIME', async () => {
    const root = await goodRoot();
    root.file(
      'etc/reseal.yaml',
      `size: 1MB\nrelay.port: ${await relayPort({ extensions: ['SIZE 1100000'] })}\n`,
    );
    const { findings } = (await check(root)).report;
    expect(
      findings.filter((one) => one.about.startsWith('relay ')).map((one) => [one.level, one.text]),
    ).toEqual([
      ['warning', expect.stringMatching(/^it takes messages up to 1100000 octets, but .* raise its limit/)],
      ['warning', expect.stringMatching(/^it does not offer 8BITMIME/)],
      ['good', 'it can be reached, without verified TLS'],
    ]);
  });

  it('only warns of a relay whose password the daemon alone is given, and names a missing file of authorities', async () => {
    const root = await goodRoot();
    const relay = (more: string) =>
      root.file('etc/reseal.yaml', `relay: {host: localhost, port: 1, tls: required, ${more}}\n`);
    relay('user: u, password-credential: relay');
    const { findings } = (await check(root)).report;
    expect(findings.filter((one) => one.about.startsWith('relay '))).toEqual([
      {
        level: 'warning',
        about: 'relay localhost:1',
        text: expect.stringMatching(/LoadCredential=relay:FILE/),
      },
    ]);
    relay('cafile: nix.pem');
    expect((await check(root)).problems).toContainEqual(
      expect.stringMatching(
        /^relay localhost:1: The certificates in .*nix\.pem \(relay\.cafile\) cannot be read \(ENOENT\)/,
      ),
    );
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
