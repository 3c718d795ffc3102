import { describe, expect, it } from 'vitest';
import { warnOfEnding } from '../../src/flow/care/expiry-care.ts';
import type { ListContext } from '../../src/flow/lists/list-context.ts';
import { bind } from '../../src/store/bindings.ts';
import { upsertCertificate } from '../../src/store/certificates.ts';
import { addRole } from '../../src/store/lists.ts';
import { addMembers, setMember } from '../../src/store/members.ts';
import type { Purpose } from '../../src/store/schema.ts';
import { certificate as certificateOf } from '../store/fixtures.ts';
import { day, t0 } from './parts.ts';
import { makeList, makeSite, type TestSite } from './site.ts';

const bob = 'bob@example.org';
const ada = 'ada@example.org';

/** A list of ada's with bob as its member. */
async function listOfBob(site: TestSite, name = 'team'): Promise<ListContext> {
  const list = await makeList(site, {}, name);
  await addRole(site.database.q, { listId: list.id, address: ada, role: 'owner', name: '' });
  await addMembers(site.database.q, list.id, [
    { address: bob, name: '', since: t0, settings: { lang: 'fr' } },
  ]);
  return list;
}

async function give(site: TestSite, name: string, ends: number, purposes: Purpose[] = ['sign', 'enc']) {
  const row = certificateOf(name, { notAfter: ends });
  await site.database.write(async (tx) => {
    await upsertCertificate(tx, row);
    const binding = { address: bob, sha256: row.sha256, state: 'in-use', since: t0 } as const;
    for (const purpose of purposes)
      await bind(tx, { ...binding, purpose, source: 'harvested', signingTime: null });
  });
}

/** Looks each day and gives who was told on which day, counted from t0. */
async function days(site: TestSite, lists: readonly ListContext[], count: number): Promise<string[]> {
  const seen: string[] = [];
  for (let n = 0; n <= count; n++) {
    const before = site.notices.length;
    await warnOfEnding(site, lists);
    seen.push(...site.notices.slice(before).map((notice) => `${n} ${notice.to}`));
    site.clock.pass(day);
  }
  return seen;
}

describe('the end of a certificate in use', () => {
  it('is told to the member and the owners 30, 7 and 1 days before, once each', async () => {
    const site = await makeSite();
    const list = await listOfBob(site);
    await give(site, 'bob', t0 + 40 * day);
    expect(await days(site, [list], 45)).toEqual([10, 33, 39].flatMap((n) => [`${n} ${bob}`, `${n} ${ada}`]));
    expect(site.notices[0]).toMatchObject({
      template: 'cert-expiring',
      language: 'fr',
      replyTo: 'sendcert',
      variables: {
        days: 30,
        expires: '2026-02-14',
        certificates: [{ subject: 'CN=bob', issuer: 'CN=Test CA', signs: true, reads: true, days: 30 }],
      },
    });
    expect(site.notices[1]).toMatchObject({
      language: 'en',
      variables: { members: [{ email: bob, expires: '2026-02-14', days: 30 }] },
    });
  });

  it('is told by one list to a member of two, and by each to its owners', async () => {
    const site = await makeSite();
    const lists = [await listOfBob(site), await listOfBob(site, 'council')];
    await give(site, 'bob', t0 + 20 * day);
    expect(await days(site, lists, 1)).toEqual([`0 ${bob}`, `0 ${ada}`, `0 ${ada}`]);
  });

  it('that came late is told of once, and then at the next stage', async () => {
    const site = await makeSite();
    const list = await listOfBob(site);
    await give(site, 'bob', t0 + 5 * day);
    expect((await days(site, [list], 6)).filter((line) => line.endsWith(bob))).toEqual([
      `0 ${bob}`,
      `4 ${bob}`,
    ]);
  });

  it('is of no matter when a new one took over', async () => {
    const site = await makeSite();
    const list = await listOfBob(site);
    await give(site, 'bob', t0 + 20 * day);
    await warnOfEnding(site, [list]);
    await give(site, 'renewed', t0 + 400 * day);
    expect(await days(site, [list], 25)).toEqual([]);
  });

  it('of a pair is told in one mail, each with its use', async () => {
    const site = await makeSite();
    const list = await listOfBob(site);
    await give(site, 'signs', t0 + 20 * day, ['sign']);
    await give(site, 'reads', t0 + 20 * day, ['enc']);
    expect(await days(site, [list], 0)).toEqual([`0 ${bob}`, `0 ${ada}`]);
    const { certificates } = site.notices[0]?.variables ?? {};
    expect(certificates).toMatchObject([
      { subject: 'CN=reads', signs: false, reads: true },
      { subject: 'CN=signs', signs: true, reads: false },
    ]);
  });

  it('is not told of to a suspended member', async () => {
    const site = await makeSite();
    const list = await listOfBob(site);
    await give(site, 'bob', t0 + 20 * day);
    await setMember(site.database.q, { listId: list.id, address: bob }, { state: 'suspended' });
    expect(await days(site, [list], 0)).toEqual([]);
  });

  it('two who warn at once warn once, and leave no file', async () => {
    const site = await makeSite();
    const list = await listOfBob(site);
    await give(site, 'bob', t0 + 20 * day);
    await Promise.all([warnOfEnding(site, [list]), warnOfEnding(site, [list])]);
    expect(await site.spool.messages()).toHaveLength(2);
  });

  it('whose warning cannot be written is told of later, and keeps no other list from warning', async () => {
    const site = await makeSite();
    const broken = await listOfBob(site);
    await addRole(site.database.q, {
      listId: broken.id,
      address: 'unwritable@example.org',
      role: 'owner',
      name: '',
    });
    const list = await listOfBob(site, 'council');
    await give(site, 'bob', t0 + 20 * day);
    await warnOfEnding(site, [broken, list]);
    expect(site.log.events()).toEqual(['notice-failed']);
    const { notices } = site;
    expect(notices.map((notice) => notice.to)).toEqual([bob, ada, ada]);
    // Of the broken list bob's only: its owners get all of their mails or none.
    expect(await site.spool.messages()).toHaveLength(2);
  });
});
