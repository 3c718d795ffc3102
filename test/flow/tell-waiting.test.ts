import { describe, expect, it } from 'vitest';
import { tellWaiting } from '../../src/flow/care/tell-waiting.ts';
import { releaseCopies, releaseNowValid } from '../../src/flow/certificates/release.ts';
import { settleMissing } from '../../src/flow/delivery/missing.ts';
import type { ListContext } from '../../src/flow/lists/list-context.ts';
import { bind } from '../../src/store/bindings.ts';
import { upsertCertificate } from '../../src/store/certificates.ts';
import { claim, deliveriesOf, insertDeliveries } from '../../src/store/deliveries.ts';
import { setListSettings, setListState } from '../../src/store/lists.ts';
import { addMembers, setMember } from '../../src/store/members.ts';
import { findMessage } from '../../src/store/messages.ts';
import { finish } from '../../src/store/outcomes.ts';
import { claimOldest } from '../kit/claim.ts';
import { certificate as certificateOf, copy, post } from '../store/fixtures.ts';
import { day, hour, t0 } from './parts.ts';
import { makeList, makeSite, type TestSite } from './site.ts';

const bob = 'bob@example.org';

async function listOfBob(site: TestSite, settings: Record<string, string> = {}, name = 'team') {
  const list = await makeList(site, settings, name);
  await addMembers(site.database.q, list.id, [{ address: bob, name: '', since: t0 }]);
  return list;
}

let posts = 0;

/** A post of now whose copy for bob finds no certificate. */
async function postWithout(
  site: TestSite,
  list: ListContext,
  reason: 'expired' | 'not-yet-valid' = 'expired',
) {
  const id = `m${++posts}`;
  const posting = await post(site.database, list.id, id, { subject: `Subject ${id}` });
  const at = site.clock.now();
  const row = copy(posting, bob, { createdAt: at, nextAt: at, expiresAt: at + 5 * day });
  await site.database.write((tx) => insertDeliveries(tx, [row]));
  const turn = { postingId: posting, lease: 'x', now: at, limit: 1, leaseMs: day };
  const [claimed] = await claim(site.database.q, turn);
  const message = await findMessage(site.database.q, id);
  if (!claimed || !message) throw new Error('nothing claimed');
  const certificate = { usable: false, reason, detail: 'it expired' } as const;
  const of = { list, message, row: claimed, certificate, language: 'en' };
  const settlement = await settleMissing(site, of);
  await site.database.write(settlement.apply);
  await settlement.cleanUp();
  return { id, posting };
}

const told = (site: TestSite) =>
  site.notices.map(({ variables: { waiting, dropped, expires } }) => ({ waiting, dropped, expires }));

