import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { der, derSequence } from '../../src/pki/der.ts';
import { type Outcome, RelayPool, type RelayTarget } from '../../src/smtp/pool.ts';
import { makeCa } from '../kit/pki.ts';
import { drop, hang, type SinkOptions, type Stage, startSink } from '../kit/sink.ts';
import { tempFolder } from '../kit/tmp.ts';
import { copyFor, sendOne, sharedBody, targetOf } from './copies.ts';

const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

async function sinkAndPool(options: SinkOptions, target: Partial<RelayTarget> = {}) {
  const sink = await startSink(options);
  const pool = new RelayPool(targetOf(sink, target));
  open.push(() => pool.close(0), sink.close);
  return { sink, pool };
}

/** A sink that gives `reply` at one stage. */
const answering = (at: Stage, reply: string): SinkOptions => ({
  answer: (stage) => (stage === at ? reply : null),
});

describe('a copy over SMTP', () => {
  it('arrives octet for octet, dots included', async () => {
    const { sink, pool } = await sinkAndPool({});
    const outcome = await sendOne(pool, copyFor('a@x.example'));
    expect(outcome).toEqual({
      kind: 'delivered',
      code: 250,
      enhanced: '2.0.0',
      text: 'taken',
      command: '.',
      relayDown: false,
    });
    const [message] = sink.messages;
    expect(message?.bytes).toEqual(Buffer.concat([Buffer.from('To: a@x.example\r\n'), sharedBody]));
    expect(message).toMatchObject({ from: 'list-bounces@lists.example', to: ['a@x.example'] });
    expect(sink.commands[0]).toBe('EHLO lists.example');
  });

  it('arrives whole when it is large, from a body that is neither copied nor changed', async () => {
    const { sink, pool } = await sinkAndPool({});
    const body = Buffer.alloc(3_000_000, '.line that begins with a dot\r\n');
    body.write('\r\n', body.length - 2);
    const before = Buffer.from(body);
    expect((await sendOne(pool, copyFor('a@x.example', { body }))).kind).toBe('delivered');
    expect(sink.messages[0]?.bytes.subarray(-body.length).equals(before)).toBe(true);
    expect(body.equals(before)).toBe(true);
  });

  it('goes without PIPELINING and with an empty head', async () => {
    const { sink, pool } = await sinkAndPool({ extensions: [] });
    expect((await sendOne(pool, copyFor('a@x.example', { head: Buffer.alloc(0) }))).kind).toBe('delivered');
    expect(sink.messages[0]?.bytes).toEqual(sharedBody);
  });

  it('has the null sender when it has', async () => {
    const { sink, pool } = await sinkAndPool({});
    await sendOne(pool, copyFor('a@x.example', { from: '' }));
    expect(sink.commands).toContain('MAIL FROM:<>');
  });

  it('goes over a unix socket by LMTP', async () => {
    const path = join(tempFolder(), 'lmtp');
    const { sink, pool } = await sinkAndPool({ path, lmtp: true }, { socketPath: path, lmtp: true });
    expect((await sendOne(pool, copyFor('a@x.example'))).kind).toBe('delivered');
    expect(sink.commands[0]).toBe('LHLO lists.example');
  });

  it('is never sent to an address that would break the command', async () => {
    const { sink, pool } = await sinkAndPool({});
    const outcome = await sendOne(pool, copyFor('a@x.example>\r\nRCPT TO:<b@x.example'));
    expect(outcome).toMatchObject({ kind: 'refused', code: null });
    expect(sink.commands.some((line) => line.startsWith('RCPT'))).toBe(false);
  });
});

