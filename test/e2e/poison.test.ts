import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseCertificate } from '../../src/pki/certificate.ts';
import type { Identity } from '../kit/pki.ts';
import { readCopy, secretEntity, signedAndEncrypted } from './posts.ts';
import { makeWorld, until } from './world.ts';

const minute = 60_000;

/** Does something in the crypto worker before a job, as a fault in its code would. `when` looks at `job`. */
const hook = (when: string, how: string): string => `
  const { isMainThread, parentPort } = require('node:worker_threads');
  if (!isMainThread && parentPort) {
    const on = parentPort.on;
    parentPort.on = function (name, listener) {
      return on.call(this, name, (question) => {
        const { job } = question ?? {};
        if (${when}) { ${how} }
        return listener(question);
      });
    };
  }`;

const opening = "job?.kind === 'open' && Buffer.from(job.request.message).includes('X-Poison')";
const whenOpening = (how: string): string => hook(opening, how);

const sealingTo = (who: Identity): string => {
  const { sha256 } = parseCertificate(who.certDer);
  return `job?.kind === 'address' && job.recipients.some((one) => one.sha256 === '${sha256}')`;
};
const whenSealingTo = (who: Identity, how: string): string => hook(sealingTo(who), how);

describe('a message that breaks its opening', () => {
  it.each([
    ['kills its worker', 'process.exit(1)', 'worker-died', '1s'],
    ['takes too long', 'for (;;);', 'worker-timeout', '1s'],
    [
      'takes all memory of its worker',
      'const all = []; for (;;) all.push(new Array(10_000).fill(0.5 + all.length));',
      'worker-died',
      '60s',
    ],
  ])('a message that %s twice goes to quarantine; others go on meanwhile', async (...row) => {
    const [, how, reason, timeout] = row;
    const sick = await makeWorld({ yaml: [`open.timeout: ${timeout}`] });
    try {
      const file = join(sick.root, 'hook.cjs');
      writeFileSync(file, whenOpening(how));
      await sick.daemon.stop();
      await sick.restart({ nodeArgs: ['--require', file] });
      const author = await sick.person('author');
      const list = await sick.list({ key: 'p256', members: [author] });
      const poison = await signedAndEncrypted(author, list, { headers: [['X-Poison', 'yes']] });
      const sent = await sick.send(poison, list.address);
      await sick.daemon.logged((line) => line.event === 'opening-failed', 60_000);
      const healthy = await signedAndEncrypted(author, list);
      expect(await sick.post(healthy, list.address)).toMatchObject({ event: 'authorized' });
      await sick.copyFor(author, healthy);
      // Ten seconds later it is tried once more.
      await sick.onDatabase((q) =>
        q.updateTable('messages').set({ nextAt: 1 }).where('id', '=', sent.id).execute(),
      );
      await until(async () => (await sick.ledger(sent.id)).includes(`quarantined ${reason}`), 60_000);
      await until(() => existsSync(join(sick.root, 'spool/quarantine', sent.id)));
      expect(await sick.deliveries(sent.id)).toEqual([]);
      const [told] = await sick.mailTo(list.owner);
      expect(told?.bytes.toString()).toContain('quarantine');
      expect(sick.leaks()).toEqual([]);
    } finally {
      await sick.stop();
    }
  });

  it('in work at the third start of the daemon in five minutes: parked, and the others go on', async () => {
    const sick = await makeWorld();
    try {
      const file = join(sick.root, 'hook.cjs');
      writeFileSync(file, whenOpening('for (;;);'));
      await sick.daemon.stop();
      const options = { nodeArgs: ['--require', file] };
      await sick.restart(options);
      const author = await sick.person('author');
      const list = await sick.list({ key: 'p256', members: [author] });
      const sent = await sick.send(
        await signedAndEncrypted(author, list, { headers: [['X-Poison', 'yes']] }),
        list.address,
      );
      const opens = () =>
        sick.onDatabase((q) =>
          q.selectFrom('messages').select(['opens', 'state']).where('id', '=', sent.id).executeTakeFirst(),
        );
      for (let death = 1; death <= 2; death++) {
        await until(async () => (await opens())?.opens === death);
        await sick.daemon.kill();
        await sick.restart(options);
      }
      expect(await opens()).toMatchObject({ state: 'parked' });
      const healthy = await signedAndEncrypted(author, list);
      await sick.post(healthy, list.address);
      await sick.copyFor(author, healthy);
    } finally {
      await sick.stop();
    }
  });
});

