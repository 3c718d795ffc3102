import { afterEach, describe, expect, it } from 'vitest';
import { type PoolTimes, RelayPool, type RelayTarget } from '../../src/smtp/pool.ts';
import { drop, hang, type SinkOptions, type Stage, startSink } from '../kit/sink.ts';
import { copyFor, sendOne, targetOf } from './copies.ts';

const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

async function sinkAndPool(
  options: SinkOptions,
  target: Partial<RelayTarget> = {},
  times: Partial<PoolTimes> = {},
) {
  const sink = await startSink(options);
  const pool = new RelayPool(targetOf(sink, target), times);
  open.push(() => pool.close(0), sink.close);
  return { sink, pool };
}

const members = (n: number): string[] => Array.from({ length: n }, (_, i) => `m${i}@x.example`);

/** A promise and its resolver, to hold a sink's answer back. */
function gate(): { readonly opened: Promise<null>; open(): void } {
  let release: () => void = () => {};
  const opened = new Promise<null>((resolve) => {
    release = () => resolve(null);
  });
  return { opened, open: () => release() };
}

describe('connections', () => {
  it('are reused: one connection, many copies, no RSET between', async () => {
    const { sink, pool } = await sinkAndPool({});
    for (const to of members(5)) expect((await sendOne(pool, copyFor(to))).kind).toBe('delivered');
    expect(sink.connections.total).toBe(1);
    expect(sink.messages.map((m) => m.to[0])).toEqual(members(5));
    expect(sink.commands).not.toContain('RSET');
  });

  it('are never more than allowed, and are used at the same time', async () => {
    const hold = gate();
    const { sink, pool } = await sinkAndPool(
      { answer: (stage) => (stage === '.' ? hold.opened : null) },
      { connections: 3 },
    );
    const sent = Promise.all(members(20).map((to) => sendOne(pool, copyFor(to, { message: to }))));
    await sink.until(() => sink.commands.filter((line) => line === 'DATA').length === 3);
    hold.open();
    expect((await sent).every((outcome) => outcome.kind === 'delivered')).toBe(true);
    expect(sink.messages).toHaveLength(20);
    expect(new Set(sink.messages.map((m) => m.to[0])).size).toBe(20);
    expect(sink.connections.peak).toBe(3);
    expect(sink.connections.total).toBe(3);
  });

  it('that have just taken a large copy take no small one behind it: it waits for another', async () => {
    const [large, begun, first] = [gate(), gate(), gate()];
    const isLarge = (from: string) => from.startsWith('large');
    const { sink, pool } = await sinkAndPool(
      {
        answer: (stage, { from }) => {
          if (stage === '.' && isLarge(from)) {
            begun.open();
            return large.opened;
          }
          return stage === 'DATA' && !isLarge(from) ? first.opened : null;
        },
      },
      { connections: 2 },
    );
    const body = Buffer.from('all the same, again and again\r\n'.repeat(10_000));
    const slow = sendOne(pool, copyFor('a@x.example', { message: 'large', from: 'large@x.example', body }));
    const quick = ['b', 'c'].map((name) => sendOne(pool, copyFor(`${name}@x.example`)));
    await begun.opened;
    first.open();
    await Promise.all(quick);
    expect(sink.messages.map((one) => one.to[0])).toEqual(['b@x.example', 'c@x.example']);
    large.open();
    expect((await slow).kind).toBe('delivered');
  });

  it('are not opened for less work than there is', async () => {
    const { sink, pool } = await sinkAndPool({}, { connections: 10 });
    await Promise.all(members(2).map((to) => sendOne(pool, copyFor(to))));
    expect(sink.connections.total).toBeLessThanOrEqual(2);
  });

  it('are replaced after a number of copies', async () => {
    const { sink, pool } = await sinkAndPool({}, {}, { copiesPerConnection: 2 });
    await Promise.all(members(5).map((to) => sendOne(pool, copyFor(to))));
    expect(sink.messages.map((m) => m.connection)).toEqual([1, 1, 2, 2, 3]);
    expect(sink.connections.peak).toBe(1);
  });

  it('are closed with QUIT when idle', async () => {
    const { sink, pool } = await sinkAndPool({}, {}, { idleMs: 10 });
    await sendOne(pool, copyFor('a@x.example'));
    await sink.until(() => sink.connections.open === 0);
    expect(sink.commands.at(-1)).toBe('QUIT');
    expect((await sendOne(pool, copyFor('b@x.example'))).kind).toBe('delivered');
    expect(sink.connections.total).toBe(2);
  });

  it('say RSET after a refused recipient, and the next copy goes through', async () => {
    const { sink, pool } = await sinkAndPool({
      answer: (stage, info) => (stage === 'RCPT' && info.to.startsWith('no') ? '550 5.1.1 who?' : null),
    });
    const outcomes = await Promise.all(
      ['no@x.example', 'a@x.example', 'no2@x.example'].map((to) => sendOne(pool, copyFor(to))),
    );
    expect(outcomes.map((outcome) => outcome.kind)).toEqual(['refused', 'delivered', 'refused']);
    expect(sink.messages.map((m) => m.to)).toEqual([['a@x.example']]);
    expect(sink.connections.total).toBe(1);
    expect(sink.commands.filter((line) => line === 'RSET')).toHaveLength(1);
  });

  it('that the relay dropped meanwhile cost no copy anything', async () => {
    const { sink, pool } = await sinkAndPool({
      answer: (stage, info) => (stage === 'MAIL' && info.connection === 1 && info.taken === 1 ? drop : null),
    });
    expect((await sendOne(pool, copyFor('a@x.example'))).kind).toBe('delivered');
    expect((await sendOne(pool, copyFor('b@x.example'))).kind).toBe('delivered');
    expect(sink.connections.total).toBe(2);
  });

  it('that are all stale are gone through without loss', async () => {
    const hold = gate();
    const { sink, pool } = await sinkAndPool(
      {
        answer: (stage, info) => {
          if (stage === '.' && info.connection <= 3) return hold.opened;
          return stage === 'MAIL' && info.taken === 1 ? drop : null;
        },
      },
      { connections: 3 },
    );
    const first = members(3).map((to) => sendOne(pool, copyFor(to, { message: to })));
    await sink.until(() => sink.commands.filter((line) => line === 'DATA').length === 3);
    hold.open();
    await Promise.all(first);
    expect((await sendOne(pool, copyFor('b@x.example'))).kind).toBe('delivered');
    expect(sink.connections.total).toBe(4);
  });

  it('that the relay has enough of (421 after some copies) are replaced without loss', async () => {
    const { sink, pool } = await sinkAndPool({
      answer: (stage, info) => (stage === 'MAIL' && info.taken === 2 ? '421 4.7.0 enough' : null),
    });
    const outcomes = await Promise.all(members(5).map((to) => sendOne(pool, copyFor(to))));
    expect(outcomes.map((outcome) => outcome.kind)).toEqual(Array(5).fill('delivered'));
    expect(sink.connections.total).toBe(3);
  });

  it('a copy that breaks every connection is not tried on for ever', async () => {
    const { sink, pool } = await sinkAndPool({
      answer: (stage, info) => (stage === 'MAIL' && info.line.includes('bad') ? drop : null),
    });
    await sendOne(pool, copyFor('a@x.example'));
    const outcome = await sendOne(pool, copyFor('b@x.example', { from: 'bad@x.example' }));
    expect(outcome).toMatchObject({ kind: 'deferred', relayDown: false });
    expect(sink.connections.total).toBe(2);
  });

  it('the relay limits them: those there are do the work', async () => {
    const { sink, pool } = await sinkAndPool(
      {
        answer: (stage, info) =>
          stage === 'CONN' && info.connection > 2 ? '421 4.7.0 too many connections' : null,
      },
      { connections: 8 },
    );
    const outcomes = await Promise.all(members(30).map((to) => sendOne(pool, copyFor(to))));
    expect(outcomes.every((outcome) => outcome.kind === 'delivered')).toBe(true);
    expect(sink.messages.every((m) => m.connection <= 2)).toBe(true);
  });
});

