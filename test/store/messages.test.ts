import { describe, expect, it } from 'vitest';
import { countByState, insertDeliveries } from '../../src/store/deliveries.ts';
import { ledgerOf, record } from '../../src/store/ledger.ts';
import {
  countOpen,
  dueMessages,
  findMessage,
  forgetMessages,
  insertMessages,
  markRemoved,
  messagesByHeaderId,
  messagesIn,
  messagesToClean,
  retryUnopened,
  setMessageState,
} from '../../src/store/messages.ts';
import { finish } from '../../src/store/outcomes.ts';
import { finishPosting, idlePostings } from '../../src/store/posting-end.ts';
import {
  duplicateOf,
  expirePostings,
  findPosting,
  postingsIn,
  postingsOf,
  recordVerdict,
  releasePosting,
  setCursor,
  setPostingState,
} from '../../src/store/postings.ts';
import type { MessageState, PostingState } from '../../src/store/schema.ts';
import { claimOldest } from '../kit/claim.ts';
import {
  copies,
  copy,
  day,
  envelope,
  listNamed,
  memberName,
  message,
  minute,
  openTest,
  post,
  t0,
} from './fixtures.ts';

async function scene() {
  const database = await openTest();
  const list = await listNamed(database);
  return { database, q: database.q, write: database.write, list };
}

describe('insertMessages', () => {
  it('takes a message in with its postings, once', async () => {
    const { q, write, list } = await scene();
    const postings = [
      { listId: list.id, kind: 'post' as const },
      { listId: list.id, kind: 'sendcert' as const },
    ];
    expect(await write((tx) => insertMessages(tx, [{ message: message('a'), postings }]))).toEqual(
      new Set(['a']),
    );
    expect(await findMessage(q, 'a')).toEqual({
      ...message('a'),
      envelope,
      state: 'queued',
      nextAt: t0,
      opens: 0,
      reason: null,
      detail: null,
      removedAt: null,
    });
    expect(await countOpen(q, 'a')).toMatchObject({ subject: 'Agenda', opens: 1 });
    expect(
      await write((tx) => insertMessages(tx, [{ message: message('a', { subject: 'other' }), postings }])),
    ).toEqual(new Set());
    expect(await findMessage(q, 'a')).toMatchObject({ subject: 'Agenda', opens: 1 });
    expect((await postingsOf(q, 'a')).map((p) => [p.kind, p.state, p.verdict, p.decidedAt])).toEqual([
      ['post', 'new', null, null],
      ['sendcert', 'new', null, null],
    ]);
    expect(await findMessage(q, 'b')).toBeNull();
  });

  it('leaves no message when a posting fails', async () => {
    const { q, write } = await scene();
    const work = write((tx) =>
      insertMessages(tx, [{ message: message('a'), postings: [{ listId: 99, kind: 'post' }] }]),
    );
    await expect(work).rejects.toThrow('FOREIGN KEY');
    expect(await findMessage(q, 'a')).toBeNull();
  });
});

