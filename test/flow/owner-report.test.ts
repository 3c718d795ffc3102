import { describe, expect, it } from 'vitest';
import { reportToOwners } from '../../src/flow/care/owner-report.ts';
import type { FindRecipients } from '../../src/flow/certificates/member-certificate.ts';
import type { ListContext } from '../../src/flow/lists/list-context.ts';
import { bind } from '../../src/store/bindings.ts';
import { upsertCertificate } from '../../src/store/certificates.ts';
import { deliveriesOf, insertDeliveries } from '../../src/store/deliveries.ts';
import { record } from '../../src/store/ledger.ts';
import { addRole } from '../../src/store/lists.ts';
import { addMembers } from '../../src/store/members.ts';
import { finish } from '../../src/store/outcomes.ts';
import type { PostingKind } from '../../src/store/schema.ts';
import { certificate as certificateOf, copy, post } from '../store/fixtures.ts';
import { day, hour, t0 } from './parts.ts';
import { makeList, makeSite, type TestSite } from './site.ts';

const bob = 'bob@example.org';
const carol = 'carol@example.org';
const owners = ['ada@example.org', 'owen@example.org'];

async function makeOwned(site: TestSite, settings: Record<string, string> = {}): Promise<ListContext> {
  const list = await makeList(site, settings);
  for (const address of owners)
    await addRole(site.database.q, { listId: list.id, address, role: 'owner', name: '' });
  return list;
}

/** A post with copies for bob and carol that ended so. */
async function ended(
  site: TestSite,
  list: ListContext,
  id: string,
  outcome: { state: 'failed' | 'expired' | 'delivered'; reason: string | null; detail: string | null },
  kind: PostingKind = 'post',
) {
  const posting = await post(site.database, list.id, id, {}, kind);
  await site.database.write((tx) => insertDeliveries(tx, [copy(posting, bob), copy(posting, carol)]));
  const [first, second] = await deliveriesOf(site.database.q, posting);
  const at = site.clock.now();
  await site.database.write(async (tx) => {
    await finish(tx, [{ id: first?.id ?? 0, ...outcome }], at);
    await finish(tx, [{ id: second?.id ?? 0, state: 'delivered', reason: null, detail: null }], at);
  });
}

const refused = {
  state: 'failed',
  reason: '5.1.1',
  detail: 'the relay refused it: 550 no such user',
} as const;
const inVain = { state: 'expired', reason: 'no-certificate', detail: 'no certificate is known' } as const;
const all: FindRecipients = async () => new Map();
const problem = (bad: boolean) => ({
  trustProblemOf: async () => (bad ? new Error('unreadable') : null) as never,
});

const report = (site: TestSite, list: ListContext, findRecipients = all, trust = problem(false)) =>
  reportToOwners({ ...site, findRecipients, keyring: trust }, list);

describe('the daily report', () => {
  it('names copies that failed since the last one, once, to each owner', async () => {
    const site = await makeSite();
    const list = await makeOwned(site);
    await ended(site, list, 'm1', refused);
    expect(await report(site, list)).toBe(0);
    await ended(site, list, 'm2', { ...refused, state: 'expired', detail: 'the relay did not take it' });
    site.clock.pass(day - 1);
    expect(await report(site, list)).toBe(0);
    site.clock.pass(1);
    expect(await report(site, list)).toBe(2);
    expect(site.notices.map(({ to, template }) => [to, template])).toEqual(
      owners.map((owner) => [owner, 'owner-report']),
    );
    expect(site.notices[0]?.variables).toMatchObject({
      period: 'daily',
      failures: [
        { id: 'm1', subject: 'Agenda', failed: 1, copies: 2, lines: [`${bob}: ${refused.detail}`], more: 0 },
        { id: 'm2', failed: 1, lines: [`${bob}: the relay did not take it`] },
      ],
    });
    site.clock.pass(day);
    expect(await report(site, list)).toBe(0);
  });

  it('loses nothing to a long pause, and tells it once', async () => {
    const site = await makeSite();
    const list = await makeOwned(site);
    await report(site, list);
    await ended(site, list, 'm1', refused);
    site.clock.pass(5 * day);
    expect(await report(site, list)).toBe(2);
    site.clock.pass(day);
    expect(await report(site, list)).toBe(0);
  });

  it('begins at the same time each day, however late the look is', async () => {
    const site = await makeSite();
    const list = await makeOwned(site);
    await report(site, list);
    await ended(site, list, 'm1', refused);
    site.clock.pass(day + hour);
    expect(await report(site, list)).toBe(2);
    await ended(site, list, 'm2', refused);
    site.clock.pass(day - hour);
    expect(await report(site, list)).toBe(2);
  });

  it('names posts that waited in vain for a moderator', async () => {
    const site = await makeSite();
    const list = await makeOwned(site);
    await report(site, list);
    const postingId = await post(site.database, list.id, 'm1');
    const why = { event: 'expired', reason: 'moderation-expired', detail: 'no moderator answered' } as const;
    const line = { at: t0, messageId: 'm1', postingId, list: list.address, ...why };
    await site.database.write((tx) => record(tx, line));
    site.clock.pass(day);
    await report(site, list);
    expect(site.notices[0]?.variables).toMatchObject({
      failures: [{ id: 'm1', failed: 0, lines: ['no moderator answered'] }],
    });
  });

  it('has no holds that ended, no notices, nothing of other lists', async () => {
    const site = await makeSite();
    const list = await makeOwned(site);
    const council = await makeList(site, {}, 'council');
    await report(site, list);
    await ended(site, list, 'm1', inVain);
    await ended(site, list, 'm2', refused, 'local');
    await ended(site, council, 'm3', refused);
    site.clock.pass(day);
    expect(await report(site, list)).toBe(0);
  });

  it.each(['never', 'at-once'])('is not sent under report.failures: %s', async (value) => {
    const site = await makeSite();
    const list = await makeOwned(site, { 'report.failures': value });
    await report(site, list);
    await ended(site, list, 'm1', refused);
    site.clock.pass(day);
    expect(await report(site, list)).toBe(0);
  });

  it('of two processes at once is sent by one', async () => {
    const site = await makeSite();
    const list = await makeOwned(site);
    await report(site, list);
    await ended(site, list, 'm1', refused);
    site.clock.pass(day);
    const both = await Promise.all([report(site, list), report(site, list)]);
    expect(both.sort()).toEqual([0, 2]);
    expect(await site.spool.messages()).toHaveLength(2);
  });

  it('that cannot be written is sent later', async () => {
    const site = await makeSite();
    const list = await makeOwned(site);
    await report(site, list);
    await ended(site, list, 'm1', refused);
    site.clock.pass(day);
    const { compose } = site;
    const broken = {
      ...site,
      compose: () => compose(list, { ...site.notices[0], to: 'unwritable' } as never, t0),
    };
    expect(await report(broken, list)).toBe(0);
    expect(site.log.events()).toEqual(['notice-failed']);
    expect(await report(site, list)).toBe(2);
  });
});