describe('a broken connection', () => {
  it('fails its own copy only', async () => {
    const { sink, pool } = await sinkAndPool(
      { answer: (stage, info) => (stage === 'BODY' && info.from.startsWith('poison') ? drop : null) },
      { connections: 2 },
    );
    const copies = members(10).map((to, i) => copyFor(to, i === 4 ? { from: 'poison@x.example' } : {}));
    const outcomes = await Promise.all(copies.map((copy) => sendOne(pool, copy)));
    expect(outcomes.map((outcome) => outcome.kind)).toEqual(
      copies.map((copy) => (copy.from.startsWith('poison') ? 'deferred' : 'delivered')),
    );
    expect(sink.messages).toHaveLength(9);
  });
});

describe('a relay that is down', () => {
  it('is dialled once for all that wait, then left alone', async () => {
    const { sink, pool } = await sinkAndPool(
      { answer: (stage) => (stage === 'CONN' ? '554 5.3.2 closed' : null) },
      { connections: 5 },
    );
    const outcomes = await Promise.all(members(50).map((to) => sendOne(pool, copyFor(to))));
    expect(outcomes.every((outcome) => outcome.kind === 'deferred' && outcome.relayDown)).toBe(true);
    expect(outcomes[49]?.text).toBe('closed');
    await sendOne(pool, copyFor('late@x.example'));
    expect(sink.connections.total).toBe(1);
  });

  it('is tried again by one connection after a while', async () => {
    let closed = true;
    const { sink, pool } = await sinkAndPool(
      { answer: (stage) => (stage === 'CONN' && closed ? '421 4.3.2 restarting' : null) },
      { connections: 5 },
      { downMs: 20 },
    );
    expect((await sendOne(pool, copyFor('a@x.example'))).relayDown).toBe(true);
    closed = false;
    let outcome = await sendOne(pool, copyFor('b@x.example'));
    while (outcome.relayDown) {
      await new Promise((resolve) => setImmediate(resolve));
      outcome = await sendOne(pool, copyFor('b@x.example'));
    }
    expect(outcome.kind).toBe('delivered');
    expect(sink.connections.total).toBe(2);
  });

  it('falls silent in a transaction: the copies that wait are answered at once', async () => {
    const { sink, pool } = await sinkAndPool(
      { answer: (stage) => (stage === 'RCPT' ? hang : null) },
      { timeoutMs: 60 },
    );
    const outcomes = await Promise.all(members(5).map((to) => sendOne(pool, copyFor(to))));
    expect(outcomes.every((outcome) => outcome.kind === 'deferred' && outcome.relayDown)).toBe(true);
    expect(sink.connections.total).toBe(1);
  });
});

