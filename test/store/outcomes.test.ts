import { describe, expect, it } from 'vitest';
import type { Database } from '../../src/store/database.ts';
import type { ClaimedRow } from '../../src/store/deliveries.ts';
import {
  claim,
  countByState,
  deliveriesOf,
  findDelivery,
  insertDeliveries,
} from '../../src/store/deliveries.ts';
import { ledgerOf } from '../../src/store/ledger.ts';
import {
  cancelFor,
  defer,
  expireDue,
  finish,
  hold,
  type Outcome,
  releaseHeld,
} from '../../src/store/outcomes.ts';
import { claimOldest } from '../kit/claim.ts';
import { copies, copy, day, listNamed, memberName, minute, openTest, post, t0 } from './fixtures.ts';

interface Scene {
  readonly database: Database;
  readonly listId: number;
  readonly posting: number;
  readonly rows: ClaimedRow[];
}

/** A posting with `count` copies in flight. */
async function inFlight(count: number): Promise<Scene> {
  const database = await openTest();
  const list = await listNamed(database);
  const posting = await post(database, list.id, 'message-1');
  await copies(database, posting, count);
  const rows = await claimOldest(database.q, { lease: 'boot-1', now: t0, limit: count, leaseMs: minute });
  return { database, listId: list.id, posting, rows };
}

const delivered = (row: ClaimedRow | undefined): Outcome => ({
  id: row?.id ?? 0,
  state: 'delivered',
  reason: null,
  detail: null,
  certificate: 'ab12',
  cipher: 'aes-256-cbc',
  keyTransport: 'rsa',
  relay: 'mx1.example:25',
  reply: '250 2.0.0 queued',
});

const events = async (database: Database) =>
  (await ledgerOf(database.q, 'message-1')).map(
    (line) => `${line.member?.slice(0, 6)} ${line.event} ${line.reason}`,
  );

describe('finish', () => {
  it('ends rows and tells the ledger what the attempt used', async () => {
    const { database, posting, rows } = await inFlight(2);
    const failed: Outcome = {
      id: rows[1]?.id ?? 0,
      state: 'failed',
      reason: 'refused',
      detail: 'the relay refused the copy',
      reply: '550 5.1.1 no such user',
    };
    expect(await database.write((tx) => finish(tx, [delivered(rows[0]), failed], t0 + 5))).toBe(2);
    expect(await deliveriesOf(database.q, posting)).toMatchObject([
      { state: 'delivered', lease: null, finishedAt: t0 + 5, cipher: 'aes-256-cbc', relay: 'mx1.example:25' },
      {
        state: 'failed',
        lease: null,
        finishedAt: t0 + 5,
        reason: 'refused',
        reply: '550 5.1.1 no such user',
      },
    ]);
    expect(await ledgerOf(database.q, 'message-1')).toMatchObject([
      {
        at: t0 + 5,
        postingId: posting,
        list: 'council@lists.example.org',
        member: memberName(0),
        event: 'delivered',
        data: {
          attempts: 1,
          cipher: 'aes-256-cbc',
          certificate: 'ab12',
          keyTransport: 'rsa',
          relay: 'mx1.example:25',
          reply: '250 2.0.0 queued',
        },
      },
      { member: memberName(1), event: 'failed', reason: 'refused', detail: 'the relay refused the copy' },
    ]);
  });

  it('writes rows and ledger together or not at all', async () => {
    const { database, posting, rows } = await inFlight(2);
    const { sql } = await import('kysely');
    await sql`create trigger no_ledger before insert on ledger when new.member = ${sql.lit(memberName(1))}
              begin select raise(abort, 'disk trouble'); end`.execute(database.q);
    const work = database.write((tx) => finish(tx, rows.map(delivered), t0));
    await expect(work).rejects.toThrow('disk trouble');
    expect(await countByState(database.q, { postingId: posting })).toEqual({ 'in-flight': 2 });
    expect(await events(database)).toEqual([]);
  });

  it('needs a transaction', async () => {
    const { database, rows } = await inFlight(1);
    await expect(finish(database.q, rows.map(delivered), t0)).rejects.toMatchObject({
      code: 'transaction-required',
    });
  });

  it('is final: a repeat changes nothing and says nothing', async () => {
    const { database, rows } = await inFlight(1);
    const failed: Outcome = { id: rows[0]?.id ?? 0, state: 'failed', reason: 'late', detail: null };
    await database.write((tx) => finish(tx, rows.map(delivered), t0));
    expect(await database.write((tx) => finish(tx, [failed], t0 + 1))).toBe(0);
    expect(await events(database)).toEqual(['m00000 delivered null']);
  });

  it('still ends a copy whose lease was lost: what the relay took is taken', async () => {
    const { database, rows } = await inFlight(1);
    await database.q.updateTable('deliveries').set({ state: 'pending', lease: null }).execute();
    expect(await database.write((tx) => finish(tx, rows.map(delivered), t0))).toBe(1);
    expect(await findDelivery(database.q, rows[0]?.id ?? 0)).toMatchObject({ state: 'delivered' });
  });
});

