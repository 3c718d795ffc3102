import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseCertificate } from '../../src/pki/certificate.ts';
import type { Identity } from '../kit/pki.ts';
import { readCopy, secretEntity, signedAndEncrypted } from './posts.ts';
import { makeWorld, until } from './world.ts';

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

const whenOpening = (how: string): string =>
  hook("job?.kind === 'open' && Buffer.from(job.request.message).includes('X-Poison')", how);

const whenSealingTo = (who: Identity, how: string): string => {
  const { sha256 } = parseCertificate(who.certDer);
  return hook(`job?.kind === 'address' && job.recipients.some((one) => one.sha256 === '${sha256}')`, how);
};

describe('a message that breaks its opening', () => {
  it.each([
    ['kills its worker', 'process.exit(1)', 'worker-died'],
    ['takes too long', 'for (;;);', 'worker-timeout'],
  ])('a message that %s twice goes to quarantine; others go on meanwhile', async (_, how, reason) => {
    const sick = await makeWorld({ yaml: ['open.timeout: 1s'] });
    try {
      const file = join(sick.root, 'hook.cjs');
      writeFileSync(file, whenOpening(how));
      await sick.daemon.stop();
      await sick.restart({ nodeArgs: ['--require', file] });
      const author = await sick.person('author');
      const list = await sick.list({ key: 'p256', members: [author] });
      const poison = await signedAndEncrypted(author, list, { headers: [['X-Poison', 'yes']] });
      const sent = await sick.send(poison, list.address);
      await sick.daemon.logged((line) => line.event === 'opening-failed');
      const healthy = await signedAndEncrypted(author, list);
      expect(await sick.post(healthy, list.address)).toMatchObject({ event: 'authorized' });
      await sick.copyFor(author, healthy);
      // Ten seconds later it is tried once more.
      await sick.onDatabase((q) =>
        q.updateTable('messages').set({ nextAt: 1 }).where('id', '=', sent.id).execute(),
      );
      await until(async () => (await sick.ledger(sent.id)).includes(`quarantined ${reason}`));
      await until(() => existsSync(join(sick.root, 'spool/quarantine', sent.id)));
      expect(await sick.deliveries(sent.id)).toEqual([]);
      const [told] = await sick.mailTo(list.owner);
      expect(told?.bytes.toString()).toContain('quarantine');
      expect(sick.leaks()).toEqual([]);
    } finally {
      await sick.stop();
    }
  });

  it('in work when the daemon died three times in five minutes: parked, and the others go on', async () => {
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
      for (let death = 1; death <= 3; death++) {
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

  it('being sealed when the daemon died three times in five minutes: its post is parked, those of others go on; queue retry sends it', async () => {
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
      for (let death = 1; death <= 3; death++) {
        await sick.untilDeliveries(id, (rows) => rows.every((row) => row.attempts === death));
        await sick.daemon.kill();
        await sick.restart(options);
      }
      expect(await sick.ledger(id)).toContain('parked parked');
      const told = await sick.daemon.run(['explain', id]);
      expect(told.stdout.replace(/\s+/g, ' ')).toMatch(
        /It is put aside: in work when the daemon died, which it did 3 times in five minutes; next try at .*queue retry/,
      );
      const healthy = await signedAndEncrypted(author, other);
      await sick.post(healthy, other.address);
      await sick.copyFor(author, healthy);
      expect((await sick.deliveries(id)).map((row) => [row.state, row.attempts])).toEqual([
        ['pending', 3],
        ['pending', 3],
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
