import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Identity } from '../kit/pki.ts';
import { hang, type Sink, startSink } from '../kit/sink.ts';
import { clearPost, signedAndEncrypted } from './posts.ts';
import { type List, makeWorld, until, type World } from './world.ts';

/** As many as the daemon opens by default; the test says so if that changes. */
const connections = 20;
/** How long one step may take on a busy machine. */
const patientMs = 20_000;

const nameOf = (list: List): string => list.address.replace(/@.*/, '.');

describe('a relay that takes long for each copy of a large list', () => {
  let world: World;
  let elsewhere: Sink;
  let author: Identity;
  let large: List;
  let small: List;
  /** Copies of the large list that the relay has and did not answer yet. */
  const held: (() => void)[] = [];
  let isQuick = false;

  beforeAll(async () => {
    elsewhere = await startSink();
    world = await makeWorld({
      sink: {
        answer: (stage, { from }) => {
          if (isQuick || stage !== '.' || !from.startsWith('large-bounces')) return null;
          return new Promise((resolve) => held.push(() => resolve(null)));
        },
      },
      relay: (sink) => [
        'relay:',
        `  - {port: ${sink.port}, tls: none}`,
        `  - {port: ${elsewhere.port}, tls: none, domains: elsewhere.example}`,
      ],
    });
    author = await world.person('author', { key: 'rsa' });
    large = await world.list({ name: 'large' });
    small = await world.list({ name: 'small' });
    for (let n = 0; n < 160; n++) await world.join(large, { ...author, address: `large.${n}@example.org` });
    for (let n = 0; n < 5; n++) await world.join(small, { ...author, address: `small.${n}@example.org` });
    await world.join(small, { ...author, address: 'witness@elsewhere.example' });
    for (const list of [large, small]) await world.join(list, author);
  }, 60_000);
  afterAll(async () => {
    await world?.stop();
    await elsewhere?.close();
  });

  const taken = (list: List) =>
    world.sink.messages.filter(({ to }) => to.some((one) => one.startsWith(nameOf(list)))).length;
  const answerOne = () => held.shift()?.();
  const answerAll = () => {
    isQuick = true;
    while (held.length > 0) answerOne();
  };
  const shut = () => {
    isQuick = false;
  };

  /** How many copies of the large list the relay answers from when those of the small one are in line until it has them all. */
  async function answeredBefore(): Promise<number> {
    const [before, witnesses] = [taken(small), elsewhere.messages.length];
    let last = 0;
    await until(() => {
      // A message gets more than half of the connections when one of its copies was answered.
      if (held.length === last && last < connections) answerOne();
      last = held.length;
      return last === connections;
    }, patientMs);
    // A relay that stands still for long is another matter: meanwhile it goes on slowly.
    const slowly = setInterval(answerOne, 500);
    await world.post(await signedAndEncrypted(author, small), small.address);
    // One batch: when this copy has left by its own relay, the others are in line for theirs.
    await until(() => elsewhere.messages.length > witnesses, patientMs);
    clearInterval(slowly);
    let answered = 0;
    const isOver = () => taken(small) === before + 5;
    for (;;) {
      await until(() => isOver() || held.length > 0, patientMs);
      if (isOver()) return answered;
      answerOne();
      answered += 1;
    }
  }

  it('does not keep a post on another list waiting behind them', { timeout: 120_000 }, async () => {
    shut();
    await world.post(await signedAndEncrypted(author, large), large.address);
    // Each connection ends the copy it has and the one at hand for it; then the lists take turns.
    expect(await answeredBefore()).toBeLessThanOrEqual(3 * connections);
    expect(world.sink.connections.peak).toBe(connections);
    expect(taken(large)).toBeLessThan(160);
    answerAll();
    await world.sink.until(() => taken(large) === 160);
  });

  it('nor behind all that was posted to it', { timeout: 120_000 }, async () => {
    shut();
    for (let n = 0; n < 10; n++) await world.post(await signedAndEncrypted(author, large), large.address);
    expect(await answeredBefore()).toBeLessThanOrEqual(3 * connections);
    answerAll();
  });
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
