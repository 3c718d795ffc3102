import SQLite from 'better-sqlite3';
import { describe, expect, it, vi } from 'vitest';
import type { Database } from '../../src/store/database.ts';
import {
  type Claim,
  claim,
  countByState,
  deliveriesFor,
  deliveriesOf,
  duePostings,
  findDelivery,
  freeExpiredLeases,
  freeLeases,
  insertDeliveries,
  nextDueAt,
} from '../../src/store/deliveries.ts';
import { ledgerOf } from '../../src/store/ledger.ts';
import { finish, giveBack } from '../../src/store/outcomes.ts';
import { findPosting } from '../../src/store/postings.ts';
import { claimOldest } from '../kit/claim.ts';
import {
  copies,
  copy,
  databasePath,
  day,
  listNamed,
  memberName,
  minute,
  openTest,
  post,
  t0,
} from './fixtures.ts';
import { compileStore, startProcess } from './processes.ts';

const ask = (change: Partial<Claim> = {}): Claim => ({
  postingId: 1,
  lease: 'node-a boot-1',
  now: t0,
  limit: 100,
  leaseMs: 15 * minute,
  ...change,
});

async function withPosting(
  count = 0,
  path = databasePath(),
): Promise<{ database: Database; posting: number; path: string }> {
  const database = await openTest(path);
  const list = await listNamed(database);
  const posting = await post(database, list.id, 'message-1');
  await copies(database, posting, count);
  return { database, posting, path };
}

describe('insertDeliveries', () => {
  it('takes more rows than a statement may have parameters, and a repeat adds none', async () => {
    const { database, posting } = await withPosting(2500);
    expect(await countByState(database.q, { postingId: posting })).toEqual({ pending: 2500 });
    const again = Array.from({ length: 2501 }, (_, n) => copy(posting, memberName(n)));
    expect(await database.write((tx) => insertDeliveries(tx, again))).toBe(1);
    expect(await countByState(database.q)).toEqual({ pending: 2501 });
  });

  it('tells the ledger of copies that are held or dropped, once', async () => {
    const { database, posting } = await withPosting();
    const rows = [
      copy(posting, 'a@example.org'),
      copy(posting, 'b@example.org', { state: 'held', reason: 'no-certificate', detail: 'he has none' }),
      copy(posting, 'c@example.org', { state: 'dropped', reason: 'no-certificate' }),
    ];
    for (const added of [3, 0]) {
      expect(await database.write((tx) => insertDeliveries(tx, rows))).toBe(added);
    }
    const lines = await ledgerOf(database.q, 'message-1');
    expect(lines.map((line) => [line.member, line.event, line.reason, line.detail, line.list])).toEqual([
      ['b@example.org', 'held', 'no-certificate', 'he has none', 'council@lists.example.org'],
      ['c@example.org', 'dropped', 'no-certificate', null, 'council@lists.example.org'],
    ]);
    const dropped = (await deliveriesOf(database.q, posting))[2];
    expect(dropped).toMatchObject({ state: 'dropped', finishedAt: t0 });
  });
});