describe('a message that is parked for an hour', () => {
  /** The daemon died twice in its work on a post and is started for the third time: it hangs there until `mend`. */
  async function parkedWorld(work: 'opening' | 'sealing') {
    const world = await makeWorld({ daemon: { steered: true } });
    const author = await world.person('author');
    const culprit = await world.person('culprit');
    const list = await world.list({ key: 'p256', members: [culprit] });
    await world.join(list, author, { reception: 'nomail' });
    const other = await world.list({ key: 'p256', members: [author] });
    const sick = join(world.root, 'sick');
    const file = join(world.root, 'hook.cjs');
    const isSick = `require('node:fs').existsSync(${JSON.stringify(sick)})`;
    writeFileSync(sick, '');
    writeFileSync(
      file,
      hook(`${isSick} && ${work === 'opening' ? opening : sealingTo(culprit)}`, 'for (;;);'),
    );
    const start = (aheadMs = 0) =>
      world.restart({
        steered: true,
        nodeArgs: ['--require', file],
        env: { STEERED_AHEAD: String(aheadMs) },
      });
    await world.daemon.stop();
    await start();
    const post = await signedAndEncrypted(author, list, { headers: [['X-Poison', 'yes']] });
    const { id } = await world.send(post, list.address);
    const message = () =>
      world.onDatabase((q) =>
        q.selectFrom('messages').select(['opens', 'state']).where('id', '=', id).executeTakeFirst(),
      );
    const begun = async () =>
      work === 'opening' ? ((await message())?.opens ?? 0) : ((await world.deliveries(id))[0]?.attempts ?? 0);
    for (let death = 1; death <= 2; death++) {
      await until(async () => (await begun()) === death);
      await world.daemon.kill();
      await start();
    }
    /** It is left alone, whatever else is done. */
    const stays = async () => {
      const healthy = await signedAndEncrypted(author, other);
      await world.post(healthy, other.address);
      await world.copyFor(author, healthy);
      expect([(await message())?.state, await begun()]).toEqual(['parked', 2]);
      expect((await world.ledger(id)).filter((line) => line === 'parked parked')).toHaveLength(1);
    };
    /** It goes on by itself, to one copy for each. */
    const goesOn = async () => {
      await world.untilDeliveries(id, (rows) => rows.every((row) => row.state === 'delivered'));
      await world.copyFor(culprit, post);
      expect(await message()).toMatchObject({ state: 'done' });
      expect(world.sink.messages.filter(({ to }) => to.includes(culprit.address))).toHaveLength(1);
      expect(world.leaks()).toEqual([]);
    };
    return { world, id, start, stays, goesOn, message, mend: () => rmSync(sick) };
  }

  it.each(['opening', 'sealing'] as const)('in %s: goes on by itself when the hour is over', async (work) => {
    const { world, stays, goesOn, mend } = await parkedWorld(work);
    try {
      await stays();
      mend();
      await world.daemon.pass(58 * minute);
      await stays();
      await world.daemon.pass(3 * minute);
      await goesOn();
    } finally {
      await world.stop();
    }
  });

  it.each(['opening', 'sealing'] as const)(
    'in %s: waits over a restart, and goes on at one after the hour',
    async (work) => {
      const { world, stays, goesOn, mend, start } = await parkedWorld(work);
      try {
        mend();
        await world.daemon.stop();
        await start(50 * minute);
        await stays();
        await world.daemon.stop();
        await start(62 * minute);
        await goesOn();
      } finally {
        await world.stop();
      }
    },
  );

  it('is parked again if the daemon dies of it again', async () => {
    const { world, id, start, message } = await parkedWorld('opening');
    try {
      await world.daemon.stop();
      for (let death = 1; death <= 2; death++) {
        await start(61 * minute);
        await until(async () => (await message())?.opens === 2 + death);
        await world.daemon.kill();
      }
      await start(61 * minute);
      expect(await message()).toMatchObject({ state: 'parked' });
      expect((await world.ledger(id)).filter((line) => line === 'parked parked')).toHaveLength(2);
    } finally {
      await world.stop();
    }
  });
});

