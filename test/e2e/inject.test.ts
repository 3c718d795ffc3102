import { mkdirSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type CommandResult, runCommand } from '../kit/daemon.ts';
import type { Identity } from '../kit/pki.ts';
import { headerOf } from '../kit/smime-mime.ts';
import { tempFolder } from '../kit/tmp.ts';
import { clearPost, readCopy, secretEntity, signedAndEncrypted } from './posts.ts';
import { type List, makeWorld, type World } from './world.ts';

let world: World;
let list: List;
let author: Identity;
let member: Identity;
beforeAll(async () => {
  world = await makeWorld();
  author = await world.person('author', { key: 'rsa' });
  member = await world.person('member');
  list = await world.list({ name: 'team', members: [author, member] });
});
afterEach(() => expect(world.leaks()).toEqual([]));
afterAll(() => world?.stop());

const inject = (args: readonly string[], input: Buffer | string): Promise<CommandResult> =>
  runCommand(world.root, ['inject', ...args], { input });

/** As a pipe of the local mail system has it: LF line ends. */
const asPiped = (message: Buffer): Buffer =>
  Buffer.from(message.toString('latin1').replaceAll('\r\n', '\n'), 'latin1');

const incoming = () => readdirSync(join(world.root, 'spool/incoming'));

type Refused = readonly [code: number, what: string, args: readonly string[], message: string, words: RegExp];

/** What must be the same whether the daemon runs or not. */
const always: readonly Refused[] = [
  [67, 'a list that is not there', ['nobody@lists.example'], post('author'), /5\.1\.1 .*nobody@lists/],
  [65, 'a stranger', ['team@lists.example'], post('stranger'), /^reseal: 5\.7\.1 /],
  [75, 'no recipient', [], post('author'), /missing required argument/],
];
const further: readonly Refused[] = [
  [67, 'an address of another domain', ['team@elsewhere.example'], post('author'), /team@elsewhere/],
  [67, 'what is no address', ['not an address'], post('author'), /5\.1\.3 "not an address"/],
  [
    67,
    'one list of two that is not there',
    ['team@lists.example', 'no@lists.example'],
    post('author'),
    /no@/,
  ],
  [65, 'two authors', ['team@lists.example'], post('author', 'x@example.org'), /exactly one author/],
  [65, 'a carriage return alone', ['team@lists.example'], `${post('author')}a\rb\n`, /carriage return/],
  [65, 'an empty message', ['team@lists.example'], '', /no message on standard input/],
  [65, 'a sender that is no address', ['-f', 'a b', 'team@lists.example'], post('author'), /5\.1\.7/],
  [75, 'an option that is not there', ['--frm', 'x', 'team@lists.example'], post('author'), /--frm/],
];

describe.each(['with the daemon running', 'without a daemon'])('inject %s', (when) => {
  const isRunning = when.startsWith('with the');
  beforeAll(async () => {
    if (!isRunning) await world.daemon.stop();
  });

  it('0: the message is taken and distributed as if it had come by SMTP', async () => {
    const entity = secretEntity();
    const post = await signedAndEncrypted(author, list, { entity });
    const started = Date.now();
    const result = await inject(['-f', author.address, list.address], asPiped(post));
    expect(result).toMatchObject({ code: 0, stderr: '' });
    const [id = ''] = /[0-9a-z]{20,}/.exec(result.stdout) ?? [];
    if (!isRunning) {
      expect(incoming()).toEqual([id]);
      await world.restart();
    }
    expect(await world.fate({ id })).toMatchObject({ event: 'authorized', author: author.address });
    if (isRunning) expect(Date.now() - started).toBeLessThan(4000);
    const copy = await world.copyFor(member, post);
    expect(copy.from).toBe(list.at('bounces'));
    expect(await readCopy(world.ca, member, copy.bytes)).toEqual(entity);
    expect(headerOf(copy.bytes, 'Received')).toContain('lists.example');
    if (!isRunning) await world.daemon.stop();
  });

  it.each<Refused>(isRunning ? [...always, ...further] : always)(
    '%i: %s',
    async (code, _what, args, message, words) => {
      const before = incoming();
      const result = await inject(args, message);
      expect(result).toMatchObject({ code, stdout: '', stderr: expect.stringMatching(words) });
      expect(incoming()).toEqual(before);
      expect(readdirSync(join(world.root, 'spool/tmp'))).toEqual([]);
    },
  );

  it('75: a configuration with a mistake, so that the mail server keeps the message', async () => {
    const yaml = join(tempFolder(), 'reseal.yaml');
    writeFileSync(yaml, 'hostnam: lists.example\n');
    const result = await inject(['--config', yaml, list.address], post('author'));
    expect(result).toMatchObject({ code: 75, stderr: expect.stringContaining('hostnam') });
  });

  it('75: a spool that cannot be used', async () => {
    const folder = join(world.root, 'spool/incoming');
    const aside = join(world.root, 'aside');
    renameSync(folder, aside);
    try {
      writeFileSync(folder, 'a file where a folder should be');
      const result = await inject([list.address], post('author'));
      expect(result).toMatchObject({
        code: 75,
        stderr: expect.stringMatching(/^reseal: the spool \/.*reseal's user/),
      });
    } finally {
      renameSync(folder, join(world.root, 'rubbish'));
      renameSync(aside, folder);
    }
  });
});

it('takes what a mail server passes: a mailbox line, SENDER, the null sender', async () => {
  await world.restart();
  const message = `From author@example.org Mon Jan  5 12:00:00 2026\n${post('author')}`;
  const taken = await inject(['-f', 'MAILER-DAEMON', list.at('bounces')], message);
  const [id = ''] = /[0-9a-z]{20,}/.exec(taken.stdout) ?? [];
  expect(await world.fate({ id })).toMatchObject({ event: 'bounce' });
  const row = await world.onDatabase((q) =>
    q.selectFrom('messages').selectAll().where('id', '=', id).executeTakeFirst(),
  );
  expect(row).toMatchObject({ origin: 'inject', fromAddress: 'author@example.org' });
  expect(JSON.parse(String(row?.envelope))).toMatchObject({ from: '', protocol: 'local' });
});

it('makes a spool where there is none, for its owner alone', async () => {
  const root = tempFolder();
  mkdirSync(join(root, 'etc'));
  writeFileSync(join(root, 'etc/reseal.yaml'), 'hostname: lists.example\n');
  const result = await runCommand(root, ['inject', 'team@lists.example'], { input: post('author') });
  expect(result.code).toBe(67);
  expect(statSync(join(root, 'spool')).mode & 0o777).toBe(0o700);
});

/** A small clear message with LF line ends. */
function post(...from: readonly string[]): string {
  const authors = from.map((one) => (one.includes('@') ? one : `${one}@example.org`)).join(', ');
  return asPiped(clearPost(authors, 'team@lists.example')).toString('latin1');
}
