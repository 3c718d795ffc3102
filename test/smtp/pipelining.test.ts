import { createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { dotStuffed } from '../../src/smtp/dot-stuffing.ts';
import { type Outcome, RelayPool } from '../../src/smtp/pool.ts';
import { ReplyReader } from '../../src/smtp/reply-reader.ts';
import { drop, type SinkOptions, startSink } from '../kit/sink.ts';
import { copyFor, sendOne, targetOf } from './copies.ts';

const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

async function sinkAndPool(options: SinkOptions) {
  const sink = await startSink(options);
  const pool = new RelayPool(targetOf(sink));
  open.push(() => pool.close(0), sink.close);
  return { sink, pool };
}

function gate() {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** A relay that takes everything, and what it was sent, in pieces as they came. */
async function recorder(extensions: string) {
  const pieces: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.write('220 sink\r\n');
    let rest = '';
    let inData = false;
    socket.on('data', (chunk) => {
      pieces.push(chunk.toString('latin1'));
      rest += chunk.toString('latin1');
      for (let end = rest.indexOf('\r\n'); end >= 0; end = rest.indexOf('\r\n')) {
        const line = rest.slice(0, end);
        rest = rest.slice(end + 2);
        if (inData && line !== '.') continue;
        inData = line === 'DATA';
        socket.write(
          inData
            ? '354 go\r\n'
            : line.startsWith('EHLO')
              ? `250-sink\r\n250 ${extensions}\r\n`
              : '250 ok\r\n',
        );
      }
    });
  });
  const port = await new Promise<number>((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      resolve(typeof address === 'object' && address ? address.port : 0);
    });
  });
  const pool = new RelayPool(targetOf({ port }));
  open.push(async () => {
    await pool.close(0);
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { pieces, pool };
}

describe('one copy after another on a connection', () => {
  it('the commands of a copy go out together, and those of the next one with the final dot (RFC 2920)', async () => {
    const { pieces, pool } = await recorder('PIPELINING');
    await Promise.all(['a@x.example', 'b@x.example'].map((to) => sendOne(pool, copyFor(to))));
    expect(pieces[1]).toMatch(/^MAIL FROM:<[^>]*>\r\nRCPT TO:<a@x\.example>\r\nDATA\r\n$/);
    expect(pieces[2]).toMatch(
      /^To: a[\s\S]*\r\n\.\r\nMAIL FROM:<[^>]*>\r\nRCPT TO:<b@x\.example>\r\nDATA\r\n$/,
    );
    expect(pieces[3]).toMatch(/^To: b[\s\S]*\r\n\.\r\n$/);
  });

  it('one by one where the relay does not offer it', async () => {
    const { pieces, pool } = await recorder('8BITMIME');
    await Promise.all(['a@x.example', 'b@x.example'].map((to) => sendOne(pool, copyFor(to))));
    expect(pieces.map((piece) => piece.split(/[ \r]/)[0])).toEqual([
      'EHLO',
      'MAIL',
      'RCPT',
      'DATA',
      'To:',
      'MAIL',
      'RCPT',
      'DATA',
      'To:',
    ]);
  });

  it.each([
    ['a small copy waits with it', 100, 'DATA'],
    ['a large one has begun meanwhile', 200_000, 'BODY'],
  ])('the next final dot waits until the outcome before it is written down: %s', async (_, octets, begun) => {
    const events: string[] = [];
    const content = gate();
    const { pool } = await sinkAndPool({
      answer: (stage, info) => {
        if (stage === begun && info.taken === 1) content.open();
        if (stage === '.') events.push(`final dot ${info.taken + 1}`);
        return null;
      },
    });
    const writeDown = async () => {
      await content.opened;
      // Many times longer than the dot would need.
      for (let turn = 0; turn < 500; turn++) await new Promise((resolve) => setImmediate(resolve));
      events.push('written down 1');
    };
    await Promise.all([
      sendOne(pool, copyFor('a@x.example'), writeDown),
      sendOne(pool, copyFor('b@x.example', { body: Buffer.from(`${'x'.repeat(octets)}\r\n`) })),
    ]);
    expect(events).toEqual(['final dot 1', 'written down 1', 'final dot 2']);
  });

  it('who sent a copy is told when its final dot leaves, and not while that is held back', async () => {
    const events: string[] = [];
    const { pool } = await sinkAndPool({});
    const writeDown = async () => {
      for (let turn = 0; turn < 500; turn++) await new Promise((resolve) => setImmediate(resolve));
      events.push('written down 1');
    };
    await Promise.all([
      pool.send(copyFor('a@x.example'), writeDown, () => events.push('dot 1')),
      pool.send(
        copyFor('b@x.example'),
        async () => {},
        () => events.push('dot 2'),
      ),
    ]);
    expect(events).toEqual(['dot 1', 'written down 1', 'dot 2']);
  });

  it('a refusal of the message says nothing about the next one, which is announced already', async () => {
    const { sink, pool } = await sinkAndPool({
      answer: (stage, info) => (stage === '.' && info.taken === 0 ? '554 5.6.0 no' : null),
    });
    const outcomes = await Promise.all(
      ['a@x.example', 'b@x.example'].map((to) => sendOne(pool, copyFor(to))),
    );
    expect(outcomes.map(({ kind }) => kind)).toEqual(['refused', 'delivered']);
    expect(sink.connections.total).toBe(1);
    expect(sink.commands).not.toContain('RSET');
  });

  it.each([
    ['goes after a copy', 'MAIL', drop],
    ['has enough after a copy', 'MAIL', '421 4.7.0 enough'],
    ['goes with the final dot unanswered', '.', drop],
  ] as const)(
    'a relay that %s: the one that was announced takes another connection',
    async (_, at, answer) => {
      const { sink, pool } = await sinkAndPool({
        answer: (stage, info) => {
          const now = at === 'MAIL' ? info.taken === 1 : true;
          return stage === at && info.connection === 1 && now ? answer : null;
        },
      });
      const settled: [string, Outcome['kind']][] = [];
      const send = (to: string) =>
        sendOne(pool, copyFor(to), async ({ kind }) => void settled.push([to, kind]));
      await Promise.all([send('a@x.example'), send('b@x.example')]);
      const first = at === '.' ? 'deferred' : 'delivered';
      expect(settled).toEqual([
        ['a@x.example', first],
        ['b@x.example', 'delivered'],
      ]);
      expect(sink.messages.filter(({ to }) => to[0] === 'b@x.example')).toHaveLength(1);
      expect(sink.connections.total).toBe(2);
    },
  );

  it('what fails to be written down is told to who sent it, and the next copy goes on', async () => {
    const { pool } = await sinkAndPool({});
    const first = sendOne(pool, copyFor('a@x.example'), () => Promise.reject(new Error('no disk')));
    const second = sendOne(pool, copyFor('b@x.example'));
    await expect(first).rejects.toThrow('no disk');
    expect(await second).toMatchObject({ kind: 'delivered' });
  });
});

describe('what a relay says', () => {
  it.each<[string, string[], string[]]>([
    ['a line', ['250 ok\r\n'], ['250 ok']],
    ['several lines', ['250-one\r\n250-two\r\n250 three\r\n'], ['250-one\n250-two\n250 three']],
    ['in pieces', ['25', '0 o', 'k\r', '\n3', '54 go\r\n'], ['250 ok', '354 go']],
    ['several at once', ['250 a\r\n250 b\r\n'], ['250 a', '250 b']],
    ['bare LF', ['250 ok\n'], ['250 ok']],
    ['no reply at all', ['SSH-2.0\r\n'], ['SSH-2.0']],
    ['nothing whole', ['250 ok'], []],
    ['an octet of UTF-8 at a time', ['250 \xc3', '\xbc\r\n'], ['250 ü']],
    ['without an end', ['x'.repeat(70_000)], [`a reply that does not end: ${'x'.repeat(70_000)}`]],
    // Nothing of it may be taken for a 250.
    ['lines without an end', ['250-x\r\n'.repeat(20_000)], [expect.stringMatching(/^a reply that does not/)]],
  ])('%s', (_, chunks, replies) => {
    const reader = new ReplyReader();
    const found = chunks.flatMap((chunk) => reader.push(Buffer.from(chunk, 'latin1')));
    expect(found).toEqual(replies);
  });
});

describe('dots (RFC 5321 4.5.2)', () => {
  it.each([
    ['none\r\n', 'none\r\n'],
    ['.first\r\n', '..first\r\n'],
    ['a\r\n.b\r\n..c\r\n', 'a\r\n..b\r\n...c\r\n'],
    ['.\r\n.\r\n', '..\r\n..\r\n'],
    ['a.b\r\nc.\r\n', 'a.b\r\nc.\r\n'],
    ['', ''],
  ])('%j', (given, sent) => {
    expect(Buffer.concat(dotStuffed(Buffer.from(given))).toString()).toBe(sent);
  });

  it('are added between pieces of the buffer itself', () => {
    const body = Buffer.from('a\r\n.b\r\n');
    for (const piece of dotStuffed(body)) if (piece.length > 1) expect(piece.buffer).toBe(body.buffer);
  });
});
