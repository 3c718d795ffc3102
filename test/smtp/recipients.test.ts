import { afterEach, describe, expect, it } from 'vitest';
import { RelayPool, type RelayTarget } from '../../src/smtp/pool.ts';
import { openRelays, type RelayedOutcome } from '../../src/smtp/relays.ts';
import { drop, type SinkOptions, startSink } from '../kit/sink.ts';
import { copyFor, targetOf } from './copies.ts';

const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

async function sinkAndPool(options: SinkOptions = {}, target: Partial<RelayTarget> = {}) {
  const sink = await startSink(options);
  const lmtp = options.lmtp === true;
  const pool = new RelayPool(targetOf(sink, { lmtp, ...target }));
  open.push(() => pool.close(0), sink.close);
  return { sink, pool };
}

const three = ['a@x.example', 'b@x.example', 'c@x.example'] as const;
const noPipelining = { extensions: ['8BITMIME'] };

describe('one copy for several recipients', () => {
  it.each([
    ['together', {}],
    ['one by one', noPipelining],
  ])('is one transaction with a RCPT for each (commands %s)', async (_, options) => {
    const { sink, pool } = await sinkAndPool(options);
    const outcomes = await pool.send(copyFor(three));
    expect(outcomes.map((one) => one.kind)).toEqual(['delivered', 'delivered', 'delivered']);
    expect(sink.messages.map((one) => one.to)).toEqual([three]);
    expect(sink.commands.filter((line) => /^(MAIL|DATA)/.test(line))).toHaveLength(2);
  });

  it.each([
    ['together', {}],
    ['one by one', noPipelining],
  ])('refused for one by his RCPT, reaches the others (commands %s)', async (_, options) => {
    const { sink, pool } = await sinkAndPool({
      ...options,
      answer: (stage, { to }) => (stage === 'RCPT' && to === three[1] ? '550 5.1.1 who?' : null),
    });
    const outcomes = await pool.send(copyFor(three));
    expect(outcomes.map((one) => [one.kind, one.command, one.code])).toEqual([
      ['delivered', '.', 250],
      ['refused', 'RCPT', 550],
      ['delivered', '.', 250],
    ]);
    expect(sink.messages.map((one) => one.to)).toEqual([[three[0], three[2]]]);
    // The transaction went to its end: nothing of it is left.
    await pool.send(copyFor('d@x.example'));
    expect(sink.commands).not.toContain('RSET');
  });

  it.each([
    ['together', {}],
    ['one by one', noPipelining],
  ])('refused for all is not sent, each with his own reply (commands %s)', async (_, options) => {
    const { sink, pool } = await sinkAndPool({
      ...options,
      answer: (stage, { to }) => (stage === 'RCPT' ? `${to.startsWith('a') ? 450 : 550} no` : null),
    });
    const outcomes = await pool.send(copyFor(three));
    expect(outcomes.map((one) => one.kind)).toEqual(['deferred', 'refused', 'refused']);
    expect(sink.messages).toEqual([]);
    await pool.send(copyFor('a@x.example'));
    expect(sink.commands).toContain('RSET');
  });

  it.each(['MAIL', 'DATA', '.'] as const)('refused at %s is refused for all', async (at) => {
    const { pool } = await sinkAndPool({ answer: (stage) => (stage === at ? '554 5.6.0 no' : null) });
    const outcomes = await pool.send(copyFor(three));
    expect(outcomes.map((one) => [one.kind, one.command])).toEqual(three.map(() => ['refused', at]));
  });

  it('whose recipients are too many for the relay: the rest are to come at once, and count as not tried', async () => {
    const { sink, pool } = await sinkAndPool({
      answer: (stage, { to }) => {
        if (stage !== 'RCPT') return null;
        return to === three[0] ? null : to === three[1] ? '452 4.5.3 too many' : '452 4.2.2 full';
      },
    });
    const outcomes = await pool.send(copyFor(three));
    expect(outcomes.map((one) => [one.kind, one.afterMs])).toEqual([
      ['delivered', undefined],
      ['deferred', 0],
      ['deferred', undefined],
    ]);
    expect(sink.messages.map((one) => one.to)).toEqual([[three[0]]]);
    // Of the first recipient it says something else.
    const alone = await pool.send(copyFor(three[1]));
    expect(alone.map((one) => [one.kind, one.afterMs])).toEqual([['deferred', undefined]]);
  });

  it('is answered for each by LMTP (RFC 2033 4.2), only for those whom RCPT took', async () => {
    const { sink, pool } = await sinkAndPool({
      lmtp: true,
      answer: (stage, { to }) => {
        if (stage === 'RCPT' && to === three[0]) return '550 5.1.1 who?';
        return stage === '.' && to === three[1] ? '452 4.2.2 full' : null;
      },
    });
    const [first, next] = await Promise.all([pool.send(copyFor(three)), pool.send(copyFor('d@x.example'))]);
    expect(first.map((one) => [one.kind, one.command, one.enhanced])).toEqual([
      ['refused', 'RCPT', '5.1.1'],
      ['deferred', '.', '4.2.2'],
      ['delivered', '.', '2.0.0'],
    ]);
    // The replies were told apart from those to the next one, which was announced with the final dot.
    expect(next.map((one) => one.kind)).toEqual(['delivered']);
    expect(sink.connections.total).toBe(1);
  });

  it('cut among the answers of LMTP: who was answered has his answer, of the others it is not known', async () => {
    const { pool } = await sinkAndPool({
      lmtp: true,
      answer: (stage, { to }) => (stage === '.' && to === three[1] ? drop : null),
    });
    const outcomes = await pool.send(copyFor(three));
    expect(outcomes.map((one) => [one.kind, one.code])).toEqual([
      ['delivered', 250],
      ['deferred', null],
      ['deferred', null],
    ]);
  });

  it('is settled once, with all of them', async () => {
    const { pool } = await sinkAndPool();
    const settled: number[] = [];
    await pool.send(copyFor(three), async (outcomes) => void settled.push(outcomes.length));
    expect(settled).toEqual([3]);
  });
});

