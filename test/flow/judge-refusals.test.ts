import { describe, expect, it } from 'vitest';
import { Fault } from '../../src/base/errors.ts';
import { endPosting } from '../../src/flow/delivery/failure-report.ts';
import { judgeAllRefusals } from '../../src/flow/delivery/judge-refusals.ts';
import { writeAnswers } from '../../src/flow/delivery/write-outcomes.ts';
import type { ListContext } from '../../src/flow/lists/list-context.ts';
import { bounceScore } from '../../src/policy/bounces.ts';
import type { RelayedOutcome } from '../../src/smtp/relays.ts';
import { deliveriesOf, insertDeliveries } from '../../src/store/deliveries.ts';
import { ledgerOf } from '../../src/store/ledger.ts';
import { addRole, removeRole } from '../../src/store/lists.ts';
import { addMembers, bouncesSince, findMember, setMember } from '../../src/store/members.ts';
import { setPostingState } from '../../src/store/postings.ts';
import { bouncesOf, noteReturned, refusalsOf } from '../../src/store/refusals.ts';
import { claimOldest } from '../kit/claim.ts';
import { copy, post } from '../store/fixtures.ts';
import { day, t0 } from './parts.ts';
import { makeList, makeSite, type TestSite } from './site.ts';

const owner = 'olga@example.org';
const [a, b, c] = ['a@example.org', 'b@example.org', 'c@example.org'] as const;

const said = (
  kind: RelayedOutcome['kind'],
  code: number,
  enhanced: string,
  more: Partial<RelayedOutcome> = {},
): RelayedOutcome => ({
  to: a,
  kind,
  code,
  enhanced,
  text: 'words',
  command: 'RCPT',
  relayDown: false,
  relay: 'mail.example:25',
  ofRecipient: kind === 'refused',
  ...more,
});
const taken = said('delivered', 250, '2.0.0');
const unknown = said('refused', 550, '5.1.1');
const later = said('deferred', 450, '4.2.1');

async function setUp(settings: Readonly<Record<string, string>> = {}) {
  const site = await makeSite();
  const list = await makeList(site, { 'report.failures': 'never', ...settings });
  await addRole(site.database.q, { listId: list.id, address: owner, role: 'owner', name: '' });
  await addMembers(
    site.database.q,
    list.id,
    [a, b, c].map((address) => ({ address, name: '', since: t0 - day })),
  );
  return { site, list };
}

/** A post with a copy for each, and what the relay said to it; null: still on its way. */
async function posted(
  site: TestSite,
  list: ListContext,
  id: string,
  answers: Readonly<Record<string, RelayedOutcome | null>>,
) {
  const posting = await post(site.database, list.id, id);
  await setPostingState(site.database.q, posting, 'distributing');
  const at = site.clock.now();
  await site.database.write((tx) =>
    insertDeliveries(
      tx,
      Object.keys(answers).map((member) => copy(posting, member, { nextAt: at, expiresAt: at + 5 * day })),
    ),
  );
  await answer(site, posting, answers);
  return posting;
}

/** The relay answers the copies of a posting that are due, and the batch ends. */
async function answer(
  site: TestSite,
  posting: number,
  answers: Readonly<Record<string, RelayedOutcome | null>>,
) {
  const now = site.clock.now();
  // Notices are due too: whatever is taken first, in the end all are.
  while ((await claimOldest(site.database.q, { lease: 'l', now, limit: 100, leaseMs: 1000 })).length > 0);
  const rows = await deliveriesOf(site.database.q, posting);
  const parts = { ...site, random: () => 0.5 };
  const given = rows.flatMap((row) => {
    const outcome = row.state === 'in-flight' ? answers[row.member] : null;
    return outcome
      ? [{ addressee: { row, certificate: null }, outcome: { ...outcome, to: row.member } }]
      : [];
  });
  await site.database.write((tx) => writeAnswers(tx, parts, given));
  await endPosting(site, posting);
}

