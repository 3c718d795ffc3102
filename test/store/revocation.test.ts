import { describe, expect, it } from 'vitest';
import type { Database } from '../../src/store/database.ts';
import { findRevocation, forgetRevocation, keptCrls, saveRevocation } from '../../src/store/revocation.ts';
import type { RevocationRow } from '../../src/store/schema.ts';
import { day, openTest, t0 } from './fixtures.ts';

const row = (key: string, change: Partial<RevocationRow> = {}): RevocationRow => ({
  key,
  kind: 'crl',
  issuer: 'CN=CA',
  thisUpdate: t0,
  nextUpdate: t0 + 7 * day,
  source: 'fetched',
  url: null,
  storedAt: t0,
  der: Buffer.from(key),
  ...change,
});

const save = (database: Database, one: RevocationRow) => database.write((tx) => saveRevocation(tx, one));
const forget = (database: Database, change: Partial<Parameters<typeof forgetRevocation>[1]> = {}) =>
  database.write((tx) => forgetRevocation(tx, { before: t0, count: 100, octets: 1000, ...change }));
const keys = async ({ q }: Database) => (await keptCrls(q)).map((one) => one.key);

describe('saveRevocation', () => {
  it('keeps what is new, and gives it back as it was', async () => {
    const database = await openTest();
    const answer = row('ocsp a', { kind: 'ocsp', nextUpdate: null, url: 'http://ocsp.example/' });
    expect(await save(database, row('a'))).toBe(true);
    expect(await save(database, answer)).toBe(true);
    expect(await findRevocation(database.q, 'ocsp a')).toEqual(answer);
    expect(await findRevocation(database.q, 'b')).toBeNull();
    expect(await keys(database)).toEqual(['a']);
  });

  it('takes a newer one in place of an older, never an older in place of a newer', async () => {
    const database = await openTest();
    const newer = row('a', { thisUpdate: t0 + 1, der: Buffer.from('newer'), source: 'message' });
    await save(database, row('a'));
    expect(await save(database, newer)).toBe(true);
    expect(await save(database, row('a'))).toBe(false);
    expect(await findRevocation(database.q, 'a')).toEqual(newer);
  });

  it('notes that the same one was fetched again', async () => {
    const database = await openTest();
    await save(database, row('a'));
    expect(await save(database, row('a', { storedAt: t0 + day }))).toBe(true);
    expect((await findRevocation(database.q, 'a'))?.storedAt).toBe(t0 + day);
  });
});

describe('forgetRevocation', () => {
  it('forgets what went out of date before, by when it was stored if it does not say', async () => {
    const database = await openTest();
    await save(database, row('over', { nextUpdate: t0 - 1 }));
    await save(database, row('just', { nextUpdate: t0 }));
    await save(database, row('old', { nextUpdate: null, storedAt: t0 - 1 }));
    await save(database, row('open', { nextUpdate: null, storedAt: t0 + 1 }));
    expect(await forget(database)).toBe(2);
    expect(await keys(database)).toEqual(['open', 'just']);
  });

  it('keeps so many of each kind, the newest', async () => {
    const database = await openTest();
    for (const n of [1, 2, 3, 4]) await save(database, row(`${n}`, { storedAt: t0 + n }));
    for (const n of [5, 6]) await save(database, row(`${n}`, { storedAt: t0 + n, kind: 'ocsp' }));
    expect(await forget(database, { count: 2 })).toBe(2);
    expect(await keys(database)).toEqual(['4', '3']);
    expect(await findRevocation(database.q, '5')).not.toBeNull();
  });

  it('keeps so many octets, the newest', async () => {
    const database = await openTest();
    for (const n of [1, 2, 3])
      await save(database, row(`${n}`, { storedAt: t0 + n, der: Buffer.alloc(400) }));
    expect(await forget(database, { octets: 800 })).toBe(1);
    expect(await keys(database)).toEqual(['3', '2']);
  });

  it('needs a transaction', async () => {
    const { q } = await openTest();
    await expect(forgetRevocation(q, { before: t0, count: 1, octets: 1 })).rejects.toMatchObject({
      code: 'transaction-required',
    });
  });
});
