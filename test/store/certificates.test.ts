import { describe, expect, it } from 'vitest';
import {
  allBindings,
  bind,
  bindingsOf,
  bindingsOfCertificate,
  setBindingState,
} from '../../src/store/bindings.ts';
import {
  capabilitiesOf,
  certificatesAfter,
  findCertificate,
  inUse,
  inUseMany,
  saveCapabilities,
  setCertificateState,
  signersBy,
  upsertCertificate,
} from '../../src/store/certificates.ts';
import type { Database } from '../../src/store/database.ts';
import type { BindingRow } from '../../src/store/schema.ts';
import { certificate, openTest, sha256, t0 } from './fixtures.ts';

const alice = 'alice@example.org';

const binding = (name: string, change: Partial<BindingRow> = {}): BindingRow => ({
  address: alice,
  purpose: 'enc',
  sha256: sha256(name),
  state: 'in-use',
  since: t0,
  source: 'harvested',
  signingTime: t0,
  ...change,
});

async function withCertificates(...names: string[]): Promise<Database> {
  const database = await openTest();
  for (const name of names) await upsertCertificate(database.q, certificate(name));
  return database;
}

describe('certificates', () => {
  it('come back as they were stored', async () => {
    const { q } = await withCertificates();
    const row = certificate('a', { subjectKeyId: null, signingTime: null, mayEncrypt: false });
    expect(await upsertCertificate(q, row)).toBe(true);
    expect(await findCertificate(q, row.sha256)).toEqual(row);
    expect(await findCertificate(q, 'ff')).toBeNull();
  });

  it('keep their first source and the decision about them when they are seen again', async () => {
    const { q } = await withCertificates();
    await upsertCertificate(q, certificate('a', { source: 'by hand', signingTime: t0 }));
    await setCertificateState(q, sha256('a'), 'refused');
    for (const signingTime of [t0 - 5, null, t0 + 5, t0 + 1]) {
      expect(await upsertCertificate(q, certificate('a', { signingTime, firstSeen: t0 + 9 }))).toBe(false);
    }
    expect(await findCertificate(q, sha256('a'))).toMatchObject({
      source: 'by hand',
      state: 'refused',
      firstSeen: t0,
      signingTime: t0 + 5,
    });
  });

  it('are found by what a SignerInfo says, forged twins too, refused ones not', async () => {
    const { q } = await withCertificates('a', 'b');
    const twin = certificate('twin', { serialDer: certificate('a').serialDer, firstSeen: t0 + 1 });
    await upsertCertificate(q, twin);
    const { issuerDer, serialDer } = twin;
    const named = await signersBy(q, { kind: 'issuer-serial', issuerDer, serialDer });
    expect(named.map((row) => row.subject)).toEqual(['CN=a', 'CN=twin']);
    expect(await signersBy(q, { kind: 'issuer-serial', issuerDer: Buffer.from('x'), serialDer })).toEqual([]);
    const byKey = await signersBy(q, { kind: 'key-id', keyId: Buffer.from('key id of b') });
    expect(byKey.map((row) => row.subject)).toEqual(['CN=b']);
    await setCertificateState(q, sha256('b'), 'refused');
    expect(await signersBy(q, { kind: 'key-id', keyId: Buffer.from('key id of b') })).toEqual([]);
  });

  it('that match one SignerInfo are given up to 20 (RULES 7)', async () => {
    const { q } = await withCertificates();
    const serialDer = Buffer.from('same');
    for (let n = 0; n < 30; n++) await upsertCertificate(q, certificate(`twin ${n}`, { serialDer }));
    const found = await signersBy(q, { kind: 'issuer-serial', issuerDer: Buffer.from('issuer'), serialDer });
    expect(found).toHaveLength(20);
  });

  it('are paged', async () => {
    const { q } = await withCertificates('a', 'b', 'c');
    const first = await certificatesAfter(q, null, 2);
    const rest = await certificatesAfter(q, first[1]?.sha256 ?? '', 2);
    expect([...first, ...rest].map((row) => row.sha256)).toEqual(['a', 'b', 'c'].map(sha256).sort());
  });
});