/** A copy that the relay took comes back, for want of a way. */
async function comesBack(
  site: TestSite,
  list: ListContext,
  {
    posting,
    id,
    member,
    at = site.clock.now(),
  }: { readonly posting: number; readonly id: string; readonly member: string; readonly at?: number },
) {
  const row = (await deliveriesOf(site.database.q, posting)).find((one) => one.member === member);
  const sent = { deliveryId: row?.id ?? 0, postingId: posting, messageId: id, member, at };
  const said = { listId: list.id, ofRecipient: true, code: '5.4.4', reply: 'no route' };
  await site.database.write((tx) => noteReturned(tx, sent, said));
  await judgeAllRefusals(site);
}

const verdicts = async (site: TestSite, posting: number) =>
  (await refusalsOf(site.database.q, posting)).map((row) => `${row.address} ${row.verdict}`);
const events = (site: TestSite) => site.notices.map((one) => `${one.to}: ${String(one.variables.event)}`);

describe('whose doing a refusal is', () => {
  it('the member\u2019s, if others got their copies', async () => {
    const { site, list } = await setUp();
    const posting = await posted(site, list, 'm1', { [a]: unknown, [b]: unknown, [c]: taken });
    expect(await verdicts(site, posting)).toEqual([`${a} member`, `${b} member`]);
    expect(site.notices).toEqual([]);
  });

  it('the member\u2019s, if the others were refused for something else', async () => {
    const { site, list } = await setUp();
    const full = said('refused', 552, '5.2.2');
    const posting = await posted(site, list, 'm1', { [a]: unknown, [b]: full });
    expect(await verdicts(site, posting)).toEqual([`${a} member`, `${b} member`]);
  });

  it('the relay\u2019s, if all were refused alike: the postmaster is told once a day, and nobody\u2019s score rises', async () => {
    const { site, list } = await setUp({ 'bounce.threshold': '1' });
    const denied = said('refused', 554, '5.7.1', { text: 'relay access denied' });
    const posting = await posted(site, list, 'm1', { [a]: denied, [b]: denied, [c]: denied });
    expect(await verdicts(site, posting)).toEqual([`${a} relay`, `${b} relay`, `${c} relay`]);
    await posted(site, list, 'm2', { [a]: denied, [b]: denied });
    expect(events(site)).toEqual(['postmaster@lists.example: the relay refuses posts']);
    expect(JSON.stringify(site.notices[0]?.variables)).toContain('All 3 copies');
    expect(JSON.stringify(site.notices[0]?.variables)).toContain('554 5.7.1 relay access denied');
    site.clock.pass(day);
    await posted(site, list, 'm3', { [a]: denied, [b]: denied });
    expect(events(site)).toHaveLength(2);
  });

  it('the relay\u2019s: an alarm that could not be written is given with the next post', async () => {
    const { site, list } = await setUp();
    const denied = said('refused', 554, '5.7.1');
    const compose = () => Promise.reject(new Fault('template-error', 'the template is broken', {}));
    await posted({ ...site, compose }, list, 'm1', { [a]: denied, [b]: denied });
    expect(site.log.events()).toContain('notice-failed');
    await posted(site, list, 'm2', { [a]: denied, [b]: denied });
    expect(events(site)).toEqual(['postmaster@lists.example: the relay refuses posts']);
  });

  it.each(['MAIL', 'DATA', '.'])('the relay\u2019s, at %s, of a single copy too', async (command) => {
    const { site, list } = await setUp();
    const refused = said('refused', 554, '5.7.1', { command, ofRecipient: false });
    const posting = await posted(site, list, 'm1', { [a]: refused });
    expect(await verdicts(site, posting)).toEqual([`${a} relay`]);
    expect(events(site)).toEqual(['postmaster@lists.example: the relay refuses posts']);
  });

  it('the relay\u2019s, of copies refused before their recipients were named: said of those, with each reply', async () => {
    const { site, list } = await setUp();
    const early = (enhanced: string) =>
      said('refused', 554, enhanced, { command: 'MAIL', ofRecipient: false });
    await posted(site, list, 'm1', { [a]: early('5.7.1'), [b]: early('5.6.0'), [c]: unknown });
    const told = JSON.stringify(site.notices[0]?.variables);
    expect(told).toContain('2 copies of a post were refused');
    expect(told).not.toMatch(/All|same way/);
    expect(told).toMatch(/554 5\.7\.1.*554 5\.6\.0/);
  });

  it('nobody\u2019s, if one message was refused where others went through: no score, no alarm', async () => {
    const { site, list } = await setUp();
    const refused = said('refused', 554, '5.6.0', { command: '.', ofRecipient: false });
    const posting = await posted(site, list, 'm1', { [a]: refused, [b]: taken });
    expect(await verdicts(site, posting)).toEqual([`${a} relay`]);
    expect(site.notices).toEqual([]);
  });

  it('the relay\u2019s, if it took all copies and sends each of them back alike, one by one', async () => {
    const { site, list } = await setUp({ 'bounce.threshold': '2', 'bounce.action': 'suspend' });
    for (const id of ['m1', 'm2', 'm3']) {
      const posting = await posted(site, list, id, { [a]: taken, [b]: taken, [c]: taken });
      for (const member of [a, b, c]) await comesBack(site, list, { posting, id, member });
      expect(await verdicts(site, posting)).toEqual([`${a} relay`, `${b} relay`, `${c} relay`]);
      site.clock.pass(day);
    }
    expect((await findMember(site.database.q, list.id, a))?.state).toBe('active');
    expect(events(site)[0]).toBe('postmaster@lists.example: the relay refuses posts');
    expect(JSON.stringify(site.notices[0]?.variables)).toContain('All 3 copies');
  });

  it('the member\u2019s, if the copies of others stayed where they were', async () => {
    const { site, list } = await setUp();
    const posting = await posted(site, list, 'm1', { [a]: taken, [b]: taken, [c]: taken });
    for (const member of [a, b]) await comesBack(site, list, { posting, id: 'm1', member });
    expect(await verdicts(site, posting)).toEqual([`${a} member`, `${b} member`]);
  });

  it('is not asked before all copies were tried, and not again after that', async () => {
    const { site, list } = await setUp();
    const posting = await posted(site, list, 'm1', { [a]: unknown, [b]: null, [c]: taken });
    expect(await verdicts(site, posting)).toEqual([`${a} null`]);
    await site.database.q
      .updateTable('deliveries')
      .set({ state: 'pending', lease: null, nextAt: t0 })
      .where('state', '=', 'in-flight')
      .execute();
    await answer(site, posting, { [b]: later });
    expect(await verdicts(site, posting)).toEqual([`${a} member`]);
    site.clock.pass(10 * 60_000);
    await answer(site, posting, { [b]: unknown });
    expect(await verdicts(site, posting)).toEqual([`${a} member`, `${b} member`]);
  });

  it('the members\u2019, beside a greylisted copy that is taken at its next try', async () => {
    const { site, list } = await setUp();
    const posting = await posted(site, list, 'm1', { [a]: unknown, [b]: unknown, [c]: later });
    expect(await verdicts(site, posting)).toEqual([`${a} null`, `${b} null`]);
    site.clock.pass(10 * 60_000);
    await answer(site, posting, { [c]: taken });
    expect(await verdicts(site, posting)).toEqual([`${a} member`, `${b} member`]);
    expect(site.notices).toEqual([]);
  });

  it.each([
    ['refused alike', unknown, 3],
    ['put off again, for however long', later, 2],
  ])(
    'the relay\u2019s, beside a copy that is %s at its next try; the postmaster is told then',
    async (_, next, count) => {
      const { site, list } = await setUp();
      const posting = await posted(site, list, 'm1', { [a]: unknown, [b]: unknown, [c]: later });
      expect(site.notices).toEqual([]);
      site.clock.pass(10 * 60_000);
      await answer(site, posting, { [c]: next });
      expect(await verdicts(site, posting)).toEqual([a, b, c].slice(0, count).map((one) => `${one} relay`));
      expect(events(site)).toEqual(['postmaster@lists.example: the relay refuses posts']);
      // What comes of it later changes nothing.
      site.clock.pass(60 * 60_000);
      await answer(site, posting, { [c]: taken });
      expect(await verdicts(site, posting)).toEqual([a, b, c].slice(0, count).map((one) => `${one} relay`));
    },
  );

  it('the relay\u2019s within the hour, beside a copy whose own relay is down for days', async () => {
    const { site, list } = await setUp();
    const down = said('deferred', 421, '4.3.2', { relayDown: true, relay: 'other.example:25' });
    const posting = await posted(site, list, 'm1', { [a]: unknown, [b]: unknown, [c]: down });
    site.clock.pass(10 * 60_000);
    await answer(site, posting, { [c]: down });
    expect(await verdicts(site, posting)).toEqual([`${a} null`, `${b} null`]);
    site.clock.pass(60 * 60_000);
    await answer(site, posting, { [c]: down });
    expect(await verdicts(site, posting)).toEqual([`${a} relay`, `${b} relay`]);
    expect(events(site)).toEqual(['postmaster@lists.example: the relay refuses posts']);
  });

  it('the relay\u2019s at once, beside a copy that is put off, if it refuses the message', async () => {
    const { site, list } = await setUp();
    const denied = said('refused', 554, '5.7.1', { command: 'MAIL', ofRecipient: false });
    const posting = await posted(site, list, 'm1', { [a]: denied, [b]: denied, [c]: later });
    expect(await verdicts(site, posting)).toEqual([`${a} relay`, `${b} relay`]);
    expect(events(site)).toEqual(['postmaster@lists.example: the relay refuses posts']);
  });

  it('is asked after a crash by the clock', async () => {
    const { site, list } = await setUp();
    const posting = await posted(site, list, 'm1', { [a]: unknown, [b]: taken });
    await site.database.q.updateTable('refusals').set({ verdict: null }).execute();
    expect(await judgeAllRefusals(site)).toBe(1);
    expect(await verdicts(site, posting)).toEqual([`${a} member`]);
    expect(await judgeAllRefusals(site)).toBe(0);
  });

  it('what was never offered to the relay is no refusal', async () => {
    const { site, list } = await setUp();
    const misfit = { ...said('refused', 0, '5.3.4'), code: null, misfit: 'too-large-for-relay' } as const;
    const posting = await posted(site, list, 'm1', { [a]: misfit, [b]: misfit });
    expect(await verdicts(site, posting)).toEqual([]);
    expect(await deliveriesOf(site.database.q, posting)).toMatchObject([
      {
        state: 'failed',
        reason: 'too-large-for-relay',
        detail: expect.stringContaining('larger than the mail server'),
      },
      { state: 'failed' },
    ]);
  });
});

