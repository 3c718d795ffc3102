import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { replaceExpired, useAgain } from '../../src/flow/certificates/best-certificate.ts';
import { askAboutWaiting } from '../../src/flow/harvest/ask-owners.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { bind, bindingsOf, historyOf, setBindingState } from '../../src/store/bindings.ts';
import { certificateRow } from '../../src/store/certificate-row.ts';
import { inUse, supersededFor, upsertCertificate } from '../../src/store/certificates.ts';
import { addRole } from '../../src/store/lists.ts';
import { addMembers } from '../../src/store/members.ts';
import type { BindingState } from '../../src/store/schema.ts';
import { addToken, forgetTokens, hasToken, useToken } from '../../src/store/tokens.ts';
import { type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import { day, hour } from './parts.ts';
import { makeList, makeSite, type TestSite } from './site.ts';

// What time does to certificates: an expired one gives way, one that waits is asked about, tokens end.

const address = 'alice@example.org';
let ca: TestCa;
beforeAll(async () => {
  ca = await makeCa();
});
const idOf = (one: Identity): string => parseCertificate(one.certDer).sha256;
const issue = (from: number, to: number, keyFrom?: Identity): Promise<Identity> =>
  ca.issue({
    name: 'Alice',
    address,
    key: 'p256',
    notBefore: new Date(from),
    notAfter: new Date(to),
    ...(keyFrom && { keyFrom }),
  });

async function give(site: TestSite, who: Identity, state: BindingState, since: number): Promise<void> {
  const certificate = parseCertificate(who.certDer);
  await site.database.write(async (tx) => {
    await upsertCertificate(
      tx,
      certificateRow(certificate, { source: 'harvested', at: since, signingTime: null }),
    );
    const row = {
      address,
      sha256: certificate.sha256,
      state,
      since,
      source: 'harvested',
      signingTime: null,
    } as const;
    await bind(tx, { ...row, purpose: 'enc' });
  });
}

describe('an expired certificate in use', () => {
  async function setUp() {
    const site = await makeSite();
    const certificates = join(site.folder, 'certificates');
    mkdirSync(certificates);
    const t = site.clock.now();
    const long = await issue(t - 9 * day, t + 90 * day);
    const short = await issue(t - 2 * day, t + day, long);
    await give(site, long, 'in-use', t - 9 * day);
    await give(site, short, 'in-use', t - day);
    return { site, parts: { ...site, certificates }, certificates, long, short };
  }

  it('gives way to the valid one before it, in database and directory, with its history', async () => {
    const { site, parts, certificates, long, short } = await setUp();
    await replaceExpired(parts);
    expect((await inUse(site.database.q, address, 'enc'))?.sha256).toBe(idOf(short));
    site.clock.pass(2 * day);
    await replaceExpired(parts);
    expect((await inUse(site.database.q, address, 'enc'))?.sha256).toBe(idOf(long));
    expect(readFileSync(join(certificates, `${address}@enc`), 'utf8')).toBe(long.certPem);
    const history = await historyOf(site.database.q, idOf(long));
    expect(history.map((one) => one.state)).toEqual(['in-use', 'superseded', 'in-use']);
    expect(history.at(-1)?.by).toMatch(
      /^because the one that took its place cannot be used: it expired on 2026-01-06/,
    );
    await replaceExpired(parts);
    expect(await historyOf(site.database.q, idOf(long))).toHaveLength(3);
  });

  it('stays where the other was removed, or has ended as well', async () => {
    const { site, parts, long, short } = await setUp();
    await setBindingState(site.database.q, { address, purpose: 'enc', sha256: idOf(long) }, 'removed');
    site.clock.pass(2 * day);
    await replaceExpired(parts);
    await useAgain(parts, { address, purpose: 'enc', sha256: idOf(long), why: 'expired' });
    expect((await inUse(site.database.q, address, 'enc'))?.sha256).toBe(idOf(short));
  });
});

describe('a certificate that was replaced by one with another key', () => {
  it.each<[string, boolean]>([
    ['stays so when the new one ends', false],
    ['and so does what it had superseded, an import for one', true],
  ])('%s', async (_, imported) => {
    const site = await makeSite();
    const parts = { ...site, certificates: join(site.folder, 'certificates') };
    mkdirSync(parts.certificates);
    const t = site.clock.now();
    const [first, old] = [await issue(t - 9 * day, t + 90 * day), await issue(t - 9 * day, t + 90 * day)];
    const fresh = await issue(t - day, t + day);
    if (imported) {
      await give(site, first, 'in-use', t - 9 * day);
      const row = { address, purpose: 'enc', sha256: idOf(old), state: 'in-use', signingTime: null } as const;
      await site.database.write(async (tx) => {
        const { certDer } = old;
        const stored = { source: 'imported', at: t, signingTime: null } as const;
        await upsertCertificate(tx, certificateRow(parseCertificate(certDer), stored));
        await bind(
          tx,
          { ...row, since: t - 8 * day, source: 'imported' },
          { by: 'test', othersMayReturn: true },
        );
      });
      expect(await supersededFor(site.database.q, address, 'enc', 9)).toMatchObject([
        { sha256: idOf(first) },
      ]);
    } else await give(site, old, 'in-use', t - 9 * day);
    await give(site, fresh, 'in-use', t - day);
    site.clock.pass(2 * day);
    await replaceExpired(parts);
    for (const one of [first, old])
      await useAgain(parts, { address, purpose: 'enc', sha256: idOf(one), why: 'expired' });
    expect((await inUse(site.database.q, address, 'enc'))?.sha256).toBe(idOf(fresh));
    expect(await supersededFor(site.database.q, address, 'enc', 9)).toEqual([]);
    const rows = await bindingsOf(site.database.q, address);
    expect(rows.filter((row) => row.state === 'replaced').map((row) => row.since)).toEqual(
      imported ? [t - day, t - day] : [t - day],
    );
  });
});

describe('a certificate that waits', () => {
  it('is asked about after seven days, once, and nothing else happens to it', async () => {
    const site = await makeSite();
    const list = await makeList(site);
    const other = await makeList(site, {}, 'other');
    for (const listId of [list.id, other.id]) {
      await addMembers(site.database.q, listId, [{ address, name: '', since: 0, settings: {} }]);
      await addRole(site.database.q, {
        listId,
        address: `owner-${listId}@example.org`,
        role: 'owner',
        name: '',
      });
    }
    const t = site.clock.now();
    const fresh = await issue(t - day, t + 90 * day);
    await give(site, fresh, 'pending', t);
    site.clock.pass(7 * day - hour);
    expect([await askAboutWaiting(site), site.notices.length]).toEqual([0, 0]);
    site.clock.pass(hour);
    expect(await askAboutWaiting(site)).toBe(2);
    expect(site.notices.map((one) => one.to).sort()).toEqual([
      `owner-${list.id}@example.org`,
      `owner-${other.id}@example.org`,
    ]);
    expect(site.notices[0]?.variables.reason_text).toContain(
      `reseal cert approve ${address} ${idOf(fresh).slice(0, 16)}`,
    );
    site.clock.pass(30 * day);
    expect([await askAboutWaiting(site), site.notices.length]).toEqual([0, 2]);
    expect((await bindingsOf(site.database.q, address)).map((row) => row.state)).toEqual(['pending']);
  });
});

describe('a token', () => {
  const token = 'abcdefghijklmnopqrstuvwxyz234567';
  async function setUp() {
    const site = await makeSite();
    const { id: listId } = await makeList(site);
    const base = { address, listId, signerSpki: 'key', oldSha256: 'old', createdAt: 0, expiresAt: 100 };
    await site.database.write(async (tx) => {
      for (const newSha256 of ['new', 'new too']) await addToken(tx, token, { ...base, newSha256 });
    });
    const use = (text: string, d: object = {}) =>
      site.database.write((tx) => useToken(tx, text, { address, signerSpki: 'key', at: 99, ...d }));
    return { site, use };
  }

  it.each<[string, string, object]>([
    ['another', token.replace('a', 'b'), {}],
    ['for another address', token, { address: 'bob@example.org' }],
    ['signed by another key', token, { signerSpki: 'other' }],
    ['too late', token, { at: 100 }],
  ])('%s does not count, and uses nothing up', async (_, text, change) => {
    const { use } = await setUp();
    expect(await use(text, change)).toEqual([]);
    expect(await use(token)).toHaveLength(2);
  });

  it('counts once, is kept as a hash only, and is forgotten', async () => {
    const { site, use } = await setUp();
    expect((await use(token)).map((row) => `${row.newSha256} of ${row.oldSha256}`).sort()).toEqual([
      'new of old',
      'new too of old',
    ]);
    expect(await use(token)).toEqual([]);
    expect(JSON.stringify(await site.database.q.selectFrom('tokens').selectAll().execute())).not.toContain(
      token,
    );
    expect(await hasToken(site.database.q, { address, newSha256: 'new', signerSpki: 'key', at: 99 })).toBe(
      true,
    );
    await forgetTokens(site.database.q, 100);
    expect(await site.database.q.selectFrom('tokens').selectAll().execute()).toEqual([]);
  });
});