describe('bind', () => {
  it('keeps one in use per address and purpose; the earlier becomes superseded, or replaced where the key changes', async () => {
    const { q, write } = await withCertificates('a', 'b');
    expect(await write((tx) => bind(tx, binding('a')))).toBeNull();
    expect(await write((tx) => bind(tx, binding('a', { purpose: 'sign' })))).toBeNull();
    expect(await write((tx) => bind(tx, binding('b', { since: t0 + 1 })))).toBe(sha256('a'));
    expect(await write((tx) => bind(tx, binding('b', { since: t0 + 1 })))).toBeNull();
    expect((await inUse(q, alice, 'enc'))?.subject).toBe('CN=b');
    expect((await inUse(q, alice, 'sign'))?.subject).toBe('CN=a');
    const states = (await bindingsOf(q, alice)).map((row) => [
      row.purpose,
      row.sha256 === sha256('a'),
      row.state,
    ]);
    expect(states).toContainEqual(['enc', true, 'replaced']);
    expect(states).toHaveLength(3);
    // Back to the earlier one.
    expect(await write((tx) => bind(tx, binding('a')))).toBe(sha256('b'));
    expect(await bindingsOfCertificate(q, sha256('b'))).toMatchObject([{ state: 'replaced' }]);
    // Where nobody said anything about the key before, it may come back; so may one with the same key.
    const quiet = { by: 'test', othersMayReturn: true };
    expect(await write((tx) => bind(tx, binding('b'), quiet))).toBe(sha256('a'));
    expect(await bindingsOfCertificate(q, sha256('a'))).toMatchObject([
      { state: 'superseded', purpose: 'enc' },
      { state: 'in-use', purpose: 'sign' },
    ]);
    await upsertCertificate(q, certificate('b2', { spkiSha256: certificate('b').spkiSha256 }));
    await write((tx) => bind(tx, binding('b2')));
    for (const name of ['a', 'b'])
      expect((await bindingsOfCertificate(q, sha256(name)))[0]).toMatchObject({ state: 'superseded' });
  });

  it('keeps the signing time of what waited when a person decides', async () => {
    const { q, write } = await withCertificates('a');
    await write((tx) => bind(tx, binding('a', { state: 'pending', signingTime: t0 - 7 })));
    await write((tx) => bind(tx, binding('a', { signingTime: null, since: t0 + 9 })));
    expect(await bindingsOf(q, alice)).toMatchObject([
      { state: 'in-use', signingTime: t0 - 7, since: t0 + 9 },
    ]);
  });

  it('is guarded by the table: two in use cannot be', async () => {
    const { q } = await withCertificates('a', 'b');
    await q.insertInto('bindings').values(binding('a')).execute();
    await expect(q.insertInto('bindings').values(binding('b')).execute()).rejects.toThrow('UNIQUE');
  });

  it.each<[BindingRow['state'], BindingRow['state']]>([
    ['in-use', 'in-use'],
    ['refused', 'refused'],
    ['superseded', 'pending'],
    ['replaced', 'pending'],
    ['pending', 'pending'],
  ])('of a proposal leaves %s as %s', async (before, after) => {
    const { q, write } = await withCertificates('a');
    await q
      .insertInto('bindings')
      .values(binding('a', { state: before }))
      .execute();
    await write((tx) => bind(tx, binding('a', { state: 'pending', since: t0 + 1 })));
    expect(await bindingsOf(q, alice)).toMatchObject([{ state: after }]);
  });

  it('as pending does not disturb the one in use', async () => {
    const { q, write } = await withCertificates('a', 'b');
    await write((tx) => bind(tx, binding('a')));
    await write((tx) => bind(tx, binding('b', { state: 'pending' })));
    expect((await inUse(q, alice, 'enc'))?.subject).toBe('CN=a');
    expect(await setBindingState(q, binding('b'), 'refused')).toBe(true);
    expect(await setBindingState(q, binding('b', { address: 'x@example.org' }), 'refused')).toBe(false);
    expect((await bindingsOf(q, alice)).map((row) => row.state).sort()).toEqual(['in-use', 'refused']);
  });

  it('needs a certificate that is stored, and a transaction', async () => {
    const { q, write } = await withCertificates();
    await expect(write((tx) => bind(tx, binding('unknown')))).rejects.toThrow('FOREIGN KEY');
    await expect(bind(q, binding('unknown'))).rejects.toMatchObject({ code: 'transaction-required' });
  });
});

describe('inUseMany', () => {
  it('answers for many addresses at once; refused certificates are in nobody use', async () => {
    const { q, write } = await withCertificates('a', 'b');
    const addresses = Array.from({ length: 1200 }, (_, n) => `m${n}@example.org`);
    await write(async (tx) => {
      for (const address of addresses.slice(0, 1100)) await bind(tx, binding('a', { address }));
      await bind(tx, binding('b', { address: 'm1150@example.org' }));
    });
    await setCertificateState(q, sha256('b'), 'refused');
    const found = await inUseMany(q, addresses, 'enc');
    expect(found.size).toBe(1100);
    expect(found.get('m1099@example.org')?.subject).toBe('CN=a');
    expect(found.get('m1150@example.org')).toBeUndefined();
    expect((await inUseMany(q, addresses, 'sign')).size).toBe(0);
    expect((await inUseMany(q, [], 'sign')).size).toBe(0);
  });
});

describe('allBindings', () => {
  it('pages without losing a row, though an address has several', async () => {
    const { q, write } = await withCertificates('a', 'b');
    await write(async (tx) => {
      for (const address of ['x@example.org', 'y@example.org']) {
        await bind(tx, binding('a', { address }));
        await bind(tx, binding('b', { address, state: 'pending' }));
        await bind(tx, binding('a', { address, purpose: 'sign' }));
      }
    });
    const seen: BindingRow[] = [];
    for (;;) {
      const page = await allBindings(q, { after: seen.at(-1) ?? null, limit: 2 });
      if (page.length === 0) break;
      seen.push(...page);
    }
    expect(new Set(seen.map((row) => `${row.address} ${row.purpose} ${row.sha256}`)).size).toBe(6);
    expect(await allBindings(q, { state: 'pending', limit: 9 })).toHaveLength(2);
    expect(await allBindings(q, { purpose: 'sign', limit: 9 })).toHaveLength(2);
  });
});

describe('capabilities', () => {
  it('are replaced by later signed ones only', async () => {
    const { q } = await withCertificates();
    const save = (signingTime: number, text: string) =>
      saveCapabilities(q, { spkiSha256: 'k', signingTime, der: Buffer.from(text) });
    await save(t0, 'first');
    await save(t0 - 1, 'older');
    await save(t0, 'same time');
    expect((await capabilitiesOf(q, 'k'))?.der.toString()).toBe('first');
    await save(t0 + 1, 'newer');
    expect(await capabilitiesOf(q, 'k')).toEqual({ der: Buffer.from('newer'), signingTime: t0 + 1 });
    expect(await capabilitiesOf(q, 'other')).toBeNull();
  });
});
