import { readdirSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { formatEnvelopeLine } from '../../src/mime/envelope.ts';
import { messagesIn } from '../../src/store/messages.ts';
import type { MessageState } from '../../src/store/schema.ts';
import { newId } from '../../src/store/spool.ts';
import type { Identity } from '../kit/pki.ts';
import { hang, type Stage, type StageInfo } from '../kit/sink.ts';
import { headerOf } from '../kit/smime-mime.ts';
import { readCopy, secretEntity, signedAndEncrypted } from './posts.ts';
import { type List, makeWorld, until, type World } from './world.ts';

let answer: ((stage: Stage, info: StageInfo) => string | null | Promise<string | null>) | null = null;
let world: World;
let alice: Identity;
let bob: Identity;
let list: List;
beforeAll(async () => {
  world = await makeWorld({ sink: { answer: (stage, info) => answer?.(stage, info) ?? null } });
  alice = await world.person('alice');
  bob = await world.person('bob');
  list = await world.list({ members: [alice, bob], bare: ['carol@example.org'] });
});
afterEach(() => {
  answer = null;
  expect(world.leaks()).toEqual([]);
});
afterAll(() => world?.stop());

/** Crashes of one test are not to count against the next. */
const forgetCrashes = (): Promise<unknown> =>
  world.onDatabase((q) => q.updateTable('starts').set({ clean: 1 }).execute());

const copies = (member: Identity, post: Buffer) =>
  world.sink.messages.filter(
    ({ to, bytes }) =>
      to.includes(member.address) && headerOf(bytes, 'Message-ID') === headerOf(post, 'Message-ID'),
  );

/** Every (posting, member) is where it should be: two delivered, Carol's held for her certificate. */
async function allArrived(ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    const rows = await world.untilDeliveries(
      id,
      (all) => all.length === 3 && all.every((row) => ['delivered', 'held'].includes(row.state)),
    );
    expect(rows.map((row) => `${row.member} ${row.state}`)).toEqual([
      'alice@example.org delivered',
      'bob@example.org delivered',
      'carol@example.org held',
    ]);
  }
}

describe('kill -9', () => {
  it('right after 250: every post is distributed after the restart', async () => {
    const entities = Array.from({ length: 5 }, () => secretEntity());
    const posts = await Promise.all(entities.map((entity) => signedAndEncrypted(alice, list, { entity })));
    const sent = await Promise.all(posts.map((post) => world.send(post, list.address)));
    await world.daemon.kill();
    expect(sent.map((one) => one.code)).toEqual([250, 250, 250, 250, 250]);
    await world.restart();
    await allArrived(sent.map((one) => one.id));
    for (const [index, post] of posts.entries()) {
      const copy = await world.copyFor(bob, post);
      expect(await readCopy(world.ca, bob, copy.bytes)).toEqual(entities[index]);
    }
    await forgetCrashes();
  });

  it.each(['received', 'authorized', 'delivered'])('after the log said "%s"', async (event) => {
    const post = await signedAndEncrypted(alice, list);
    const known = world.daemon.log.length;
    const sent = await world.send(post, list.address);
    await world.daemon.logged((line) => line.event === event && world.daemon.log.indexOf(line) >= known);
    await world.daemon.kill();
    await world.restart();
    await allArrived([sent.id]);
    await forgetCrashes();
  });

  it('while copies are in flight: they are sent again, what was acknowledged is not', async () => {
    answer = (stage, info) => (stage === 'RCPT' && info.to === bob.address ? hang : null);
    const post = await signedAndEncrypted(alice, list);
    const sent = await world.send(post, list.address);
    await world.untilDeliveries(sent.id, (all) =>
      all.some((row) => row.member === alice.address && row.state === 'delivered'),
    );
    await world.daemon.kill();
    answer = null;
    const [, row] = await world.deliveries(sent.id);
    expect(row).toMatchObject({ member: bob.address, state: 'in-flight' });
    await world.restart();
    await allArrived([sent.id]);
    expect(copies(alice, post)).toHaveLength(1);
    expect(copies(bob, post)).toHaveLength(1);
    await forgetCrashes();
  });

  it('at every moment of a series of posts: nothing is lost, nothing is told twice', async () => {
    const ids: string[] = [];
    for (let round = 0; round < 3; round++) {
      const posts = await Promise.all([1, 2, 3].map(() => signedAndEncrypted(alice, list)));
      const sent = await Promise.all(posts.map((post) => world.send(post, list.address)));
      ids.push(...sent.map((one) => one.id));
      // Each round dies after another number of acknowledged copies.
      await world.daemon.logged(
        () => world.daemon.log.filter((line) => line.event === 'delivered').length >= round,
      );
      await world.daemon.kill();
      await world.restart();
      await forgetCrashes();
    }
    await allArrived(ids);
    const notices = await world.mailTo('carol@example.org');
    expect(notices).toHaveLength(1);
    const ledger = await Promise.all(ids.map((id) => world.ledger(id)));
    for (const lines of ledger) {
      expect(lines.filter((line) => line === 'authorized')).toHaveLength(1);
      expect(lines.filter((line) => line === `delivered ${bob.address}`)).toHaveLength(1);
      expect(lines.filter((line) => line === 'held no-certificate carol@example.org')).toHaveLength(1);
    }
  });
});

