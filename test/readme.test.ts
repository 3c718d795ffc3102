import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { encryptedOnly, readCopy, secretEntity, signed, signedAndEncrypted } from './e2e/posts.ts';
import { type Daemon, startDaemon } from './kit/daemon.ts';
import { type Identity, makeCa, type TestCa } from './kit/pki.ts';
import { type Sink, startSink } from './kit/sink.ts';
import { headerOf, mailOf } from './kit/smime-mime.ts';
import { sendMail } from './kit/smtp-send.ts';
import { tempFolder } from './kit/tmp.ts';

const project = fileURLToPath(new URL('../', import.meta.url));
const readme = readFileSync(join(project, 'README.md'), 'utf8');

/** The contents of all fenced blocks of a kind, in order. */
function blocks(kind: string): string[] {
  return [...readme.matchAll(new RegExp(`^\`\`\`${kind}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(
    ([, text]) => text ?? '',
  );
}

const shellLines = blocks('sh').flatMap((block) => block.split('\n').filter((line) => line.trim() !== ''));
const inText = [...readme.replace(/```[\s\S]*?```/g, '').matchAll(/`(bin\/reseal\.mjs [^`]+)`/g)].map(
  ([, text]) => text ?? '',
);

/** Lines that are not run here, and why. */
const exceptions: readonly (readonly [line: RegExp, reason: string])[] = [
  [/^npm run demo\b/, 'a program of its own, which CI runs after the tests'],
  [/^npm test\b/, 'this is it'],
  [/^npm run setup\b/, 'npm test begins with it'],
  [/^useradd /, 'makes a user on the machine'],
  [/^install -d -o reseal /, 'needs that user'],
  [/^export RESEAL_ROOT=/, 'the test sets its own root'],
  [
    /^postfix reload\b/,
    "concerns the machine's Postfix; e2e/postfix.test.ts runs one of its own with the lines shown",
  ],
  [/^cp etc\/reseal\.service /, 'puts a unit on the machine'],
  [/^systemctl /, 'starts a service on the machine; the test starts the daemon'],
];

/** What each command prints, or leaves in a file, when it does what the README says. */
const outcomes: readonly (readonly [command: RegExp, shows: RegExp])[] = [
  [/^cp etc\/reseal\.yaml\.example /, /^$/],
  [/^bin\/reseal\.mjs list create /, /^The list team@lists\.example is made\./],
  [/^bin\/reseal\.mjs key generate /, /^Key and certificate: /],
  [/^bin\/reseal\.mjs key list /, /^cert\.pem +active +rsa 3072 .*decrypt, sign, encrypt/m],
  [
    /^bin\/reseal\.mjs key rotate /,
    /has a new key pair[\s\S]*still opens mail[\s\S]*people get a signed mail/,
  ],
  [/^bin\/reseal\.mjs key export-cert /, /^-----BEGIN CERTIFICATE-----\n/],
  [/^bin\/reseal\.mjs log /, /authorized +\S+ +.*accepted by the rule/],
  [/^bin\/reseal\.mjs member add /, /bob@example\.org/],
  [/^bin\/reseal\.mjs list show .* --cert > team\.pem/, /^-----BEGIN CERTIFICATE-----\n/],
  [/^bin\/reseal\.mjs check/, /0 problems/],
  [/^bin\/reseal\.mjs queue list/, /Waiting for a moderator[\s\S]*encrypted-unsigned[\s\S]*bob@example\.org/],
  [/^bin\/reseal\.mjs queue release /, /goes to the members of team@lists\.example/],
  [/^bin\/reseal\.mjs explain /, /ada@example\.org +delivered/],
  [
    /^bin\/reseal\.mjs list health /,
    /1 could receive a post now, 1 could not[\s\S]*^missing: +bob@example\.org/m,
  ],
  [/^bin\/reseal\.mjs cert list --problems/, /^All certificates in use are good for 30 days/],
  [
    /^bin\/reseal\.mjs preview /,
    /^Decision +team@lists\.example: it would be refused[\s\S]*^Rule +not-encrypted/m,
  ],
  [/^bin\/reseal\.mjs retry /, /nothing of it waits for another try/],
  [/^bin\/reseal\.mjs list set /, /accept\.encryption/],
  [/^bin\/reseal\.mjs member list /, /ada@example\.org[\s\S]*bob@example\.org/],
  [/^bin\/reseal\.mjs cert list/, /ada@example\.org/],
  [/^bin\/reseal\.mjs inspect /, /^From +ada@example\.org[\s\S]*^SIGNED: /m],
  [/^bin\/reseal\.mjs inject /, /^taken as \w+ for 1 address/],
];

describe('the commands of the README, in order', () => {
  const list = 'team@lists.example';
  let root: string;
  let folder: string;
  let ca: TestCa;
  let ada: Identity;
  let sink: Sink;
  let daemon: Daemon;
  /** What stands in the README for what only a running site knows. */
  const known = new Map<string, string>();

  beforeAll(async () => {
    root = tempFolder();
    folder = tempFolder();
    mkdirSync(join(root, 'etc'), { mode: 0o700 });
    for (const name of ['bin', 'etc']) symlinkSync(join(project, name), join(folder, name));
    ca = await makeCa();
    ada = await ca.issue({ name: 'ada', address: 'ada@example.org', key: 'rsa' });
    sink = await startSink();
    known.set('/var/lib/reseal', root);
    known.set('/etc/ssl/certs/our-mail-ca.pem', ca.certPath);
  });
  afterAll(async () => {
    await daemon?.stop();
    await sink?.close();
  });

  /** As typed in the folder of the checkout; `> FILE` is where it says. */
  async function run(
    line: string,
    input: Buffer | string = '',
  ): Promise<{ code: number; stdout: string; stderr: string }> {
    let text = line;
    for (const [written, real] of known) text = text.replaceAll(written, real);
    const child = spawn('sh', ['-c', text], { cwd: folder, env: { ...process.env, RESEAL_ROOT: root } });
    const said = { stdout: '', stderr: '' };
    child.stdout.on('data', (piece: Buffer) => (said.stdout += piece));
    child.stderr.on('data', (piece: Buffer) => (said.stderr += piece));
    // A command that reads nothing may be gone before its input is written.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    const [code] = (await once(child, 'close')) as [number];
    const [, file] = /> (\S+)$/.exec(text) ?? [];
    return { code, ...said, stdout: file ? readFileSync(join(folder, file), 'utf8') : said.stdout };
  }

  const send = (data: Buffer, to: string) =>
    sendMail({ port: daemon.port(), lmtp: true, from: 'ada@example.org', to: [to], data });
  /** The list as an author knows it: by the certificate that was handed to him. */
  const team = () => ({
    address: list,
    identity: { ...ada, name: 'team', certPath: join(folder, 'team.pem') },
  });
  const fate = (event: string) => daemon.logged((one) => one.event === event && String(one.list) === list);

  /** What the README has a person do between its commands. */
  const meanwhile: readonly (readonly [after: RegExp, what: () => Promise<void>])[] = [
    [
      /^cp etc\/reseal\.yaml\.example /,
      async () => {
        const [settings = ''] = blocks('yaml');
        const own = settings.replace(/cafile: .*/, `cafile: ${ca.certPath}`);
        const ports = `listen: { port: 0 }\nrelay: { port: ${sink.port}, tls: none }\n`;
        const yaml = join(root, 'etc/reseal.yaml');
        writeFileSync(yaml, `${readFileSync(yaml, 'utf8')}\n${own}${ports}`);
      },
    ],
    [
      /^systemctl /,
      async () => {
        daemon = await startDaemon(root);
        const hello = mailOf(
          [
            ['From', ada.address],
            ['To', 'team-sendcert@lists.example'],
          ],
          await signed(ada, Buffer.from('Content-Type: text/plain\r\n\r\nhere it is\r\n')),
        );
        writeFileSync(join(folder, 'post.eml'), hello);
        await send(hello, 'team-sendcert@lists.example');
        await fate('certificate-received');
        const entity = secretEntity();
        const post = await signedAndEncrypted(ada, team(), { entity });
        await send(post, list);
        await sink.until(() =>
          sink.messages.some(({ bytes }) => headerOf(bytes, 'Message-ID') === headerOf(post, 'Message-ID')),
        );
        const copy = sink.messages.find(
          ({ bytes }) => headerOf(bytes, 'Message-ID') === headerOf(post, 'Message-ID'),
        );
        expect(await readCopy(ca, ada, copy?.bytes ?? Buffer.alloc(0))).toEqual(entity);
        known.set('<message-id@example.org>', headerOf(post, 'Message-ID') ?? '');
        await send(await encryptedOnly('bob@example.org', team()), list);
        known.set('queue release 17', `queue release ${(await fate('held')).posting}`);
      },
    ],
  ];

  it.each([...shellLines, ...inText].map((line) => line.replace(/\s+#.*$/, '')))('%s', async (line) => {
    const isException = exceptions.some(([pattern]) => pattern.test(line));
    if (!isException) {
      const outcome = outcomes.find(([pattern]) => pattern.test(line));
      expect(outcome, 'this test knows what the command shows').toBeDefined();
      const result = await run(line, line.includes(' inject ') ? await signedAndEncrypted(ada, team()) : '');
      expect(result).toMatchObject({ code: 0, stdout: expect.stringMatching(outcome?.[1] ?? /^$/) });
    }
    for (const [pattern, act] of meanwhile) if (pattern.test(line)) await act();
  });
});

describe('what the README names is there', () => {
  it('settings: every yaml block parses', () => {
    expect(blocks('yaml').map((text) => parse(text))).toMatchObject([
      { hostname: 'lists.example', trust: { cafile: '/etc/ssl/certs/our-mail-ca.pem' } },
      { relay: [{ host: 'mail1.example' }, { host: 'mail2.example' }, { domains: 'partner.example' }] },
    ]);
  });

  it('scripts: every npm run', () => {
    const { scripts } = JSON.parse(readFileSync(join(project, 'package.json'), 'utf8')) as {
      scripts: object;
    };
    const named = [...readme.matchAll(/npm run (\w+)/g)].map(([, name]) => name);
    expect(named.length).toBeGreaterThan(2);
    expect(named.filter((name) => !Object.hasOwn(scripts, name ?? ''))).toEqual([]);
  });

  it('limits: who delivers to MX hosts, and by DANE', () => {
    const relays = readme.replace(/\s+/g, ' ').split('## Relays')[1] ?? '';
    expect(relays).toMatch(/Direct delivery to members' MX hosts is out of scope/);
    expect(relays).toMatch(/DANE, .* what that server is for/);
    const example = readFileSync(join(project, 'etc/reseal.yaml.example'), 'utf8').replace(/\n# ?/g, ' ');
    expect(example).toMatch(/DANE and MX look-ups are the business of the mail server that the relay is/);
  });

  it('threads: the unit, the program and the README say the same', () => {
    const unit = readFileSync(join(project, 'etc/reseal.service'), 'utf8');
    const program = readFileSync(join(project, 'bin/reseal.mjs'), 'utf8');
    const [, threads = 'none'] = /^Environment=UV_THREADPOOL_SIZE=(\d+)$/m.exec(unit) ?? [];
    expect(program).toContain(`process.env.UV_THREADPOOL_SIZE ??= '${threads}'`);
    expect(readme.replace(/\s+/g, ' ')).toMatch(new RegExp(`on Node 20 .*\`UV_THREADPOOL_SIZE=${threads}\``));
  });

  it('places: files and folders', () => {
    const named = [...readme.matchAll(/`((?:src|test|etc|bin|docs|mail_tt2|[A-Z]+\.md)[\w./-]*)`/g)].map(
      ([, path]) => path ?? '',
    );
    expect(named.length).toBeGreaterThan(10);
    const made = new Set(['etc/reseal.yaml']);
    expect(named.filter((path) => !made.has(path) && !existsSync(join(project, path)))).toEqual([]);
  });
});
