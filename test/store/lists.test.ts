import { describe, expect, it } from 'vitest';
import {
  addRole,
  allLists,
  createList,
  ensureService,
  findList,
  findService,
  holdersOf,
  listById,
  removeRole,
  rolesOf,
  setListSettings,
  setListState,
} from '../../src/store/lists.ts';
import {
  addMembers,
  countMembers,
  findMember,
  listsOfAddress,
  memberPages,
  membersAfter,
  membersNamed,
  removeMember,
  setMember,
} from '../../src/store/members.ts';
import { changesCounter, touch } from '../../src/store/meta.ts';
import { forgetNotice, forgetReplies, noticeDue, noticeIsDue, replyDue } from '../../src/store/notices.ts';
import type { PostingKind } from '../../src/store/schema.ts';
import { forgetSignatures, remember } from '../../src/store/signatures.ts';
import { forgetStarts, recentCrashes, recordCleanStop, recordStart } from '../../src/store/starts.ts';
import { day, listNamed, memberName, minute, openTest, t0 } from './fixtures.ts';

describe('lists', () => {
  it('are made once and come back with their settings', async () => {
    const { q } = await openTest();
    const made = await createList(q, {
      address: 'council@lists.example.org',
      profile: 'confidential',
      settings: { 'accept.max-age': 3600 },
      createdAt: t0,
    });
    expect(made).toEqual({
      id: 1,
      kind: 'list',
      address: 'council@lists.example.org',
      state: 'open',
      profile: 'confidential',
      settings: { 'accept.max-age': 3600 },
      createdAt: t0,
    });
    expect(await findList(q, 'council@lists.example.org')).toEqual(made);
    await expect(createList(q, { ...made, settings: {} })).rejects.toMatchObject({
      code: 'list-exists',
      message: expect.stringContaining('council@lists.example.org'),
    });
    await setListSettings(q, made.id, { settings: { a: 1 } });
    await setListState(q, made.id, 'closed');
    expect(await listById(q, made.id)).toMatchObject({
      settings: { a: 1 },
      profile: 'confidential',
      state: 'closed',
    });
    await setListSettings(q, made.id, { settings: {}, profile: null });
    expect(await listById(q, made.id)).toMatchObject({ profile: null });
    expect(await findList(q, 'none@lists.example.org')).toBeNull();
    await listNamed({ q } as never, 'board');
    expect((await allLists(q)).map((list) => list.address)).toEqual([
      'board@lists.example.org',
      made.address,
    ]);
  });

  it('have owners and moderators', async () => {
    const database = await openTest();
    const { q } = database;
    const { id } = await listNamed(database);
    await addRole(q, { listId: id, address: 'bob@example.org', role: 'owner', name: 'Bob' });
    await addRole(q, { listId: id, address: 'bob@example.org', role: 'owner', name: 'Robert' });
    await addRole(q, { listId: id, address: 'bob@example.org', role: 'moderator', name: 'Bob' });
    await addRole(q, { listId: id, address: 'alice@example.org', role: 'owner', name: 'Alice' });
    expect((await holdersOf(q, id, 'owner')).map((holder) => holder.name)).toEqual(['Alice', 'Robert']);
    const bob = { listId: id, address: 'bob@example.org', role: 'owner' as const };
    expect([await removeRole(q, bob), await removeRole(q, bob)]).toEqual([true, false]);
    expect((await rolesOf(q, id)).map((holder) => `${holder.address} ${holder.role}`)).toEqual([
      'alice@example.org owner',
      'bob@example.org moderator',
    ]);
  });
});

describe('the service address', () => {
  it('has one row, which is no list', async () => {
    const { q } = await openTest();
    const service = { address: 'reseal@lists.example.org', createdAt: t0 };
    for (let n = 0; n < 2; n++) await ensureService(q, service);
    expect(await findService(q, service.address)).toMatchObject({
      ...service,
      kind: 'service',
      state: 'open',
    });
    expect(await findList(q, service.address)).toBeNull();
    expect(await allLists(q)).toEqual([]);
  });
});

