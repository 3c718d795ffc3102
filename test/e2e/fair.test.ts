import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Identity } from '../kit/pki.ts';
import { hang, type Sink, startSink } from '../kit/sink.ts';
import { clearPost, signedAndEncrypted } from './posts.ts';
import { type List, makeWorld, type World } from './world.ts';

/** As many as the daemon opens by default; the test says so if that changes. */
const connections = 20;
/** What the relay takes for each copy of the large post. */
const slowMs = 300;

const nameOf = (list: List): string => list.address.replace(/@.*/, '.');

describe('a relay that takes long for each copy of a large list', () => {
  let world: World;
  let author: Identity;
  let large: List;
  let small: List;

  beforeAll(async () => {
    world = await makeWorld({
      sink: {
        answer: async (stage, { from }) => {
          if (stage === '.' && from.startsWith('large-bounces')) await pause(slowMs);
          return null;
        },
      },
    });
    author = await world.person('author', { key: 'rsa' });
    large = await world.list({ name: 'large' });
    small = await world.list({ name: 'small' });
    for (let n = 0; n < 160; n++) await world.join(large, { ...author, address: `large.${n}@example.org` });
    for (let n = 0; n < 5; n++) await world.join(small, { ...author, address: `small.${n}@example.org` });
    for (const list of [large, small]) await world.join(list, author);
  }, 60_000);
  afterAll(() => world?.stop());

  it('does not keep a post on another list waiting behind them', async () => {
    const taken = (list: List) =>
      world.sink.messages.filter(({ to }) => to.some((one) => one.startsWith(nameOf(list)))).length;
    await world.post(await signedAndEncrypted(author, large), large.address);
    await world.sink.until(() => taken(large) > 0);
    await world.post(await signedAndEncrypted(author, small), small.address);
    const before = taken(large);
    await world.sink.until(() => taken(small) === 5);
    const meanwhile = taken(large) - before;
    expect(world.sink.connections.peak).toBe(connections);
    // Each connection ends the copy it has and the one at hand for it; then the lists take turns.
    expect(meanwhile).toBeLessThanOrEqual(3 * connections);
    expect(taken(large)).toBeLessThan(160);
    await world.sink.until(() => taken(large) === 160);
  }, 30_000);

  it('nor behind all that was posted to it', async () => {
    const taken = (list: List) =>
      world.sink.messages.filter(({ to }) => to.some((one) => one.startsWith(nameOf(list)))).length;
    const [large0, small0] = [taken(large), taken(small)];
    for (let n = 0; n < 10; n++) await world.post(await signedAndEncrypted(author, large), large.address);
    await world.sink.until(() => taken(large) > large0);
    await world.post(await signedAndEncrypted(author, small), small.address);
    const before = taken(large);
    await world.sink.until(() => taken(small) === small0 + 5);
    expect(taken(large) - before).toBeLessThanOrEqual(3 * connections);
  }, 60_000);
});

describe('a relay for one domain that says nothing', () => {
  let world: World;
  let silent: Sink;
  afterAll(async () => {
    await world?.stop();
    await silent?.close();
  });

  it('keeps only its own copies waiting: members elsewhere get theirs, however much is posted', async () => {
    silent = await startSink({ answer: (stage) => (stage === 'MAIL' ? hang : null) });
    world = await makeWorld({
      yaml: ['shutdown.grace: 1s'],
      relay: (sink) => [
        'relay:',
        `  - {port: ${sink.port}, tls: none, connections: 4}`,
        `  - {port: ${silent.port}, tls: none, connections: 2, domains: silent.example}`,
      ],
    });
    const author = 'alice@example.org';
    const there = Array.from({ length: 30 }, (_, n) => `m${n}@silent.example`);
    const settings = { 'send.verp': 'yes' };
    // As many postings as are prepared at a time, and more, all for the relay that hangs.
    for (const name of ['first', 'second', 'third']) {
      const list = await world.list({ name, bare: [author, ...there], settings });
      for (let n = 0; n < 4; n++) await world.post(clearPost(author, list.address), list.address);
    }
    await silent.until(() => silent.connections.open === 2);
    const other = await world.list({ name: 'other', bare: [author, 'bob@example.org'], settings });
    const { id } = await world.post(clearPost(author, other.address), other.address);
    await world.untilDeliveries(id, (all) => all.every((row) => row.state === 'delivered'));
    // relay.timeout is not over by far: it is not known to be down.
    expect(
      await world.onDatabase((q) => q.selectFrom('deliveries').select('reason').distinct().execute()),
    ).toEqual([{ reason: null }]);
    const waiting = await world.onDatabase((q) =>
      q.selectFrom('deliveries').selectAll().where('member', 'like', '%silent.example').execute(),
    );
    expect(waiting).toHaveLength(12 * there.length);
    expect(waiting.every((row) => row.finishedAt === null && row.attempts <= 1)).toBe(true);
  }, 60_000);
});