describe('messages', () => {
  it('count their openings, durably before they return', async () => {
    const { q, write } = await scene();
    await write((tx) => insertMessages(tx, [{ message: message('a'), postings: [] }]));
    expect([(await countOpen(q, 'a'))?.opens, (await countOpen(q, 'a'))?.opens]).toEqual([1, 2]);
    expect(await countOpen(q, 'nothing')).toBeNull();
    for (const state of ['done', 'quarantine'] as const) {
      await setMessageState(q, 'a', { state, reason: null, detail: null, nextAt: null });
      expect(await countOpen(q, 'a')).toBeNull();
    }
    expect(await findMessage(q, 'a')).toMatchObject({ opens: 2 });
  });

  it('are due by time, node and state', async () => {
    const { q, write } = await scene();
    await write(async (tx) => {
      await insertMessages(tx, [{ message: message('late', { receivedAt: t0 + 5 }), postings: [] }]);
      await insertMessages(tx, [{ message: message('early'), postings: [] }]);
      await insertMessages(tx, [{ message: message('elsewhere', { node: 'node-b' }), postings: [] }]);
      for (const state of ['unopened', 'parked', 'done', 'quarantine'] as MessageState[]) {
        await insertMessages(tx, [{ message: message(state), postings: [] }]);
        await setMessageState(tx, state, { state, reason: 'x', detail: null, nextAt: t0 + minute });
      }
      await insertMessages(tx, [{ message: message('never'), postings: [] }]);
      await setMessageState(tx, 'never', {
        state: 'unopened',
        reason: 'no-recipient',
        detail: null,
        nextAt: null,
      });
    });
    const due = async (now: number, limit = 10) =>
      (await dueMessages(q, 'node-a', now, limit)).map((m) => m.id);
    expect(await due(t0)).toEqual(['early']);
    expect(await due(t0 + 5)).toEqual(['early', 'late']);
    expect(await due(t0 + 5, 1)).toEqual(['early']);
    expect(await due(t0 + minute)).toEqual(['early', 'late', 'parked', 'unopened']);
    expect((await messagesIn(q, ['quarantine', 'done'], 10)).map((m) => m.id)).toEqual([
      'done',
      'quarantine',
    ]);
  });

  it('that could not be opened are tried again on a sign', async () => {
    const { q, write } = await scene();
    await write(async (tx) => {
      for (const state of ['unopened', 'quarantine', 'done'] as MessageState[]) {
        await insertMessages(tx, [{ message: message(state), postings: [] }]);
        await setMessageState(tx, state, { state, reason: 'x', detail: null, nextAt: null });
      }
    });
    await retryUnopened(q, t0 + 1);
    expect((await dueMessages(q, 'node-a', t0 + 1, 9)).map((m) => m.id)).toEqual(['unopened']);
    expect(await findMessage(q, 'quarantine')).toMatchObject({ nextAt: null });
  });

  it('are found by their Message-ID, which may come twice', async () => {
    const { q, write } = await scene();
    await write(async (tx) => {
      await insertMessages(tx, [
        { message: message('b', { messageId: '<x@y>', receivedAt: t0 + 1 }), postings: [] },
      ]);
      await insertMessages(tx, [{ message: message('a', { messageId: '<x@y>' }), postings: [] }]);
      await insertMessages(tx, [{ message: message('c', { messageId: null }), postings: [] }]);
    });
    expect((await messagesByHeaderId(q, '<x@y>')).map((m) => m.id)).toEqual(['a', 'b']);
  });
});

describe('messagesToClean', () => {
  const states: [PostingState, boolean][] = [
    ['new', false],
    ['held', false],
    ['fanning-out', false],
    ['quarantine', false],
    ['distributing', true],
    ['done', true],
    ['refused', true],
    ['dropped', true],
  ];

  it.each(states)('with a posting %s: %s', async (state, expected) => {
    const { database, q, list } = await scene();
    const posting = await post(database, list.id, 'a');
    await setPostingState(q, posting, state);
    await setMessageState(q, 'a', { state: 'done', reason: null, detail: null, nextAt: null });
    const found = await messagesToClean(q, { node: 'node-a', before: t0 + 1, limit: 10 });
    expect(found).toEqual(expected ? ['a'] : []);
  });

  it('waits for the last delivery, then gives the file up once', async () => {
    const { database, q, write, list } = await scene();
    const posting = await post(database, list.id, 'a');
    await setPostingState(q, posting, 'distributing');
    await setMessageState(q, 'a', { state: 'done', reason: null, detail: null, nextAt: null });
    await copies(database, posting, 2);
    const clean = () => messagesToClean(q, { node: 'node-a', before: t0 + 1, limit: 10 });
    const rows = await claimOldest(q, { lease: 'l', now: t0, limit: 2, leaseMs: minute });
    for (const row of rows) {
      expect(await clean()).toEqual([]);
      await write((tx) => finish(tx, [{ id: row.id, state: 'delivered', reason: null, detail: null }], t0));
    }
    expect(await clean()).toEqual(['a']);
    expect(await messagesToClean(q, { node: 'node-b', before: t0 + 1, limit: 10 })).toEqual([]);
    expect(await messagesToClean(q, { node: 'node-a', before: t0, limit: 10 })).toEqual([]);
    await markRemoved(q, 'a', t0 + day);
    expect(await clean()).toEqual([]);
  });

  it.each(['queued', 'unopened', 'parked', 'quarantine'] as MessageState[])(
    'keeps a message %s',
    async (state) => {
      const { q, write } = await scene();
      await write((tx) => insertMessages(tx, [{ message: message('a', { state }), postings: [] }]));
      expect(await messagesToClean(q, { node: 'node-a', before: t0 + 1, limit: 10 })).toEqual([]);
    },
  );

  it('lets rows be forgotten later, but the ledger keeps what happened', async () => {
    const { database, q, write, list } = await scene();
    const posting = await post(database, list.id, 'a');
    await copies(database, posting, 3, { state: 'dropped', reason: 'no-certificate' });
    await post(database, list.id, 'b');
    await markRemoved(q, 'a', t0);
    await record(q, { at: t0, messageId: 'a', event: 'received' });
    expect(await write((tx) => forgetMessages(tx, { before: t0, limit: 10 }))).toBe(0);
    expect(await write((tx) => forgetMessages(tx, { before: t0 + 1, limit: 10 }))).toBe(1);
    expect(await findMessage(q, 'a')).toBeNull();
    expect(await findPosting(q, posting)).toBeNull();
    expect(await countByState(q)).toEqual({});
    expect(await findMessage(q, 'b')).not.toBeNull();
    expect(await ledgerOf(q, 'a')).toHaveLength(4);
  });
});