describe('recipients of several relays', () => {
  async function relaysOf(...setups: (SinkOptions & { domains?: readonly string[] })[]) {
    const sinks = await Promise.all(setups.map((options) => startSink(options)));
    const choices = sinks.map((sink, index) => ({
      name: String(index),
      domains: setups[index]?.domains ?? [],
      target: targetOf(sink, { lmtp: setups[index]?.lmtp === true }),
    }));
    const relays = openRelays(choices, { changed: () => {} });
    open.push(() => relays.close(0), ...sinks.map((sink) => sink.close));
    const send = async (to: readonly string[]): Promise<RelayedOutcome[][]> => {
      const told: RelayedOutcome[][] = [];
      await relays.send(copyFor(to), async (outcomes) => void told.push([...outcomes]));
      return told;
    };
    return { sinks, relays, send };
  }

  it('are parted by their relays, by a hundred, and from those who need more of a relay', async () => {
    const { relays } = await relaysOf({}, { domains: ['*.partner.example'] });
    const many = Array.from({ length: 150 }, (_, n) => `m${n}@x.example`);
    const partners = ['a@mail.partner.example', 'b@www.partner.example'];
    const groups = relays.together(['zoë@x.example', ...many, ...partners]);
    expect(groups).toEqual([['zoë@x.example'], many.slice(0, 100), many.slice(100), partners]);
  });

  it('who were answered are not sent to again when the next relay takes over the others', async () => {
    const { sinks, send } = await relaysOf(
      {
        lmtp: true,
        answer: (stage, { to }) => (stage === '.' && to === three[1] ? '421 4.3.2 going down' : null),
      },
      {},
    );
    const told = await send(three.slice(0, 2));
    expect(told.flat().map((one) => [one.to, one.kind, one.relay])).toEqual([
      [three[0], 'delivered', '0'],
      [three[1], 'delivered', '1'],
    ]);
    expect(sinks.map((sink) => sink.messages.map((one) => one.to))).toEqual([
      [[three[0], three[1]]],
      [[three[1]]],
    ]);
  });
});
