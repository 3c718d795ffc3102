import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { Outcome, PoolTimes, RelayTarget } from '../../src/smtp/pool.ts';
import { openRelays, type RelayChoice, type RelayedOutcome } from '../../src/smtp/relays.ts';
import { hang, type Sink, type SinkOptions, startSink } from '../kit/sink.ts';
import { copyFor, targetOf } from './copies.ts';

const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

interface Setup extends SinkOptions {
  readonly domains?: readonly string[];
  readonly target?: Partial<RelayTarget>;
}

/** A relay for each, called `0`, `1` …, and what is told of them. */
async function relaysOf(
  setups: readonly Setup[],
  times: Partial<PoolTimes> = {},
  patienceMs = { small: 5000, large: 30_000 },
) {
  const sinks: Sink[] = [];
  const choices: RelayChoice[] = [];
  for (const [index, { domains = [], target = {}, ...options }] of setups.entries()) {
    const sink = await startSink(options);
    const lmtp = options.lmtp === true;
    sinks.push(sink);
    choices.push({ name: String(index), domains, target: targetOf(sink, { lmtp, ...target }) });
    open.push(sink.close);
  }
  const changes: string[] = [];
  const changed = (name: string, down: Outcome | null) =>
    void changes.push(`${name} ${down ? 'down' : 'up'}`);
  const relays = openRelays(choices, { changed, times, askMs: 200, patienceMs });
  open.unshift(() => relays.close(0));
  const settled: RelayedOutcome[] = [];
  const send = async (to: string, more: Parameters<typeof copyFor>[1] = {}): Promise<RelayedOutcome> => {
    const told: RelayedOutcome[] = [];
    await relays.send(copyFor(to, more), async (outcomes) => void told.push(...outcomes));
    settled.push(...told);
    if (!told[0]) throw new Error('nothing was settled');
    return told[0];
  };
  const takenBy = () => sinks.map((sink) => sink.messages.flatMap((message) => message.to));
  return { sinks, relays, send, settled, changes, takenBy };
}

const closed: SinkOptions = { answer: (stage) => (stage === 'CONN' ? '554 5.3.2 closed' : null) };

describe('the way to a domain', () => {
  it('is the relay that names it, the nearest of several patterns; the others share the rest', async () => {
    const { send, takenBy } = await relaysOf([
      {},
      { domains: ['*.example.org'] },
      { domains: ['deep.example.org', 'other.example'] },
      { domains: ['*.deep.example.org'] },
    ]);
    const to = [
      'a@x.example',
      'a@example.org',
      'a@sub.example.org',
      'a@deep.example.org',
      'a@very.deep.example.org',
      'a@other.example',
    ];
    for (const one of to) expect((await send(one)).kind).toBe('delivered');
    expect(takenBy()).toEqual([
      ['a@x.example', 'a@example.org'],
      ['a@sub.example.org'],
      ['a@deep.example.org', 'a@other.example'],
      ['a@very.deep.example.org'],
    ]);
  });

  it('is not left when its relay is down: the others are not for it', async () => {
    const { send, takenBy, changes } = await relaysOf([{}, { domains: ['x.example'], ...closed }]);
    expect(await send('a@x.example')).toMatchObject({ kind: 'deferred', relayDown: true, relay: '1' });
    expect((await send('a@y.example')).relay).toBe('0');
    expect(takenBy()).toEqual([['a@y.example'], []]);
    expect(changes).toEqual(['1 down']);
  });

  const small = { list: 1, octets: 5000 };
  const never = async (): Promise<never> => {
    throw new Error('nothing is sent back here');
  };

  it('keeps connections for small messages, whatever large ones there are, and gives lists their turns', async () => {
    const { relays } = await relaysOf([{ target: { connections: 4 } }]);
    const begun: string[] = [];
    let end = (): void => undefined;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    const turn = (list: number, octets: number, name: string) =>
      relays.turn(
        { to: 'a@x.example', list, octets },
        async () => {
          begun.push(name);
          await ended;
        },
        never,
      );
    const large = Array.from({ length: 6 }, (_, n) => turn(1, 10_000_000, `large ${n}`));
    const little = Array.from({ length: 9 }, (_, n) => turn(2, 5000, `little ${n}`));
    const other = turn(3, 5000, 'other');
    expect(begun).toEqual([
      ...[0, 1, 2].map((n) => `large ${n}`),
      ...[0, 1, 2, 3, 4, 5, 6, 7].map((n) => `little ${n}`),
      // Two places are for lists that have none of the eight.
      'other',
    ]);
    end();
    await Promise.all([...large, ...little, other]);
    expect(begun).toHaveLength(16);
    await relays.close(0);
  });

  it.each([
    [1, 1],
    [4, 3],
    [20, 5],
    [40, 10],
  ])('gives large messages, of %i connections, no more than %i', async (connections, most) => {
    const { relays } = await relaysOf([{ target: { connections } }]);
    let begun = 0;
    const ends: (() => void)[] = [];
    const turns = Array.from({ length: 30 }, () =>
      relays.turn(
        { to: 'a@x.example', list: 1, octets: 10_000_000 },
        () => {
          begun++;
          return new Promise<void>((resolve) => ends.push(resolve));
        },
        never,
      ),
    );
    expect(begun).toBe(most);
    while (ends.length > 0) {
      ends.shift()?.();
      await nextTurn();
    }
    await Promise.all(turns);
    await relays.close(0);
  });

  it('keeps a connection for the large messages of other lists too', async () => {
    const { relays } = await relaysOf([{ target: { connections: 10 } }]);
    const begun: number[] = [];
    let end = (): void => undefined;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    const turns = [1, 1, 1, 1, 1, 1, 1, 2, 3].map((list) =>
      relays.turn(
        { to: 'a@x.example', list, octets: 10_000_000 },
        async () => {
          begun.push(list);
          await ended;
        },
        never,
      ),
    );
    expect(begun).toEqual([1, 1, 1, 1, 1, 2]);
    end();
    await Promise.all(turns);
    await relays.close(0);
  });

  it('has its own turns: a relay that hangs keeps no other way waiting', async () => {
    const { relays, send } = await relaysOf([
      {},
      { domains: ['slow.example'], answer: (stage) => (stage === 'CONN' ? hang : null) },
    ]);
    const hung = Array.from({ length: 10 }, (_, n) => {
      const to = `m${n}@slow.example`;
      return relays.turn({ ...small, to }, () => send(to), never);
    });
    const outcome = await relays.turn({ ...small, to: 'a@x.example' }, () => send('a@x.example'), never);
    expect(outcome).toMatchObject({ kind: 'delivered', relay: '0' });
    await relays.close(0);
    expect((await Promise.all(hung)).every((one) => one.kind === 'deferred')).toBe(true);
  });
});