describe('claim', () => {
  it('gives due rows of the posting that is due longest, in flight and counted', async () => {
    const { database, posting } = await withPosting();
    const list = await listNamed(database, 'second');
    const older = await post(database, list.id, 'message-2');
    await copies(database, posting, 3);
    await copies(database, older, 3, { nextAt: t0 - minute });
    const rows = await claimOldest(database.q, ask({ limit: 2 }));
    const inFlight = await Promise.all(rows.map((row) => findDelivery(database.q, row.id)));
    expect(
      rows.map((row, at) => {
        const { state, lease, nextAt } = inFlight[at] ?? {};
        return [row.postingId, row.member, state, row.attempts, lease, nextAt];
      }),
    ).toEqual([
      [older, memberName(0), 'in-flight', 1, 'node-a boot-1', t0 + 15 * minute],
      [older, memberName(1), 'in-flight', 1, 'node-a boot-1', t0 + 15 * minute],
    ]);
    expect((await claimOldest(database.q, ask())).map((row) => row.postingId)).toEqual([older]);
    expect(await claimOldest(database.q, ask())).toHaveLength(3);
    expect(await claimOldest(database.q, ask())).toEqual([]);
  });

  it.each<[string, Parameters<typeof copy>[2], number]>([
    ['due now', {}, 1],
    ['due later', { nextAt: t0 + 1 }, 0],
    ['held', { state: 'held', reason: 'no-certificate' }, 0],
    ['dropped', { state: 'dropped', reason: 'no-certificate' }, 0],
  ])('of a copy %s', async (_, change, expected) => {
    const { database, posting } = await withPosting();
    await copies(database, posting, 1, change);
    expect(await duePostings(database.q, { now: t0 })).toHaveLength(expected);
    expect(await claim(database.q, ask({ postingId: posting }))).toHaveLength(expected);
  });

  it('is of one posting, and postings are those of one node', async () => {
    const { database, posting } = await withPosting(2);
    const list = await listNamed(database, 'second');
    const other = await post(database, list.id, 'message-2', { node: 'node-b', size: 4711 });
    await copies(database, other, 2, { nextAt: t0 - minute });
    const due = (node?: string) => duePostings(database.q, node ? { now: t0, node } : { now: t0 });
    expect((await due()).map((one) => one.postingId)).toEqual([other, posting]);
    expect((await due('node-a')).map((one) => one.postingId)).toEqual([posting]);
    expect(await due('node-b')).toEqual([{ postingId: other, listId: list.id, octets: 4711 }]);
    const rows = await claim(database.q, ask({ postingId: posting }));
    expect(rows.map((row) => row.postingId)).toEqual([posting, posting]);
    expect((await due()).map((one) => one.postingId)).toEqual([other]);
  });

  it('never gives a row to two claimers, in one process or several', async () => {
    const { database, path, posting } = await withPosting(400);
    const folder = compileStore('database', 'deliveries');
    const claimer = `
      import { openDatabase } from './store/database.js';
      import { claim } from './store/deliveries.js';
      const { q, close } = await openDatabase(process.argv[1], { check: false });
      console.log('ready');
      process.stdin.once('data', async () => {
        const ids = [];
        for (;;) {
          const rows = await claim(q, { postingId: ${posting}, lease: process.argv[2], now: ${t0}, limit: 7, leaseMs: 1000 });
          if (rows.length === 0) break;
          ids.push(...rows.map((row) => row.id));
        }
        await close();
        console.log(JSON.stringify(ids));
        process.exit();
      });`;
    const others = ['x', 'y'].map((lease) => startProcess(claimer, [path, lease], folder));
    for (const other of others) expect(await other.hear()).toBe('ready');
    const second = await openTest(path);
    const own: number[] = [];
    const claimAll = async (q: Database['q'], lease: string) => {
      for (;;) {
        const rows = await claim(q, ask({ postingId: posting, lease, limit: 7 }));
        if (rows.length === 0) return;
        own.push(...rows.map((row) => row.id));
      }
    };
    for (const other of others) other.say('go');
    await Promise.all([claimAll(database.q, 'a'), claimAll(second.q, 'b')]);
    const theirs = (await Promise.all(others.map((other) => other.hear()))).map(
      (line) => JSON.parse(line) as number[],
    );
    const all = [own, ...theirs].flat();
    expect(all).toHaveLength(400);
    expect(new Set(all).size).toBe(400);
    expect(await countByState(database.q, { postingId: posting })).toEqual({ 'in-flight': 400 });
    // Otherwise this test showed nothing.
    expect(theirs.some((ids) => ids.length > 0)).toBe(true);
  });

  it.each<[string, (q: Database['q']) => Promise<unknown>, string[]]>([
    [
      'claim',
      (q) => claim(q, ask({ postingId: 1 })),
      [
        'SEARCH deliveries USING INTEGER PRIMARY KEY (rowid=?)',
        'SEARCH deliveries USING INDEX deliveries_due (posting_id=? AND next_at<?)',
        'SEARCH earlier USING INDEX deliveries_in_flight (member=?)',
        'SEARCH own USING INTEGER PRIMARY KEY (rowid=?)',
        'SEARCH o USING INDEX sqlite_autoindex_messages_1 (id=?)',
        'SEARCH earlier USING INDEX deliveries_released (member=?)',
        'SEARCH p USING INTEGER PRIMARY KEY (rowid=?)',
        'SEARCH m USING INDEX sqlite_autoindex_messages_1 (id=?)',
      ],
    ],
    [
      'deliveriesFor',
      (q) => deliveriesFor(q, { member: 'a@example.org', state: 'held', limit: 10 }),
      [
        'SEARCH d USING INDEX deliveries_of_members (member=?)',
        'SEARCH p USING INTEGER PRIMARY KEY (rowid=?)',
      ],
    ],
    [
      'nextDueAt',
      nextDueAt,
      [
        'SEARCH deliveries USING INDEX deliveries_due',
        'SCAN queued',
        'SEARCH d USING INDEX deliveries_due (posting_id>?)',
        'SEARCH queued',
        'SEARCH p USING INTEGER PRIMARY KEY (rowid=?)',
        'SEARCH m USING INDEX sqlite_autoindex_messages_1 (id=?)',
        'SEARCH d USING INDEX deliveries_due (posting_id=?)',
      ],
    ],
  ])('%s finds rows by the index of what waits, without scanning or sorting', async (_, ask1, expected) => {
    const { database, path } = await withPosting();
    const prepare = vi.spyOn(SQLite.prototype, 'prepare');
    await ask1(database.q);
    const statement = prepare.mock.calls.map(([text]) => text).find((text) => text.includes('deliveries'));
    prepare.mockRestore();
    const other = new SQLite(path);
    const plan = other.prepare<unknown[], { detail: string }>(`explain query plan ${statement}`);
    const parameters = Array.from(statement?.match(/\?/g) ?? [], () => 1);
    const steps = plan.all(...parameters).map((row) => row.detail);
    other.close();
    expect(steps.filter((step) => /^(SEARCH|SCAN|USE)/.test(step))).toEqual(expected);
  });
});

