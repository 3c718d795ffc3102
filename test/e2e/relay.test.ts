import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Identity } from '../kit/pki.ts';
import { drop, hang, type Stage, type StageInfo } from '../kit/sink.ts';
import { headerOf } from '../kit/smime-mime.ts';
import { readCopy, secretEntity, signedAndEncrypted } from './posts.ts';
import { makeWorld, type World } from './world.ts';

/** How the relay answers now; the usual way where it is null. */
let answer: ((stage: Stage, info: StageInfo) => string | null | Promise<string | null>) | null = null;

let world: World;
let alice: Identity;
let bob: Identity;
beforeAll(async () => {
  world = await makeWorld({
    yaml: ['shutdown.grace: 1s'],
    sink: { answer: (stage, info) => answer?.(stage, info) ?? null },
  });
  alice = await world.person('alice');
  bob = await world.person('bob');
});
afterEach(() => {
  answer = null;
  expect(world.leaks()).toEqual([]);
});
afterAll(() => world?.stop());

/** What waits is due now, as if its time had come. */
async function timePasses(): Promise<void> {
  await world.onDatabase((q) =>
    q.updateTable('deliveries').set({ nextAt: 1 }).where('state', '=', 'deferred').execute(),
  );
}

const copiesTo = (member: Identity, post: Buffer): number =>
  world.sink.messages.filter(
    ({ to, bytes }) =>
      to.includes(member.address) && headerOf(bytes, 'Message-ID') === headerOf(post, 'Message-ID'),
  ).length;

describe('the relay says no', () => {
  it('4xx for one: he is put off, the other has his copy; the deferral survives a restart', async () => {
    answer = (stage, info) => (stage === 'RCPT' && info.to === bob.address ? '450 4.2.1 mailbox busy' : null);
    const list = await world.list({ members: [alice, bob] });
    const entity = secretEntity();
    const post = await signedAndEncrypted(alice, list, { entity });
    const { id } = await world.post(post, list.address);
    const before = Date.now();
    const rows = await world.untilDeliveries(
      id,
      (all) => all.some((row) => row.state === 'deferred') && all.some((row) => row.state === 'delivered'),
    );
    const row = rows.find((one) => one.member === bob.address);
    expect(row).toMatchObject({ state: 'deferred', reason: '4.2.1', reply: 'mailbox busy', attempts: 1 });
    expect(row?.nextAt).toBeGreaterThan(before + 4 * 60_000);
    expect(row?.nextAt).toBeLessThan(before + 6 * 60_000);
    expect(await world.ledger(id)).toContain(`deferred 4.2.1 ${bob.address}`);

    await world.daemon.stop();
    expect((await world.deliveries(id)).find((one) => one.member === bob.address)).toEqual(row);
    answer = null;
    await timePasses();
    await world.restart();
    const copy = await world.copyFor(bob, post);
    expect(await readCopy(world.ca, bob, copy.bytes)).toEqual(entity);
    await world.untilDeliveries(id, (all) => all.every((one) => one.state === 'delivered'));
    expect(copiesTo(alice, post)).toBe(1);
  });

  it('5xx for one: his copy failed, with the relay\u2019s words in the ledger; the others have theirs', async () => {
    answer = (stage, info) => (stage === 'RCPT' && info.to === bob.address ? '550 5.1.1 no such user' : null);
    const list = await world.list({ members: [alice, bob] });
    const { id } = await world.post(await signedAndEncrypted(alice, list), list.address);
    const rows = await world.untilDeliveries(id, (all) => all.every((row) => row.finishedAt !== null));
    expect(rows.map((row) => row.state)).toEqual(['delivered', 'failed']);
    expect(rows[1]).toMatchObject({
      reason: '5.1.1',
      detail: 'the relay refused it at RCPT: 550 5.1.1 no such user',
    });
    expect(await world.ledger(id)).toContain(`failed 5.1.1 ${bob.address}`);
  });

  it('5xx for the message itself', async () => {
    answer = (stage) => (stage === '.' ? '554 5.6.0 not that' : null);
    const list = await world.list({ key: 'p256', members: [alice] });
    const { id } = await world.post(await signedAndEncrypted(alice, list), list.address);
    const rows = await world.untilDeliveries(id, (all) => all.every((row) => row.finishedAt !== null));
    expect(rows).toMatchObject([{ state: 'failed', reason: '5.6.0' }]);
  });

  it.each([
    ['breaks every connection', (stage: Stage) => (stage === 'CONN' ? drop : null)],
    ['is closing', (stage: Stage) => (stage === 'CONN' ? '421 4.3.2 closing' : null)],
    ['breaks off in the middle of DATA', (stage: Stage) => (stage === 'BODY' ? drop : null)],
  ])('the relay %s: nothing is lost, all waits and leaves later', async (_, how) => {
    await world.daemon.stop();
    answer = how;
    await world.restart();
    const list = await world.list({ key: 'p256', members: [alice, bob] });
    const post = await signedAndEncrypted(alice, list);
    const { id } = await world.post(post, list.address);
    await world.untilDeliveries(
      id,
      (all) => all.length === 2 && all.every((row) => row.state === 'deferred'),
    );
    answer = null;
    await world.daemon.stop();
    await timePasses();
    await world.restart();
    await world.untilDeliveries(id, (all) => all.every((row) => row.state === 'delivered'));
    expect([copiesTo(alice, post), copiesTo(bob, post)]).toEqual([1, 1]);
  });

  it('for as long as the lifetime: then it is over, with the reason', async () => {
    answer = (stage, info) => (stage === 'RCPT' && info.to === alice.address ? '451 4.7.1 greylisted' : null);
    const list = await world.list({ key: 'p256', members: [alice] });
    const { id } = await world.post(await signedAndEncrypted(alice, list), list.address);
    await world.untilDeliveries(id, (all) => all.every((row) => row.state === 'deferred'));
    await world.onDatabase((q) =>
      q.updateTable('deliveries').set({ nextAt: 1, expiresAt: 2 }).where('state', '=', 'deferred').execute(),
    );
    // SIGHUP looks at the queue at once.
    world.daemon.signal('SIGHUP');
    const rows = await world.untilDeliveries(id, (all) => all.every((row) => row.finishedAt !== null));
    expect(rows).toMatchObject([{ state: 'expired', reason: '4.7.1' }]);
    expect(await world.ledger(id)).toContain(`expired 4.7.1 ${alice.address}`);
    // The owner gets one report of what was not delivered.
    const [report] = await world.mailTo(list.owner);
    expect(report?.bytes.toString()).toContain('1 of 1 copies');
    expect(report?.bytes.toString()).toContain('greylisted');
  });
});