describe('parameters and what the relay must offer for them', () => {
  const all = ['PIPELINING', '8BITMIME', 'SMTPUTF8', 'SIZE 2000'];

  it('announces size, 8BITMIME and SMTPUTF8, each for its own copy only', async () => {
    const { sink, pool } = await sinkAndPool({ extensions: all });
    await sendOne(pool, copyFor('a@x.example', { smtpUtf8: true, body8bit: true }));
    await sendOne(pool, copyFor('a@x.example'));
    const size = copyFor('a@x.example').head.length + sharedBody.length;
    expect(sink.messages.map((m) => m.parameters)).toEqual([
      `BODY=8BITMIME SIZE=${size} SMTPUTF8`,
      `SIZE=${size}`,
    ]);
  });

  it('says SMTPUTF8 once for an international address', async () => {
    const { sink, pool } = await sinkAndPool({ extensions: ['SMTPUTF8'] });
    await sendOne(pool, copyFor('jürgen@x.example', { smtpUtf8: true }));
    expect(sink.messages[0]).toMatchObject({ to: ['jürgen@x.example'], parameters: 'SMTPUTF8' });
  });

  it.each([
    ['5.3.4', ['SIZE 20'], {}],
    ['5.6.3', ['SMTPUTF8'], { body8bit: true }],
    ['5.6.7', ['8BITMIME'], { from: 'jürgen@x.example' }],
    ['5.6.7', ['8BITMIME'], { smtpUtf8: true, head: Buffer.from('Subject: ü\r\n') }],
    ['5.7.10', ['REQUIRETLS'], { requireTls: true }],
  ])(
    'refuses with %s when the relay offers only %s, and sends nothing',
    async (enhanced, extensions, more) => {
      const { sink, pool } = await sinkAndPool({ extensions });
      expect(await sendOne(pool, copyFor('a@x.example', more))).toMatchObject({
        kind: 'refused',
        code: null,
        enhanced,
      });
      expect(sink.commands.map((line) => line.split(' ')[0])).toEqual(['EHLO']);
    },
  );

  it('sends an all-ASCII copy of an SMTPUTF8 message to a relay without it', async () => {
    const { sink, pool } = await sinkAndPool({ extensions: [] });
    expect((await sendOne(pool, copyFor('a@x.example', { smtpUtf8: true }))).kind).toBe('delivered');
    expect(sink.messages[0]?.parameters).toBe('');
  });

  it('tells the announced limit; SIZE 0 and no SIZE are none', async () => {
    for (const [extensions, limit] of [
      [['SIZE 2000'], 2000],
      [['SIZE 0'], null],
      [[], null],
    ] as const) {
      const { pool } = await sinkAndPool({ extensions });
      expect(await pool.look(1000, 5000)).toMatchObject({ size: limit });
    }
  });
});

describe('replies at each stage', () => {
  const cases: [Stage, string, Partial<Outcome>][] = [
    ['CONN', '554 5.3.2 closed', { kind: 'deferred', code: 554, relayDown: true, command: 'CONN' }],
    ['CONN', '421 4.3.2 busy', { kind: 'deferred', code: 421, relayDown: true, command: 'CONN' }],
    ['CONN', 'SSH-2.0-OpenSSH', { kind: 'deferred', code: null, relayDown: true, command: 'CONN' }],
    ['EHLO', '421 4.3.2 busy', { kind: 'deferred', code: 421, relayDown: true, command: 'EHLO' }],
    ['MAIL', '451 4.3.0 later', { kind: 'deferred', code: 451, relayDown: false, command: 'MAIL' }],
    ['MAIL', '550 5.7.1 no', { kind: 'refused', code: 550, enhanced: '5.7.1', text: 'no', command: 'MAIL' }],
    ['MAIL', 'what?', { kind: 'deferred', code: null, relayDown: true }],
    ['MAIL', '421 4.7.0 go', { kind: 'deferred', code: 421, relayDown: true }],
    ['RCPT', '450 4.2.1 full', { kind: 'deferred', code: 450, relayDown: false, command: 'RCPT' }],
    ['RCPT', '550 5.1.1 who?', { kind: 'refused', code: 550, enhanced: '5.1.1', command: 'RCPT' }],
    ['RCPT', '421 4.7.0 go', { kind: 'deferred', code: 421, relayDown: true }],
    ['DATA', '451 4.3.0 later', { kind: 'deferred', code: 451, relayDown: false, command: 'DATA' }],
    ['DATA', '554 5.7.1 no', { kind: 'refused', code: 554, command: 'DATA' }],
    ['.', '452 4.3.1 full', { kind: 'deferred', code: 452, relayDown: false, command: '.' }],
    ['.', '554-5.6.0 no\r\n554 5.6.0 never', { kind: 'refused', code: 554, text: 'no never', command: '.' }],
    ['.', '421 4.3.2 bye', { kind: 'deferred', code: 421, relayDown: false, atContent: true }],
    ['.', '999 what', { kind: 'deferred', code: null, relayDown: false, atContent: true }],
  ];
  const ways = [['PIPELINING'], []].map((extensions) => ({ extensions }));
  for (const { extensions } of ways)
    it.each(cases)(`%s: %s (${extensions[0] ?? 'one by one'})`, async (stage, reply, expected) => {
      const { pool } = await sinkAndPool({ ...answering(stage, reply), extensions });
      expect(await sendOne(pool, copyFor('a@x.example'))).toMatchObject(expected);
    });

  it.each(cases.filter(([stage]) => ['RCPT', 'DATA', '.'].includes(stage)))(
    'LMTP %s: %s',
    async (stage, reply, expected) => {
      const { pool } = await sinkAndPool({ ...answering(stage, reply), lmtp: true }, { lmtp: true });
      expect(await sendOne(pool, copyFor('a@x.example'))).toMatchObject(expected);
    },
  );

  it('falls back to HELO', async () => {
    const { sink, pool } = await sinkAndPool(answering('EHLO', '502 5.5.1 what?'));
    expect((await sendOne(pool, copyFor('a@x.example'))).kind).toBe('delivered');
    expect(sink.commands.slice(0, 2)).toEqual(['EHLO lists.example', 'HELO lists.example']);
  });
});

