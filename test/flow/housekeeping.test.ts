import { existsSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { eachAlone } from '../../src/base/alone.ts';
import { brandComposed } from '../../src/base/bytes.ts';
import { jumpOfClock } from '../../src/flow/care/clock-jump.ts';
import { houseWork } from '../../src/flow/care/housekeeping.ts';
import { everyList } from '../../src/flow/lists/list-context.ts';
import { formatEnvelopeLine } from '../../src/mime/envelope.ts';
import { deliveriesOf } from '../../src/store/deliveries.ts';
import { ledgerOf, record } from '../../src/store/ledger.ts';
import { createList } from '../../src/store/lists.ts';
import { findMessage, setMessageState } from '../../src/store/messages.ts';
import { finish, hold } from '../../src/store/outcomes.ts';
import { findPosting, recordVerdict, setPostingState } from '../../src/store/postings.ts';
import { newId } from '../../src/store/spool.ts';
import { claimOldest } from '../kit/claim.ts';
import { copies, envelope, post } from '../store/fixtures.ts';
import { day, hour, minute, t0 } from './parts.ts';
import { makeList, makeSite, type TestSite } from './site.ts';

/** Does all of it; gives how much. */
async function keep(site: TestSite, isTimeSure = true, now = site.clock.now()) {
  const lists = await everyList(site.database.q, {}, () => {});
  const parts = { ...site, certificates: site.folder, retentionMs: 30 * day, quarantineMs: 30 * day };
  return eachAlone(houseWork(parts, lists, { now, isTimeSure }), (_, error) => {
    throw error;
  });
}

/** A message whose file is in the spool, done, with copies that wait for a certificate. */
async function waiting(site: TestSite, listId: number, d: { holdUntil: number; count?: number }) {
  const id = newId(t0);
  await site.spool.place(
    id,
    formatEnvelopeLine({ ...envelope, receivedAt: t0 }),
    brandComposed(Buffer.from('x')),
  );
  const posting = await post(site.database, listId, id);
  await setMessageState(site.database.q, id, { state: 'done', reason: null, detail: null, nextAt: null });
  await setPostingState(site.database.q, posting, 'distributing');
  await copies(site.database, posting, d.count ?? 2);
  const rows = await claimOldest(site.database.q, { lease: 'x', now: t0, limit: 5000, leaseMs: day });
  await site.database.write((tx) =>
    hold(
      tx,
      rows.map((row) => ({ id: row.id, reason: 'no-certificate', detail: null, expiresAt: d.holdUntil })),
      t0,
    ),
  );
  return { id, posting, rows };
}

const has = async (site: TestSite, id: string): Promise<boolean> =>
  (await site.spool.messages()).includes(id);

describe('houseWork', () => {
  it('ends holds whose time is over, with a ledger line each, then the posting, then the file', async () => {
    const site = await makeSite();
    const list = await makeList(site);
    const { id, posting } = await waiting(site, list.id, { holdUntil: t0 + 14 * day });
    site.clock.pass(14 * day - 1);
    await keep(site);
    expect([(await findPosting(site.database.q, posting))?.state, await has(site, id)]).toEqual([
      'distributing',
      true,
    ]);
    site.clock.pass(1);
    await keep(site);
    expect((await deliveriesOf(site.database.q, posting)).map((row) => [row.state, row.reason])).toEqual([
      ['expired', 'no-certificate'],
      ['expired', 'no-certificate'],
    ]);
    expect((await ledgerOf(site.database.q, id)).map((line) => line.event)).toEqual([
      'held',
      'held',
      'expired',
      'expired',
    ]);
    expect([(await findPosting(site.database.q, posting))?.state, await has(site, id)]).toEqual([
      'done',
      false,
    ]);
    expect((await findMessage(site.database.q, id))?.removedAt).toBe(t0 + 14 * day);
  });

  it('keeps the file as long as one copy waits', async () => {
    const site = await makeSite();
    const list = await makeList(site);
    const { id, rows } = await waiting(site, list.id, { holdUntil: t0 + 14 * day });
    await site.database.write((tx) =>
      finish(tx, [{ id: rows[0]?.id ?? 0, state: 'delivered', reason: null, detail: null }], t0),
    );
    site.clock.pass(day);
    await keep(site);
    expect(await has(site, id)).toBe(true);
  });

  it('more than one batch at a time', async () => {
    const site = await makeSite();
    const { posting } = await waiting(site, (await makeList(site)).id, { holdUntil: t0, count: 1100 });
    expect(await keep(site)).toMatchObject({ expired: 1100, ended: 1, removed: 0 });
    expect((await deliveriesOf(site.database.q, posting)).every((row) => row.state === 'expired')).toBe(true);
  });

  it('frees copies whose attempt nobody wrote down, when their lease is over', async () => {
    const site = await makeSite();
    const posting = await post(site.database, (await makeList(site)).id, 'm1');
    await copies(site.database, posting, 1);
    await claimOldest(site.database.q, { lease: 'x', now: t0, limit: 1, leaseMs: day });
    const state = async () => (await deliveriesOf(site.database.q, posting))[0]?.state;
    site.clock.pass(day - 1);
    await keep(site);
    expect(await state()).toBe('in-flight');
    site.clock.pass(1);
    // The clock went on after it was asked: it may have jumped.
    await keep(site, true, t0);
    expect(await state()).toBe('in-flight');
    await keep(site);
    expect(await state()).toBe('pending');
  });

  it('drops a post that no moderator answered in held.days of its own list', async () => {
    const site = await makeSite();
    const [short, long] = [await makeList(site, { 'held.days': '3' }), await makeList(site, {}, 'council')];
    const held = [];
    for (const list of [short, long]) {
      const posting = await post(site.database, list.id, `of-${list.name}`);
      await recordVerdict(site.database.q, posting, {
        state: 'held',
        reason: 'encrypted-unsigned',
        verdict: {},
        prepared: null,
        decidedAt: t0,
      });
      held.push(posting);
    }
    site.clock.pass(3 * day + 1);
    await keep(site);
    const states = await Promise.all(
      held.map(async (posting) => (await findPosting(site.database.q, posting))?.state),
    );
    expect(states).toEqual(['dropped', 'held']);
    expect(await ledgerOf(site.database.q, 'of-team')).toMatchObject([
      { event: 'expired', reason: 'moderation-expired' },
    ]);
  });

  it('forgets what is beyond retention, and not before', async () => {
    const site = await makeSite();
    const { id } = await waiting(site, (await makeList(site)).id, { holdUntil: t0 });
    site.clock.pass(1);
    await keep(site);
    site.clock.pass(30 * day - 2);
    await keep(site);
    expect(await findMessage(site.database.q, id)).not.toBeNull();
    site.clock.pass(day);
    await keep(site);
    expect(await findMessage(site.database.q, id)).toBeNull();
    expect(await ledgerOf(site.database.q, id)).toEqual([]);
  });

  it('one list whose settings cannot be read does not keep the others waiting', async () => {
    const site = await makeSite();
    await createList(site.database.q, {
      address: 'broken@lists.example',
      profile: null,
      settings: { 'no.such': 'setting' },
      createdAt: t0,
    });
    const { posting } = await waiting(site, (await makeList(site)).id, { holdUntil: t0 });
    await keep(site);
    expect((await findPosting(site.database.q, posting))?.state).toBe('done');
  });
});

describe('a clock that jumps', () => {
  it('ends, frees and forgets nothing before it went on for half an hour, or was set back', async () => {
    const { database } = await makeSite();
    const look = (at: number) => jumpOfClock(database.q, at);
    expect(await look(t0)).toBeNull();
    expect(await look(t0 + 2 * hour)).toBeNull();
    const jumped = t0 + 60 * day;
    for (const at of [jumped, jumped + minute, jumped + 30 * minute - 1]) expect(await look(at)).toBe(jumped);
    expect(await look(jumped + 30 * minute)).toBeNull();
    expect(await look(jumped + 2 * hour)).toBeNull();
    const again = jumped + 10 * day;
    expect(await look(again)).toBe(again);
    expect(await look(t0 + 3 * hour)).toBeNull();
    expect(await look(t0 + 4 * hour)).toBeNull();
  });

  it('what a killed command left in spool/tmp goes after a day, if the time is sure', async () => {
    const site = await makeSite();
    const file = join(site.folder, 'spool/tmp', newId(t0));
    writeFileSync(file, 'half');
    utimesSync(file, t0 / 1000, t0 / 1000);
    await keep(site);
    site.clock.pass(day + 1);
    await keep(site, false);
    expect(existsSync(file)).toBe(true);
    await keep(site);
    expect(existsSync(file)).toBe(false);
  });
});

describe('quarantine', () => {
  const left = async (site: TestSite) => (await site.spool.quarantined()).map((one) => one.id);

  /** A message whose file is in quarantine since now. */
  async function quarantined(site: TestSite, listId: number | null): Promise<string> {
    const at = site.clock.now();
    const id = newId(t0 - 20 * day);
    const line = formatEnvelopeLine({ ...envelope, receivedAt: at });
    await site.spool.place(id, line, brandComposed(Buffer.from('x')));
    if (listId !== null) {
      await post(site.database, listId, id);
      const state = { state: 'quarantine', reason: 'worker-died', detail: null, nextAt: null } as const;
      await setMessageState(site.database.q, id, state);
    }
    await site.spool.quarantine(id, 'it broke its opening');
    await record(site.database.q, { at, messageId: id, event: 'quarantined' });
    return id;
  }

  it('ends after quarantine.days, counted from when it began, with a line that names the list', async () => {
    const site = await makeSite();
    const list = await makeList(site);
    const id = await quarantined(site, list.id);
    site.clock.pass(30 * day - 1);
    await keep(site);
    expect([await left(site), (await findMessage(site.database.q, id))?.state]).toEqual([[id], 'quarantine']);
    site.clock.pass(1);
    await keep(site);
    expect(await left(site)).toEqual([]);
    expect(await findMessage(site.database.q, id)).toMatchObject({
      state: 'done',
      reason: 'quarantine-expired',
    });
    expect((await ledgerOf(site.database.q, id)).at(-1)).toMatchObject({
      event: 'expired',
      reason: 'quarantine-expired',
      list: list.address,
    });
  });

  it('ends for files that no row knows as well', async () => {
    const site = await makeSite();
    const id = await quarantined(site, null);
    site.clock.pass(30 * day - 1);
    await keep(site);
    expect(await left(site)).toEqual([id]);
    site.clock.pass(1);
    await keep(site);
    expect(await left(site)).toEqual([]);
    expect((await ledgerOf(site.database.q, id)).at(-1)).toMatchObject({ reason: 'quarantine-expired' });
  });
});