describe('defer', () => {
  it('puts off, and tells the ledger only what is new', async () => {
    const { database, rows } = await inFlight(1);
    const id = rows[0]?.id ?? 0;
    const tries: [string, string][] = [
      ['greylisted', '451 4.7.1 come again'],
      ['greylisted', '451 4.7.1 come again'],
      ['mailbox-full', '452 4.2.2 full'],
    ];
    for (const [n, [reason, reply]] of tries.entries()) {
      const now = t0 + (n + 1) * day;
      await database.write((tx) => defer(tx, [{ id, reason, detail: null, reply, nextAt: now }], now - 1));
      expect(await findDelivery(database.q, id)).toMatchObject({
        state: 'deferred',
        lease: null,
        nextAt: now,
        attempts: n + 1,
      });
      await claimOldest(database.q, { lease: 'boot-1', now, limit: 1, leaseMs: minute });
    }
    expect(await events(database)).toEqual(['m00000 deferred greylisted', 'm00000 deferred mailbox-full']);
  });

  it('leaves a copy alone that is not in flight any more', async () => {
    const { database, rows } = await inFlight(1);
    const id = rows[0]?.id ?? 0;
    await database.write((tx) => finish(tx, rows.map(delivered), t0));
    await database.write((tx) => defer(tx, [{ id, reason: 'late', detail: null, nextAt: t0 }], t0));
    await database.write((tx) => hold(tx, [{ id, reason: 'late', detail: null, expiresAt: t0 }], t0));
    expect(await findDelivery(database.q, id)).toMatchObject({ state: 'delivered' });
    expect(await events(database)).toEqual(['m00000 delivered null']);
  });
});