describe('postings', () => {
  const verdict = {
    state: 'fanning-out' as const,
    reason: null,
    verdict: { author: 'alice@example.org', rule: 'member signed' },
    prepared: { boundary: 'b1' },
    decidedAt: t0 + 1,
  };

  it('are decided once (RULES 18)', async () => {
    const { database, q, list } = await scene();
    const id = await post(database, list.id, 'a');
    expect(await recordVerdict(q, id, verdict)).toBe(true);
    expect(await recordVerdict(q, id, { ...verdict, state: 'refused', verdict: { author: 'eve' } })).toBe(
      false,
    );
    expect(await findPosting(q, id)).toEqual({
      id,
      messageId: 'a',
      listId: list.id,
      kind: 'post',
      cursor: null,
      authorToldAt: null,
      retryUntil: null,
      retryAt: null,
      ...verdict,
    });
  });

  it('move on, keep a cursor, and are found by state', async () => {
    const { database, q, list } = await scene();
    const a = await post(database, list.id, 'a');
    const b = await post(database, list.id, 'b');
    await setPostingState(q, a, 'dropped', 'loop');
    await setPostingState(q, b, 'fanning-out');
    await setCursor(q, b, memberName(7));
    expect(await findPosting(q, a)).toMatchObject({ state: 'dropped', reason: 'loop' });
    expect(await postingsIn(q, ['fanning-out', 'new'], 10)).toMatchObject([
      { id: b, cursor: memberName(7), reason: null },
    ]);
  });

  it('held for a moderator are released by one of two', async () => {
    const { database, q, list } = await scene();
    const id = await post(database, list.id, 'a');
    await recordVerdict(q, id, { ...verdict, state: 'held', reason: 'moderate', prepared: null });
    const answer = { state: 'fanning-out' as const, reason: null, prepared: { boundary: 'b2' } };
    expect(await releasePosting(q, id, answer)).toBe(true);
    expect(await releasePosting(q, id, { state: 'refused', reason: 'rejected' })).toBe(false);
    expect(await findPosting(q, id)).toMatchObject({ ...answer, verdict: verdict.verdict });
  });
});