describe('leases', () => {
  it('of an earlier start are given back, those of this start stay', async () => {
    const { database } = await withPosting(4);
    await claimOldest(database.q, ask({ lease: 'old', limit: 3 }));
    await claimOldest(database.q, ask({ lease: 'new' }));
    expect(await freeLeases(database.q, 'new', t0 + minute)).toBe(3);
    expect(await countByState(database.q)).toEqual({ pending: 3, 'in-flight': 1 });
    const again = await claimOldest(database.q, ask({ lease: 'new', now: t0 + minute }));
    expect(again.map((row) => row.attempts)).toEqual([2, 2, 2]);
    expect(await freeLeases(database.q, null, t0)).toBe(4);
  });

  it('that ran out are given back', async () => {
    const { database } = await withPosting(1);
    await claimOldest(database.q, ask());
    expect(await freeExpiredLeases(database.q, t0 + 15 * minute - 1)).toBe(0);
    expect(await freeExpiredLeases(database.q, t0 + 15 * minute)).toBe(1);
  });

  it('are given back uncounted when the attempt did not begin', async () => {
    const { database } = await withPosting(2);
    const [first, second] = await claimOldest(database.q, ask());
    await database.write((tx) =>
      finish(tx, [{ id: second?.id ?? 0, state: 'delivered', reason: null, detail: null }], t0),
    );
    await giveBack(database.q, [first?.id ?? 0, second?.id ?? 0], t0 + minute);
    expect(await findDelivery(database.q, first?.id ?? 0)).toMatchObject({
      state: 'pending',
      attempts: 0,
      lease: null,
      nextAt: t0 + minute,
    });
    expect(await findDelivery(database.q, second?.id ?? 0)).toMatchObject({
      state: 'delivered',
      attempts: 1,
    });
  });
});

describe('looking', () => {
  it('says when the next copy is due', async () => {
    const { database, posting } = await withPosting();
    expect(await nextDueAt(database.q)).toBeNull();
    await copies(database, posting, 1, { state: 'held', nextAt: t0 - day });
    expect(await nextDueAt(database.q)).toBeNull();
    await database.write((tx) => insertDeliveries(tx, [copy(posting, 'z@example.org', { nextAt: t0 + 7 })]));
    expect(await nextDueAt(database.q)).toBe(t0 + 7);
  });

  it('counts and finds by list, posting, member and state', async () => {
    const { database, posting } = await withPosting(2);
    const list = await listNamed(database, 'second');
    const other = await post(database, list.id, 'message-2');
    await copies(database, other, 1, { state: 'dropped', reason: 'no-certificate' });
    expect(await countByState(database.q)).toEqual({ pending: 2, dropped: 1 });
    expect(await countByState(database.q, { openOnly: true })).toEqual({ pending: 2 });
    expect(await countByState(database.q, { listId: list.id })).toEqual({ dropped: 1 });
    const dropped = { member: memberName(0), state: 'dropped', limit: 10 } as const;
    expect((await deliveriesFor(database.q, dropped)).map((row) => row.postingId)).toEqual([other]);
    expect(await deliveriesFor(database.q, { ...dropped, state: 'held' })).toEqual([]);
    const { listId } = (await findPosting(database.q, posting)) ?? {};
    expect(await deliveriesFor(database.q, { ...dropped, listId: listId ?? 0 })).toEqual([]);
  });
});
