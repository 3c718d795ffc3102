import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { type SinkMessage, type SinkOptions, startSink } from '../kit/sink.ts';
import { tempFolder } from '../kit/tmp.ts';
import { clearPost, readCopy, secretEntity, signedAndEncrypted } from './posts.ts';
import { makeWorld, type World, type WorldOptions } from './world.ts';

const ending: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ending.splice(0)) await end();
});

async function worldOf(options: WorldOptions = {}): Promise<World> {
  const world = await makeWorld({ ...options, yaml: ['shutdown.grace: 1s', ...(options.yaml ?? [])] });
  ending.push(async () => {
    await world.stop();
    expect(world.leaks()).toEqual([]);
  });
  return world;
}

const many = (n: number): string[] => Array.from({ length: n }, (_, i) => `m${i}@example.org`);
const recipients = (messages: readonly SinkMessage[]): string[] => messages.flatMap(({ to }) => to).sort();
const allEnded = (rows: readonly { finishedAt: number | null }[]) =>
  rows.every((row) => row.finishedAt !== null);

describe('a post that leaves in clear', () => {
  it('goes to all members in one transaction; each has his own outcome, by his RCPT', async () => {
    const refuses: SinkOptions = {
      answer: (stage, { to }) => {
        if (stage !== 'RCPT') return null;
        return to === 'm1@example.org'
          ? '550 5.1.1 no such user'
          : to === 'm2@example.org'
            ? '450 4.2.1 later'
            : null;
      },
    };
    const world = await worldOf({ sink: refuses });
    const author = 'm0@example.org';
    const list = await world.list({ bare: many(5) });
    const { id } = await world.post(clearPost(author, list.address), list.address);
    const rows = await world.untilDeliveries(id, (all) =>
      all.every((row) => row.finishedAt !== null || row.state === 'deferred'),
    );
    expect(rows.map((row) => [row.state, row.reason])).toEqual([
      ['delivered', null],
      ['failed', '5.1.1'],
      ['deferred', '4.2.1'],
      ['delivered', null],
      ['delivered', null],
    ]);
    const copies = world.sink.messages.filter(({ to }) => to.includes(author));
    expect(copies.map(({ from, to }) => [from, to])).toEqual([
      [list.at('bounces'), ['m0@example.org', 'm3@example.org', 'm4@example.org']],
    ]);
    const ledger = await world.ledger(id);
    expect(ledger).toContain('delivered m3@example.org');
    expect(ledger).toContain('failed 5.1.1 m1@example.org');
    expect((await world.daemon.run(['explain', id])).stdout).toMatch(/m1@example\.org.*no such user/s);
  }, 30_000);

  it('250 members are three transactions, none of them with more than a hundred', async () => {
    const world = await worldOf();
    const list = await world.list({ bare: many(250) });
    const { id } = await world.post(clearPost('m0@example.org', list.address), list.address);
    await world.untilDeliveries(id, allEnded);
    expect(world.sink.messages.map(({ to }) => to.length).sort()).toEqual([100, 100, 50]);
    expect(recipients(world.sink.messages)).toEqual(many(250).sort());
  }, 30_000);

  it('by LMTP each member has his own answer after DATA', async () => {
    const path = join(tempFolder(), 'lmtp.sock');
    const store = await startSink({
      path,
      lmtp: true,
      answer: (stage, { to }) => (stage === '.' && to === 'm1@example.org' ? '552 5.2.2 full' : null),
    });
    ending.push(store.close);
    const world = await worldOf({ relay: () => [`relay: {path: ${path}, protocol: lmtp, tls: none}`] });
    const list = await world.list({ bare: many(3) });
    const { id } = await world.post(clearPost('m0@example.org', list.address), list.address);
    const rows = await world.untilDeliveries(id, allEnded);
    expect(rows.map((row) => [row.state, row.reason])).toEqual([
      ['delivered', null],
      ['failed', '5.2.2'],
      ['delivered', null],
    ]);
  }, 30_000);

  it('killed with a transaction in flight: only its members may get it twice, and nobody not at all', async () => {
    let dies = (): void => {};
    const dead = new Promise<void>((resolve) => {
      dies = resolve;
    });
    const hold: SinkOptions = {
      // Taken, but the daemon does not live to hear it.
      answer: async (stage, { connection, taken }) => {
        if (stage !== '.' || taken !== 1 || connection !== 1) return null;
        dies();
        await new Promise((resolve) => setTimeout(resolve, 100));
        return null;
      },
    };
    const world = await worldOf({
      sink: hold,
      relay: (sink) => [`relay: {port: ${sink.port}, tls: none, connections: 1}`],
    });
    const list = await world.list({ bare: many(250) });
    const sent = await world.send(clearPost('m0@example.org', list.address), list.address);
    await dead;
    await world.daemon.kill();
    await world.restart();
    await world.untilDeliveries(sent.id, (rows) => rows.length === 250 && allEnded(rows));
    const got = recipients(world.sink.messages);
    expect(new Set(got)).toEqual(new Set(many(250)));
    const twice = got.filter((one, at) => got.indexOf(one) !== at);
    expect(twice.length).toBeLessThanOrEqual(100);
    expect((await world.deliveries(sent.id)).every((row) => row.state === 'delivered')).toBe(true);
  }, 30_000);

  it('send.verp: a transaction for each, whose sender names him', async () => {
    const world = await worldOf();
    const long = `${'l'.repeat(50)}@example.org`;
    const list = await world.list({ bare: [...many(2), long], settings: { 'send.verp': 'yes' } });
    const { id } = await world.post(clearPost('m0@example.org', list.address), list.address);
    await world.untilDeliveries(id, allEnded);
    const [local] = list.at('bounces').split('@');
    const withoutTag = (from: string): string => from.replace(/\+[a-z2-7]{8}(?=[=@])/, '+TAG');
    expect(world.sink.messages.map(({ from, to }) => [to, withoutTag(from)]).sort()).toEqual([
      [[long], `${local}+TAG@lists.example`],
      [['m0@example.org'], `${local}+TAG=m0=example.org@lists.example`],
      [['m1@example.org'], `${local}+TAG=m1=example.org@lists.example`],
    ]);
  }, 30_000);
});