describe('silence and broken connections', () => {
  it.each(['CONN', 'EHLO', 'MAIL', 'RCPT', 'DATA', '.'] as const)(
    'a hang at %s ends by time',
    async (stage) => {
      const { pool } = await sinkAndPool(answering(stage, hang), { timeoutMs: 60 });
      expect(await sendOne(pool, copyFor('a@x.example'))).toMatchObject({
        kind: 'deferred',
        code: null,
        ...(stage === '.' ? { relayDown: false, atContent: true } : { relayDown: true }),
      });
    },
  );

  it.each(['CONN', 'EHLO'] as const)('a break at %s means that the relay is down', async (stage) => {
    const { pool } = await sinkAndPool(answering(stage, drop));
    expect(await sendOne(pool, copyFor('a@x.example'))).toMatchObject({ kind: 'deferred', relayDown: true });
  });

  it.each(['MAIL', 'RCPT', 'DATA', 'BODY', '.'] as const)(
    'a break at %s fails the one copy only',
    async (stage) => {
      const { sink, pool } = await sinkAndPool({
        answer: (at, info) => (at === stage && info.connection === 1 ? drop : null),
      });
      expect(await sendOne(pool, copyFor('a@x.example'))).toMatchObject({
        kind: 'deferred',
        relayDown: false,
      });
      expect((await sendOne(pool, copyFor('b@x.example'))).kind).toBe('delivered');
      expect(sink.messages).toHaveLength(1);
    },
  );

  it('an answer in the middle of the message ends the connection, so that nothing is taken for commands', async () => {
    const { sink, pool } = await sinkAndPool({
      answer: (at, info) => (at === 'BODY' && info.connection === 1 ? '552 5.3.4 too much' : null),
    });
    const body = Buffer.alloc(8_000_000, 'RCPT TO:<victim@x.example>\r\n');
    expect(await sendOne(pool, copyFor('a@x.example', { body }))).toMatchObject({
      kind: 'refused',
      code: 552,
    });
    expect((await sendOne(pool, copyFor('b@x.example'))).kind).toBe('delivered');
    expect(sink.messages.map((m) => m.to)).toEqual([['b@x.example']]);
    expect(sink.messages[0]?.connection).toBe(2);
  });

  it('a 250 in the middle of the message is not believed', async () => {
    const { pool } = await sinkAndPool(answering('BODY', '250 2.0.0 enough'));
    const outcome = await sendOne(pool, copyFor('a@x.example', { body: Buffer.alloc(8_000_000, 'x\r\n') }));
    expect(outcome).toMatchObject({ kind: 'deferred', relayDown: true });
  });

  it('nobody listens', async () => {
    const server = createServer();
    const port = await new Promise<number>((resolve) => {
      server.listen(0, '127.0.0.1', () => {
        const address = server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : 0);
      });
    });
    await new Promise((resolve) => server.close(resolve));
    const pool = new RelayPool(targetOf({ port }));
    const outcome = await sendOne(pool, copyFor('a@x.example'));
    expect(outcome).toMatchObject({ kind: 'deferred', relayDown: true, command: 'CONN' });
    expect(outcome.text).toContain('ECONNREFUSED');
    await pool.close(0);
  });
});

