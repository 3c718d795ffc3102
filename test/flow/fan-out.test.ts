import { describe, expect, it } from 'vitest';
import { fanOut } from '../../src/flow/pipeline/fan-out.ts';
import type { Database } from '../../src/store/database.ts';
import { deliveriesOf } from '../../src/store/deliveries.ts';
import { addRole } from '../../src/store/lists.ts';
import { addMembers, setMember } from '../../src/store/members.ts';
import { findPosting, type PostingRow, setPostingState } from '../../src/store/postings.ts';
import type { PostingKind } from '../../src/store/schema.ts';
import { memberName, post } from '../store/fixtures.ts';
import { day, t0 } from './parts.ts';
import { makeList, makeSite, type TestSite } from './site.ts';

async function setUp(members: number, kind: PostingKind = 'post') {
  const site = await makeSite();
  const list = await makeList(site);
  await addMembers(
    site.database.q,
    list.id,
    Array.from({ length: members }, (_, n) => ({ address: memberName(n), name: '', since: t0 })),
  );
  const id = await post(site.database, list.id, 'm1', {}, kind);
  await setPostingState(site.database.q, id, 'fanning-out');
  return { site, list, id };
}

async function postingOf(site: TestSite, id: number): Promise<PostingRow> {
  const found = await findPosting(site.database.q, id);
  if (!found) throw new Error('no posting');
  return found;
}

/** A database whose `nth` transaction fails, as if the daemon died there. */
function dying(database: Database, nth: number): Database {
  let count = 0;
  return {
    ...database,
    hastily: (work) =>
      ++count === nth
        ? database.hastily(async (tx) => {
            await work(tx);
            throw new Error('died');
          })
        : database.hastily(work),
  };
}

describe('fanOut', () => {
  it('makes a pending row for each active member, and none for a suspended one', async () => {
    const { site, list, id } = await setUp(3);
    await setMember(site.database.q, { listId: list.id, address: memberName(1) }, { state: 'suspended' });
    await fanOut(site, await postingOf(site, id), t0);
    const rows = await deliveriesOf(site.database.q, id);
    expect(rows.map((row) => row.member)).toEqual([memberName(0), memberName(2)]);
    expect(rows[0]).toMatchObject({
      state: 'pending',
      nextAt: t0,
      createdAt: t0,
      expiresAt: t0 + 5 * day,
      attempts: 0,
    });
    expect(await postingOf(site, id)).toMatchObject({ state: 'distributing' });
    expect(site.woken()).toBe(1);
  });

  it.each([
    [0, 1],
    [499, 1],
    [500, 2],
    [501, 2],
    [1001, 3],
  ])('%i members go in %i chunks, delivery begins with the first', async (members, wakes) => {
    const { site, id } = await setUp(members);
    await fanOut(site, await postingOf(site, id), t0);
    expect((await deliveriesOf(site.database.q, id)).length).toBe(members);
    expect([site.woken(), (await postingOf(site, id)).state]).toEqual([wakes, 'distributing']);
  });

  it.each([1, 2, 3])('goes on where it was when it died in the transaction %i', async (nth) => {
    const { site, id } = await setUp(1200);
    const parts = { ...site, database: dying(site.database, nth) };
    await expect(fanOut(parts, await postingOf(site, id), t0)).rejects.toThrow('died');
    const before = await postingOf(site, id);
    expect([before.state, (await deliveriesOf(site.database.q, id)).length]).toEqual([
      'fanning-out',
      (nth - 1) * 500,
    ]);
    await fanOut(site, before, t0 + 1000);
    const rows = await deliveriesOf(site.database.q, id);
    expect([rows.length, new Set(rows.map((row) => row.member)).size]).toEqual([1200, 1200]);
    // What was made before the death says since when.
    expect(new Set(rows.map((row) => row.createdAt))).toEqual(new Set([nth === 1 ? t0 + 1000 : t0]));
    expect(rows.filter((row) => row.nextAt === t0).length).toBe((nth - 1) * 500);
  });

  it('makes none for who became a member after it began, also when it died meanwhile', async () => {
    const { site, list, id } = await setUp(600);
    const parts = { ...site, database: dying(site.database, 2) };
    await expect(fanOut(parts, await postingOf(site, id), t0)).rejects.toThrow('died');
    const late = { address: 'zoe@example.org', name: '', since: t0 + 500 };
    await addMembers(site.database.q, list.id, [late]);
    await fanOut(site, await postingOf(site, id), t0 + 1000);
    const members = (await deliveriesOf(site.database.q, id)).map((row) => row.member);
    expect([members.length, members.includes(late.address)]).toEqual([600, false]);
  });

  it('repeated it adds nothing', async () => {
    const { site, id } = await setUp(5);
    const posting = await postingOf(site, id);
    await fanOut(site, posting, t0);
    await fanOut(site, posting, t0 + 1000);
    expect((await deliveriesOf(site.database.q, id)).map((row) => row.createdAt)).toEqual(Array(5).fill(t0));
  });

  it.each<[PostingKind, string[]]>([
    ['owner', ['olga@example.org', 'otto@example.org']],
    ['editor', ['mona@example.org']],
  ])('mail to the role %s goes to those who hold it', async (kind, expected) => {
    const { site, list, id } = await setUp(3, kind);
    for (const [name, role] of [
      ['otto', 'owner'],
      ['olga', 'owner'],
      ['mona', 'moderator'],
    ] as const)
      await addRole(site.database.q, { listId: list.id, address: `${name}@example.org`, role, name: '' });
    await fanOut(site, await postingOf(site, id), t0);
    expect((await deliveriesOf(site.database.q, id)).map((row) => row.member)).toEqual(expected);
  });

  it('without moderators mail to them goes to the owners', async () => {
    const { site, list, id } = await setUp(0, 'editor');
    await addRole(site.database.q, { listId: list.id, address: 'olga@example.org', role: 'owner', name: '' });
    await fanOut(site, await postingOf(site, id), t0);
    expect((await deliveriesOf(site.database.q, id)).map((row) => row.member)).toEqual(['olga@example.org']);
  });
});
