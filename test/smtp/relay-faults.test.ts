import { readFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type Outcome, RelayPool, type RelayTarget } from '../../src/smtp/pool.ts';
import { makeCa } from '../kit/pki.ts';
import {
  drop,
  hang,
  type Sink,
  type SinkOptions,
  type Stage,
  type StageInfo,
  startSink,
} from '../kit/sink.ts';
import { copyFor, sendOne, targetOf } from './copies.ts';

// What a relay may do at each step of each session: no copy is lost, none comes twice, and it ends in time.

/** A relay that is out of order is left soon; one that works has time, however busy this machine is. */
const short = 150;
const long = 60_000;
let tls: { key: Buffer; cert: Buffer };
beforeAll(async () => {
  const ca = await makeCa();
  const server = await ca.issue({ name: 'localhost', eku: 'serverAuth' });
  tls = { key: readFileSync(server.keyPath), cert: readFileSync(server.certPath) };
});

async function sinkAndPool(
  onTestFinished: (end: () => Promise<void>) => void,
  options: SinkOptions,
  { timeoutOf, ...target }: Partial<RelayTarget> & { timeoutOf: (connection: number) => number },
) {
  const sink = await startSink({ tls, ...options });
  let dialled = 0;
  const relay: RelayTarget = {
    ...targetOf(sink, {
      tls: 'opportunistic',
      auth: { user: 'u', pass: 'p' },
      connections: 2,
      ...target,
    }),
    // Looked at once for each connection.
    get timeoutMs() {
      return timeoutOf(++dialled);
    },
  };
  const pool = new RelayPool(relay, { downMs: 20, longestDownMs: 40, idleMs: 30 });
  onTestFinished(async () => {
    await pool.close(0);
    await sink.close();
  });
  return { sink, pool, dialled: () => dialled };
}

/** Says something again and again until the connection is gone. */
function keepSaying(socket: Socket, words: string, everyMs: number): void {
  const timer = setInterval(() => socket.write(words), everyMs);
  socket.once('close', () => clearInterval(timer));
}

/** Says as much as the other side takes, for ever. */
function pour(socket: Socket, words: string): void {
  const piece = words.repeat(Math.ceil(64_000 / words.length));
  const more = (): void => {
    while (!socket.destroyed && socket.write(piece));
  };
  socket.on('drain', more);
  more();
}

const steps = ['CONN', 'EHLO', 'STARTTLS', 'AUTH', 'MAIL', 'RCPT', 'DATA', 'BODY', '.'] as const;
const faults: Readonly<Record<string, (info: StageInfo) => string>> = {
  'says nothing': () => hang,
  'breaks the connection': () => drop,
  'answers 421': () => '421 4.3.2 closing',
  'answers 4xx': () => '451 4.3.0 later',
  'answers something else than SMTP': () => 'HTTP/1.1 400 Bad Request',
  'answers octets without order': () => '\x00\xff\x16\x03\x01\r\r\n\n\x1b[2J\u202e',
  'answers a line of 3 MB': () => 'x'.repeat(3_000_000),
  'answers a line that never ends': ({ socket }) => {
    pour(socket, '250-more ');
    return hang;
  },
  'answers lines without end': ({ socket }) => {
    pour(socket, '250-more\r\n');
    return hang;
  },
  'answers replies without end': ({ socket }) => {
    pour(socket, '451 4.3.0 no\r\n');
    return hang;
  },
  'answers an octet now and then': ({ socket }) => {
    keepSaying(socket, '2', short / 5);
    return hang;
  },
  'answers a line now and then': ({ socket }) => {
    keepSaying(socket, '250-wait\r\n', short / 5);
    return hang;
  },
};

