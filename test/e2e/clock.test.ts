import { describe, expect, it } from 'vitest';
import type { Stage, StageInfo } from '../kit/sink.ts';
import { headerOf, mailOf, textEntity } from '../kit/smime-mime.ts';
import { clearPost, openCopy, postHeaders, signed, signedAndEncrypted } from './posts.ts';
import { makeWorld, until, type World } from './world.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const patient = { timeout: 60_000 };

/** A world whose relay answers as `answer` says, with a post to alice and bob that is on its way. */
async function postedWorld(
  answer: (stage: Stage, info: StageInfo) => string | null | Promise<null>,
  aheadMs = 0,
) {
  const world = await makeWorld({ daemon: { steered: true }, sink: { answer } });
  const alice = await world.person('alice');
  const bob = await world.person('bob');
  const settings = { 'report.weekly': 'no' };
  const list = await world.list({
    key: 'p256',
    members: [alice, bob],
    settings,
  });
  if (aheadMs > 0) await world.daemon.jump(aheadMs);
  const post = clearPost(alice.address, list.address);
  const { id } = await world.post(post, list.address);
  const copies = () =>
    world.sink.messages
      .filter(({ bytes }) => headerOf(bytes, 'Message-ID') === headerOf(post, 'Message-ID'))
      .flatMap(({ to }) => to)
      .sort();
  /** A post makes the daemon look at what is due. */
  const touch = () => world.post(clearPost(alice.address, list.address), list.address);
  const stateOf = async (name: string) =>
    (await world.deliveries(id)).find((row) => row.member === `${name}@example.org`);
  return { world, id, copies, touch, stateOf };
}

async function ended(world: World): Promise<void> {
  expect(world.leaks()).toEqual([]);
  expect(world.daemon.log.filter((line) => line.level === 'error')).toEqual([]);
  await world.stop();
}

