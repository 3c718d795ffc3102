import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { formatEnvelopeLine } from '../../src/mime/envelope.ts';
import { type Database, openDatabase } from '../../src/store/database.ts';
import { insertDeliveries } from '../../src/store/deliveries.ts';
import { record } from '../../src/store/ledger.ts';
import { findList } from '../../src/store/lists.ts';
import { insertMessages, markRemoved, setMessageState } from '../../src/store/messages.ts';
import { changesCounter } from '../../src/store/meta.ts';
import { recordVerdict, setPostingState } from '../../src/store/postings.ts';
import { newId, openSpool, type Spool } from '../../src/store/spool.ts';
import { makeCa, type TestCa } from '../kit/pki.ts';
import { copy, envelope, message, post } from '../store/fixtures.ts';
import { makeTeam, type Root } from './kit.ts';

const now = Date.now();
const later = now + 3_600_000;
const day = 24 * 3_600_000;
let ca: TestCa;
let root: Root;
beforeAll(async () => {
  ca = await makeCa();
});
beforeEach(async () => {
  root = await makeTeam(ca);
});

/** Puts something into database and spool as the daemon would. */
async function arrange<T>(
  work: (database: Database, spool: Spool, listId: number) => Promise<T>,
): Promise<T> {
  const database = await openDatabase(join(root.path, 'spool/reseal.db'));
  try {
    const spool = await openSpool(join(root.path, 'spool'));
    const list = await findList(database.q, 'team@lists.example');
    return await work(database, spool, list?.id ?? 0);
  } finally {
    await database.close();
  }
}

async function spooled(spool: Spool, id: string): Promise<void> {
  await spool.receive(id, formatEnvelopeLine({ ...envelope, receivedAt: now }), [
    Buffer.from('From: alice@example.org\r\n\r\nhi\r\n'),
  ]);
  await spool.commit(id);
  await spool.settle(id);
}

const verdict = {
  decision: 'held',
  rule: 'others-may-not-post',
  verdict: 'unsigned',
  encrypted: false,
  from: 'alice@example.org',
  reasons: ['no-signers'],
  layers: [],
};
const held = {
  state: 'held',
  reason: 'may-not-post',
  verdict,
  prepared: { mode: 'clear' },
  decidedAt: now,
} as const;

/** A message whose posting waits for a moderator. */
const holdOne = (id = newId(now)) =>
  arrange(async (database, spool, listId) => {
    await spooled(spool, id);
    const posting = await post(database, listId, id, { receivedAt: now, messageId: `<${id}@example.org>` });
    await setMessageState(database.q, id, { state: 'done', reason: null, detail: null, nextAt: null });
    await recordVerdict(database.q, posting, held);
    return { id, posting };
  });

describe('held postings', () => {
  it('are listed, shown and released, once, by either id', async () => {
    const { id, posting } = await holdOne();
    expect(await root.json('queue', 'list', '--held')).toMatchObject({
      held: [{ id: posting, messageId: id, reason: 'may-not-post', subject: 'Agenda' }],
      waiting: [],
    });
    const shown = await root.run('queue', 'show', String(posting));
    expect(shown.stdout).toContain(
      `What would change it: a moderator decides: \`reseal queue release ${posting}\``,
    );
    expect(await root.run('explain', String(posting))).toEqual(shown);
    expect(await root.json('queue', 'release', id)).toEqual([
      { posting, messageId: id, list: 'team@lists.example', state: 'fanning-out' },
    ]);
    const again = await root.run('queue', 'release', String(posting));
    expect(again).toMatchObject({
      code: 1,
      stderr: `reseal: the posting ${posting} does not wait for a moderator: it is being distributed already\n`,
    });
    expect(await root.json('queue', 'list')).toMatchObject({ held: [] });
    const story = (await root.json('explain', id)) as { history: { event: string; detail: string }[] }[];
    expect(story[0]?.history.at(-1)).toMatchObject({
      event: 'released',
      detail: expect.stringMatching(/^released by \S+/),
    });
  });

  it('are not released while the list is closed, nor without their file', async () => {
    const { id, posting } = await holdOne();
    await root.json('list', 'close', 'team');
    expect((await root.run('queue', 'release', id)).stderr).toBe(
      'reseal: team@lists.example is closed: open it with `reseal list open team@lists.example`, or refuse the posting\n',
    );
    await root.json('list', 'open', 'team');
    await arrange((_, spool) => spool.remove(id));
    expect((await root.run('queue', 'release', id)).stderr).toMatch(
      new RegExp(`^reseal: the spool has no message ${id}`),
    );
    expect(await root.json('queue', 'refuse', String(posting))).toMatchObject([{ state: 'refused' }]);
  });

  it('leave sealed where the list does not let posts leave in clear any more', async () => {
    const one = await holdOne();
    const other = await holdOne();
    await root.json('queue', 'release', one.id);
    await root.json('list', 'set', 'team', 'send.encrypt=always');
    await root.json('queue', 'release', other.id);
    const modes = await arrange(async ({ q }) =>
      q.selectFrom('postings').select('prepared').orderBy('id').execute(),
    );
    expect(modes.map((row) => JSON.parse(row.prepared ?? '{}').mode)).toEqual(['clear', 'sealed']);
  });

  it('can be refused or dropped, and the daemon hears of it', async () => {
    const one = await holdOne();
    const other = await holdOne();
    const before = await arrange(({ q }) => changesCounter(q));
    await root.json('queue', 'refuse', one.id);
    expect(await root.json('queue', 'drop', String(other.posting))).toMatchObject({ state: 'dropped' });
    expect(await arrange(({ q }) => changesCounter(q))).toBe(before + 2);
  });
});