describe('bounce.*', () => {
  /** A post a day, of which a's copy is refused, and every other one twice. */
  async function refuse(site: TestSite, list: ListContext, days: number, from = 0) {
    for (let n = from; n < from + days; n++) {
      await posted(site, list, `m${n}`, { [a]: unknown, [b]: taken });
      await posted(site, list, `n${n}`, { [a]: unknown, [b]: taken });
      site.clock.pass(day);
    }
  }

  it('tell: the owners are told at the threshold, once, and he goes on getting posts', async () => {
    const { site, list } = await setUp();
    await refuse(site, list, 4);
    expect(site.notices).toEqual([]);
    await refuse(site, list, 3, 4);
    expect(events(site)).toEqual([`${owner}: mail to ${a} is refused`]);
    expect(JSON.stringify(site.notices[0]?.variables)).toContain('on 5 days of the last 30');
    expect(await findMember(site.database.q, list.id, a)).toMatchObject({ state: 'active' });
  });

  it('suspend: he is suspended at the threshold, with a ledger line, and the owners are told', async () => {
    const { site, list } = await setUp({ 'bounce.action': 'suspend', 'bounce.threshold': '2' });
    await refuse(site, list, 2);
    expect(await findMember(site.database.q, list.id, a)).toMatchObject({ state: 'suspended' });
    expect(await findMember(site.database.q, list.id, b)).toMatchObject({ state: 'active' });
    expect(events(site)).toEqual([`${owner}: mail to ${a} is refused`]);
    const lines = await site.database.q
      .selectFrom('ledger')
      .selectAll()
      .where('event', '=', 'member-changed')
      .execute();
    expect(lines).toMatchObject([
      { member: a, detail: 'suspended by bounce.action: refused on 2 days, last with 550 5.1.1 words' },
    ]);
    expect(await ledgerOf(site.database.q, 'm0')).not.toEqual([]);
  });

  it.each(['suspend', 'tell'] as const)(
    '%s, where the owners cannot be told: of each member all the same, and what only tells is tried again',
    async (action) => {
      const { site, list } = await setUp({ 'bounce.action': action, 'bounce.threshold': '1' });
      const pen = { listId: list.id, address: 'unwritable@example.org', role: 'owner' } as const;
      await addRole(site.database.q, { ...pen, name: '' });
      await posted(site, list, 'm1', { [a]: unknown, [b]: unknown, [c]: taken });
      const states = [a, b].map(
        async (address) => (await findMember(site.database.q, list.id, address))?.state,
      );
      const state = action === 'suspend' ? 'suspended' : 'active';
      expect(await Promise.all(states)).toEqual([state, state]);
      expect(site.log.events().filter((event) => event === 'notice-failed')).toHaveLength(2);
      await removeRole(site.database.q, pen);
      site.notices.splice(0);
      await posted(site, list, 'm2', { [a]: unknown, [c]: taken });
      expect(events(site).length).toBe(action === 'suspend' ? 0 : 1);
    },
  );

  const suspending = { 'bounce.action': 'suspend', 'bounce.threshold': '1' };
  const stateOf = async (site: TestSite, list: ListContext, address: string) => {
    const member = await findMember(site.database.q, list.id, address);
    return member && [member.state, member.suspendedBy];
  };

  it('suspend: who was suspended by what turns out to be the relay\u2019s doing gets posts again, and the owners hear', async () => {
    const { site, list } = await setUp(suspending);
    const posting = await posted(site, list, 'm1', { [a]: taken, [b]: taken, [c]: taken });
    for (const member of [a, b]) await comesBack(site, list, { posting, id: 'm1', member });
    expect(await stateOf(site, list, a)).toEqual(['suspended', 'bounces']);
    await comesBack(site, list, { posting, id: 'm1', member: c });
    for (const member of [a, b, c]) expect(await stateOf(site, list, member)).toEqual(['active', null]);
    expect(events(site)).toEqual([
      `${owner}: mail to ${a} is refused`,
      `${owner}: mail to ${b} is refused`,
      'postmaster@lists.example: the relay refuses posts',
      `${owner}: ${a} gets posts again`,
      `${owner}: ${b} gets posts again`,
    ]);
    const lines = await site.database.q
      .selectFrom('ledger')
      .select(['member', 'detail'])
      .where('event', '=', 'member-changed')
      .orderBy('id')
      .execute();
    expect(lines.map((one) => [one.member, one.detail?.split(' by ')[0]])).toEqual([
      [a, 'suspended'],
      [b, 'suspended'],
      [a, 'no longer suspended'],
      [b, 'no longer suspended'],
    ]);
  });

  it('suspend: but not if enough is left, or a person suspended him', async () => {
    const { site, list } = await setUp(suspending);
    await posted(site, list, 'm0', { [a]: unknown, [b]: taken });
    const posting = await posted(site, list, 'm1', { [a]: taken, [b]: taken });
    await comesBack(site, list, { posting, id: 'm1', member: b });
    await setMember(site.database.q, { listId: list.id, address: b }, { state: 'suspended' });
    await comesBack(site, list, { posting, id: 'm1', member: a });
    expect(await verdicts(site, posting)).toEqual([`${a} relay`, `${b} relay`]);
    expect(await stateOf(site, list, a)).toEqual(['suspended', 'bounces']);
    expect(await stateOf(site, list, b)).toEqual(['suspended', null]);
  });

  it('suspend: who is given another chance is not judged by what was sent before, however late it comes back', async () => {
    const { site, list } = await setUp(suspending);
    const first = await posted(site, list, 'm1', { [a]: taken, [b]: taken });
    const second = await posted(site, list, 'm2', { [a]: taken, [b]: taken });
    const sent = site.clock.now();
    await comesBack(site, list, { posting: first, id: 'm1', member: a });
    site.clock.pass(day);
    const now = site.clock.now();
    await setMember(site.database.q, { listId: list.id, address: a }, { state: 'active', bouncesFrom: now });
    // The same report again, and one that was on its way.
    await comesBack(site, list, { posting: first, id: 'm1', member: a, at: sent });
    await comesBack(site, list, { posting: second, id: 'm2', member: a, at: sent });
    expect(await stateOf(site, list, a)).toEqual(['active', null]);
    const third = await posted(site, list, 'm3', { [a]: taken, [b]: taken });
    await comesBack(site, list, { posting: third, id: 'm3', member: a });
    expect(await stateOf(site, list, a)).toEqual(['suspended', 'bounces']);
    const member = await findMember(site.database.q, list.id, a);
    expect(member && bouncesSince(member)).toBe(now);
  });

  it('count: it is counted and nobody told', async () => {
    const { site, list } = await setUp({ 'bounce.action': 'count', 'bounce.threshold': '1' });
    await refuse(site, list, 2);
    expect(site.notices).toEqual([]);
    const bounces = await bouncesOf(site.database.q, { listId: list.id, address: a, since: 0 });
    expect(bounces).toHaveLength(4);
    expect(bounceScore(list.policy, bounces, site.clock.now())).toBe(2);
  });

  it('what is older than bounce.days, or than the membership, does not count', async () => {
    const { site, list } = await setUp({ 'bounce.threshold': '2', 'bounce.days': '3' });
    await refuse(site, list, 1);
    site.clock.pass(3 * day);
    await refuse(site, list, 1, 1);
    expect(site.notices).toEqual([]);
    await site.database.q.updateTable('members').set({ since: site.clock.now() }).execute();
    await refuse(site, list, 1, 2);
    expect(site.notices).toEqual([]);
    await refuse(site, list, 1, 3);
    expect(site.notices).toHaveLength(1);
  });
});

