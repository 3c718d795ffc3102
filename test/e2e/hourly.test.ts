import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import type { Identity } from '../kit/pki.ts';
import type { SinkOptions } from '../kit/sink.ts';
import { headerOf, mailOf, textEntity } from '../kit/smime-mime.ts';
import { clearPost, postHeaders, readCopy, secretEntity, signed, signedAndEncrypted } from './posts.ts';
import { type List, makeWorld, type World } from './world.ts';

// What the daemon does by itself, by the clock: it runs all the time, and its time is ours.

const hour = 3_600_000;
const day = 24 * hour;
let world: World;
afterEach(async () => {
  expect(world.leaks()).toEqual([]);
  await world.stop();
});
const steeredWorld = async (sink: SinkOptions = {}): Promise<World> => {
  world = await makeWorld({ daemon: { steered: true }, sink });
  return world;
};

const subjectsTo = (address: string): string[] =>
  world.sink.messages
    .filter(({ to, bytes }) => to.includes(address) && headerOf(bytes, 'Auto-Submitted') !== null)
    .map(({ bytes }) => (headerOf(bytes, 'Subject') ?? '').replace(/\s+/g, ' '));

/** What was queued until now has left before this mail, which comes last. */
async function untilAllLeft(list: List): Promise<void> {
  const last = clearPost('somebody@example.net', list.at('owner'));
  await world.post(last, list.at('owner'));
  await world.copyFor({ address: list.owner }, last);
}

it('a certificate ends: the member and the owners are told 30, 7 and 1 days before, once each', async () => {
  await steeredWorld();
  const ends = Date.now() + 30 * day + 2 * hour;
  const who = await world.person('ends', { notAfter: new Date(ends) });
  const settings = { 'report.weekly': 'no' };
  const list = await world.list({ key: 'p256', members: [who], settings });
  await world.daemon.pass(hour);
  await untilAllLeft(list);
  // Also the service address, which has no key here, is nothing to warn of.
  expect(world.daemon.log.filter((line) => line.level !== 'info')).toEqual([]);
  expect([subjectsTo(who.address), subjectsTo(list.owner)]).toEqual([[], []]);
  const told = [];
  for (const [passes, left] of [
    [hour, 30],
    [hour, 30],
    [23 * day, 7],
    [day, 7],
    [5 * day, 1],
    [12 * hour, 1],
  ] as const) {
    await world.daemon.pass(passes);
    await untilAllLeft(list);
    told.push([left, subjectsTo(who.address).length, subjectsTo(list.owner).length]);
  }
  expect(told).toEqual([
    [30, 1, 1],
    [30, 1, 1],
    [7, 2, 2],
    [7, 2, 2],
    [1, 3, 3],
    [1, 3, 3],
  ]);
  expect(subjectsTo(who.address).map((subject) => / (in \d+ days|tomorrow)$/.exec(subject)?.[1])).toEqual([
    'in 30 days',
    'in 7 days',
    'tomorrow',
  ]);
});

it('copies that wait are told of at most once a day, all in one mail, and end with hold-days', async () => {
  await steeredWorld();
  const alice = await world.person('alice');
  const bare = 'waits@example.org';
  const list = await world.list({ key: 'p256', members: [alice], bare: [bare] });
  const ids: string[] = [];
  const post = async () => {
    const { id } = await world.post(await signedAndEncrypted(alice, list), list.address);
    ids.push(id);
    await world.untilDeliveries(id, (rows) => rows.some((row) => row.state === 'held'));
  };
  const told = async (ms: number): Promise<string[]> => {
    await world.daemon.pass(ms);
    await untilAllLeft(list);
    return subjectsTo(bare).map((subject) => subject.replace(/ for you.*| waits.*/, ''));
  };
  for (let n = 0; n < 3; n++) await post();
  const first = `${list.address.split('@')[0]}: an encrypted message`;
  const digest = (count: number) => `${list.address.split('@')[0]}: ${count} encrypted messages wait`;
  expect(await told(hour)).toEqual([first]);
  expect(await told(day)).toEqual([first, digest(3)]);
  await post();
  expect(await told(22 * hour)).toEqual([first, digest(3)]);
  expect(await told(2 * hour)).toEqual([first, digest(3), digest(4)]);
  expect(await told(3 * day)).toEqual([first, digest(3), digest(4)]);
  await told(10 * day);
  for (const id of ids) expect(await world.ledger(id)).toContain(`expired no-certificate ${bare}`);
});