describe.each(Object.entries(faults))('a relay that %s', (_, fault) => {
  it.concurrent.for(steps)('at %s', { timeout: 60_000 }, async (step, { onTestFinished }) => {
    /** The last connection on which the relay is out of order. */
    let lastFaulty = 0;
    let isMended = false;
    const { sink, pool, dialled } = await sinkAndPool(
      onTestFinished,
      {
        answer: (stage: Stage, info: StageInfo) => {
          // One that has little time might be left although the relay takes its copy, which then came twice.
          if (isMended) return info.connection <= lastFaulty ? drop : null;
          if (stage !== step) return null;
          const words = fault(info);
          // In the middle of a message the sink would go on and take it.
          if (step !== 'BODY' || words === drop || words === hang) return words;
          info.socket.write(`${words}\r\n`);
          return hang;
        },
      },
      { timeoutOf: () => (isMended ? long : short) },
    );
    const waiting = new Map(Array.from({ length: 6 }, (_one, n) => [`m${n}@x.example`, 0]));
    const before = process.memoryUsage().rss;
    const sendAll = async (): Promise<Outcome[]> =>
      Promise.all(
        [...waiting.keys()].map(async (to) => {
          const outcome = await sendOne(pool, copyFor(to));
          waiting.set(to, (waiting.get(to) ?? 0) + 1);
          if (outcome.kind === 'delivered') waiting.delete(to);
          return outcome;
        }),
      );
    const outcomes = await sendAll();
    // One connection breaks off before all copies had their turn, or each copy has its own fault: nobody is refused.
    expect(outcomes.map(({ kind }) => kind)).not.toContain('refused');
    expect(outcomes.filter(({ kind }) => kind === 'delivered')).toHaveLength(sink.messages.length);
    for (const { text } of outcomes) expect(Buffer.byteLength(text)).toBeLessThanOrEqual(300);
    lastFaulty = dialled();
    isMended = true;
    while (waiting.size > 0) {
      await sendAll();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(sink.messages.flatMap(({ to }) => to).sort()).toEqual(
      Array.from({ length: 6 }, (_one, n) => `m${n}@x.example`),
    );
    expect(process.memoryUsage().rss - before).toBeLessThan(300_000_000);
  });
});

it.concurrent.for(Object.entries(faults))(
  'QUIT: a relay that %s keeps no connection for long',
  async ([, fault], { expect, onTestFinished }) => {
    const { sink, pool } = await sinkAndPool(
      onTestFinished,
      { answer: (stage, info) => (stage === 'QUIT' ? fault(info) : null) },
      { timeoutOf: () => long },
    );
    expect((await sendOne(pool, copyFor('a@x.example'))).kind).toBe('delivered');
    await sink.until(() => sink.connections.open === 0);
    expect((await sendOne(pool, copyFor('b@x.example'))).kind).toBe('delivered');
  },
);

/** Passes a sink's replies on octet by octet; gives the port. */
async function drip(sink: Pick<Sink, 'port'>, everyMs: number): Promise<number> {
  const server = createServer((client) => {
    const relay = connect(sink.port, '127.0.0.1');
    const octets: number[] = [];
    relay.on('data', (chunk: Buffer) => octets.push(...chunk));
    const timer = setInterval(() => {
      const octet = octets.shift();
      if (octet !== undefined) client.write(Buffer.of(octet));
    }, everyMs);
    client.pipe(relay);
    for (const end of [client, relay])
      end
        .on('error', () => {})
        .once('close', () => {
          clearInterval(timer);
          client.destroy();
          relay.destroy();
        });
  });
  await new Promise<void>((resolve) => server.listen({ host: '127.0.0.1', port: 0 }, resolve));
  onTestFinished(() => void server.close());
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

it('a relay whose replies come octet by octet is waited for: it is slow, and not down', async () => {
  const sink = await startSink();
  const changes: string[] = [];
  const target = targetOf({ port: await drip(sink, 5) }, { connections: 2 });
  const pool = new RelayPool(target, {}, (down) => changes.push(down?.text ?? 'up'));
  onTestFinished(async () => {
    await pool.close(0);
    await sink.close();
  });
  const outcomes = await Promise.all([1, 2, 3].map((n) => sendOne(pool, copyFor(`m${n}@x.example`))));
  expect(outcomes.map(({ kind }) => kind)).toEqual(Array(3).fill('delivered'));
  expect(sink.messages.flatMap(({ to }) => to).sort()).toEqual([1, 2, 3].map((n) => `m${n}@x.example`));
  expect(changes).toEqual([]);
});

describe('a relay that takes a large copy slowly', () => {
  const body = Buffer.alloc(40_000_000, 'x'.repeat(70).concat('\r\n'));
  /** Reads a little again and again, which keeps a mere silence from ending it. */
  const sip = ({ socket }: StageInfo): string => {
    socket.pause();
    const timer = setInterval(() => {
      socket.resume();
      setImmediate(() => socket.pause());
    }, 30);
    socket.once('close', () => clearInterval(timer));
    return hang;
  };

  it('and steadily is cut off, and keeps no other copy waiting', async () => {
    const { sink, pool } = await sinkAndPool(
      onTestFinished,
      { answer: (stage, info) => (stage === 'BODY' && info.from.startsWith('large') ? sip(info) : null) },
      // The first is that of the large copy.
      { slowest: 100_000_000, timeoutOf: (connection) => (connection === 1 ? 3000 : long) },
    );
    const large = sendOne(pool, copyFor('large@x.example', { message: 'm2', from: 'large@x.example', body }));
    await sink.until(() => sink.commands.includes('DATA'));
    const others = await Promise.all([1, 2, 3].map((n) => sendOne(pool, copyFor(`small${n}@x.example`))));
    expect(others.map(({ kind }) => kind)).toEqual(Array(3).fill('delivered'));
    expect(await large).toMatchObject({
      kind: 'deferred',
      command: '.',
      text: 'timeout: the relay takes the message too slowly',
    });
    expect(sink.messages).toHaveLength(3);
  });

  it('and not at all is cut off', async () => {
    const { pool } = await sinkAndPool(
      onTestFinished,
      {
        answer: (stage, { socket }) => {
          if (stage !== 'BODY') return null;
          socket.pause();
          return hang;
        },
      },
      { timeoutOf: () => short },
    );
    expect(await sendOne(pool, copyFor('large@x.example', { body }))).toMatchObject({ kind: 'deferred' });
  });
});