describe('a relay that is down', () => {
  it('burns no attempts and waits as after a first failure', async () => {
    const { site, list } = await setUp();
    const down = said('deferred', 421, '4.3.2', { relayDown: true });
    const posting = await posted(site, list, 'm1', { [a]: later });
    for (let n = 0; n < 5; n++) {
      site.clock.pass(10 * 60_000);
      await answer(site, posting, { [a]: down });
    }
    const [row] = await deliveriesOf(site.database.q, posting);
    expect(row).toMatchObject({ state: 'deferred', reason: 'relay-down', attempts: 1 });
    expect(row?.nextAt).toBe(site.clock.now() + 5 * 60_000);
  });

  it('but after the final dot, where it may have taken the copy, the attempts count', async () => {
    const { site, list } = await setUp();
    const silent = { ...said('deferred', 421, '4.4.2', { atContent: true, command: '.' }), code: null };
    const posting = await posted(site, list, 'm1', { [a]: silent });
    for (let n = 0; n < 2; n++) {
      site.clock.pass(60 * 60_000);
      await answer(site, posting, { [a]: silent });
    }
    const [row] = await deliveriesOf(site.database.q, posting);
    expect(row).toMatchObject({ state: 'deferred', attempts: 3 });
    expect(row?.nextAt).toBeGreaterThan(site.clock.now() + 15 * 60_000);
  });
});
