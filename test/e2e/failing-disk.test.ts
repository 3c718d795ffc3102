import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { errnoOf } from '../../src/base/errors.ts';
import { findMessage } from '../../src/store/messages.ts';
import { runCommand } from '../kit/daemon.ts';
import { canFail, type DiskCall, type FailingDisk, makeFailingDisk } from '../kit/failing-disk.ts';
import { needs } from '../kit/needs.ts';
import type { Identity } from '../kit/pki.ts';
import type { Stage } from '../kit/sink.ts';
import { headerOf } from '../kit/smime-mime.ts';
import { signedAndEncrypted } from './posts.ts';
import { type List, makeWorld, until, type World } from './world.ts';

// Each write that the way of a message takes fails once, in the compiled daemon, as the kernel would say it.

describe.skipIf(!needs('Linux and a C compiler', canFail))('a disk that fails', () => {
  let disk: FailingDisk;
  let world: World;
  let alice: Identity;
  let bob: Identity;
  let list: List;
  let answer: ((stage: Stage) => Promise<string | null>) | null = null;
  beforeAll(async () => {
    disk = makeFailingDisk();
    world = await makeWorld({
      daemon: { env: disk.env },
      sink: { answer: (stage) => answer?.(stage) ?? null },
    });
    alice = await world.person('alice');
    bob = await world.person('bob');
    list = await world.list({ key: 'p256', members: [alice, bob] });
  });
  afterEach(() => {
    disk.mend();
    answer = null;
    expect(world.leaks()).toEqual([]);
  });
  afterAll(() => world?.stop());

  const files = (folder: string) => readdirSync(join(world.root, 'spool', folder));
  const copiesOf = (post: Buffer) =>
    world.sink.messages
      .filter(({ bytes }) => headerOf(bytes, 'Message-ID') === headerOf(post, 'Message-ID'))
      .map(({ to }) => to[0])
      .sort();
  const everybody = () => [alice.address, bob.address];
  async function allArrived(id: string, post: Buffer): Promise<void> {
    await world.untilDeliveries(
      id,
      (rows) => rows.length === 2 && rows.every((row) => row.state === 'delivered'),
    );
    expect(copiesOf(post)).toEqual(everybody());
  }
  async function goesOn(): Promise<void> {
    const post = await signedAndEncrypted(alice, list);
    const { id } = await world.post(post, list.address);
    await allArrived(id, post);
  }

  const beforeReply: [DiskCall, string, number?][] = [
    ['create', 'spool/tmp/'],
    ['write', 'spool/tmp/'],
    ['sync', 'spool/tmp/'],
    ['rename', 'spool/incoming/'],
    ['sync', 'spool/incoming'],
  ];
  describe.each([
    ['ENOSPC', 452],
    ['EROFS', 452],
    ['EIO', 451],
  ] as const)('%s', (code, reply) => {
    it.each(beforeReply)(
      `at %s on %s: ${reply}, nothing is kept, and the next is taken`,
      async (call, path) => {
        disk.fail([call], code, path);
        const post = await signedAndEncrypted(alice, list);
        expect(await world.send(post, list.address)).toMatchObject({ code: reply });
        expect([files('tmp'), files('incoming')]).toEqual([[], []]);
        disk.mend();
        await goesOn();
        expect(copiesOf(post)).toEqual([]);
      },
    );

    it.each<[DiskCall, string, number]>([
      ['write', 'reseal.db', 0],
      ['write', 'reseal.db', 1],
      ['write', 'reseal.db', 5],
      ['write', 'reseal.db', 20],
      ['rename', 'spool/messages/', 0],
    ])('after 250, at %s on %s but for the first %i: it waits, and each gets one copy', async (...how) => {
      const [call, path, skip] = how;
      disk.fail([call], code, path, skip);
      const post = await signedAndEncrypted(alice, list);
      const known = world.daemon.log.length;
      const sent = await world.send(post, list.address);
      expect(sent).toMatchObject({ code: 250 });
      const fault = /-failed|-not-|not-written/;
      await until(() =>
        world.daemon.log.slice(known).some((line) => line.level === 'error' && fault.test(line.event ?? '')),
      );
      disk.mend();
      await allArrived(sent.id, post);
      await until(() => files('incoming').length === 0);
      await goesOn();
    });
  });

  it('full when a notice is to be written: no copy waits for it, nothing is left of it, and the next post brings it', async () => {
    const bare = 'bare@example.org';
    const partly = await world.list({ key: 'p256', members: [alice], bare: [bare] });
    // The first is the post itself.
    disk.fail(['create'], 'ENOSPC', 'spool/tmp/', 1);
    const becomes = async (): Promise<void> => {
      const { id } = await world.post(await signedAndEncrypted(alice, partly), partly.address);
      const rows = await world.untilDeliveries(id, (all) =>
        all.every((row) => row.state === 'delivered' || row.state === 'held'),
      );
      expect(rows.map((row) => [row.member, row.state])).toEqual([
        [alice.address, 'delivered'],
        [bare, 'held'],
      ]);
    };
    await becomes();
    expect(await world.daemon.logged((line) => line.event === 'notice-failed')).toMatchObject({
      code: 'spool-full',
      member: bare,
    });
    expect(files('tmp')).toEqual([]);
    disk.mend();
    await becomes();
    expect(await world.mailTo(bare)).toHaveLength(1);
  });

  it('inject whose message cannot be made durable: 75, and the daemon beside it never takes it', async () => {
    const post = await signedAndEncrypted(alice, list);
    const inject = () =>
      runCommand(world.root, ['inject', '--sender', alice.address, list.address], {
        input: post,
        env: disk.env,
      });
    disk.fail(['sync'], 'EIO', 'spool/incoming');
    expect(await inject()).toMatchObject({ code: 75 });
    expect([files('tmp'), files('incoming')]).toEqual([[], []]);
    disk.mend();
    const again = await inject();
    expect(again).toMatchObject({ code: 0 });
    await allArrived(/taken as (\w+)/.exec(again.stdout)?.[1] ?? '', post);
    expect([files('tmp'), files('incoming')]).toEqual([[], []]);
    await goesOn();
  });

  it('all of it read-only: 452 while it is, and what was taken before leaves after it', async () => {
    const post = await signedAndEncrypted(alice, list);
    const { promise: held, resolve: release } = gate();
    let asked = 0;
    answer = async (stage) => {
      if (stage !== '.') return null;
      asked++;
      await held;
      return null;
    };
    const { id } = await world.post(post, list.address);
    await until(() => asked === 2);
    disk.fail(['create', 'write', 'truncate', 'rename', 'unlink'], 'EROFS', `${world.root}/spool`);
    expect(await world.send(post, list.address)).toMatchObject({ code: 452 });
    release();
    await world.daemon.logged((line) => line.event === 'outcomes-not-written');
    expect((await world.deliveries(id)).map((row) => row.state)).toEqual(['in-flight', 'in-flight']);
    disk.mend();
    await allArrived(id, post);
    await goesOn();
  });

  it('commits that the disk does not take: it serves nobody and ends, and nothing is lost or told twice', async () => {
    const posts = await Promise.all(Array.from({ length: 5 }, () => signedAndEncrypted(alice, list)));
    const { promise: held, resolve: release } = gate();
    answer = async (stage) => {
      if (stage === '.') await held;
      return null;
    };
    const [first = Buffer.alloc(0), ...others] = posts;
    const { id } = await world.post(first, list.address);
    await world.sink.until(() => world.sink.commands.filter((line) => line === 'DATA').length >= 2);
    // Else it is this post's own end that the disk does not take, before anybody has sent another.
    await until(() => world.onDatabase(async (q) => (await findMessage(q, id))?.state === 'done'));
    disk.fail(['sync'], 'EIO', 'reseal.db-wal');
    const sent = await Promise.allSettled(others.map((post) => world.send(post, list.address)));
    release();
    expect(await world.daemon.ended).toBe(74);
    expect(world.daemon.log.find((line) => line.event === 'stopping')).toMatchObject({
      level: 'error',
      code: 'database-not-durable',
      detail: expect.stringMatching(/did not take .*EIO.*: look at the disk, then start reseal again/),
    });
    expect(world.daemon.noise).toEqual([]);
    await expect(world.send(first, list.address)).rejects.toThrow();
    answer = null;
    disk.mend();
    await world.restart();
    // The listener was shut for who came late. Whoever did not hear 250 sends again, as mail servers do.
    const shut = sent.filter((one) => one.status === 'rejected').map((one) => errnoOf(one.reason));
    expect(['ECONNREFUSED', 'ECONNRESET']).toEqual(expect.arrayContaining(shut));
    const heard = sent.flatMap((one) => (one.status === 'fulfilled' ? [one.value.code] : []));
    expect([250, 421]).toEqual(expect.arrayContaining(heard));
    const taken = [{ id, post: first }];
    for (const [index, post] of others.entries()) {
      const one = sent[index];
      const isTaken = one?.status === 'fulfilled' && one.value.code === 250;
      taken.push({ id: isTaken ? one.value.id : (await world.post(post, list.address)).id, post });
    }
    for (const one of taken) {
      await world.untilDeliveries(
        one.id,
        (rows) => rows.length === 2 && rows.every((row) => row.state === 'delivered'),
      );
      expect([...new Set(copiesOf(one.post))]).toEqual(everybody());
    }
    await goesOn();
    // Two copies were in flight; they alone may have come twice.
    const twice = posts.map(copiesOf).map((to) => to.length - new Set(to).size);
    expect(twice.reduce((sum, n) => sum + n, 0)).toBeLessThanOrEqual(2);
  });
});

function gate(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