describe('time', () => {
  it('an hour without a relay: no attempt is burnt, and each has one copy after it', patient, async () => {
    let isGone = true;
    const { world, id, copies, touch } = await postedWorld((stage) =>
      isGone && stage === 'CONN' ? '421 4.3.2 gone' : null,
    );
    const down = () => world.untilDeliveries(id, (all) => all.every((row) => row.reason === 'relay-down'));
    await down();
    for (let n = 0; n < 4; n++) {
      await world.daemon.jump(16 * minute);
      await touch();
    }
    for (const row of await down()) expect(row).toMatchObject({ state: 'deferred', attempts: 0 });
    // Whatever is due, only probes go there, ten seconds apart and more.
    expect(world.sink.connections.total).toBeLessThan(4);
    isGone = false;
    await world.daemon.logged((line) => line.event === 'relay-up', 50_000);
    await world.daemon.jump(6 * minute);
    await touch();
    await world.untilDeliveries(id, (all) => all.every((row) => row.state === 'delivered'));
    expect(copies()).toEqual(['alice@example.org', 'bob@example.org']);
    await ended(world);
  });

  it(
    'the clock was months ahead and is set right: what waits does not wait until then',
    patient,
    async () => {
      let isBusy = true;
      const busy = (stage: Stage, info: StageInfo): string | null =>
        isBusy && stage === 'RCPT' && info.to.startsWith('bob') ? '450 4.2.1 busy' : null;
      const { world, id, copies, touch, stateOf } = await postedWorld(busy, 60 * day);
      await world.untilDeliveries(id, (all) => all.some((row) => row.state === 'deferred'));
      isBusy = false;
      await world.daemon.jump(-60 * day);
      await until(async () => (await stateOf('bob'))?.state === 'delivered');
      expect((await stateOf('bob'))?.expiresAt).toBeLessThan(Date.now() + 6 * day);
      // Posts go on, though the list has seen later ones; and nothing comes again when the time is reached.
      const later = await touch();
      await world.untilDeliveries(later.id, (all) => all.every((row) => row.state === 'delivered'));
      await world.daemon.jump(60 * day);
      expect(copies()).toEqual(['alice@example.org', 'bob@example.org']);
      await ended(world);
    },
  );

  it(
    'the clock jumps over the lifetime: what waits for the relay gets one more attempt',
    patient,
    async () => {
      let isBusy = true;
      const { world, id, copies, touch, stateOf } = await postedWorld((stage, info) =>
        isBusy && stage === 'RCPT' && info.to.startsWith('bob') ? '450 4.2.1 busy' : null,
      );
      await world.untilDeliveries(id, (all) => all.some((row) => row.state === 'deferred'));
      isBusy = false;
      await world.daemon.jump(10 * day);
      await touch();
      await until(async () => (await stateOf('bob'))?.finishedAt !== null);
      expect(await stateOf('bob')).toMatchObject({ state: 'delivered', attempts: 2 });
      expect(copies()).toEqual(['alice@example.org', 'bob@example.org']);
      await ended(world);
    },
  );

  it(
    'the clock jumps months ahead and back: what came before is known again, and what waits still waits',
    patient,
    async () => {
      const world = await makeWorld({ daemon: { steered: true } });
      const alice = await world.person('alice', { notAfter: new Date(Date.now() + 900 * day) });
      const bare = 'bare@example.org';
      const list = await world.list({ key: 'p256', members: [alice], bare: [bare] });
      const council = await world.list({
        key: 'p256',
        members: [alice],
        settings: { 'accept.others': 'moderate', 'accept.from': 'moderators' },
      });
      const post = await signedAndEncrypted(alice, list);
      const { id } = await world.post(post, list.address);
      const moderated = await world.post(await signedAndEncrypted(alice, council), council.address);
      expect(moderated).toMatchObject({ event: 'held' });
      const bareIs = async (state: string) => {
        const rows = await world.untilDeliveries(id, (all) => all.every((row) => row.state !== 'in-flight'));
        expect(rows.find((row) => row.member === bare)).toMatchObject({ state });
      };
      await world.untilDeliveries(id, (all) => all.every((row) => row.state !== 'pending'));
      await world.daemon.jump(60 * day);
      await bareIs('held');
      expect(await world.ledger(moderated.id)).not.toContain('expired moderation-expired');
      expect(world.daemon.log.some((line) => line.event === 'clock-jumped')).toBe(true);
      await world.daemon.jump(-60 * day);
      const again = post.toString('latin1').replace(/^(Message-ID: <)/m, '$1again-');
      expect(await world.post(Buffer.from(again, 'latin1'), list.address)).toMatchObject({
        event: 'dropped',
        reason: 'replay',
      });
      // The clock is right: an hour later nobody waits any more.
      await world.daemon.jump(60 * day);
      await world.daemon.jump(hour);
      await bareIs('expired');
      expect(await world.ledger(moderated.id)).toContain('expired moderation-expired');
      await ended(world);
    },
  );

  it(
    'the clock jumps while a copy is on its way: it is not taken for lost and sent again',
    patient,
    async () => {
      let release = (): void => undefined;
      const held = new Promise<null>((resolve) => {
        release = () => resolve(null);
      });
      const { world, id, copies } = await postedWorld((stage) => (stage === '.' ? held : null));
      await world.sink.until(() => world.sink.commands.filter((line) => line === 'DATA').length > 0);
      await world.daemon.jump(7 * hour);
      const rows = await world.deliveries(id);
      expect(rows.map((row) => [row.state, row.attempts])).toEqual([
        ['in-flight', 1],
        ['in-flight', 1],
      ]);
      release();
      await world.untilDeliveries(id, (all) => all.every((row) => row.state === 'delivered'));
      expect(copies()).toEqual(['alice@example.org', 'bob@example.org']);
      await ended(world);
    },
  );

  it('the clock jumps over the days of a token and back: its answer counts, once', patient, async () => {
    const world = await makeWorld({ daemon: { steered: true } });
    const notAfter = new Date(Date.now() + 900 * day);
    const old = await world.person('bob', { notAfter });
    const fresh = await world.person('bob', { notAfter });
    const list = await world.list({ key: 'p256', members: [old] });
    const write = async (text: string) =>
      world.post(
        mailOf(postHeaders(old.address, list.at('sendcert')), await signed(fresh, textEntity(text))),
        list.at('sendcert'),
      );
    expect(await write('my new one\n')).toMatchObject({ reason: 'changed-key' });
    const [mail] = await world.mailTo(old.address);
    const text = (await openCopy(old, mail?.bytes ?? Buffer.alloc(0))).toString('latin1');
    const token = /confirm-[a-z2-7]{32}/.exec(text)?.[0] ?? 'none';
    await world.daemon.jump(60 * day);
    // What comes meanwhile is too late for it.
    expect(await write(`${token}\n`)).toMatchObject({ event: 'certificate-not-taken' });
    await world.daemon.jump(-60 * day);
    expect(await write(`${token}\n\n`)).toMatchObject({ event: 'certificate-received' });
    await ended(world);
  });
});