describe('kill -9 in the middle of 120 copies', () => {
  it('everybody has his copy after it, and at most one for each connection came twice', async () => {
    const names = Array.from({ length: 120 }, (_, index) => `many${index}@example.org`);
    const many = await world.list({ key: 'p256', members: [alice] });
    for (const address of names) await world.join(many, { ...bob, address });
    const post = await signedAndEncrypted(alice, many);
    const count = () => names.map((address) => copies({ ...bob, address }, post).length);
    const sum = () => count().reduce((all, one) => all + one, 0);
    const sent = await world.send(post, many.address);
    await world.sink.until(() => sum() >= 40);
    await world.daemon.kill();
    expect(sum()).toBeLessThan(120);
    await world.restart();
    await world.untilDeliveries(
      sent.id,
      (all) => all.length === 121 && all.every((row) => row.state === 'delivered'),
    );
    expect(Math.min(...count())).toBe(1);
    expect(Math.max(...count())).toBeLessThanOrEqual(2);
    // relay.connections is 20 by default; of each the copy whose final dot was sent may come again.
    expect(sum()).toBeLessThanOrEqual(140);
    await forgetCrashes();
  });
});

describe('what a crash left in the spool', () => {
  const line = (to = list.address) =>
    formatEnvelopeLine({
      from: alice.address,
      to: [to],
      smtpUtf8: false,
      body8bit: false,
      requireTls: false,
      client: 'local',
      helo: '',
      protocol: 'ESMTP',
      receivedAt: Date.now(),
    });
  const place = async (folder: string): Promise<string> => {
    const id = newId(Date.now());
    const post = await signedAndEncrypted(alice, list);
    writeFileSync(join(world.root, 'spool', folder, id), Buffer.concat([line(), post]), { mode: 0o600 });
    return id;
  };

  it('a file in incoming is taken in: 250 was said', async () => {
    await world.daemon.kill();
    const id = await place('incoming');
    await world.restart();
    await allArrived([id]);
    await forgetCrashes();
  });

  it('so are many, by groups; one that cannot be read keeps no other out', async () => {
    await world.daemon.kill();
    const put = (content: Buffer | string) => {
      const id = newId(Date.now());
      writeFileSync(join(world.root, 'spool/incoming', id), content, { mode: 0o600 });
      return id;
    };
    const bounce = Buffer.concat([
      line(list.address.replace('@', '-bounces@')),
      Buffer.from('Subject: x\r\n\r\n'),
    ]);
    const ids = Array.from({ length: 150 }, () => put(bounce));
    const broken = put('no envelope');
    await world.restart();
    const inState = (state: MessageState) =>
      world.onDatabase(async (q) => {
        const rows = await messagesIn(q, [state], 10_000);
        return rows.filter((row) => ids.includes(row.id)).length;
      });
    await until(async () => (await inState('done')) === ids.length);
    expect(readdirSync(join(world.root, 'spool/incoming'))).toEqual([broken]);
    const failed = world.daemon.log.filter((one) => one.event === 'intake-failed').map((one) => one.id);
    expect(new Set(failed)).toEqual(new Set([broken]));
    unlinkSync(join(world.root, 'spool/incoming', broken));
    await forgetCrashes();
  });

  it('a file in tmp goes: 250 was not said', async () => {
    await world.daemon.kill();
    const id = await place('tmp');
    await world.restart();
    await until(() => !readdirSync(join(world.root, 'spool/tmp')).includes(id));
    expect(await world.deliveries(id)).toEqual([]);
    await forgetCrashes();
  });

  it('a file in messages without a row is never distributed: a person should look', async () => {
    await world.daemon.kill();
    const id = await place('messages');
    await world.restart();
    expect(readdirSync(join(world.root, 'spool/quarantine'))).toContain(id);
    expect(await world.ledger(id)).toEqual(['quarantined no-row']);
    expect(await world.deliveries(id)).toEqual([]);
    await forgetCrashes();
  });
});

it('a second daemon on the same spool is refused, and the first goes on', async () => {
  const second = await world.daemon.run(['serve']);
  expect(second.code).not.toBe(0);
  expect(second.stderr).toMatch(/lock|runs already|another/i);
  const post = await signedAndEncrypted(alice, list);
  const { id } = await world.post(post, list.address);
  await allArrived([id]);
});
