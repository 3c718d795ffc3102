import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Identity } from '../kit/pki.ts';
import { signedAndEncrypted } from './posts.ts';
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
