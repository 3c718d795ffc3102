import { expect, it } from 'vitest';
import { claim } from '../../src/store/deliveries.ts';
import { finish } from '../../src/store/outcomes.ts';
import { tallyOf, undeliveredOf } from '../../src/store/posting-end.ts';
import { copies, listNamed, memberName, openTest, post, t0 } from './fixtures.ts';

const ended = { reason: null, detail: null };

it('counts the copies of a posting by what became of them, and gives those that failed', async () => {
  const database = await openTest();
  const list = await listNamed(database);
  const posting = await post(database, list.id, 'a');
  await copies(database, posting, 6);
  const other = await post(database, list.id, 'b');
  await copies(database, other, 2);
  const rows = await claim(database.q, {
    postingId: posting,
    lease: 'here',
    now: t0,
    limit: 5,
    leaseMs: 1000,
  });
  const [one, two, three, four, five] = rows.map((row) => row.id);
  await database.write((tx) =>
    finish(
      tx,
      [
        { id: one ?? 0, state: 'delivered', ...ended, cipher: 'aes-256-cbc' },
        { id: two ?? 0, state: 'delivered', ...ended, cipher: 'aes-256-cbc' },
        { id: three ?? 0, state: 'delivered', ...ended, cipher: null },
        { id: four ?? 0, state: 'failed', ...ended },
        { id: five ?? 0, state: 'expired', ...ended },
      ],
      t0,
    ),
  );
  expect(await tallyOf(database.q, posting)).toEqual({ copies: 6, encrypted: 2, clear: 1, waiting: 1 });
  expect((await undeliveredOf(database.q, posting)).map(({ member, state }) => [member, state])).toEqual([
    [memberName(3), 'failed'],
    [memberName(4), 'expired'],
  ]);
  expect(await tallyOf(database.q, other)).toEqual({ copies: 2, encrypted: 0, clear: 0, waiting: 2 });
  expect(await tallyOf(database.q, 999)).toEqual({ copies: 0, encrypted: 0, clear: 0, waiting: 0 });
});
