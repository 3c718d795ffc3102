import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readdirSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import SQLite from 'better-sqlite3';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { runCommand, startDaemon } from '../kit/daemon.ts';
import { needs } from '../kit/needs.ts';
import type { Identity } from '../kit/pki.ts';
import { mailOf, textEntity } from '../kit/smime-mime.ts';
import { tempFolder } from '../kit/tmp.ts';
import { postHeaders, signed, signedAndEncrypted } from './posts.ts';
import { type List, makeWorld, type World } from './world.ts';

const canMount = needs(
  'the right to mount a file system',
  (() => {
    const folder = tempFolder();
    const mounted = mount('-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder);
    return mounted && unmount(folder);
  })(),
);

describe.skipIf(!canMount)('a disk', () => {
  let world: World;
  let author: Identity;
  let list: List;
  let spool: string;
  beforeAll(async () => {
    world = await makeWorld();
    await world.daemon.stop();
    spool = join(world.root, 'spool');
    if (!mount('-t', 'tmpfs', '-o', 'size=4m,mode=0700', 'tmpfs', spool)) throw new Error('no tmpfs');
    await world.restart();
    author = await world.person('author', { key: 'rsa' });
    list = await world.list({ members: [author] });
  });
  afterEach(() => expect(world.leaks()).toEqual([]));
  afterAll(async () => {
    await world?.stop();
    unmount(spool);
  });

  const files = (folder: string) => readdirSync(join(spool, folder));
  const distributed = async (post: Buffer) => {
    const copy = await world.copyFor(author, post);
    expect(copy.to).toEqual([author.address]);
  };

  it('that is full: 452, nothing half-written, and mail is taken again when there is room', async () => {
    const before = await signedAndEncrypted(author, list);
    await world.post(before, list.address);
    await distributed(before);
    const ballast = fill(join(spool, 'ballast'));
    const post = await signedAndEncrypted(author, list);
    const sent = await world.send(post, list.address);
    expect(sent).toMatchObject({ code: 452, text: expect.stringMatching(/^4\.3\.1 /) });
    expect([files('tmp'), files('incoming')]).toEqual([[], []]);
    const line = await world.daemon.logged((one) => one.event === 'receive-failed');
    expect(line.detail).toMatch(
      /^no space is left in the spool \/.* \(ENOSPC\): free space or raise the quota/,
    );
    const injected = await world.daemon.run(['inject', list.address], { input: post });
    expect(injected).toMatchObject({ code: 75, stderr: expect.stringContaining('no space is left') });
    expect([files('tmp'), files('incoming')]).toEqual([[], []]);

    rmSync(ballast);
    expect(await world.post(post, list.address)).toMatchObject({ event: 'authorized' });
    await distributed(post);
  });

  it('that is full at the start: it says so', async () => {
    await world.daemon.stop();
    const ballast = fill(join(spool, 'ballast'));
    try {
      const { code, stderr } = await world.daemon.run(['serve']);
      expect(stderr).toMatch(/^reseal: no space is left for the database \/.*: free space/);
      expect(code).toBe(1);
    } finally {
      rmSync(ballast);
      await world.restart();
    }
  });

  it('that fills up under load: what was answered with 250 is distributed, nothing else is', async () => {
    const attempts: { post: Buffer; code: number }[] = [];
    // Signed in clear: each post is kept on the disk and makes a copy.
    const next = async () => {
      const entity = textEntity(`post ${attempts.length} ${'x'.repeat(70)}\n`.repeat(1500));
      return mailOf(postHeaders(author.address, list.address), await signed(author, entity));
    };
    for (let refused = 0; refused < 3; ) {
      const post = await next();
      const { code } = await world.send(post, list.address);
      attempts.push({ post, code });
      if (code !== 250) refused++;
      if (attempts.length > 100) throw new Error('the disk does not fill up');
    }
    const accepted = attempts.filter(({ code }) => code === 250);
    expect(accepted.length).toBeGreaterThan(5);
    for (const { code } of attempts) expect([250, 452, 451]).toContain(code);
    // The operator makes room: here by a larger file system.
    expect(mount('-o', 'remount,size=16m', spool)).toBe(true);
    for (const { post } of accepted) await distributed(post);
    const after = await signedAndEncrypted(author, list);
    await world.post(after, list.address);
    await distributed(after);
    const ids = new Set(
      world.sink.messages.map(({ bytes }) => /^Message-ID: (.*)$/im.exec(bytes.toString())?.[1]),
    );
    for (const { post, code } of attempts) {
      const id = /^Message-ID: (.*)$/im.exec(post.toString())?.[1];
      expect(ids.has(id), `a message that was answered with ${code}`).toBe(code === 250);
    }
  });

  it('that is read-only: 452, the log says what is wrong, and it recovers without a restart', async () => {
    const tmp = join(spool, 'tmp');
    const earlier = world.daemon.log.length;
    expect(mount('--bind', tmp, tmp) && mount('-o', 'remount,ro,bind', tmp)).toBe(true);
    const post = await signedAndEncrypted(author, list);
    try {
      expect(await world.send(post, list.address)).toMatchObject({
        code: 452,
        text: expect.stringMatching(/^4\.3\.5 /),
      });
    } finally {
      unmount(tmp);
    }
    const line = world.daemon.log.slice(earlier).find((one) => one.event === 'receive-failed');
    expect(line?.detail).toMatch(
      /^the spool \/.* cannot be used \(EROFS.*\): .* on a file system that can be written/,
    );
    await world.post(post, list.address);
    await distributed(post);
  });
});

describe('a database', () => {
  let world: World;
  let author: Identity;
  let list: List;
  let path: string;
  beforeAll(async () => {
    world = await makeWorld();
    path = join(world.root, 'spool/reseal.db');
    author = await world.person('author', { key: 'rsa' });
    list = await world.list({ members: [author] });
  });
  afterEach(() => expect(world.leaks()).toEqual([]));
  afterAll(() => world?.stop());

  it('that another process locks for some seconds: mail is taken, and distributed after it', async () => {
    const other = new SQLite(path);
    const post = await signedAndEncrypted(author, list);
    try {
      other.exec('begin immediate');
      expect(await world.send(post, list.address)).toMatchObject({ code: 250 });
      // The session with the next client does not hang meanwhile either.
      expect(await world.send(post, 'nobody@lists.example')).toMatchObject({ code: 550 });
      await new Promise((resolve) => setTimeout(resolve, 2500));
      expect(world.sink.messages).toEqual([]);
    } finally {
      other.exec('rollback');
      other.close();
    }
    await world.copyFor(author, post);
    expect(world.daemon.log.filter((line) => line.level === 'error')).toEqual([]);
  });

  it('that a second daemon wants: refused with the process id of the first, which goes on', async () => {
    const second = await runCommand(world.root, ['serve']);
    expect(second.code).not.toBe(0);
    expect(second.stderr).toMatch(
      new RegExp(`another reseal \\(process id ${world.daemon.pid}\\) works on this spool .*: stop it first`),
    );
    const post = await signedAndEncrypted(author, list);
    await world.post(post, list.address);
    await world.copyFor(author, post);
  });

  it.each<readonly [what: string, spoil: () => void, words: RegExp]>([
    [
      'of a newer schema',
      () => execute("update meta set value = '9999' where key = 'schema'"),
      /has schema 9999, this program knows schemas up to \d+: install the newer reseal/,
    ],
    [
      'whose beginning is overwritten',
      () => overwrite(0, 100),
      /is damaged or no SQLite database .*: stop reseal, put it aside with .* restore a backup/,
    ],
    [
      'with rubbish in the middle',
      () => overwrite(8192, 40_000),
      /is damaged or no SQLite database .*: stop reseal, put it aside with .* restore a backup/,
    ],
    [
      'of another program',
      () => {
        rmSync(path);
        new SQLite(path).exec('create table something (x)').close();
      },
      /is a database of another program: name the path of reseal's own/,
    ],
  ])(
    '%s: the start is refused with a sentence; with the backup in its place all goes on',
    async (_what, spoil, words) => {
      await world.daemon.stop();
      const backup = new SQLite(path, { readonly: true });
      const copy = backup.serialize();
      backup.close();
      spoil();
      const started = await runCommand(world.root, ['serve']);
      expect(started.code).not.toBe(0);
      expect(started.stderr).toMatch(words);
      expect(started.stderr.trim().split('\n')).toHaveLength(1);
      for (const name of readdirSync(join(world.root, 'spool'))) {
        if (name.startsWith('reseal.db')) rmSync(join(world.root, 'spool', name));
      }
      writeFileSync(path, copy, { mode: 0o600 });
      await world.restart();
      const post = await signedAndEncrypted(author, list);
      await world.post(post, list.address);
      await world.copyFor(author, post);
    },
  );

  function execute(sql: string): void {
    const database = new SQLite(path);
    database.exec(sql);
    database.close();
  }

  function overwrite(at: number, length: number): void {
    execute('pragma wal_checkpoint(truncate)');
    const file = openSync(path, 'r+');
    writeSync(file, Buffer.alloc(length, 'rubbish '), 0, length, at);
    closeSync(file);
  }
});

describe('the process', () => {
  const site = (): string => {
    const root = tempFolder();
    mkdirSync(join(root, 'etc'));
    writeFileSync(join(root, 'etc/reseal.yaml'), 'hostname: lists.example\nlisten: { port: 0 }\n');
    return root;
  };

  it.each<readonly [nodeArgs: string, nodeOptions: string, named: string]>([
    ['--inspect=0', '', '--inspect=0'],
    ['--heapsnapshot-signal=SIGUSR2', '', '--heapsnapshot-signal'],
    ['--report-on-signal', '', '--report-on-signal'],
    ['--no-warnings', '--inspect=0', '--inspect=0'],
    ['--no-warnings', '--max-old-space-size=500 --heapsnapshot_signal=SIGUSR2', '--heapsnapshot_signal'],
  ])('does not start under %s, NODE_OPTIONS=%s', async (nodeArgs, nodeOptions, named) => {
    const start = startDaemon(site(), { nodeArgs: [nodeArgs], env: { NODE_OPTIONS: nodeOptions } });
    const refused = await start.then(
      (daemon) => daemon.stop().then(() => 'it started'),
      (error: Error) => error.message,
    );
    expect(refused).toContain(`reseal does not run under ${named}`);
    expect(refused).toContain('a debugger or a heap dump would show the content of messages');
  });

  it('ends with a sentence when its port is taken, and leaves the spool free', async () => {
    const root = tempFolder();
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    mkdirSync(join(root, 'etc'));
    writeFileSync(join(root, 'etc/reseal.yaml'), `listen:\n  port: ${port}\n`);
    const ended = await runCommand(root, ['serve']);
    other.close();
    expect(ended.code).toBe(1);
    expect(ended.stderr).toContain(`cannot listen on 127.0.0.1:${port}`);
    const again = await startDaemon(root, { readyMs: 10_000 });
    expect(await again.stop()).toBe(0);
  });

  it('opens no inspector on SIGUSR1', async () => {
    const daemon = await startDaemon(site());
    daemon.signal('SIGUSR1');
    daemon.signal('SIGHUP');
    await daemon.logged((line) => line.event === 'reload');
    expect(await daemon.stop()).toBe(0);
    // Node would say "Debugger listening on …" there.
    expect(daemon.noise).toEqual([]);
  });
});

function mount(...args: string[]): boolean {
  return spawnSync('mount', args).status === 0;
}

function unmount(folder: string): boolean {
  return spawnSync('umount', [folder]).status === 0;
}

/** Writes a file until no octet more fits; gives its path. */
function fill(path: string): string {
  const file = openSync(path, 'w');
  try {
    for (const size of [1 << 16, 1 << 12, 1]) {
      try {
        for (;;) writeSync(file, Buffer.alloc(size));
      } catch (error) {
        if (!(error instanceof Error) || !('code' in error) || error.code !== 'ENOSPC') throw error;
      }
    }
  } finally {
    closeSync(file);
  }
  return path;
}