describe('copies that came to wait after the last notice', () => {
  it('are told of in one mail when missing.notice-every is over, with the number and the oldest end', async () => {
    const site = await makeSite();
    const list = await listOfBob(site);
    await postWithout(site, list);
    site.clock.pass(hour);
    await postWithout(site, list);
    const { id } = await postWithout(site, list);
    site.clock.pass(22 * hour);
    expect(await tellWaiting(site)).toBe(0);
    site.clock.pass(hour);
    expect(await tellWaiting(site)).toBe(1);
    expect(told(site)).toEqual([
      { waiting: 1, dropped: 0, expires: '2026-01-19' },
      { waiting: 3, dropped: 0, expires: '2026-01-19' },
    ]);
    expect(site.notices[1]).toMatchObject({
      to: bob,
      replyTo: 'sendcert',
      kind: 'auto-generated',
      variables: { reason: 'expired', mail: { subject: `Subject ${id}` } },
    });
    site.clock.pass(2 * day);
    expect(await tellWaiting(site)).toBe(0);
  });

  it('are not told of again by a post of the same day as the digest', async () => {
    const site = await makeSite();
    const list = await listOfBob(site);
    for (const hours of [0, 1, 24]) {
      site.clock.pass(hours * hour);
      await postWithout(site, list);
    }
    // The third post told of all three itself, and until when the first of them waits.
    expect(told(site).at(-1)).toEqual({ waiting: 3, dropped: 0, expires: '2026-01-19' });
    site.clock.pass(2 * day);
    expect([await tellWaiting(site), site.notices.length]).toEqual([0, 2]);
  });

  it('are told of by each list for itself', async () => {
    const site = await makeSite();
    for (const name of ['team', 'council']) {
      const list = await listOfBob(site, {}, name);
      for (let n = 0; n < 2; n++) await postWithout(site, list);
    }
    site.clock.pass(day);
    expect(await tellWaiting(site)).toBe(2);
    expect(told(site).map((one) => one.waiting)).toEqual([1, 1, 2, 2]);
  });

  it('two who tell at once tell once, and leave one file', async () => {
    const site = await makeSite();
    const list = await listOfBob(site);
    for (let n = 0; n < 2; n++) await postWithout(site, list);
    site.clock.pass(day);
    const files = (await site.spool.messages()).length;
    const both = await Promise.all([tellWaiting(site), tellWaiting(site)]);
    expect(both.sort()).toEqual([0, 1]);
    expect((await site.spool.messages()).length).toBe(files + 1);
  });

  it.each<[string, (site: TestSite, list: ListContext) => Promise<unknown>]>([
    [
      'the member is suspended',
      ({ database }, list) =>
        setMember(database.q, { listId: list.id, address: bob }, { state: 'suspended' }),
    ],
    ['the list is closed', ({ database }, list) => setListState(database.q, list.id, 'closed')],
  ])('are not told of while %s', async (_, change) => {
    const site = await makeSite();
    const list = await listOfBob(site);
    for (let n = 0; n < 2; n++) await postWithout(site, list);
    await change(site, list);
    site.clock.pass(day);
    expect(await tellWaiting(site)).toBe(0);
  });

  it('notify: copies that were dropped are counted, and told of without another post', async () => {
    const site = await makeSite();
    const list = await listOfBob(site, { 'missing.action': 'notify' });
    for (const hours of [0, 1, 1]) {
      site.clock.pass(hours * hour);
      await postWithout(site, list);
    }
    site.clock.pass(day);
    expect(await tellWaiting(site)).toBe(1);
    expect(told(site)).toEqual([
      { waiting: 0, dropped: 1, expires: '' },
      { waiting: 0, dropped: 2, expires: '' },
    ]);
    site.clock.pass(day);
    expect(await tellWaiting(site)).toBe(0);
  });

  it('notify, and drop since: what is dropped now is not told of', async () => {
    const site = await makeSite();
    const list = await listOfBob(site, { 'missing.action': 'notify' });
    for (let n = 0; n < 2; n++) {
      await postWithout(site, list);
      site.clock.pass(hour);
    }
    await setListSettings(site.database.q, list.id, { settings: { 'missing.action': 'drop' } });
    site.clock.pass(day);
    expect(await tellWaiting(site)).toBe(0);
  });

  it('drop: not a word later either', async () => {
    const site = await makeSite();
    const list = await listOfBob(site, { 'missing.action': 'drop' });
    for (let n = 0; n < 2; n++) await postWithout(site, list);
    site.clock.pass(2 * day);
    expect([await tellWaiting(site), site.notices.length]).toEqual([0, 0]);
  });
});

describe('released copies', () => {
  it('are due on all lists, oldest first, and the next notice of each list is due at once', async () => {
    const site = await makeSite();
    const lists = [await listOfBob(site), await listOfBob(site, {}, 'council')];
    const postings: number[] = [];
    for (const list of [...lists, ...lists]) {
      postings.push((await postWithout(site, list)).posting);
      site.clock.pass(1000);
    }
    const now = site.clock.now();
    expect(await site.database.write((tx) => releaseCopies(tx, bob, { now, expiresAt: now + day }))).toBe(4);
    const order: number[] = [];
    for (let n = 0; n < 8; n++) {
      const [row] = await claimOldest(site.database.q, { lease: 'y', now, limit: 1, leaseMs: day });
      if (!row) continue;
      if (postings.includes(row.postingId)) order.push(row.postingId);
      // The next one follows when it is answered.
      const ended = { id: row.id, state: 'delivered', reason: null, detail: null } as const;
      await site.database.write((tx) => finish(tx, [ended], now));
    }
    expect(order).toEqual(postings);
    for (const list of lists) await postWithout(site, list);
    expect(site.notices).toHaveLength(4);
  });

  it('go when a certificate that was not valid yet is', async () => {
    const site = await makeSite();
    const { posting } = await postWithout(site, await listOfBob(site), 'not-yet-valid');
    const later = certificateOf('bob', { notBefore: t0 + day });
    await site.database.write(async (tx) => {
      await upsertCertificate(tx, later);
      const binding = { address: bob, sha256: later.sha256, state: 'in-use', since: t0 } as const;
      await bind(tx, { ...binding, purpose: 'enc', source: 'imported', signingTime: null });
    });
    const release = () => {
      const now = site.clock.now();
      return site.database.write((tx) => releaseNowValid(tx, { now, expiresAt: now + day }));
    };
    site.clock.pass(day - 1);
    expect(await release()).toBe(0);
    site.clock.pass(1);
    expect(await release()).toBe(1);
    expect(await deliveriesOf(site.database.q, posting)).toMatchObject([{ state: 'pending' }]);
  });
});