describe('a certificate that breaks sealing', () => {
  it.each([
    ['kills the worker', 'process.exit(1)', 'separate'],
    ['hangs it', 'for (;;);', 'separate'],
    ['kills the worker', 'process.exit(1)', 'grouped'],
  ])(
    '%s (%s; send.envelope: %s): its member gets nothing and is told why, the others get their copies, at once',
    async (_, how, envelope) => {
      const sick = await makeWorld({ yaml: ['open.timeout: 1s'] });
      try {
        const members = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((name) => sick.person(name)));
        const [author, , culprit] = members as [Identity, Identity, Identity];
        const file = join(sick.root, 'hook.cjs');
        writeFileSync(file, whenSealingTo(culprit, how));
        await sick.daemon.stop();
        await sick.restart({ nodeArgs: ['--require', file] });
        const list = await sick.list({ key: 'p256', members, settings: { 'send.envelope': envelope } });
        const entity = secretEntity();
        const { id } = await sick.post(await signedAndEncrypted(author, list, { entity }), list.address);
        const rows = await sick.untilDeliveries(id, (all) =>
          all.every((row) => row.state === 'delivered' || row.state === 'held'),
        );
        expect(rows.map((row) => [row.member, row.state, row.reason])).toEqual(
          members.map((one) =>
            one === culprit ? [one.address, 'held', 'unusable'] : [one.address, 'delivered', null],
          ),
        );
        expect(rows.map((row) => row.attempts)).toEqual([1, 1, 1, 1, 1]);
        expect(rows.find((row) => row.member === culprit.address)?.detail).toMatch(
          /crypto worker died twice/,
        );
        const copy = sick.sink.messages.find(({ to }) => to.includes(author.address));
        expect(copy && (await readCopy(sick.ca, author, copy.bytes))).toEqual(entity);
        // The next post does not try it.
        const next = await sick.post(await signedAndEncrypted(author, list), list.address);
        await sick.untilDeliveries(next.id, (all) =>
          all.every((row) => row.state !== 'in-flight' && row.state !== 'pending'),
        );
        expect((await sick.deliveries(next.id)).filter((row) => row.state === 'delivered')).toHaveLength(4);
        expect(sick.daemon.log.filter((line) => line.event === 'batch-failed')).toEqual([]);
        expect(sick.leaks()).toEqual([]);
      } finally {
        await sick.stop();
      }
    },
    60_000,
  );

  it('being sealed at the third start of the daemon in five minutes: its post is parked, those of others go on; queue retry sends it', async () => {
    const sick = await makeWorld();
    try {
      const author = await sick.person('author');
      const culprit = await sick.person('culprit');
      const file = join(sick.root, 'hook.cjs');
      writeFileSync(file, whenSealingTo(culprit, 'for (;;);'));
      await sick.daemon.stop();
      const options = { nodeArgs: ['--require', file] };
      await sick.restart(options);
      const list = await sick.list({ key: 'p256', members: [author, culprit] });
      const other = await sick.list({ key: 'p256', members: [author] });
      const { id } = await sick.post(await signedAndEncrypted(author, list), list.address);
      for (let death = 1; death <= 2; death++) {
        await sick.untilDeliveries(id, (rows) => rows.every((row) => row.attempts === death));
        await sick.daemon.kill();
        await sick.restart(options);
      }
      expect(await sick.ledger(id)).toContain('parked parked');
      const told = await sick.daemon.run(['explain', id]);
      expect(told.stdout.replace(/\s+/g, ' ')).toMatch(
        /It is put aside: in work when the daemon died, which it did twice in five minutes; next try at .*queue retry/,
      );
      const healthy = await signedAndEncrypted(author, other);
      await sick.post(healthy, other.address);
      await sick.copyFor(author, healthy);
      expect((await sick.deliveries(id)).map((row) => [row.state, row.attempts])).toEqual([
        ['pending', 2],
        ['pending', 2],
      ]);
      // The fault is mended, and somebody does not wait for the hour.
      await sick.daemon.stop();
      await sick.restart();
      const retried = await sick.daemon.run(['queue', 'retry', id]);
      expect(retried.code).toBe(0);
      await sick.untilDeliveries(id, (rows) => rows.every((row) => row.state === 'delivered'));
      expect(sick.sink.messages.flatMap(({ to }) => to).sort()).toEqual(
        [author.address, author.address, culprit.address].sort(),
      );
    } finally {
      await sick.stop();
    }
  }, 60_000);
});
