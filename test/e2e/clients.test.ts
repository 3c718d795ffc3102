import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it, onTestFinished } from 'vitest';
import type { Identity } from '../kit/pki.ts';
import { headerOf } from '../kit/smime-mime.ts';
import { clearPost, signedAndEncrypted } from './posts.ts';
import { type List, makeWorld, until, type World } from './world.ts';

// Whatever two hundred clients of other addresses do, this one is answered.

const many = 200;
let world: World;
let alice: Identity;
let list: List;
beforeAll(async () => {
  world = await makeWorld({ yaml: ['size: 1MB', `limits.clients: ${many + 10}`] });
  alice = await world.person('alice');
  list = await world.list({ key: 'p256', members: [alice] });
});
afterEach(() => expect(world.leaks()).toEqual([]));
afterAll(() => world?.stop());

const other = '127.0.0.9';
/** With as many clients as one address may have, 25, all of these are let in. */
const others = Array.from({ length: many / 25 }, (_, n) => `127.0.1.${n + 1}`);
const residentMb = (): number => {
  const status = readFileSync(join('/proc', String(world.daemon.pid), 'status'), 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
};
const toData = () => `EHLO x\r\nMAIL FROM:<${alice.address}>\r\nRCPT TO:<${list.address}>\r\nDATA\r\n`;

/**
 * Opens so many sessions, from these addresses in turn, each of which does `what` when it is greeted; gives how many were
 * greeted, and an end of them all.
 */
async function sessions(
  what: (socket: Socket) => void,
  addresses: readonly string[] = [other],
  count = many,
): Promise<{ readonly greeted: number; end(): void }> {
  let greeted = 0;
  const sockets = Array.from({ length: count }, (_, n) => {
    const localAddress = addresses[n % addresses.length] ?? other;
    const socket = connect({ host: '127.0.0.1', port: world.daemon.port(), localAddress });
    socket.on('error', () => undefined);
    socket.once('data', (greeting) => {
      if (!greeting.toString().startsWith('220')) return;
      greeted += 1;
      what(socket);
    });
    return socket;
  });
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
  });
  await Promise.all(
    sockets.map((socket) => new Promise((resolve) => socket.once('data', resolve).once('close', resolve))),
  );
  return {
    greeted,
    end: () => {
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Writes `piece` for as long as the other side reads. */
function pour(socket: Socket, piece: string | Buffer): void {
  const more = (): void => {
    if (!socket.destroyed && socket.write(piece)) setImmediate(more);
  };
  socket.on('drain', more);
  socket.resume();
  more();
}

it('who is turned away stands in the log, once a minute and not once a client', async () => {
  const { log } = world.daemon;
  const told = () => log.filter((line) => line.event === 'clients-turned-away');
  await sessions(() => undefined);
  await until(() => told().length > 0);
  await sessions(() => undefined);
  const post = await signedAndEncrypted(alice, list);
  await world.post(post, list.address);
  expect(told()).toMatchObject([
    { level: 'warn', limit: 'limits.clients-per-address', client: other, clients: 1 },
  ]);
});

it('each address is let in 25 times, whatever others do', async () => {
  const addresses = ['127.0.2.1', '127.0.2.2', '127.0.2.3', '127.0.2.4'];
  const { greeted } = await sessions(() => undefined, addresses);
  expect(greeted).toBe(4 * 25);
  const post = await signedAndEncrypted(alice, list);
  await world.post(post, list.address);
  await world.copyFor(alice, post);
});

it('who comes when all places are taken is told to come again, and is let in when one is free', async () => {
  const greeting = (): Promise<string> =>
    new Promise((resolve) => {
      const socket = connect({ host: '127.0.0.1', port: world.daemon.port() });
      socket.once('data', (line) => {
        resolve(line.toString());
        socket.destroy();
      });
    });
  const ends: (() => void)[] = [];
  // Clients of the test before may just be going.
  await until(async () => {
    const { end } = await sessions(() => undefined, [`127.0.3.${ends.length + 1}`], 25);
    ends.push(end);
    return (await greeting()).startsWith('421');
  });
  await world.daemon.logged(
    (line) => line.event === 'clients-turned-away' && line.limit === 'limits.clients',
  );
  for (const end of ends) end();
  await until(async () => (await greeting()).startsWith('220'));
  const post = await signedAndEncrypted(alice, list);
  await world.post(post, list.address);
  await world.copyFor(alice, post);
});

type Misuse = readonly [what: string, use: (socket: Socket) => void];

const slow: readonly Misuse[] = [
  ['say nothing', () => undefined],
  [
    'say an octet now and then',
    (socket) => {
      const timer = setInterval(() => socket.write('E'), 50);
      socket.once('close', () => clearInterval(timer));
    },
  ],
  ['stop in the middle of a message', (socket) => socket.write(`${toData()}From: ${alice.address}\r\n`)],
  [
    'hang up in the middle of a message',
    (socket) => {
      socket.write(`${toData()}From: ${alice.address}\r\n`, () => setImmediate(() => socket.destroy()));
    },
  ],
];

const floods: readonly Misuse[] = [
  ['send a command line without end', (socket) => pour(socket, 'x'.repeat(64_000))],
  ['send commands that there are not', (socket) => pour(socket, 'WHAT\r\n'.repeat(10_000))],
  [
    'send octets without order',
    (socket) => pour(socket, Buffer.alloc(64_000, '\xff\0\r\x16\x03\n', 'latin1')),
  ],
  [
    'send a header without end',
    (socket) => {
      socket.write(toData());
      pour(socket, 'X-More: and more\r\n'.repeat(4000));
    },
  ],
  [
    'send a line of a message without end',
    (socket) => {
      socket.write(toData());
      pour(socket, 'x'.repeat(64_000));
    },
  ],
];

/** Of eight addresses all are let in. What two hundred pour would only show how fast this machine is. */
const crowds = [
  ...[...slow, ...floods].map(([what, use]) => ['one address', what, { use, addresses: [other] }] as const),
  ...slow.map(([what, use]) => ['eight addresses', what, { use, addresses: others }] as const),
];

it.each(crowds)(
  'two hundred clients of %s that %s: keep nobody else out, fill no memory and leave nothing',
  { timeout: 60_000 },
  async (_, __, { use, addresses }) => {
    const before = residentMb();
    await sessions(use, addresses);
    const begun = performance.now();
    const post = await signedAndEncrypted(alice, list);
    expect(await world.send(post, list.address)).toMatchObject({ code: 250 });
    // A machine at rest takes some 20 ms.
    expect(performance.now() - begun).toBeLessThan(10_000);
    await world.copyFor(alice, post);
    expect(residentMb() - before).toBeLessThan(150);
    expect(world.daemon.noise).toEqual([]);
  },
);

it.each([
  ['LF.LF', '\n.\n'],
  ['LF.CRLF', '\n.\r\n'],
  ['CR.CR', '\r.\r'],
  ['CRLF.LF', '\r\n.\n'],
  ['CRLF.CR', '\r\n.\r'],
  ['NUL before the dot', '\r\n\0.\r\n'],
])('smuggling by %s: never a second message', async (_, end) => {
  const taken = world.daemon.log.filter((line) => line.event === 'received').length;
  const inner = clearPost(alice.address, list.address).toString('latin1');
  const smuggled = `MAIL FROM:<${alice.address}>\r\nRCPT TO:<${list.address}>\r\nDATA\r\n${inner}`;
  const socket = connect({ host: '127.0.0.1', port: world.daemon.port() });
  let said = '';
  socket.on('data', (octets) => {
    said += octets.toString();
  });
  socket.write(`${toData()}From: ${alice.address}\r\n\r\nhello${end}${smuggled}\r\n.\r\nQUIT\r\n`);
  await until(() => /^221 /m.test(said));
  // One reply to one final dot.
  expect(said.match(/^(250 2\.6\.0|55\d|45\d)/gm)).toHaveLength(1);
  const post = clearPost(alice.address, list.address);
  await world.post(post, list.address);
  await world.copyFor(alice, post);
  const now = world.daemon.log.filter((line) => line.event === 'received').length;
  expect(now - taken).toBeLessThanOrEqual(2);
  expect(
    world.sink.messages.some(
      ({ bytes }) => headerOf(bytes, 'Message-ID') === headerOf(Buffer.from(inner), 'Message-ID'),
    ),
  ).toBe(false);
});
