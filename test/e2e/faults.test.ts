import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import type { Identity } from '../kit/pki.ts';
import { headerOf, mailOf, textEntity } from '../kit/smime-mime.ts';
import { clearPost, postHeaders, readCopy, secretEntity, signed, signedAndEncrypted } from './posts.ts';
import { makeWorld, type World } from './world.ts';

// What is wrong around one message, list or member must not delay another.

let world: World;
let alice: Identity;
let templates: string;
beforeAll(async () => {
  world = await makeWorld({ yaml: ['templates: [etc/mail]', 'certificates: spool/mirror'] });
  templates = join(world.root, 'etc/mail');
  mkdirSync(templates);
  alice = await world.person('alice');
});
afterEach(() => expect(world.leaks()).toEqual([]));
afterAll(() => world?.stop());

it('a notice that cannot be written keeps no other member from his copy, and the copy it is about waits', async () => {
  const broken = join(templates, 'x509-user-cert-missing.tt2');
  writeFileSync(broken, 'Subject: x\n\n[% IF oops %]');
  const list = await world.list({ key: 'p256', members: [alice], bare: ['aaron@example.org'] });
  const entity = secretEntity();
  const post = await signedAndEncrypted(alice, list, { entity });
  const { id } = await world.post(post, list.address);
  expect(await readCopy(world.ca, alice, (await world.copyFor(alice, post)).bytes)).toEqual(entity);
  const rows = await world.untilDeliveries(
    id,
    (all) => all.length === 2 && all.every((row) => ['delivered', 'held'].includes(row.state)),
  );
  expect(rows.find((row) => row.member === 'aaron@example.org')).toMatchObject({
    state: 'held',
    reason: 'no-certificate',
    notifiedAt: null,
  });
  expect(world.daemon.log.some((line) => JSON.stringify(line).includes('x509-user-cert-missing'))).toBe(true);
  rmSync(broken);
});

it.each([
  ['held-for-moderation', 'held'],
  ['refused', 'refused'],
])(
  'a post whose notice %s cannot be written waits, says why, and is decided when that is mended',
  async (template, event) => {
    const file = join(templates, `${template}.tt2`);
    writeFileSync(file, 'Subject: x\n\n[% IF oops %]');
    const settings: Record<string, string> =
      event === 'held'
        ? { 'accept.others': 'moderate', 'accept.from': 'moderators' }
        : { 'accept.encryption': 'required' };
    const list = await world.list({ key: 'p256', members: [alice], settings });
    const clear = await signed(alice, await signed(alice, textEntity('not encrypted\n'), { opaque: true }));
    const post =
      event === 'held'
        ? await signedAndEncrypted(alice, list)
        : mailOf(postHeaders(alice.address, list.address), clear);
    const sent = await world.send(post, list.address);
    const line = await world.daemon.logged((one) => one.event === 'processing-failed' && one.id === sent.id);
    expect(String(line.detail)).toContain(template);
    const next = await signedAndEncrypted(alice, await world.list({ key: 'p256', members: [alice] }));
    expect(await world.send(next, headerOf(next, 'To') ?? '')).toMatchObject({ code: 250 });
    await world.copyFor(alice, next);
    rmSync(file);
    await world.onDatabase((q) =>
      q.updateTable('messages').set({ nextAt: 1 }).where('id', '=', sent.id).execute(),
    );
    expect(await world.fate(sent)).toMatchObject({ event });
  },
);

it('a certificate directory that cannot be written does not fail the post that brought the certificate', async () => {
  const folder = join(world.root, 'spool/mirror');
  rmSync(folder, { recursive: true, force: true });
  writeFileSync(folder, 'no folder');
  const bob = await world.person('bob');
  const list = await world.list({ key: 'p256', members: [alice], bare: [bob.address] });
  const post = await signedAndEncrypted(bob, list);
  expect(await world.post(post, list.address)).toMatchObject({ event: 'authorized' });
  await world.copyFor(alice, post);
  await world.copyFor(bob, post);
  rmSync(folder);
});

it('settings of one list that nobody can read: that list answers 4xx, the others go on', async () => {
  const sick = await world.list({ key: 'p256', members: [alice] });
  const well = await world.list({ key: 'p256', members: [alice] });
  await world.onDatabase((q) =>
    q
      .updateTable('lists')
      .set({ settings: '{"accept.max-age":"rubbish"}' })
      .where('id', '=', sick.id)
      .execute(),
  );
  const sent = await world.send(clearPost(alice.address, sick.address), sick.address);
  expect(sent.code).toBeGreaterThanOrEqual(400);
  expect(sent.code).toBeLessThan(500);
  const post = await signedAndEncrypted(alice, well);
  await world.post(post, well.address);
  await world.copyFor(alice, post);
  await world.onDatabase((q) =>
    q.updateTable('lists').set({ settings: '{}' }).where('id', '=', sick.id).execute(),
  );
});

it('230 members: each gets his copy, exactly once', async () => {
  const names = Array.from({ length: 230 }, (_, index) => `m${index}@example.org`);
  const list = await world.list({ key: 'p256', members: [alice] });
  // One key for all keeps it quick; a copy is for its address all the same.
  for (const address of names) await world.join(list, { ...alice, address });
  const entity = secretEntity();
  const post = await signedAndEncrypted(alice, list, { entity });
  const { id } = await world.post(post, list.address);
  const rows = await world.untilDeliveries(
    id,
    (all) => all.length === 231 && all.every((row) => row.state === 'delivered'),
  );
  expect(new Set(rows.map((row) => row.attempts))).toEqual(new Set([1]));
  for (const index of [0, 99, 100, 229]) {
    const copy = await world.copyFor({ address: names[index] ?? '' }, post);
    expect(await readCopy(world.ca, alice, copy.bytes)).toEqual(entity);
  }
  const got = world.sink.messages.flatMap(({ to }) => to).filter((address) => names.includes(address));
  expect(got.sort()).toEqual(names.sort());
});
