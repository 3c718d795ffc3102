import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { hang, type SinkOptions } from '../kit/sink.ts';
import { clearPost, signedAndEncrypted } from './posts.ts';
import { makeWorld, type World, type WorldOptions } from './world.ts';

const worlds: World[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) {
    await world.stop();
    expect(world.leaks()).toEqual([]);
  }
});

async function worldOf(options: WorldOptions = {}): Promise<World> {
  const world = await makeWorld({ ...options, yaml: ['shutdown.grace: 2s', ...(options.yaml ?? [])] });
  worlds.push(world);
  return world;
}

/** Stops the daemon; its exit code, and how long it took in seconds. */
async function stopped(world: World): Promise<{ code: number | null; seconds: number }> {
  const from = performance.now();
  const code = await world.daemon.stop();
  return { code, seconds: (performance.now() - from) / 1000 };
}

const many = (n: number): string[] =>
  Array.from({ length: n }, (_, i) => `m${String(i).padStart(5, '0')}@example.org`);

/** Hangs the crypto worker at a job of this kind, as a fault in its code would. */
function hanging(world: World, kind: string): { nodeArgs: string[] } {
  const file = join(world.root, 'hook.cjs');
  writeFileSync(
    file,
    `const { isMainThread, parentPort } = require('node:worker_threads');
    if (!isMainThread && parentPort) {
      const on = parentPort.on;
      parentPort.on = function (name, listener) {
        return on.call(this, name, (question) => {
          if (question?.job?.kind === '${kind}') for (;;);
          return listener(question);
        });
      };
    }`,
  );
  return { nodeArgs: ['--require', file] };
}

function hangingRelay(): { sink: SinkOptions; asked: Promise<void>; goOn: () => void } {
  let isHanging = true;
  let ask = (): void => {};
  const asked = new Promise<void>((resolve) => {
    ask = resolve;
  });
  const answer: SinkOptions['answer'] = (stage) => {
    if (stage !== '.' || !isHanging) return null;
    ask();
    return hang;
  };
  return {
    sink: { answer },
    asked,
    goOn: () => {
      isHanging = false;
    },
  };
}

const allDelivered = (rows: readonly { state: string }[]) => rows.every((row) => row.state === 'delivered');

describe('a stop', () => {
  it('in the middle of a fan-out: the rest is made and sent after the next start, each copy once', async () => {
    const world = await worldOf();
    const members = many(6000);
    const list = await world.list();
    await world.onDatabase((q) =>
      q
        .insertInto('members')
        .columns(['listId', 'address', 'name', 'state', 'since', 'settings'])
        .expression((e) =>
          e
            .selectFrom(e.fn<{ value: string }>('json_each', [e.val(JSON.stringify(members))]).as('j'))
            .select((s) => [
              s.val(list.id).as('listId'),
              s.ref('j.value').as('address'),
              s.val('').as('name'),
              s.val('active').as('state'),
              s.val(0).as('since'),
              s.val('{}').as('settings'),
            ]),
        )
        .execute(),
    );
    const post = clearPost(members[0] ?? '', list.address);
    const sent = await world.send(post, list.address);
    await world.sink.next(1);
    const { code, seconds } = await stopped(world);
    expect(code).toBe(0);
    expect(seconds).toBeLessThan(4);
    await world.restart();
    const rows = await world.untilDeliveries(sent.id, (all) => all.length === 6000 && allDelivered(all));
    expect(new Set(rows.map((row) => row.attempts))).toEqual(new Set([1]));
    expect(world.sink.messages.flatMap(({ to }) => to).sort()).toEqual(members);
  }, 60_000);

  it.each([
    ['opening', 'open'],
    ['sealing', 'address'],
  ])(
    'while %s hangs: within the grace, and the post goes on after the next start',
    async (_, kind) => {
      const world = await worldOf();
      await world.daemon.stop();
      await world.restart(hanging(world, kind));
      const alice = await world.person('alice');
      const list = await world.list({ key: 'p256', members: [alice] });
      const sent = await world.send(await signedAndEncrypted(alice, list), list.address);
      if (kind === 'open') await world.daemon.logged((line) => line.event === 'received');
      else await world.untilDeliveries(sent.id, (rows) => rows.every((row) => row.state === 'in-flight'));
      const { code, seconds } = await stopped(world);
      expect(code).toBe(0);
      expect(seconds).toBeLessThan(4);
      await world.restart({});
      const rows = await world.untilDeliveries(sent.id, allDelivered);
      expect(rows.map((row) => row.attempts)).toEqual([1]);
      expect(world.sink.messages).toHaveLength(1);
    },
    60_000,
  );

  it('with a client in DATA and a relay that hangs: one grace for both, and nothing is lost', async () => {
    const relay = hangingRelay();
    const world = await worldOf({ sink: relay.sink });
    const author = 'm0@example.org';
    const list = await world.list({ bare: [author] });
    const sent = await world.send(clearPost(author, list.address), list.address);
    await relay.asked;
    const client: Socket = connect(world.daemon.port(), '127.0.0.1');
    client.on('error', () => {});
    await once(client, 'data');
    const commands = ['EHLO x', `MAIL FROM:<${author}>`, `RCPT TO:<${list.address}>`, 'DATA'];
    let last = '';
    for (const command of commands) {
      client.write(`${command}\r\n`);
      last = String((await once(client, 'data'))[0]);
    }
    expect(last).toMatch(/^354/);
    const { code, seconds } = await stopped(world);
    expect(code).toBe(0);
    expect(seconds).toBeLessThan(4);
    const [row] = await world.deliveries(sent.id);
    expect(row).toMatchObject({ finishedAt: null });
    relay.goOn();
    await world.restart();
    await world.untilDeliveries(sent.id, allDelivered);
    expect(world.sink.messages).toHaveLength(1);
  }, 60_000);

  it('refuses new mail meanwhile with 421', async () => {
    const relay = hangingRelay();
    const world = await worldOf({ sink: relay.sink });
    const list = await world.list({ bare: ['m0@example.org'] });
    await world.send(clearPost('m0@example.org', list.address), list.address);
    await relay.asked;
    // A client that is in no transaction hears it at once.
    const client = connect(world.daemon.port(), '127.0.0.1');
    client.on('error', () => {});
    await once(client, 'data');
    const gone = world.daemon.stop();
    const [goodbye] = await once(client, 'data');
    expect(String(goodbye)).toMatch(/^421 4\.3\.2 /);
    expect(await gone).toBe(0);
    relay.goOn();
    await world.restart();
  }, 60_000);

  it('by a second signal is at once, with another exit code; nothing is lost', async () => {
    const relay = hangingRelay();
    const world = await worldOf({ sink: relay.sink });
    const author = 'm0@example.org';
    const list = await world.list({ bare: [author] });
    const sent = await world.send(clearPost(author, list.address), list.address);
    await relay.asked;
    const gone = world.daemon.stop();
    await world.daemon.logged((line) => line.event === 'stopping');
    const from = performance.now();
    world.daemon.signal('SIGTERM');
    expect(await gone).toBe(1);
    expect(performance.now() - from).toBeLessThan(1500);
    relay.goOn();
    await world.restart();
    const rows = await world.untilDeliveries(sent.id, allDelivered);
    expect(rows).toHaveLength(1);
    expect(world.sink.messages).toHaveLength(1);
  }, 60_000);
});