describe('TLS and AUTH', () => {
  async function server(name: 'localhost' | 'other.example') {
    const ca = await makeCa('Relay Root');
    const ip = name === 'localhost' ? [der(0x87, Buffer.from([127, 0, 0, 1]))] : [];
    const names = derSequence(der(0x82, Buffer.from(name, 'latin1')), ...ip);
    const identity = await ca.issue({
      name,
      eku: 'serverAuth',
      extensions: [{ oid: '2.5.29.17', valueDer: names }],
    });
    return {
      ca: readFileSync(ca.certPath),
      key: readFileSync(identity.keyPath),
      cert: readFileSync(identity.certPath),
    };
  }

  it('required: verifies the name and sends inside TLS', async () => {
    const { ca, ...tls } = await server('localhost');
    const { sink, pool } = await sinkAndPool({ tls }, { tls: 'required', ca, host: 'localhost' });
    expect((await sendOne(pool, copyFor('a@x.example'))).kind).toBe('delivered');
    expect(sink.messages[0]?.secure).toBe(true);
  });

  it.each([
    ['another name', { wrongName: true }],
    ['an unknown root', { unknownRoot: true }],
    ['no STARTTLS', { noTls: true }],
  ])(
    'required: %s defers, and nothing is sent',
    async (_what, d: { wrongName?: boolean; unknownRoot?: boolean; noTls?: boolean }) => {
      const { ca, ...tls } = await server(d.wrongName ? 'other.example' : 'localhost');
      const { sink, pool } = await sinkAndPool(d.noTls ? answering('STARTTLS', '502 5.5.1 no') : { tls }, {
        tls: 'required',
        host: 'localhost',
        ...(d.unknownRoot ? {} : { ca }),
      });
      expect(await sendOne(pool, copyFor('a@x.example'))).toMatchObject({
        kind: 'deferred',
        relayDown: true,
        command: 'STARTTLS',
      });
      expect(sink.commands.some((line) => line.startsWith('MAIL'))).toBe(false);
    },
  );

  it('opportunistic: uses TLS whatever the certificate, does without when there is none or when it is broken', async () => {
    const { ca: _, ...tls } = await server('other.example');
    const offered = await sinkAndPool({ tls }, { tls: 'opportunistic' });
    expect((await sendOne(offered.pool, copyFor('a@x.example'))).kind).toBe('delivered');
    expect(offered.sink.messages[0]?.secure).toBe(true);

    const none = await sinkAndPool({}, { tls: 'opportunistic' });
    expect((await sendOne(none.pool, copyFor('a@x.example'))).kind).toBe('delivered');

    const broken = await sinkAndPool(
      {
        extensions: ['STARTTLS'],
        answer: (stage) => (stage === 'STARTTLS' ? '220 go\r\nno handshake' : null),
      },
      { tls: 'opportunistic' },
    );
    expect((await sendOne(broken.pool, copyFor('a@x.example'))).kind).toBe('delivered');
    expect(broken.sink.messages[0]?.secure).toBe(false);
  });

  it('REQUIRETLS goes on to a verified relay that offers it, and only there', async () => {
    const { ca, ...tls } = await server('localhost');
    const target = { tls: 'required', ca, host: 'localhost' } as const;
    const offered = await sinkAndPool({ tls, extensions: ['REQUIRETLS'] }, target);
    expect((await sendOne(offered.pool, copyFor('a@x.example', { requireTls: true }))).kind).toBe(
      'delivered',
    );
    expect(offered.sink.messages[0]?.parameters).toBe('REQUIRETLS');

    const plain = await sinkAndPool({ tls }, target);
    expect(await sendOne(plain.pool, copyFor('a@x.example', { requireTls: true }))).toMatchObject({
      kind: 'refused',
      enhanced: '5.7.30',
    });
  });

  it('logs in; a wrong password defers, and opportunistic TLS never shows it in clear', async () => {
    const auth = { user: 'reseal', pass: 'secret' };
    const extensions = ['AUTH PLAIN'];
    const right = await sinkAndPool({ extensions }, { auth });
    expect((await sendOne(right.pool, copyFor('a@x.example'))).kind).toBe('delivered');
    expect(right.sink.commands[1]).toBe(`AUTH PLAIN ${Buffer.from('\0reseal\0secret').toString('base64')}`);

    const wrong = await sinkAndPool({ extensions, ...answering('AUTH', '535 5.7.8 no') }, { auth });
    const outcome = await sendOne(wrong.pool, copyFor('a@x.example'));
    expect(outcome).toMatchObject({ kind: 'deferred', code: 535, relayDown: true, command: 'AUTH' });
    expect(outcome.text).not.toContain('secret');

    const stripped = await sinkAndPool({ extensions }, { auth, tls: 'opportunistic' });
    expect(await sendOne(stripped.pool, copyFor('a@x.example'))).toMatchObject({
      kind: 'deferred',
      command: 'AUTH',
    });
    expect(stripped.sink.commands.some((line) => line.startsWith('AUTH'))).toBe(false);
  });
});
