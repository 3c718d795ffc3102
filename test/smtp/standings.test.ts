import { afterEach, describe, expect, it } from 'vitest';
import { type Outcome, type PoolTimes, RelayPool, type RelayTarget } from '../../src/smtp/pool.ts';
import { Standings } from '../../src/smtp/standings.ts';
import { hang, type StageInfo, startSink } from '../kit/sink.ts';
import { copyFor, sendOne, targetOf } from './copies.ts';

const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

/** A relay that answers so at the end of messages from `poison…` and `other…`, and a pool that tells when it is found down. */
async function stumbling(
  how: (info: StageInfo) => string | null,
  target: Partial<RelayTarget> = {},
  times: Partial<PoolTimes> = {},
) {
  const sink = await startSink({ answer: (stage, info) => (stage === '.' ? how(info) : null) });
  const changes: (string | null)[] = [];
  const pool = new RelayPool(targetOf(sink, target), times, (down) => changes.push(down?.text ?? null));
  open.push(() => pool.close(0), sink.close);
  const send = (message: string, to = 'a@x.example'): Promise<Outcome> =>
    sendOne(pool, copyFor(to, { message, from: `${message.replace(' ', '-')}@lists.example` }));
  return { sink, pool, send, changes };
}

const atPoison = (answer: string) => (info: StageInfo) => (info.from.startsWith('poison') ? answer : null);
const members = (n: number): string[] => Array.from({ length: n }, (_, i) => `m${i}@x.example`);