describe('hold and releaseHeld', () => {
  it('does not make a copy wait for what came while its attempt was under way', async () => {
    const { database, rows } = await inFlight(2);
    const ids = rows.map((row) => row.id);
    await database.write((tx) => releaseHeld(tx, { member: memberName(0), now: t0 }));
    const missing = { reason: 'no-certificate', detail: null, expiresAt: t0 + day };
    const holds = ids.map((id) => ({ id, ...missing }));
    expect(await database.write((tx) => hold(tx, holds, t0 + 1))).toBe(1);
    const found = await Promise.all(ids.map((id) => findDelivery(database.q, id)));
    expect(found).toMatchObject([
      { state: 'pending', lease: null, nextAt: t0 + 1, attempts: 0 },
      { state: 'held', lease: null, attempts: 1 },
    ]);
    expect(await events(database)).toEqual(['m00001 held no-certificate']);
  });

  it('makes copies wait for something named until it comes', async () => {
    const { database, rows } = await inFlight(3);
    const held = rows.map((row, n) => ({
      id: row.id,
      reason: n === 2 ? 'key-locked' : 'no-certificate',
      detail: null,
      expiresAt: t0 + 14 * day,
    }));
    await database.write((tx) => hold(tx, held, t0));
    expect(await countByState(database.q)).toEqual({ held: 3 });
    expect(await findDelivery(database.q, rows[0]?.id ?? 0)).toMatchObject({
      lease: null,
      expiresAt: t0 + 14 * day,
    });

    const release = (d: Parameters<typeof releaseHeld>[1]) => database.write((tx) => releaseHeld(tx, d));
    expect(await release({ member: memberName(2), reasons: ['no-certificate'], now: t0 + day })).toBe(0);
    expect(await release({ member: memberName(0), listId: 99, now: t0 + day })).toBe(0);
    expect(await release({ member: memberName(0), now: t0 + day, expiresAt: t0 + 6 * day })).toBe(1);
    expect(await findDelivery(database.q, rows[0]?.id ?? 0)).toMatchObject({
      state: 'pending',
      nextAt: t0 + day,
      expiresAt: t0 + 6 * day,
      reason: 'no-certificate',
    });
    expect(await release({ reasons: ['key-locked', 'no-certificate'], now: t0 + day })).toBe(2);
    expect((await events(database)).slice(3)).toEqual([
      'm00000 released no-certificate',
      'm00001 released no-certificate',
      'm00002 released key-locked',
    ]);
  });

  it('lets the oldest go first, and the next when it is answered', async () => {
    const { database, listId, posting } = await inFlight(0);
    const newer = await post(database, listId, 'message-2');
    for (const id of [posting, newer])
      for (const member of ['bob@example.org', 'cid@example.org'])
        await database.write((tx) =>
          insertDeliveries(tx, [copy(id, member, { state: 'held', reason: 'no-certificate' })]),
        );
    await database.write((tx) => releaseHeld(tx, { member: 'bob@example.org', now: t0 + day }));
    await database.write((tx) => insertDeliveries(tx, [copy(newer, 'dan@example.org')]));
    const claimOf = async (postingId: number) =>
      claim(database.q, { postingId, lease: 'boot-1', now: t0 + day, limit: 9, leaseMs: minute });
    const membersOf = (rows: readonly ClaimedRow[]) => rows.map((row) => row.member);
    const first = await claimOf(posting);
    expect(membersOf(first)).toEqual(['bob@example.org']);
    await database.write((tx) => releaseHeld(tx, { member: 'cid@example.org', now: t0 + day }));
    expect(membersOf(await claimOf(newer)), 'one that was not held waits for none').toEqual([
      'dan@example.org',
    ]);
    const second = await claimOf(posting);
    expect(membersOf(second)).toEqual(['cid@example.org']);
    expect(membersOf(await claimOf(newer))).toEqual([]);
    await database.write((tx) => finish(tx, [delivered(first[0])], t0 + day));
    expect(membersOf(await claimOf(newer))).toEqual(['bob@example.org']);
    await database.write((tx) => finish(tx, [delivered(second[0])], t0 + day));
    expect(membersOf(await claimOf(newer))).toEqual(['cid@example.org']);
  });

  it('of which the oldest was put aside, the next goes', async () => {
    const { database, listId, posting } = await inFlight(0);
    const newer = await post(database, listId, 'message-2');
    const member = 'bob@example.org';
    for (const id of [posting, newer])
      await database.write((tx) =>
        insertDeliveries(tx, [copy(id, member, { state: 'held', reason: 'no-certificate' })]),
      );
    await database.write((tx) => releaseHeld(tx, { member, now: t0 + day }));
    await database.q.updateTable('messages').set({ state: 'parked' }).where('id', '=', 'message-1').execute();
    const asked = { postingId: newer, lease: 'b', now: t0 + day, limit: 9, leaseMs: minute };
    expect(await claim(database.q, asked)).toHaveLength(1);
  });

  it('of which the relay puts the oldest off, the next goes', async () => {
    const { database, listId, posting } = await inFlight(0);
    const newer = await post(database, listId, 'message-2');
    const member = 'bob@example.org';
    for (const id of [posting, newer])
      await database.write((tx) =>
        insertDeliveries(tx, [copy(id, member, { state: 'held', reason: 'no-certificate' })]),
      );
    await database.write((tx) => releaseHeld(tx, { member, now: t0 + day }));
    const oldest = () => claimOldest(database.q, { lease: 'b', now: t0 + day, limit: 1, leaseMs: minute });
    const [first] = await oldest();
    expect(first?.postingId).toBe(posting);
    expect(await oldest()).toEqual([]);
    const later = { id: first?.id ?? 0, reason: 'relay-deferred', detail: null, nextAt: t0 + 2 * day };
    await database.write((tx) => defer(tx, [later], t0 + day));
    expect((await oldest())[0]?.postingId).toBe(newer);
  });
});