describe('postings that nobody moves', () => {
  it('are dropped when no moderator answered in time', async () => {
    const { database, q, write, list } = await scene();
    const held = { state: 'held' as const, reason: 'moderate', verdict: {}, prepared: null };
    const ids: number[] = [];
    for (const [n, id] of ['a', 'b'].entries()) {
      ids.push(await post(database, list.id, id));
      await recordVerdict(q, ids[n] ?? 0, { ...held, decidedAt: t0 + n });
    }
    await post(database, list.id, 'c');
    const expire = () => write((tx) => expirePostings(tx, { listId: list.id, before: t0 + 1, at: t0 + day }));
    expect([await expire(), await expire()]).toEqual([1, 0]);
    expect((await postingsIn(q, ['dropped'], 9)).map((p) => [p.id, p.reason])).toEqual([
      [ids[0], 'moderation-expired'],
    ]);
    expect(await ledgerOf(q, 'a')).toMatchObject([
      { event: 'expired', at: t0 + day, postingId: ids[0], list: list.address },
    ]);
  });

  it('are done when their last copy ended outside an attempt', async () => {
    const { database, q, list } = await scene();
    const open = await post(database, list.id, 'a');
    const idle = await post(database, list.id, 'b');
    const fresh = await post(database, list.id, 'c');
    for (const id of [open, idle]) await setPostingState(q, id, 'distributing');
    await copies(database, open, 1);
    await copies(database, idle, 1, { state: 'dropped', reason: 'no-certificate' });
    expect(await idlePostings(q, { id: open, limit: 1 })).toEqual([]);
    expect(await idlePostings(q, { limit: 9 })).toEqual([idle]);
    expect([await finishPosting(q, idle), await finishPosting(q, idle)]).toEqual([true, false]);
    const states = await Promise.all(
      [open, idle, fresh].map(async (id) => (await findPosting(q, id))?.state),
    );
    expect(states).toEqual(['distributing', 'done', 'new']);
  });
});

describe('duplicateOf', () => {
  const same = { messageId: '<x@y>', bodySha256: 'hash' };
  const ask = (listId: number, change = {}) => ({
    listId,
    kind: 'post' as const,
    messageIdHeader: '<x@y>' as string | null,
    bodySha256: 'hash',
    since: t0 - day,
    notMessage: 'second',
    ...change,
  });

  it.each<[PostingState, boolean]>([
    ['held', true],
    ['fanning-out', true],
    ['distributing', true],
    ['done', true],
    ['new', false],
    ['refused', false],
    ['dropped', false],
    ['quarantine', false],
  ])('an earlier posting that is %s: %s', async (state, expected) => {
    const { database, q, list } = await scene();
    const id = await post(database, list.id, 'first', same);
    await setPostingState(q, id, state);
    await post(database, list.id, 'second', { ...same, receivedAt: t0 + minute });
    expect((await duplicateOf(q, ask(list.id)))?.id).toBe(expected ? id : undefined);
  });

  it.each<[string, object]>([
    ['other bytes', { bodySha256: 'other' }],
    ['another Message-ID', { messageIdHeader: '<other@y>' }],
    ['no Message-ID', { messageIdHeader: null }],
    ['too long ago', { since: t0 + 1 }],
    ['the message itself', { notMessage: 'first' }],
    ['another list', { listId: 99 }],
    ['another address of the list', { kind: 'owner' }],
  ])('is not %s', async (_, change) => {
    const { database, q, list } = await scene();
    await setPostingState(q, await post(database, list.id, 'first', same), 'done');
    expect(await duplicateOf(q, ask(list.id))).not.toBeNull();
    expect(await duplicateOf(q, ask(list.id, change))).toBeNull();
  });

  it('works without a Message-ID', async () => {
    const { database, q, list } = await scene();
    const id = await post(database, list.id, 'first', { messageId: null, bodySha256: 'hash' });
    await setPostingState(q, id, 'done');
    expect((await duplicateOf(q, ask(list.id, { messageIdHeader: null })))?.id).toBe(id);
  });
});

describe('a member who has a row already', () => {
  it('gets no second copy of the posting, but one of another', async () => {
    const { database, q, write, list } = await scene();
    const first = await post(database, list.id, 'a');
    const second = await post(database, list.id, 'b');
    const add = (posting: number) => write((tx) => insertDeliveries(tx, [copy(posting, 'bob@example.org')]));
    expect([await add(first), await add(first), await add(second)]).toEqual([1, 0, 1]);
    expect(await countByState(q)).toEqual({ pending: 2 });
  });
});
