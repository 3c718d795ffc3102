import { describe, expect, it } from 'vitest';
import { tellAuthor, tellAuthors } from '../../src/flow/delivery/author-summary.ts';
import { endPosting, endPostings } from '../../src/flow/delivery/failure-report.ts';
import { deliveriesOf, insertDeliveries } from '../../src/store/deliveries.ts';
import { addRole, removeRole } from '../../src/store/lists.ts';
import type { NewMessage } from '../../src/store/messages.ts';
import { finish } from '../../src/store/outcomes.ts';
import { findPosting, recordVerdict } from '../../src/store/postings.ts';
import type { FinalDeliveryState, PostingState } from '../../src/store/schema.ts';
import { copy, envelope, memberName, post } from '../store/fixtures.ts';
import { day, t0 } from './parts.ts';
import { makeList, makeSite, type TestSite } from './site.ts';

const alice = 'alice@example.org';
const signed = { verdict: 'signed', author: alice, encrypted: true };

/** A post of alice whose copies came to these states; null is one that still waits. */
async function posting(
  site: TestSite,
  listId: number,
  states: readonly (FinalDeliveryState | null)[],
  d: { verdict?: Record<string, unknown>; state?: PostingState; message?: Partial<NewMessage> } = {},
): Promise<number> {
  const id = await post(site.database, listId, 'm1', d.message);
  await recordVerdict(site.database.q, id, {
    state: d.state ?? 'distributing',
    reason: null,
    verdict: d.verdict ?? signed,
    prepared: null,
    decidedAt: t0,
  });
  await site.database.write((tx) =>
    insertDeliveries(
      tx,
      states.map((_, n) => copy(id, memberName(n))),
    ),
  );
  const rows = await deliveriesOf(site.database.q, id);
  for (const [n, state] of states.entries()) {
    const outcome = { id: rows[n]?.id ?? 0, reason: null, detail: 'words', cipher: 'aes-256-cbc' };
    if (state) await site.database.write((tx) => finish(tx, [{ ...outcome, state }], t0));
  }
  return id;
}

const counts = (site: TestSite) => {
  const { copies, encrypted, clear, waiting, undelivered } = site.notices[0]?.variables ?? {};
  return { copies, encrypted, clear, waiting, undelivered };
};

describe('report.author', () => {
  it('yes: the author is told once, when the last copy ended, with numbers and no names', async () => {
    const site = await makeSite();
    const list = await makeList(site, { 'report.author': 'yes' });
    const id = await posting(site, list.id, ['delivered', 'delivered', 'failed', 'cancelled']);
    await endPosting(site, id);
    expect(site.notices).toMatchObject([
      {
        template: 'author-summary',
        to: alice,
        kind: 'auto-replied',
        inReplyTo: '<m1@example.org>',
        replyTo: 'owner',
      },
    ]);
    expect(counts(site)).toEqual({ copies: 4, encrypted: 2, clear: 0, waiting: 0, undelivered: 2 });
    expect(JSON.stringify(site.notices[0]?.variables)).not.toContain(memberName(0));
    expect(await tellAuthor(site, id)).toBe(false);
  });

  it('yes: after a day, if copies still wait, and not again when they end', async () => {
    const site = await makeSite();
    const list = await makeList(site, { 'report.author': 'yes' });
    const id = await posting(site, list.id, ['delivered', null]);
    site.clock.pass(day - 1);
    expect(await tellAuthors(site, list)).toBe(0);
    site.clock.pass(1);
    expect(await tellAuthors(site, list)).toBe(1);
    expect(counts(site)).toMatchObject({ copies: 2, encrypted: 1, waiting: 1 });
    expect(await tellAuthors(site, list)).toBe(0);
    const [, last] = await deliveriesOf(site.database.q, id);
    const outcome = { id: last?.id ?? 0, state: 'delivered', reason: null, detail: null } as const;
    await site.database.write((tx) => finish(tx, [outcome], site.clock.now()));
    await endPosting(site, id);
    expect(site.notices).toHaveLength(1);
  });

  it('yes: two who tell at once tell once, and leave one file', async () => {
    const site = await makeSite();
    const list = await makeList(site, { 'report.author': 'yes' });
    const id = await posting(site, list.id, ['delivered']);
    expect((await Promise.all([tellAuthor(site, id), tellAuthor(site, id)])).sort()).toEqual([false, true]);
    expect(await site.spool.messages()).toHaveLength(1);
  });

  it('no: he is not', async () => {
    const site = await makeSite();
    const list = await makeList(site);
    const id = await posting(site, list.id, ['delivered', null]);
    site.clock.pass(2 * day);
    expect([await tellAuthor(site, id), await tellAuthors(site, list)]).toEqual([false, 0]);
  });

  const others: [string, Parameters<typeof posting>[3]][] = [
    ['an unsigned post', { verdict: { verdict: 'unsigned', author: null } }],
    ['an untrusted signature', { verdict: { verdict: 'untrusted', author: alice } }],
    ['another envelope sender', { message: { envelope: { ...envelope, from: 'mallory@example.org' } } }],
    ['the null sender', { message: { envelope: { ...envelope, from: '' } } }],
    ['another From', { message: { fromAddress: 'mallory@example.org' } }],
    ['a refused post', { state: 'refused' }],
    ['a post that waits for a moderator', { state: 'held' }],
  ];
  it.each(others)('never for %s', async (_, change) => {
    const site = await makeSite();
    const list = await makeList(site, { 'report.author': 'yes' });
    expect(await tellAuthor(site, await posting(site, list.id, ['delivered'], change))).toBe(false);
    expect(site.notices).toEqual([]);
  });
});