describe('cancelFor', () => {
  it('ends what waits for one member of one list, not what is in flight', async () => {
    const { database, listId, posting, rows } = await inFlight(1);
    const other = await listNamed(database, 'second');
    const elsewhere = await post(database, other.id, 'message-2');
    const newer = await post(database, listId, 'message-3');
    const bob = memberName(0);
    await database.write((tx) =>
      insertDeliveries(tx, [
        copy(elsewhere, bob),
        copy(newer, bob, { state: 'held', reason: 'no-certificate' }),
        copy(newer, memberName(1)),
      ]),
    );
    expect(
      await database.write((tx) => cancelFor(tx, { listId, member: bob, at: t0 + 1, reason: 'left' })),
    ).toBe(1);
    expect(await findDelivery(database.q, rows[0]?.id ?? 0)).toMatchObject({ state: 'in-flight' });
    expect(await countByState(database.q, { postingId: elsewhere })).toEqual({ pending: 1 });
    expect(await countByState(database.q, { postingId: newer })).toEqual({ cancelled: 1, pending: 1 });
    expect(await ledgerOf(database.q, 'message-3')).toMatchObject([
      { event: 'held' },
      { event: 'cancelled', reason: 'left', member: bob, at: t0 + 1 },
    ]);
    expect(await database.write((tx) => cancelFor(tx, { listId, at: t0 + 2, reason: 'list-closed' }))).toBe(
      1,
    );
    expect(posting).not.toBe(newer);
  });
});

describe('expireDue', () => {
  it('ends held copies whose time is over, some at a time, and leaves what waits for the relay to its attempt', async () => {
    const { database, posting } = await inFlight(0);
    const rows = [
      copy(posting, 'a@example.org', { state: 'held', reason: 'no-certificate', expiresAt: t0 }),
      copy(posting, 'b@example.org', { state: 'held', reason: 'no-certificate', expiresAt: t0 - 1 }),
      copy(posting, 'c@example.org', { state: 'held', reason: 'no-certificate', expiresAt: t0 + 1 }),
      copy(posting, 'd@example.org', { expiresAt: t0 - 1 }),
    ];
    await database.write((tx) => insertDeliveries(tx, rows));
    const expire = (limit: number) => database.write((tx) => expireDue(tx, { now: t0, limit }));
    expect((await expire(1)).map((row) => row.member)).toEqual(['b@example.org']);
    expect((await expire(9)).map((row) => [row.member, row.state, row.finishedAt])).toEqual([
      ['a@example.org', 'expired', t0],
    ]);
    expect(await expire(9)).toEqual([]);
    expect(await countByState(database.q)).toEqual({ expired: 2, held: 1, pending: 1 });
    const lines = (await ledgerOf(database.q, 'message-1')).filter((line) => line.event === 'expired');
    expect(lines.map((line) => [line.member, line.reason])).toEqual([
      ['b@example.org', 'no-certificate'],
      ['a@example.org', 'no-certificate'],
    ]);
  });
});

describe('the table itself', () => {
  it.each([
    ['a final state without an end', { state: 'delivered' as const }],
    ['an end without a final state', { finishedAt: t0 }],
    ['a flight without a lease', { state: 'in-flight' as const, lease: null }],
    ['a lease without a flight', { state: 'pending' as const, lease: 'boot-1' }],
  ])('refuses %s', async (_, change) => {
    const { database } = await inFlight(1);
    await expect(database.q.updateTable('deliveries').set(change).execute()).rejects.toThrow(
      'CHECK constraint',
    );
  });
});