describe('a way that stands still', () => {
  it('sends back what would wait for it, and what comes later, until a copy comes to its end', async () => {
    const { relays } = await relaysOf([{ target: { connections: 1 } }], {}, { small: 20, large: 30_000 });
    let end = (): void => undefined;
    const ended = new Promise<'sent'>((resolve) => {
      end = () => resolve('sent');
    });
    const turn = () =>
      relays.turn<'sent' | number>(
        { to: 'a@x.example', list: 1, octets: 5000 },
        () => ended,
        async (afterMs) => afterMs,
      );
    const begun = [turn(), turn()];
    // They wait, and are sent back together when the way is found stuck.
    expect(await Promise.all([turn(), turn()])).toEqual([30_000, 30_000]);
    const asked = performance.now();
    expect(await turn()).toBe(30_000);
    expect(performance.now() - asked).toBeLessThan(20);
    end();
    expect(await Promise.all(begun)).toEqual(['sent', 'sent']);
    expect(await Promise.all([turn(), turn(), turn()])).toEqual(['sent', 'sent', 'sent']);
  });
});

describe('fail-over', () => {
  it('uses the next relay while the first is down, and the first again when it is up', async () => {
    let isClosed = true;
    const { sinks, send, settled, changes, takenBy } = await relaysOf(
      [{ answer: (stage) => (stage === 'CONN' && isClosed ? '421 4.3.2 restarting' : null) }, {}],
      { downMs: 20 },
    );
    expect(await send('a@x.example')).toMatchObject({ kind: 'delivered', relay: '1' });
    expect(await send('b@x.example')).toMatchObject({ kind: 'delivered', relay: '1' });
    isClosed = false;
    await sinks[0]?.until(() => changes.includes('0 up') || sinks[0]?.commands.length === 1);
    while (!changes.includes('0 up')) await new Promise((resolve) => setImmediate(resolve));
    expect(await send('c@x.example')).toMatchObject({ kind: 'delivered', relay: '0' });
    expect(takenBy()).toEqual([['c@x.example'], ['a@x.example', 'b@x.example']]);
    expect(changes).toEqual(['0 down', '0 up']);
    // Each copy was settled once.
    expect(settled.map((one) => one.relay)).toEqual(['1', '1', '0']);
  });

  it('all down: deferred, each asked once', async () => {
    const { sinks, send, settled } = await relaysOf([closed, closed]);
    expect(await send('a@x.example')).toMatchObject({ kind: 'deferred', relayDown: true, relay: '0' });
    expect(await send('b@x.example')).toMatchObject({ kind: 'deferred', relayDown: true });
    expect(sinks.map((sink) => sink.connections.total)).toEqual([1, 1]);
    expect(settled).toHaveLength(2);
  });

  it('not of a refusal: what one relay refuses is not tried at another', async () => {
    const refuses: SinkOptions = { answer: (stage) => (stage === 'RCPT' ? '550 5.1.1 who?' : null) };
    const { send, takenBy } = await relaysOf([refuses, {}]);
    expect(await send('a@x.example')).toMatchObject({ kind: 'refused', relay: '0', ofRecipient: true });
    expect(takenBy()).toEqual([[], []]);
  });

  it('not after the whole message went out and no answer came: it may have arrived', async () => {
    const silent: SinkOptions = { answer: (stage) => (stage === '.' ? hang : null) };
    const { send, takenBy } = await relaysOf([{ ...silent, target: { timeoutMs: 60 } }, {}]);
    expect(await send('a@x.example')).toMatchObject({ kind: 'deferred', relay: '0' });
    expect(await send('b@x.example', { message: 'm2' })).toMatchObject({ kind: 'deferred', relay: '0' });
    expect(takenBy()).toEqual([[], []]);
    // Now the relay is known to be down: of the next one nothing has been sent.
    expect(await send('c@x.example')).toMatchObject({ kind: 'delivered', relay: '1' });
  });

  it('of a copy that the relay gave up at its end (421): it has not arrived', async () => {
    const { send, takenBy, changes } = await relaysOf([
      { answer: (stage) => (stage === '.' ? '421 4.3.0 try elsewhere' : null) },
      {},
    ]);
    expect(await send('a@x.example')).toMatchObject({ kind: 'delivered', relay: '1' });
    expect(takenBy()).toEqual([[], ['a@x.example']]);
    expect(changes).toEqual([]);
  });

  it('what the first cannot take goes to one that can; while that is down, it waits for it', async () => {
    const able = await relaysOf([{ extensions: ['SIZE 20'] }, {}]);
    expect(await able.send('a@x.example')).toMatchObject({ kind: 'delivered', relay: '1' });
    const down = await relaysOf([{ extensions: ['SIZE 20'] }, closed]);
    expect(await down.send('a@x.example')).toMatchObject({ kind: 'deferred', relay: '1' });
    const neither = await relaysOf([{ extensions: ['SIZE 20'] }, { extensions: ['SIZE 30'] }]);
    expect(await neither.send('a@x.example')).toMatchObject({
      kind: 'refused',
      relay: '0',
      misfit: 'too-large-for-relay',
    });
  });
});