describe('report.failures', () => {
  const cases: [string, string, FinalDeliveryState[], boolean][] = [
    ['daily', 'one of two failed', ['failed', 'delivered'], false],
    ['daily', 'nobody got it', ['failed', 'expired'], true],
    ['at-once', 'one of two failed', ['failed', 'delivered'], true],
    ['never', 'nobody got it', ['failed', 'failed'], false],
    ['at-once', 'all got it', ['delivered', 'delivered'], false],
  ];
  it.each(cases)('%s, %s: the owners are told at once: %3$s', async (value, _, states, told) => {
    const site = await makeSite();
    const list = await makeList(site, { 'report.failures': value });
    await addRole(site.database.q, { listId: list.id, address: 'ada@example.org', role: 'owner', name: '' });
    await endPosting(site, await posting(site, list.id, states));
    expect(site.notices.map((notice) => notice.to)).toEqual(told ? ['ada@example.org'] : []);
  });

  async function failedPost(owner = 'ada@example.org') {
    const site = await makeSite();
    const settings = { 'report.failures': 'at-once', 'report.author': 'yes' };
    const list = await makeList(site, settings);
    await addRole(site.database.q, { listId: list.id, address: owner, role: 'owner', name: '' });
    const id = await posting(site, list.id, ['failed', 'delivered']);
    const state = async () => (await findPosting(site.database.q, id))?.state;
    const toOwners = async () =>
      (await site.database.q.selectFrom('deliveries').select('member').execute()).filter(
        (row) => row.member === owner,
      ).length;
    return { site, list, id, state, toOwners };
  }

  it('a crash before the report is durable loses neither it nor the author\u2019s, and tells nobody twice', async () => {
    const { site, id, state, toOwners } = await failedPost();
    const { database } = site;
    // The author's transaction is the first, the report's the second: the power goes in each.
    for (const good of [0, 1]) {
      let writes = 0;
      const write: typeof database.write = async (work) => {
        if (writes++ === good) throw new Error('the power is gone');
        return database.write(work);
      };
      await expect(endPosting({ ...site, database: { ...database, write } }, id)).rejects.toThrow('power');
      expect([await state(), await toOwners()]).toEqual(['distributing', 0]);
    }
    expect([await endPostings(site), await endPostings(site)]).toEqual([1, 0]);
    expect([await state(), await toOwners()]).toEqual(['done', 1]);
    const rows = await site.database.q.selectFrom('deliveries').select('member').execute();
    expect(rows.filter((row) => row.member === alice)).toHaveLength(1);
  });

  it('of two who end a posting at once, one reports', async () => {
    const { site, id, toOwners } = await failedPost();
    expect((await Promise.all([endPosting(site, id), endPosting(site, id)])).sort()).toEqual([false, true]);
    expect(await toOwners()).toBe(1);
    expect(await site.spool.messages()).toHaveLength(2);
  });

  it('one that cannot be written is tried again by housekeeping', async () => {
    const { site, list, id, state, toOwners } = await failedPost('unwritable@example.org');
    expect([await endPosting(site, id), await endPostings(site), await state()]).toEqual([
      false,
      0,
      'distributing',
    ]);
    const owner = { listId: list.id, role: 'owner' } as const;
    await removeRole(site.database.q, { ...owner, address: 'unwritable@example.org' });
    await addRole(site.database.q, { ...owner, address: 'ada@example.org', name: '' });
    expect([await endPostings(site), await state(), await toOwners()]).toEqual([1, 'done', 0]);
    expect(site.notices.filter((notice) => notice.to === 'ada@example.org')).toHaveLength(1);
  });

  it('what waited in vain for a certificate is for the weekly report', async () => {
    const { site, id, state, toOwners } = await failedPost();
    await site.database.q
      .updateTable('deliveries')
      .set({ state: 'expired', reason: 'no-certificate' })
      .where('state', '=', 'failed')
      .execute();
    expect([await endPosting(site, id), await state(), await toOwners()]).toEqual([true, 'done', 0]);
  });
});
