import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { addMembers } from '../../src/store/members.ts';
import { clearPost } from './posts.ts';
import { makeWorld, until } from './world.ts';

const many = 50_000;

it('50,000 copies wait at the start: it is ready soon, the first leaves at once, and memory is bounded', {
  timeout: 120_000,
}, async () => {
  let isGone = true;
  const world = await makeWorld({
    yaml: ['shutdown.grace: 1s'],
    sink: { answer: (stage) => (isGone && stage === 'CONN' ? '\0hang' : null) },
  });
  const list = await world.list({ key: 'p256', bare: ['alice@example.org'] });
  const rows = Array.from({ length: many - 1 }, (_, n) => `m${n}@example.org`).map((address) => {
    return { address, name: '', since: 0, settings: {} };
  });
  await world.onDatabase((q) => addMembers(q, list.id, rows));
  await world.post(clearPost('alice@example.org', list.address), list.address);
  const waiting = () =>
    world.onDatabase(async (q) => {
      const { count } = await q
        .selectFrom('deliveries')
        .select((e) => e.fn.countAll<number>().as('count'))
        .where('finishedAt', 'is', null)
        .executeTakeFirstOrThrow();
      return count;
    });
  await until(async () => (await waiting()) === many, 60_000);
  await world.daemon.kill();
  isGone = false;
  const begun = performance.now();
  await world.restart();
  const readyMs = performance.now() - begun;
  await world.sink.next(1);
  const firstMs = performance.now() - begun;
  // In clear, a hundred members a transaction.
  await world.sink.next(15);
  const allMs = performance.now() - begun;
  const status = readFileSync(join('/proc', String(world.daemon.pid), 'status'), 'utf8');
  const peakMb = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024;
  // On a quiet machine: 0.7 s, 0.7 s, 1.4 s and 131 MB.
  expect(readyMs).toBeLessThan(10_000);
  expect(firstMs).toBeLessThan(10_000);
  // A claim that looked at every row would take minutes for these fifteen.
  expect(allMs).toBeLessThan(20_000);
  expect(peakMb).toBeLessThan(250);
  await world.stop();
});