describe('the weekly report', () => {
  const nobody: FindRecipients = async (_, members) =>
    new Map(
      members.map(({ address }) => [
        address,
        { usable: false, reason: 'no-certificate', detail: `no certificate is known for ${address}` },
      ]),
    );

  it('has holds that ended, members without a certificate, and certificates that end soon', async () => {
    const site = await makeSite();
    const list = await makeOwned(site);
    await addMembers(site.database.q, list.id, [{ address: carol, name: '', since: t0 }]);
    const row = certificateOf('carol', { notAfter: t0 + 20 * day });
    await site.database.write(async (tx) => {
      await upsertCertificate(tx, row);
      const binding = { address: carol, sha256: row.sha256, state: 'in-use', since: t0 } as const;
      for (const purpose of ['sign', 'enc'] as const)
        await bind(tx, { ...binding, purpose, source: 'harvested', signingTime: null });
    });
    await report(site, list);
    for (const id of ['m1', 'm2']) await ended(site, list, id, inVain);
    site.clock.pass(7 * day - 1);
    expect(await report(site, list, nobody)).toBe(0);
    site.clock.pass(1);
    expect(await report(site, list, nobody)).toBe(2);
    expect(site.notices[0]?.variables).toMatchObject({
      period: 'weekly',
      expired: { lines: [`${bob}: 2 messages; no certificate is known`], more: 0 },
      missing: { lines: [`${carol}: no certificate is known for ${carol}`] },
      ending: { lines: [`${carol}: 2026-01-25`] },
    });
  });

  it('with nothing to say is not sent', async () => {
    const site = await makeSite();
    const list = await makeOwned(site);
    await report(site, list);
    site.clock.pass(7 * day);
    expect([await report(site, list), site.notices.length]).toEqual([0, 0]);
  });

  it('says nothing of certificates while the authorities cannot be read', async () => {
    const site = await makeSite();
    const list = await makeOwned(site);
    await addMembers(site.database.q, list.id, [{ address: carol, name: '', since: t0 }]);
    await report(site, list);
    site.clock.pass(7 * day);
    expect(await report(site, list, nobody, problem(true))).toBe(0);
  });

  it('is not sent under report.weekly: no', async () => {
    const site = await makeSite();
    const list = await makeOwned(site, { 'report.weekly': 'no' });
    await report(site, list);
    await ended(site, list, 'm1', inVain);
    site.clock.pass(7 * day);
    expect(await report(site, list, nobody)).toBe(0);
  });

  it('names fifty members and how many more', async () => {
    const site = await makeSite();
    const list = await makeOwned(site);
    const members = Array.from({ length: 620 }, (_, n) => ({
      address: `m${n}@example.org`,
      name: '',
      since: t0,
    }));
    await addMembers(site.database.q, list.id, members);
    await report(site, list);
    site.clock.pass(7 * day);
    await report(site, list, nobody);
    const { missing } = site.notices[0]?.variables ?? {};
    expect(missing).toMatchObject({ more: 570 });
    expect((missing as { lines: unknown[] }).lines).toHaveLength(50);
  });
});