it('the certificate of the service address ends: the postmaster is told, and can answer', async () => {
  await steeredWorld();
  const postmaster = 'postmaster@lists.example';
  const until = new Date(Date.now() + 30 * day - hour);
  const service = await world.ca.issue({ name: 'Service', address: 'reseal@lists.example', notAfter: until });
  const folder = join(world.root, 'etc/service/lists.example');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(join(folder, 'cert.pem'), service.certPem);
  writeFileSync(join(folder, 'private_key'), readFileSync(service.keyPath), { mode: 0o600 });
  await world.daemon.stop();
  await world.restart();
  const list = await world.list({ key: 'p256' });
  const told: number[] = [];
  for (const passes of [hour, 23 * day, 6 * day, day, 5 * day]) {
    await world.daemon.pass(passes);
    await untilAllLeft(list);
    told.push(subjectsTo(postmaster).length);
  }
  expect(told).toEqual([1, 2, 3, 4, 4]);
  const [mail] = await world.mailTo(postmaster);
  const bytes = mail?.bytes ?? Buffer.alloc(0);
  // It has neither -owner nor -bounces.
  expect([mail?.from, headerOf(bytes, 'From'), headerOf(bytes, 'Reply-To')]).toEqual([
    '',
    'reseal@lists.example',
    postmaster,
  ]);
  expect(bytes.toString()).toContain('you are the postmaster of this site');
});

it('a certificate that ends between acceptance and delivery: the copy waits, and goes out to the renewed one', async () => {
  let isDown = true;
  await steeredWorld({
    answer: (stage, info) =>
      isDown && stage === 'RCPT' && info.to === who.address ? '451 4.3.0 later' : null,
  });
  const alice = await world.person('alice');
  const who: Identity = await world.person('who', { notAfter: new Date(Date.now() + 2 * hour) });
  const list = await world.list({ key: 'p256', members: [alice, who] });
  const entity = secretEntity();
  const post = await signedAndEncrypted(alice, list, { entity });
  const { id } = await world.post(post, list.address);
  const stateIs = (state: string) => (rows: readonly { member: string; state: string }[]) =>
    rows.some((row) => row.member === who.address && row.state === state);
  await world.untilDeliveries(id, stateIs('deferred'));
  isDown = false;
  await world.daemon.pass(3 * hour);
  const done = await world.daemon.run(['queue', 'retry', id]);
  expect(done.code, done.stderr).toBe(0);
  const rows = await world.untilDeliveries(id, stateIs('held'));
  expect(rows.find((row) => row.member === who.address)).toMatchObject({ reason: 'expired' });
  await world.mailTo(who.address);
  const renewed = await world.person('who', { keyFrom: who });
  const mail = mailOf(
    postHeaders(who.address, list.at('sendcert')),
    await signed(renewed, textEntity('renewed\n')),
  );
  expect(await world.post(mail, list.at('sendcert'))).toMatchObject({ event: 'certificate-received' });
  expect(await readCopy(world.ca, renewed, (await world.copyFor(who, post)).bytes)).toEqual(entity);
});

it('another key that waits is asked about after seven days; an expired certificate gives way to one that holds', async () => {
  await steeredWorld();
  const bob = await world.person('bob');
  const settings = { 'report.weekly': 'no' };
  const list = await world.list({ key: 'p256', members: [bob], settings });
  const brief: Identity = await world.person('bob', {
    keyFrom: bob,
    notAfter: new Date(Date.now() + 90 * day),
  });
  const inUse = () =>
    world.onDatabase((q) =>
      q
        .selectFrom('bindings')
        .select('sha256')
        .where('address', '=', bob.address)
        .where('state', '=', 'in-use')
        .where('purpose', '=', 'enc')
        .executeTakeFirst(),
    );
  const before = await inUse();
  await world.join(list, brief);
  expect(await inUse()).not.toEqual(before);
  const other = await world.person('bob');
  const mail = mailOf(
    postHeaders(bob.address, list.at('sendcert')),
    await signed(other, textEntity('another key\n')),
  );
  expect(await world.post(mail, list.at('sendcert'))).toMatchObject({ reason: 'changed-key' });
  const asked = () => subjectsTo(list.owner).filter((subject) => subject.includes('still waits')).length;
  for (const [passes, count] of [
    [6 * day, 0],
    [day, 1],
    [7 * day, 1],
  ] as const) {
    await world.daemon.pass(passes);
    await untilAllLeft(list);
    expect(asked()).toBe(count);
  }
  await world.daemon.pass(80 * day);
  expect(await inUse()).toEqual(before);
});