describe('a relay that stumbles over one message', () => {
  it.each([
    ['421', '421 4.3.0 scanner failed', {}],
    ['no SMTP', 'Traceback (most recent call last)', {}],
    ['silence', hang, { timeoutMs: 500 }],
  ])('with %s is not down: its copies are deferred, others go on', async (_, answer, target) => {
    const { send, changes } = await stumbling(atPoison(answer), target);
    for (let n = 0; n < 3; n++) {
      expect(await send('poison')).toMatchObject({ kind: 'deferred', relayDown: false, atContent: true });
      expect(await send(`other ${n}`)).toMatchObject({ kind: 'delivered' });
    }
    expect(changes).toEqual([]);
  });

  it('and over a second one, none having fared better in between, is down', async () => {
    const { send, changes, pool } = await stumbling(atPoison('421 4.3.2 closing'));
    await send('poison 1');
    await send('poison 1');
    expect(changes).toEqual([]);
    // The copy that shows it was tried, and counts; the others were not.
    expect(await send('poison 2')).toMatchObject({ relayDown: false, atContent: true });
    expect(changes).toEqual(['closing']);
    expect(pool.down).toMatchObject({ relayDown: true, command: null });
    expect(await send('other')).toMatchObject({ kind: 'deferred', relayDown: true });
  });

  it('a message that it stumbles over alone says nothing of the relay any more', async () => {
    const { send, changes } = await stumbling(atPoison('421 4.3.2 closing'));
    await send('poison 1');
    await send('other');
    await send('poison 2');
    await send('poison 1');
    expect(changes).toEqual([]);
    await send('poison 3');
    expect(changes).toEqual(['closing']);
  });

  it('an answer at RCPT is none to the content', async () => {
    const sink = await startSink({
      answer: (stage, { to }) => {
        if (stage === 'RCPT' && to.startsWith('nobody')) return '550 5.1.1 who?';
        return stage === '.' ? '421 4.3.2 closing' : null;
      },
    });
    const pool = new RelayPool(targetOf(sink));
    open.push(() => pool.close(0), sink.close);
    await sendOne(pool, copyFor('a@x.example', { message: 'm1' }));
    await sendOne(pool, copyFor('nobody@x.example', { message: 'm2' }));
    expect(pool.down).toBeNull();
    await sendOne(pool, copyFor('b@x.example', { message: 'm3' }));
    expect(pool.down).toMatchObject({ code: 421 });
  });

  it('holds with it half of its connections at most: others go at once while it is silent', async () => {
    const { sink, send } = await stumbling(atPoison(hang), { connections: 4 });
    const hung = members(10).map((to) => send('poison', to));
    await sink.until(() => sink.commands.filter((line) => line === 'DATA').length > 0);
    const others = await Promise.all(members(6).map((to) => send('other', to)));
    expect(others.every((one) => one.kind === 'delivered')).toBe(true);
    await open.shift()?.();
    expect((await Promise.all(hung)).every((one) => one.kind === 'deferred')).toBe(true);
  });

  it('and over several at once leaves connections to others, which show that it is not down', async () => {
    const { sink, send, changes } = await stumbling(
      atPoison(hang),
      { connections: 8, timeoutMs: 1000 },
      { lineMs: 20 },
    );
    const hung = ['poison 1', 'poison 2', 'poison 3'].flatMap((message) =>
      members(8).map((to) => send(message, to)),
    );
    await sink.until(() => sink.commands.filter((line) => line === 'DATA').length >= 3);
    const others = await Promise.all(members(6).map((to) => send('other', to)));
    expect(others.every((one) => one.kind === 'delivered')).toBe(true);
    let isOver = false;
    void Promise.all(hung).then(() => {
      isOver = true;
    });
    while (!isOver) expect(await send('other')).toMatchObject({ kind: 'delivered' });
    expect(changes).toEqual([]);
  });

  it('is tried with one copy of it; the others do not wait long for that, and were not tried', async () => {
    const { sink, send } = await stumbling(
      atPoison(hang),
      { connections: 4, timeoutMs: 700 },
      { lineMs: 20 },
    );
    await send('poison');
    const before = sink.commands.filter((line) => line === 'DATA').length;
    const outcomes = await Promise.all(members(8).map((to) => send('poison', to)));
    expect(sink.commands.filter((line) => line === 'DATA').length).toBe(before + 1);
    expect(outcomes.filter((one) => one.atContent)).toHaveLength(1);
    const others = outcomes.filter((one) => one.relayDown && one.command === null);
    expect(others).toHaveLength(7);
    expect(others[0]?.text).toMatch(/not tried, for another copy .*: timeout/);
  });

  it('nor do those wait that come after them, until that has its outcome', async () => {
    let answer: string | null = '421 4.3.0 scanner failed';
    const { send } = await stumbling(() => answer, { connections: 4, timeoutMs: 1500 }, { lineMs: 200 });
    await send('poison');
    answer = hang;
    const tried = send('poison', 'tried@x.example');
    expect(await send('poison', 'first@x.example')).toMatchObject({ relayDown: true, command: null });
    const begun = performance.now();
    for (const to of members(20))
      expect(await send('poison', to)).toMatchObject({ relayDown: true, command: null });
    // One after the other they would have waited for four seconds.
    expect(performance.now() - begun).toBeLessThan(600);
    expect(await tried).toMatchObject({ atContent: true });
    answer = null;
    const next = await Promise.all(members(8).map((to) => send('poison', to)));
    expect(next.every((one) => one.kind === 'delivered')).toBe(true);
  });

  it('keeps none of its other copies waiting while it is silent about the first: they come back', async () => {
    const { sink, send } = await stumbling(atPoison(hang), { connections: 4 }, { lineMs: 20 });
    const hung = members(10).map((to) => send('poison', to));
    await sink.until(() => sink.commands.filter((line) => line === 'DATA').length > 0);
    let back = 0;
    for (const one of hung) void one.then(({ afterMs }) => (back += afterMs === undefined ? 0 : 1));
    const begun = performance.now();
    while (back < 6 && performance.now() - begun < 3000)
      expect(await send('other')).toMatchObject({ kind: 'delivered' });
    expect(back).toBeGreaterThanOrEqual(6);
    expect(await send('poison', 'later@x.example')).toMatchObject({ kind: 'deferred', afterMs: 60_000 });
  });

  it('and takes it later: all its copies go', async () => {
    let isIll = true;
    const { send } = await stumbling(() => (isIll ? '421 4.3.0 scanner failed' : null), { connections: 4 });
    await send('poison');
    isIll = false;
    const outcomes = await Promise.all(members(8).map((to) => send('poison', to)));
    expect(outcomes.every((one) => one.kind === 'delivered')).toBe(true);
  });
});

it('remembers a thousand messages, and those that are under way', () => {
  const standings = new Standings(1);
  const fall: Outcome = {
    kind: 'deferred',
    code: 421,
    enhanced: null,
    text: '',
    command: '.',
    relayDown: false,
    atContent: true,
  };
  standings.began('under way');
  for (let n = 0; n < 1500; n++) {
    standings.began(`m${n}`);
    standings.ended(`m${n}`, [fall]);
  }
  expect(standings.fallOf('m1')).toBeNull();
  expect(standings.fallOf('m1499')).toBe(fall);
  standings.ended('under way', [fall]);
  expect(standings.fallOf('under way')).toBe(fall);
});

it('a silence is a message’s own doing only if others are answered meanwhile', async () => {
  const standings = new Standings(4);
  const answer: Outcome = {
    kind: 'delivered',
    code: 250,
    enhanced: null,
    text: '',
    command: '.',
    relayDown: false,
  };
  standings.began('other');
  standings.began('silent');
  expect(standings.isTrouble('silent')).toBe(false);
  await new Promise<void>((resolve) => setImmediate(resolve));
  standings.ended('other', [answer]);
  expect([standings.isTrouble('silent'), standings.isTrouble('other')]).toEqual([true, false]);
});