describe('members', () => {
  it('are added by the thousand, each once', async () => {
    const database = await openTest();
    const { q } = database;
    const { id } = await listNamed(database);
    const rows = Array.from({ length: 1300 }, (_, n) => ({ address: memberName(n), name: '', since: t0 }));
    expect(await addMembers(q, id, rows)).toBe(1300);
    await setMember(
      q,
      { listId: id, address: memberName(3) },
      { state: 'suspended', settings: { lang: 'fr' } },
    );
    expect(
      await addMembers(q, id, [...rows, { address: 'new@example.org', name: 'New', since: t0 + 1 }]),
    ).toBe(1);
    expect(await findMember(q, id, memberName(3))).toMatchObject({
      state: 'suspended',
      settings: { lang: 'fr' },
      since: t0,
    });
    expect([await countMembers(q, id), await countMembers(q, id, 'active')]).toEqual([1301, 1300]);
    expect(await addMembers(q, id, [])).toBe(0);
  });

  it('are walked by address while others come and go', async () => {
    const database = await openTest();
    const { q } = database;
    const { id } = await listNamed(database);
    await addMembers(
      q,
      id,
      ['c', 'a', 'e', 'b'].map((name) => ({ address: `${name}@x.org`, name, since: t0 })),
    );
    expect((await membersAfter(q, id, null, 2)).map((member) => member.name)).toEqual(['a', 'b']);
    await removeMember(q, id, 'b@x.org');
    await addMembers(q, id, [{ address: 'd@x.org', name: 'd', since: t0 }]);
    expect((await membersAfter(q, id, 'b@x.org', 9)).map((member) => member.name)).toEqual(['c', 'd', 'e']);
    expect(await membersAfter(q, id, 'e@x.org', 9)).toEqual([]);
  });

  it('are walked page by page, each once, while the last one of a page goes', async () => {
    const database = await openTest();
    const { q } = database;
    const { id } = await listNamed(database);
    const names = Array.from({ length: 1000 }, (_, n) => memberName(n));
    await addMembers(
      q,
      id,
      names.map((address) => ({ address, name: '', since: t0 })),
    );
    const pages: (readonly string[])[] = [];
    for await (const page of memberPages(q, id)) {
      pages.push(page.map((member) => member.address));
      await removeMember(q, id, page.at(-1)?.address ?? '');
    }
    expect(pages.map((page) => page.length)).toEqual([500, 500]);
    expect(new Set(pages.flat())).toEqual(new Set(names));
    const { id: other } = await listNamed(database, 'empty@lists.example');
    for await (const page of memberPages(q, other)) expect.fail(`${page.length} members`);
  });

  it('are looked up many at a time', async () => {
    const database = await openTest();
    const { q } = database;
    const { id } = await listNamed(database);
    const other = await listNamed(database, 'second');
    const addresses = Array.from({ length: 700 }, (_, n) => memberName(n));
    await addMembers(
      q,
      id,
      addresses.slice(0, 600).map((address) => ({ address, name: '', since: t0 })),
    );
    await addMembers(q, other.id, [{ address: memberName(650), name: '', since: t0 }]);
    const found = await membersNamed(q, id, addresses);
    expect([found.size, found.has(memberName(599)), found.has(memberName(650))]).toEqual([600, true, false]);
  });

  it('belong to lists', async () => {
    const database = await openTest();
    const { q } = database;
    const [one, two] = [await listNamed(database), await listNamed(database, 'second')];
    for (const { id } of [one, two]) await addMembers(q, id, [{ address: 'a@x.org', name: 'A', since: t0 }]);
    expect((await listsOfAddress(q, 'a@x.org')).map((member) => member.listId)).toEqual([one.id, two.id]);
    expect([await removeMember(q, one.id, 'a@x.org'), await removeMember(q, one.id, 'a@x.org')]).toEqual([
      true,
      false,
    ]);
    expect(await setMember(q, { listId: one.id, address: 'a@x.org' }, { name: 'B' })).toBe(false);
    expect(await setMember(q, { listId: two.id, address: 'a@x.org' }, {})).toBe(true);
    expect(await findMember(q, two.id, 'a@x.org')).toMatchObject({ name: 'A' });
  });
});

describe('the counter of changes', () => {
  it('moves with each touch', async () => {
    const { q, write } = await openTest();
    expect(await changesCounter(q)).toBe(0);
    await write((tx) => touch(tx));
    await touch(q);
    expect(await changesCounter(q)).toBe(2);
  });
});