describe('a post that leaves encrypted', () => {
  it('by VERP too, each copy from its own sender', async () => {
    const world = await worldOf();
    const alice = await world.person('alice');
    const bob = await world.person('bob');
    const list = await world.list({ members: [alice, bob], settings: { 'send.verp': 'yes' } });
    const { id } = await world.post(await signedAndEncrypted(alice, list), list.address);
    await world.untilDeliveries(id, allEnded);
    expect(world.sink.messages.map(({ from }) => from.split(/\+[a-z2-7]{8}=/)[1]).sort()).toEqual([
      'alice=example.org@lists.example',
      'bob=example.org@lists.example',
    ]);
  }, 30_000);

  it('send.envelope: grouped: one copy for those of a cipher, which each of them opens; rows as ever', async () => {
    const world = await worldOf();
    const alice = await world.person('alice');
    const bob = await world.person('bob');
    const carol = await world.person('carol', { key: 'rsa' });
    const dora = await world.person('dora', { key: 'rsa' });
    const list = await world.list({
      members: [alice, bob, carol],
      settings: { 'send.envelope': 'grouped' },
    });
    await world.join(list, dora, { cipher: 'aes-128-gcm' });
    const entity = secretEntity();
    const { id } = await world.post(await signedAndEncrypted(alice, list, { entity }), list.address);
    const rows = await world.untilDeliveries(id, allEnded);
    expect(rows.map((row) => [row.member, row.state, row.cipher, row.keyTransport])).toEqual([
      [alice.address, 'delivered', 'aes-256-cbc', 'ecdh'],
      [bob.address, 'delivered', 'aes-256-cbc', 'ecdh'],
      [carol.address, 'delivered', 'aes-256-cbc', 'rsa'],
      [dora.address, 'delivered', 'aes-128-gcm', 'rsa'],
    ]);
    const groups = world.sink.messages.map(({ to }) => [...to].sort());
    expect(groups.sort()).toEqual([[alice.address, bob.address], [carol.address], [dora.address]]);
    for (const who of [alice, bob, carol, dora]) {
      const copy = world.sink.messages.find(({ to }) => to.includes(who.address));
      expect(copy && (await readCopy(world.ca, who, copy.bytes))).toEqual(entity);
    }
  }, 30_000);

  it('grouped is told of when it is set, and refused together with VERP', async () => {
    const world = await worldOf();
    const list = await world.list();
    const set = await world.daemon.run(['list', 'set', list.address, 'send.envelope=grouped']);
    expect([set.code, set.stdout + set.stderr]).toEqual([
      0,
      expect.stringContaining('shows members to each other'),
    ]);
    const both = await world.daemon.run(['list', 'set', list.address, 'send.verp=yes']);
    expect([both.code === 0, both.stderr]).toEqual([
      false,
      expect.stringContaining('send.envelope: grouped contradicts send.verp: yes'),
    ]);
  }, 30_000);
});