describe('a relay that stays down', () => {
  it('is tried by one connection at a time, less and less often, without any copy', async () => {
    const times: number[] = [];
    const { sink, pool } = await sinkAndPool(
      {
        answer: (stage) => {
          if (stage !== 'CONN') return null;
          times.push(performance.now());
          return '421 4.3.2 restarting';
        },
      },
      { connections: 5 },
      { downMs: 40, longestDownMs: 100 },
    );
    await Promise.all(members(20).map((to) => sendOne(pool, copyFor(to))));
    await sink.until(() => times.length === 5);
    const waits = times.slice(1).map((at, index) => at - (times[index] ?? 0));
    // 40, 80, and 100 at most; a busy machine is late, never early.
    for (const [index, least] of [39, 79, 99, 99].entries())
      expect(waits[index]).toBeGreaterThanOrEqual(least);
    expect(sink.connections.peak).toBe(1);
    expect((await sendOne(pool, copyFor('a@x.example'))).relayDown).toBe(true);
  });

  it('that answers connections but no copy gets one copy at a time', async () => {
    let isHung = true;
    const { sink, pool } = await sinkAndPool(
      { answer: (stage) => (stage === 'MAIL' && isHung ? '421 4.3.2 overloaded' : null) },
      { connections: 5 },
      { downMs: 100 },
    );
    await Promise.all(members(20).map((to) => sendOne(pool, copyFor(to))));
    await sink.until(() => sink.connections.open === 0);
    const before = sink.commands.filter((line) => line.startsWith('MAIL')).length;
    await untilUp(pool);
    const outcomes = await Promise.all(members(20).map((to) => sendOne(pool, copyFor(to))));
    expect(outcomes.every((outcome) => outcome.relayDown)).toBe(true);
    expect(sink.commands.filter((line) => line.startsWith('MAIL'))).toHaveLength(before + 1);
    isHung = false;
    await untilUp(pool);
    const after = await Promise.all(members(20).map((to) => sendOne(pool, copyFor(to))));
    expect(after.every((outcome) => outcome.kind === 'delivered')).toBe(true);
  });
});