describe('remember (RULES 4)', () => {
  const sighting = { sha256: 'aa', listId: 1, kind: 'post' as PostingKind, seenAt: t0, messageId: 'm1' };
  const scene = async () => {
    const database = await openTest();
    for (const name of ['one', 'two', 'three']) await listNamed(database, name);
    const see = (change: Partial<typeof sighting> = {}) =>
      database.write((tx) => remember(tx, { ...sighting, ...change }));
    return { database, see };
  };

  it('knows a replay on the same list and on another', async () => {
    const { see } = await scene();
    expect(await see()).toBe('new');
    expect(await see({ messageId: 'm2' })).toBe('seen-here');
    expect(await see({ messageId: 'm3', listId: 2, seenAt: t0 + 1 })).toBe('seen-elsewhere');
    expect(await see({ sha256: 'bb', messageId: 'm4' })).toBe('new');
  });

  it('takes another address of the list for elsewhere', async () => {
    const { see } = await scene();
    expect(await see({ kind: 'owner' })).toBe('new');
    expect(await see({ messageId: 'm2', seenAt: t0 + 1 })).toBe('seen-elsewhere');
    expect(await see({ messageId: 'm3', kind: 'owner', seenAt: t0 + 2 })).toBe('seen-here');
    expect(await see({ messageId: 'm1', kind: 'editor', seenAt: t0 + 3 })).toBe('seen-elsewhere');
  });

  it('answers the same message the same again, after a crash', async () => {
    const { see } = await scene();
    expect([await see(), await see({ seenAt: t0 + 1 })]).toEqual(['new', 'new']);
    const replay = { messageId: 'm2', listId: 2, seenAt: t0 + 2 };
    expect([await see(replay), await see({ ...replay, seenAt: t0 + 3 })]).toEqual([
      'seen-elsewhere',
      'seen-elsewhere',
    ]);
    // The replay elsewhere does not make the first one a replay afterwards.
    expect(await see({ seenAt: t0 + 4 })).toBe('new');
  });

  it('does not call one message to several lists its own replay', async () => {
    const { see } = await scene();
    expect([await see(), await see({ listId: 2 })]).toEqual(['new', 'new']);
    expect(await see({ listId: 3, messageId: 'm2', seenAt: t0 + 1 })).toBe('seen-elsewhere');
  });

  it('forgets after its time', async () => {
    const { database, see } = await scene();
    await see();
    expect(await forgetSignatures(database.q, t0)).toBe(0);
    expect(await forgetSignatures(database.q, t0 + 1)).toBe(1);
    expect(await see({ messageId: 'm2' })).toBe('new');
  });

  it('needs a transaction', async () => {
    const { database } = await scene();
    await expect(remember(database.q, sighting)).rejects.toMatchObject({ code: 'transaction-required' });
  });
});

describe('noticeDue and replyDue', () => {
  it('say yes once per interval', async () => {
    const database = await openTest();
    const { q } = database;
    const { id } = await listNamed(database);
    const notice = (now: number, kind = 'no-certificate', everyMs = day) =>
      noticeDue(q, { listId: id, member: 'bob@example.org', kind, now, everyMs });
    expect([await notice(t0), await notice(t0), await notice(t0 + day - 1)]).toEqual([true, false, false]);
    expect([await notice(t0 + day), await notice(t0 + day)]).toEqual([true, false]);
    expect(await notice(t0, 'expires-soon')).toBe(true);
    expect(await notice(t0 + 999 * day, 'expires-soon', Number.POSITIVE_INFINITY)).toBe(false);
    expect(
      await q.selectFrom('notices').select(['kind', 'count', 'lastAt']).orderBy('kind').execute(),
    ).toEqual([
      { kind: 'expires-soon', count: 1, lastAt: t0 },
      { kind: 'no-certificate', count: 2, lastAt: t0 + day },
    ]);
    await forgetNotice(q, { member: 'bob@example.org', kind: 'expires-soon' });
    expect(await notice(t0 + 1, 'expires-soon')).toBe(true);
  });

  it('can be asked without counting', async () => {
    const database = await openTest();
    const { q } = database;
    const { id } = await listNamed(database);
    const ask = (now: number) => ({ listId: id, member: 'bob@example.org', kind: 'k', now, everyMs: day });
    expect([await noticeIsDue(q, ask(t0)), await noticeIsDue(q, ask(t0))]).toEqual([true, true]);
    await noticeDue(q, ask(t0));
    expect([await noticeIsDue(q, ask(t0 + day - 1)), await noticeIsDue(q, ask(t0 + day))]).toEqual([
      false,
      true,
    ]);
  });

  it('give one yes to two who ask at the same time', async () => {
    const { q } = await openTest();
    const reply = () =>
      replyDue(q, { address: 'eve@example.net', kind: 'not-member', now: t0, everyMs: day });
    expect((await Promise.all([reply(), reply(), reply()])).filter(Boolean)).toHaveLength(1);
  });

  it('forget strangers', async () => {
    const { q } = await openTest();
    const reply = (now: number) =>
      replyDue(q, { address: 'eve@example.net', kind: 'not-member', now, everyMs: day });
    await reply(t0);
    await forgetReplies(q, t0 + 1);
    expect(await reply(t0 + 1)).toBe(true);
  });
});

describe('starts', () => {
  it('that did not end well are counted', async () => {
    const { q } = await openTest();
    for (const [n, boot] of ['a', 'b', 'c'].entries()) await recordStart(q, { boot, at: t0 + n * minute });
    await recordCleanStop(q, 'b');
    const within = (windowMs: number) => recentCrashes(q, { now: t0 + 2 * minute, windowMs });
    expect(await within(2 * minute)).toBe(2);
    expect(await within(minute)).toBe(1);
    await forgetStarts(q, t0 + 5 * minute);
    expect(await within(2 * minute)).toBe(0);
  });
});
