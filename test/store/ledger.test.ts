import { describe, expect, it } from 'vitest';
import { findLedger, forgetLedger, type LedgerQuery, ledgerOf, record } from '../../src/store/ledger.ts';
import { readMeta } from '../../src/store/meta.ts';
import { day, openTest, t0 } from './fixtures.ts';

const list = 'council@lists.example.org';

async function filled() {
  const database = await openTest();
  await database.write((tx) =>
    record(tx, [
      { at: t0, messageId: 'a', event: 'received', data: { size: 3 } },
      {
        at: t0 + day,
        messageId: 'a',
        list,
        member: 'bob@example.org',
        event: 'held',
        reason: 'no-certificate',
      },
      { at: t0 + 2 * day, messageId: 'b', list, event: 'refused', detail: 'not a member' },
    ]),
  );
  return database;
}

describe('the ledger', () => {
  it('gives back what was recorded, in order', async () => {
    const { q } = await filled();
    expect(await ledgerOf(q, 'a')).toEqual([
      {
        id: 1,
        at: t0,
        messageId: 'a',
        postingId: null,
        list: null,
        member: null,
        event: 'received',
        reason: null,
        detail: null,
        data: { size: 3 },
      },
      expect.objectContaining({
        event: 'held',
        reason: 'no-certificate',
        member: 'bob@example.org',
        data: null,
      }),
    ]);
    const some = { list, from: t0, to: t0 + 2 * day, limit: 10 };
    expect((await findLedger(q, some)).map((line) => line.event)).toEqual(['held']);
    expect((await findLedger(q, { ...some, to: t0 + 3 * day })).map((line) => line.event)).toEqual([
      'held',
      'refused',
    ]);
    const refused = await findLedger(q, { ...some, to: t0 + 3 * day, events: ['refused'] });
    expect(refused.map((line) => line.messageId)).toEqual(['b']);
    const events = async (d: Partial<LedgerQuery>) =>
      (await findLedger(q, { limit: 10, ...d })).map((line) => line.event);
    expect(await events({})).toEqual(['received', 'held', 'refused']);
    expect(await events({ limit: 2 })).toEqual(['held', 'refused']);
    expect(await events({ member: 'bob@example.org' })).toEqual(['held']);
    expect(await events({ messageIds: ['a'], from: t0 + 1 })).toEqual(['held']);
    expect(await events({ messageIds: [] })).toEqual([]);
  });

  it('refuses to be changed', async () => {
    const { q } = await filled();
    await expect(q.updateTable('ledger').set({ reason: 'other' }).execute()).rejects.toThrow('append-only');
    await expect(q.updateTable('ledger').set({ at: 0 }).where('id', '=', 1).execute()).rejects.toThrow(
      'append-only',
    );
    expect((await ledgerOf(q, 'a'))[0]?.at).toBe(t0);
  });

  it('refuses deletion, but housekeeping may delete what is old enough', async () => {
    const { q, write } = await filled();
    await expect(q.deleteFrom('ledger').execute()).rejects.toThrow('keeps rows');
    const forget = (before: number, limit = 10) => write((tx) => forgetLedger(tx, { before, limit }));
    expect(await forget(t0 + 1)).toBe(1);
    // Below the limit of age now, above it not.
    await expect(q.deleteFrom('ledger').where('messageId', '=', 'a').execute()).rejects.toThrow('keeps rows');
    expect(await forget(t0 + 2 * day, 1)).toBe(1);
    expect(await forget(t0 + 2 * day)).toBe(0);
    expect((await ledgerOf(q, 'b')).map((line) => line.event)).toEqual(['refused']);
    expect(await readMeta(q, 'ledger.keep-from')).toBe(String(t0 + 2 * day));
  });

  it('gives no number twice, even after the newest was deleted', async () => {
    const { q, write } = await filled();
    await write((tx) => forgetLedger(tx, { before: t0 + 3 * day, limit: 10 }));
    await record(q, { at: t0 + 4 * day, messageId: 'c', event: 'received' });
    expect((await ledgerOf(q, 'c'))[0]?.id).toBe(4);
  });

  it('takes many entries', async () => {
    const { q, write } = await filled();
    const many = Array.from({ length: 4000 }, (_, n) => ({
      at: t0 + n,
      messageId: 'many',
      event: 'delivered' as const,
    }));
    await write((tx) => record(tx, many));
    expect(await ledgerOf(q, 'many')).toHaveLength(4000);
    await record(q, []);
  });
});