describe('refusals', () => {
  it.each([
    ['RCPT', false, true],
    ['MAIL', false, false],
    ['DATA', false, false],
    ['.', false, false],
    ['.', true, true],
  ] as const)('at %s (LMTP: %s) speak of the recipient: %s', async (at, lmtp, ofRecipient) => {
    const { send } = await relaysOf([{ lmtp, answer: (stage) => (stage === at ? '550 5.7.1 no' : null) }]);
    expect(await send('a@x.example')).toMatchObject({ kind: 'refused', ofRecipient });
  });
});

describe('what no relay could take', () => {
  const needs = { octets: 100, smtpUtf8: false, body8bit: false, requireTls: false };

  it('is known before it is sent, if all of them say so', async () => {
    const both = await relaysOf([
      { extensions: ['SIZE 20'] },
      { domains: ['x.example'], extensions: ['SIZE 99'] },
    ]);
    expect(await both.relays.misfit(needs)).toMatchObject({
      misfit: 'too-large-for-relay',
      enhanced: '5.3.4',
    });
    const one = await relaysOf([
      { extensions: ['SIZE 20'] },
      { domains: ['x.example'], extensions: ['SIZE 100'] },
    ]);
    expect(await one.relays.misfit(needs)).toBeNull();
    expect(await one.relays.misfit({ ...needs, octets: 1, body8bit: true })).toMatchObject({
      misfit: 'needs-8bitmime',
    });
    expect(await one.relays.misfit({ ...needs, octets: 1, requireTls: true })).toMatchObject({
      misfit: 'needs-tls',
    });
    expect(one.sinks.flatMap((sink) => sink.commands)).toEqual(['EHLO lists.example', 'EHLO lists.example']);
  });

  it.each([
    ['is down', '421 4.3.2 restarting'],
    ['hangs', hang],
  ])('is not known while one %s', async (_, answer) => {
    const { relays } = await relaysOf([
      { extensions: ['SIZE 20'] },
      { answer: (stage) => (stage === 'CONN' ? answer : null) },
    ]);
    expect(await relays.misfit(needs)).toBeNull();
  });

  it('keeps one decision waiting for a relay that hangs, not each', async () => {
    const { relays } = await relaysOf([
      { answer: (stage) => (stage === 'CONN' ? hang : null), target: { connections: 4 } },
    ]);
    await relays.misfit(needs);
    const asked = performance.now();
    for (let n = 0; n < 20; n++) expect(await relays.misfit(needs)).toBeNull();
    expect(performance.now() - asked).toBeLessThan(200);
  });
});