describe('what could not be opened, and what the relay did not take', () => {
  const arrangeOpen = () =>
    arrange(async (database, spool, listId) => {
      const unopened = newId(now);
      const deferred = newId(now + 1);
      const broken = newId(now + 2);
      const nobody = newId(now + 3);
      for (const id of [unopened, deferred, broken, nobody]) await spooled(spool, id);
      await post(database, listId, unopened, { receivedAt: now, node: 'main' });
      const reason = { reason: 'no-recipient', detail: 'it is not encrypted to any key of the list' };
      await setMessageState(database.q, unopened, { state: 'unopened', ...reason, nextAt: later });
      const posting = await post(database, listId, deferred, { receivedAt: now, node: 'main' });
      await setPostingState(database.q, posting, 'distributing');
      await setMessageState(database.q, deferred, {
        state: 'done',
        reason: null,
        detail: null,
        nextAt: null,
      });
      await database.write((tx) =>
        insertDeliveries(tx, [
          copy(posting, 'a@example.org', { expiresAt: later }),
          copy(posting, 'b@example.org', {
            state: 'held',
            reason: 'no-certificate',
            detail: 'no certificate is known for b@example.org',
          }),
        ]),
      );
      await database.q
        .updateTable('deliveries')
        .set({ state: 'deferred', nextAt: later })
        .where('member', '=', 'a@example.org')
        .execute();
      await post(database, listId, broken, { receivedAt: now, node: 'main' });
      await setMessageState(database.q, broken, {
        state: 'quarantine',
        reason: 'worker-timeout',
        detail: 'it took too long',
        nextAt: null,
      });
      await spool.quarantine(broken, 'it took too long');
      await spool.quarantine(nobody, 'a file without a row');
      return { unopened, deferred, broken, nobody };
    });

  it('is listed by kind, with what to do', async () => {
    const { unopened, deferred, broken, nobody } = await arrangeOpen();
    expect(await root.json('queue', 'list')).toMatchObject({
      waiting: [{ messageId: deferred, member: 'b@example.org', reason: 'no-certificate' }],
      unopened: [{ messageId: unopened, reason: 'no-recipient' }],
      deferred: [{ messageId: deferred, member: 'a@example.org' }],
      quarantine: [{ messageId: broken, detail: 'it took too long' }],
      ownerless: [{ messageId: nobody, reason: 'a file without a row' }],
    });
    expect(Object.keys((await root.json('queue', 'list', '--deferred')) as object)).toEqual(['deferred']);
    expect((await root.run('queue', 'list', '--unopened')).stdout).toMatch(
      /^Could not be opened .*\n {2}MESSAGE .*\n {2}\w{26} .*no|^Could not be opened/,
    );
    expect((await root.run('explain', unopened)).stdout).toContain(
      '`reseal list show team@lists.example --cert`',
    );
    const story = (await root.json('explain', deferred, '--member', 'b@example.org')) as {
      postings: { members: object[] }[];
    }[];
    expect(story[0]?.postings[0]?.members).toMatchObject([
      { member: 'b@example.org', state: 'held', remedy: expect.stringContaining('reseal cert import') },
    ]);
  });

  it('says until when each kind of ciphertext is kept (RULES 17)', async () => {
    const { broken, nobody } = await arrangeOpen();
    const since = { messageId: broken, at: now + 5 * day, event: 'quarantined' } as const;
    await arrange((database) => database.write((tx) => record(tx, since)));
    await holdOne();
    await root.json('list', 'set', 'team', 'held.days=3', 'unopened.retry-days=5');
    const until = (days: number) => `${new Date(now + days * day).toISOString().slice(0, 19)}Z`;
    expect(await root.json('queue', 'list')).toMatchObject({
      held: [{ until: until(3) }],
      unopened: [{ until: until(5) }],
      quarantine: [{ until: until(5 + 30) }],
      ownerless: [{ messageId: nobody, until: until(30) }],
      queued: [],
    });
    expect((await root.run('queue', 'list')).stdout).toContain(until(35).slice(0, 10));
  });

  it('is not said to be nothing while copies are on their way', async () => {
    const { id, posting } = await holdOne();
    await arrange(async (database) => {
      await setPostingState(database.q, posting, 'distributing');
      await database.write((tx) =>
        insertDeliveries(tx, [copy(posting, 'a@example.org'), copy(posting, 'b@example.org')]),
      );
      await database.q
        .updateTable('deliveries')
        .set({ state: 'in-flight', lease: 'daemon' })
        .where('member', '=', 'a@example.org')
        .execute();
    });
    expect(await root.json('queue', 'list')).toMatchObject({
      queued: [],
      sending: [{ id: posting, messageId: id, list: 'team@lists.example', pending: 1, inFlight: 1 }],
      deferred: [],
    });
    expect(await root.run('queue', 'list', '--list', 'team')).toEqual({
      code: 0,
      stdout: [
        'On their way, 2 copies, team@lists.example (nothing to do):',
        '  MESSAGE                     RECEIVED          PENDING  IN FLIGHT  SUBJECT',
        `  ${id}  ${new Date(now).toISOString().slice(0, 16).replace('T', ' ')}  1        1          Agenda`,
        '',
      ].join('\n'),
      stderr: 'reseal: the daemon does not run, so nothing of this moves: start `reseal serve`\n',
    });
    expect((await root.run('queue', 'list', '--held')).stdout).toBe('Nothing of that kind waits.\n');
    const nextAt = later;
    await arrange((database) =>
      setMessageState(database.q, id, { state: 'parked', reason: 'parked', detail: 'it died', nextAt }),
    );
    const parked = (await root.run('queue', 'list')).stdout;
    expect(parked).toMatch(/^In quarantine, or put aside until NEXT TRY \(queue retry [\s\S]*it died\n$/);
  });

  it('is due at once after retry', async () => {
    const { unopened, deferred, broken, nobody } = await arrangeOpen();
    expect(await root.json('queue', 'retry', unopened)).toMatchObject({ messages: 1, copies: 0 });
    expect(await root.json('queue', 'retry', deferred)).toMatchObject({ messages: 0, copies: 1 });
    expect(await root.json('queue', 'retry', broken)).toMatchObject({ messages: 1 });
    expect((await root.run('queue', 'retry', nobody)).stderr).toMatch(
      /hand it in again with `reseal inject` or drop it/,
    );
    await arrange(async ({ q }, spool) => {
      const rows = await q.selectFrom('messages').select(['id', 'state', 'nextAt']).orderBy('id').execute();
      expect(rows.map((row) => [row.id, row.state, row.nextAt !== null && row.nextAt < later])).toEqual([
        [unopened, 'unopened', true],
        [deferred, 'done', false],
        [broken, 'queued', true],
      ]);
      expect((await spool.quarantined()).map((one) => one.id)).toEqual([nobody]);
      const due = await q
        .selectFrom('deliveries')
        .select(['member', 'state'])
        .where('nextAt', '<', later)
        .execute();
      expect(due).toContainEqual({ member: 'a@example.org', state: 'deferred' });
    });
    // A full disk kept this one from being processed: it would come back by itself within the hour.
    await arrange(async (database, spool, listId) => {
      const id = newId(now);
      await spooled(spool, id);
      await post(database, listId, id, { receivedAt: now });
      const again = { state: 'queued', reason: 'spool-full', detail: null, nextAt: later } as const;
      await setMessageState(database.q, id, again);
    });
    expect(await root.json('queue', 'retry', '--all')).toMatchObject({ id: null, messages: 2, copies: 1 });
    for (const args of [[], [unopened, '--all']])
      expect((await root.run('queue', 'retry', ...args)).code).toBe(2);
  });

  it('says of `retry` why there is nothing to do', async () => {
    const { id, posting } = await holdOne();
    expect((await root.run('retry', id)).stdout.replace(/\s+/g, ' ')).toContain(
      `${id}: nothing of it waits for another try; \`reseal explain ${id}\` tells why`,
    );
    await root.json('queue', 'refuse', String(posting));
    await arrange((database) => markRemoved(database.q, id, now));
    expect((await root.run('retry', id)).stdout).toContain('its bytes are not kept any more (since 20');
  });

  it('is opened again by `retry`, by its Message-ID too', async () => {
    const { unopened, deferred, broken } = await arrangeOpen();
    expect(await root.json('retry', `${unopened}@example.org`)).toEqual([
      { id: unopened, messages: 1, postings: 0, copies: 0, why: null },
    ]);
    expect(await root.json('retry', broken)).toMatchObject([{ id: broken, messages: 1, copies: 0 }]);
    expect(await root.run('retry', `<${deferred}@example.org>`)).toMatchObject({
      stdout: `${deferred}: due now: 0 messages, 1 copy\n`,
    });
    expect((await root.run('retry', deferred)).stdout).toMatch(/due now: 0 messages, 1 copy/);
    await arrange(async ({ q }) => {
      const due = await q.selectFrom('messages').select('id').where('nextAt', '<', later).execute();
      expect(due.map((row) => row.id).sort()).toEqual([unopened, broken].sort());
    });
    const { id } = await holdOne();
    expect((await root.run('retry', id)).stdout).toBe(
      `${id}: nothing of it waits for another try; \`reseal explain ${id}\` tells why\n`,
    );
    expect(await root.run('retry', 'nothing@example.org')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^reseal: nothing is known of the message nothing@example\.org/),
    });
  });

  it('goes out when an operator brings the certificate it waits for', async () => {
    const { deferred } = await arrangeOpen();
    const bob = await ca.issue({ name: 'B', address: 'b@example.org', key: 'p256' });
    const done = await root.run('cert', 'import', root.file('b.pem', bob.certPem));
    expect(done.stdout).toMatch(/^imported .* for b@example\.org, .*; 1 waiting copy released\n$/);
    const story = (await root.json('explain', deferred, '--member', 'b@example.org')) as {
      postings: { members: object[] }[];
    }[];
    expect(story[0]?.postings[0]?.members).toMatchObject([{ member: 'b@example.org', state: 'pending' }]);
  });

  it('is over after drop, with a ledger line', async () => {
    const { unopened, deferred, broken, nobody } = await arrangeOpen();
    expect(await root.json('queue', 'drop', unopened)).toMatchObject({ postings: 1, copies: 0 });
    expect(await root.json('queue', 'drop', deferred)).toMatchObject({ postings: 0, copies: 2 });
    expect(await root.json('queue', 'drop', broken)).toMatchObject({ postings: 1 });
    await root.json('queue', 'drop', nobody);
    expect((await root.run('queue', 'list')).stdout).toBe('Nothing waits.\n');
    for (const id of [unopened, deferred, broken, nobody]) {
      const story = (await root.json('explain', id)) as { history: { event: string; detail: string }[] }[];
      expect(story[0]?.history.map((one) => one.event)).toEqual(
        expect.arrayContaining([expect.stringMatching(/dropped|cancelled/)]),
      );
    }
    const kept = await root.run('housekeeping');
    expect(kept.stdout).toMatch(/^messages whose file is not needed any more: [1-9]\d*$/m);
    expect((await root.run('housekeeping')).stdout).toBe('Nothing was due.\n');
    expect(await arrange((_, spool) => spool.messages())).toEqual([]);
  });
});

describe('explain', () => {
  it('finds by Message-ID, all of them, and says when nothing is known', async () => {
    await arrange(async (database, _, listId) => {
      for (const at of [now, now + 5]) {
        await database.write(async (tx) => {
          const subject = 'evil \u001b[2J';
          await insertMessages(tx, [
            {
              message: message(newId(at), { receivedAt: at, messageId: '<same@example.org>', subject }),
              postings: [{ listId, kind: 'post' }],
            },
          ]);
        });
      }
    });
    for (const name of ['<same@example.org>', 'same@example.org'])
      expect(await root.json('explain', name)).toHaveLength(2);
    const text = (await root.run('explain', 'same@example.org')).stdout;
    expect(text).toContain('Subject     evil ?[2J');
    expect(text).toContain('Received ');
    expect(await root.run('explain', 'nix')).toMatchObject({ code: 1, stdout: '' });
    expect((await root.run('queue', 'show', '99')).stderr).toBe(
      'reseal: 99 is no message in the queue: see `reseal queue list`\n',
    );
  });
});