describe('SIGTERM', () => {
  /** The relay answers the whole message with `reply`; resolves when it has it. */
  const atTheDot = (reply: () => string | Promise<null>): Promise<void> =>
    new Promise((resolve) => {
      answer = (stage) => {
        if (stage !== '.') return null;
        resolve();
        return reply();
      };
    });

  it('lets copies in flight end: the relay took it, so it is not sent again', async () => {
    let release = (): void => undefined;
    const released = new Promise<null>((resolve) => {
      release = () => resolve(null);
    });
    const asked = atTheDot(() => released);
    const list = await world.list({ key: 'p256', members: [alice] });
    const post = await signedAndEncrypted(alice, list);
    const sent = await world.send(post, list.address);
    await asked;
    const gone = world.daemon.stop();
    await world.daemon.logged((line) => line.event === 'stopping');
    release();
    expect(await gone).toBe(0);
    expect(await world.deliveries(sent.id)).toMatchObject([{ state: 'delivered', attempts: 1 }]);
    answer = null;
    await world.restart();
    expect(copiesTo(alice, post)).toBe(1);
  });

  it('does not wait for ever for a relay that says nothing', async () => {
    const asked = atTheDot(() => hang);
    const list = await world.list({ key: 'p256', members: [alice] });
    const post = await signedAndEncrypted(alice, list);
    const sent = await world.send(post, list.address);
    await asked;
    expect(await world.daemon.stop()).toBe(0);
    answer = null;
    const [row] = await world.deliveries(sent.id);
    expect(row?.finishedAt).toBeNull();
    await timePasses();
    await world.restart();
    await world.untilDeliveries(sent.id, (all) => all.every((one) => one.state === 'delivered'));
    await world.copyFor(alice, post);
  });

  it('refuses new mail and leaves no lock behind', async () => {
    expect(await world.daemon.stop()).toBe(0);
    await expect(world.send(Buffer.from('From: a@b.example\r\n\r\n'), 'x@lists.example')).rejects.toThrow();
    await world.restart();
    const list = await world.list({ key: 'p256', members: [alice] });
    expect(await world.post(await signedAndEncrypted(alice, list), list.address)).toMatchObject({
      event: 'authorized',
    });
  });
});