async function untilUp(pool: RelayPool): Promise<void> {
  while (pool.down !== null) await new Promise((resolve) => setImmediate(resolve));
}

describe('a rate', () => {
  it('spreads copies over time, and sends back what would stand in line too long', async () => {
    const { sink, pool } = await sinkAndPool({}, { connections: 5, perMinute: 1200 }, { lineMs: 400 });
    const began = performance.now();
    const outcomes = await Promise.all(members(30).map((to) => sendOne(pool, copyFor(to))));
    const took = performance.now() - began;
    const sent = outcomes.filter((outcome) => outcome.kind === 'delivered').length;
    // One each 50 ms, two at once: about ten in line.
    expect(sent).toBeGreaterThanOrEqual(8);
    expect(sent).toBeLessThanOrEqual(11);
    expect(sink.messages).toHaveLength(sent);
    expect(took).toBeGreaterThanOrEqual((sent - 2) * 50 - 5);
    const away = outcomes.flatMap((outcome) => outcome.afterMs ?? []);
    expect(away).toHaveLength(30 - sent);
    // None of them comes back before the line is over, and they come back one after the other.
    expect(Math.min(...away)).toBeGreaterThanOrEqual(400);
    for (const [index, after] of away.slice(1).entries())
      expect(after).toBeGreaterThan((away[index] ?? 0) + 40);
  });
});

describe('close', () => {
  it('answers copies that wait, finishes the one under way, says QUIT', async () => {
    const hold = gate();
    const { sink, pool } = await sinkAndPool({ answer: (stage) => (stage === '.' ? hold.opened : null) });
    const sent = members(3).map((to) => sendOne(pool, copyFor(to)));
    await sink.until(() => sink.commands.includes('DATA'));
    const closed = pool.close(5000);
    expect((await Promise.all(sent.slice(1))).map((o) => o.text)).toEqual(
      Array(2).fill('reseal is stopping'),
    );
    hold.open();
    expect((await sent[0])?.kind).toBe('delivered');
    await closed;
    expect(sink.commands.at(-1)).toBe('QUIT');
    expect(await sendOne(pool, copyFor('late@x.example'))).toMatchObject({
      kind: 'deferred',
      relayDown: false,
    });
  });

  it.each(['CONN', 'MAIL', '.'] as const)(
    'cuts a connection that hangs at %s after the grace',
    async (stage) => {
      const hung = { answer: (at: Stage) => (at === stage ? hang : null) };
      const { sink, pool } = await sinkAndPool(hung, { timeoutMs: 60_000 });
      const sent = sendOne(pool, copyFor('a@x.example'));
      await sink.until(() => sink.connections.total === 1 && (stage === 'CONN' || sink.commands.length >= 2));
      await pool.close(10);
      expect((await sent).kind).toBe('deferred');
      await sink.until(() => sink.connections.open === 0);
      expect(sink.connections.total).toBe(1);
    },
  );
});
