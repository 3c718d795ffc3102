import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it, onTestFinished } from 'vitest';
import type { Story } from '../../src/flow/operator/explain.ts';
import { der, derSequence } from '../../src/pki/der.ts';
import { refusalsOf } from '../../src/store/refusals.ts';
import { type Identity, makeCa } from '../kit/pki.ts';
import { hang, type Sink, type SinkOptions, startSink } from '../kit/sink.ts';
import { headerOf, mailOf, textEntity } from '../kit/smime-mime.ts';
import { sendMail } from '../kit/smtp-send.ts';
import { tempFolder } from '../kit/tmp.ts';
import { clearPost, postHeaders, readCopy, secretEntity, signed, signedAndEncrypted } from './posts.ts';
import { type List, makeWorld, until, type World, type WorldOptions } from './world.ts';

const worlds: World[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) {
    await world.stop();
    expect(world.leaks()).toEqual([]);
  }
});

async function worldOf(options: WorldOptions): Promise<World> {
  const world = await makeWorld({ ...options, yaml: ['shutdown.grace: 1s', ...(options.yaml ?? [])] });
  worlds.push(world);
  return world;
}

async function otherSink(options: SinkOptions = {}): Promise<Sink> {
  const sink = await startSink(options);
  onTestFinished(sink.close);
  return sink;
}

describe('several relays', () => {
  it('the second takes the copies while the first is down, and the first again when it is up; none twice', async () => {
    let isClosed = true;
    const second = await otherSink();
    const world = await worldOf({
      sink: { answer: (stage) => (stage === 'CONN' && isClosed ? '421 4.3.2 restarting' : null) },
      relay: (sink) => [`relay: [{port: ${sink.port}, tls: none}, {port: ${second.port}, tls: none}]`],
    });
    const alice = await world.person('alice');
    const bob = await world.person('bob');
    const list = await world.list({ members: [alice, bob] });
    const entity = secretEntity();
    const { id } = await world.post(await signedAndEncrypted(alice, list, { entity }), list.address);
    const rows = await world.untilDeliveries(id, (all) => all.every((row) => row.state === 'delivered'));
    expect(rows.map((row) => row.attempts)).toEqual([1, 1]);
    expect(second.messages.flatMap(({ to }) => to).sort()).toEqual([alice.address, bob.address]);
    const forBob = second.messages.find(({ to }) => to.includes(bob.address));
    expect(forBob && (await readCopy(world.ca, bob, forBob.bytes))).toEqual(entity);
    expect(await world.daemon.logged((line) => line.event === 'relay-down')).toMatchObject({
      relay: `127.0.0.1:${world.sink.port}`,
      reply: 'restarting',
    });

    isClosed = false;
    await world.daemon.logged((line) => line.event === 'relay-up', 20_000);
    const next = await world.post(await signedAndEncrypted(alice, list), list.address);
    await world.untilDeliveries(next.id, (all) => all.every((row) => row.state === 'delivered'));
    expect(world.sink.messages).toHaveLength(2);
    expect(second.messages).toHaveLength(2);
  }, 40_000);

  it('one for a domain: by LMTP over a unix socket, with an answer of its own for each recipient after DATA', async () => {
    const path = join(tempFolder(), 'lmtp.sock');
    const partner = await otherSink({
      path,
      lmtp: true,
      answer: (stage, { to }) => (stage === '.' && to.startsWith('full') ? '552 5.2.2 mailbox full' : null),
    });
    const world = await worldOf({
      relay: (sink) => [
        'relay:',
        `  - {port: ${sink.port}, tls: none}`,
        `  - {path: ${path}, protocol: lmtp, tls: none, domains: ["*.partner.example"]}`,
      ],
    });
    const alice = await world.person('alice');
    const there = await world.person('there', { address: 'there@mail.partner.example' });
    const full = await world.person('full', { address: 'full@mail.partner.example' });
    const list = await world.list({ members: [alice, there, full] });
    const { id } = await world.post(await signedAndEncrypted(alice, list), list.address);
    const rows = await world.untilDeliveries(id, (all) => all.every((row) => row.finishedAt !== null));
    expect(rows.map((row) => [row.member, row.state, row.reason])).toEqual([
      [alice.address, 'delivered', null],
      [full.address, 'failed', '5.2.2'],
      [there.address, 'delivered', null],
    ]);
    expect(world.sink.messages.map(({ to }) => to)).toEqual([[alice.address]]);
    expect(partner.messages.map(({ to }) => to)).toEqual([[there.address]]);
    // It is his mailbox: it counts against him, and member show says so.
    const judged = () => world.onDatabase((q) => refusalsOf(q, rows[0]?.postingId ?? 0));
    await until(async () => (await judged()).every((one) => one.verdict !== null));
    expect(await judged()).toMatchObject([{ address: full.address, code: '552 5.2.2', verdict: 'member' }]);
    const shown = await world.daemon.run(['member', 'show', list.address, full.address]);
    expect(shown.stdout).toMatch(
      /bounces +score 1 of 5: refused on 1 day of the last 30\n.* 552 5\.2\.2 mailbox full\n/,
    );
    const resumed = await world.daemon.run(['member', 'set', list.address, full.address, '--resume']);
    expect(resumed.code).toBe(0);
    const { stdout } = await world.daemon.run(['member', 'show', list.address, full.address, '--json']);
    expect(JSON.parse(stdout)).toMatchObject({ state: 'active', bounces: { score: 0, refused: [] } });
  }, 60_000);

  it('each copy keeps the name of the relay that answered: explain, log and queue list tell it', async () => {
    const path = join(tempFolder(), 'lmtp.sock');
    await otherSink({
      path,
      lmtp: true,
      answer: (stage, { to }) => (stage === '.' && to.startsWith('full') ? '452 4.2.2 mailbox full' : null),
    });
    const world = await worldOf({
      relay: (sink) => [
        'relay:',
        `  - {port: ${sink.port}, tls: none}`,
        `  - {path: ${path}, protocol: lmtp, tls: none, domains: [partner.example]}`,
      ],
    });
    const ours = `127.0.0.1:${world.sink.port}`;
    const alice = await world.person('alice');
    const there = await world.person('there', { address: 'there@partner.example' });
    const full = await world.person('full', { address: 'full@partner.example' });
    const list = await world.list({ members: [alice, there, full] });
    const { id } = await world.post(await signedAndEncrypted(alice, list), list.address);
    const rows = await world.untilDeliveries(id, (all) =>
      all.every((row) => row.state === 'delivered' || row.state === 'deferred'),
    );
    const expected = [
      [alice.address, 'delivered', ours],
      [full.address, 'deferred', path],
      [there.address, 'delivered', path],
    ];
    expect(rows.map((row) => [row.member, row.state, row.relay])).toEqual(expected);
    const json = async (...args: string[]) =>
      JSON.parse((await world.daemon.run([...args, '--json'])).stdout) as never;
    const [story]: Story[] = await json('explain', id);
    expect(story?.postings[0]?.members.map((one) => [one.member, one.state, one.relay])).toEqual(expected);
    const told = story?.history.flatMap(({ member, event, data }) =>
      data?.relay ? [[member, event, data.relay]] : [],
    );
    expect(told?.sort()).toEqual(expected);
    const line = async (of: string, ...args: string[]) =>
      (await world.daemon.run(args)).stdout.split('\n').find((one) => one.includes(of));
    expect(await line('  full@', 'explain', id)).toMatch(new RegExp(` 1 +${path}$`));
    expect(await line('delivered', 'log', '--message', id, '--member', there.address)).toMatch(
      new RegExp(` \\(relay ${path}\\)$`),
    );
    expect(await line('full@', 'queue', 'list', '--deferred')).toMatch(
      new RegExp(` ${path} +the relay did not take it: 452`),
    );
  }, 60_000);

  it.each([
    ['421', '421 4.3.0 scanner failed', '5m'],
    ['silence', hang, '2s'],
  ])(
    'one that stumbles over a post (%s) takes those of other lists at once',
    async (_, answer, timeout) => {
      const world = await worldOf({
        sink: {
          answer: (stage, { from }) => (stage === '.' && from.startsWith('poison-bounces') ? answer : null),
        },
        relay: (sink) => [`relay: {port: ${sink.port}, tls: none, connections: 4, timeout: ${timeout}}`],
      });
      const author = 'alice@example.org';
      const many = Array.from({ length: 12 }, (_, n) => `m${n}@example.org`);
      const settings = { 'send.verp': 'yes' };
      const poison = await world.list({ name: 'poison', bare: [author, ...many], settings });
      const other = await world.list({ name: 'other', bare: [author, 'bob@example.org'], settings });
      const ill = await world.post(clearPost(author, poison.address), poison.address);
      for (let n = 0; n < 3; n++) {
        const { id } = await world.post(clearPost(author, other.address), other.address);
        const rows = await world.untilDeliveries(id, (all) => all.every((row) => row.finishedAt !== null));
        expect(rows.map((row) => [row.state, row.attempts])).toEqual([
          ['delivered', 1],
          ['delivered', 1],
        ]);
      }
      const rows = await world.untilDeliveries(ill.id, (all) => all.every((row) => row.state === 'deferred'));
      // Those that were tried count; the others were not.
      expect(rows.some((row) => row.attempts === 1)).toBe(true);
      expect(rows.every((row) => row.attempts <= 1)).toBe(true);
      expect(world.daemon.log.filter((line) => line.event === 'relay-down')).toEqual([]);
    },
    60_000,
  );

  it('a rate: what is more than that leaves later, without counting as tried', async () => {
    const world = await worldOf({ relay: (sink) => [`relay: {port: ${sink.port}, tls: none, rate: 1/m}`] });
    const alice = await world.person('alice');
    const bob = await world.person('bob');
    const list = await world.list({ members: [alice, bob] });
    const { id } = await world.post(await signedAndEncrypted(alice, list), list.address);
    const rows = await world.untilDeliveries(
      id,
      (all) => all.some((row) => row.state === 'delivered') && all.some((row) => row.state === 'pending'),
    );
    const waiting = rows.find((row) => row.state === 'pending');
    expect(waiting?.nextAt).toBeGreaterThan(Date.now() + 5000);
    expect(world.sink.messages).toHaveLength(1);
  });
});

describe('what no relay can take', () => {
  it('too large: nobody gets a row, the owner and the author are told once', async () => {
    const world = await worldOf({ sink: { extensions: ['PIPELINING', 'SIZE 120000'] } });
    const alice = await world.person('alice');
    const list = await world.list({
      members: [alice, await world.person('bob'), await world.person('carol')],
    });
    const entity = Buffer.concat([
      secretEntity(),
      Buffer.alloc(100_000, 'sixty octets of text that nobody needs to read twice here\r\n'),
    ]);
    const post = await signedAndEncrypted(alice, list, { entity });
    const fate = await world.post(post, list.address);
    expect(fate).toMatchObject({ event: 'refused', reason: 'too-large-for-relay' });
    expect(await world.deliveries(fate.id)).toEqual([]);
    const [toOwner] = await world.mailTo(list.owner);
    expect(toOwner?.bytes.toString()).toContain('larger than the mail server that sends them takes');
    const [toAuthor] = await world.mailTo(alice.address);
    expect(headerOf(toAuthor?.bytes ?? Buffer.alloc(0), 'Subject')).toContain('could not be distributed');
    expect(headerOf(toAuthor?.bytes ?? Buffer.alloc(0), 'In-Reply-To')).toBe(headerOf(post, 'Message-ID'));
    expect(world.sink.messages).toHaveLength(2);
    const told = await world.daemon.run(['explain', fate.id]);
    expect(told.stdout).toMatch(/the relay takes 120000/);
    expect(told.stdout).toMatch(/message_size_limit/);

    // A smaller one goes out.
    const small = await world.post(await signedAndEncrypted(alice, list), list.address);
    await world.untilDeliveries(small.id, (all) => all.every((row) => row.state === 'delivered'));
  });

  const ofOneLength = () => [['Message-ID', `<${Date.now()}@client.example>`]] as const;
  /** How a post of about 100 kB comes, and how its copies leave. */
  const forms: readonly (readonly [
    name: string,
    settings: Readonly<Record<string, string>>,
    post: (author: Identity, list: List) => Promise<Buffer>,
  ])[] = [
    [
      'signed and encrypted',
      {},
      (author, list) => {
        const entity = textEntity(`${Date.now()}\n${'a line of the text\n'.repeat(5000)}`);
        return signedAndEncrypted(author, list, { entity, headers: ofOneLength() });
      },
    ],
    [
      'in clear and 8 bit, signed by the list',
      { 'send.sign': 'unsigned', 'send.encrypt': 'always', 'accept.signature': 'optional' },
      async (author, list) =>
        clearPost(author.address, list.address, ofOneLength(), 'eine Zeile gr\u00fc\u00dft\n'.repeat(5000)),
    ],
  ];
  it.each(forms)(
    'at the exact octet, %s: what fits for one member goes out, one octet more for none',
    async (...row) => {
      const [, settings, make] = row;
      const extensions = ['PIPELINING', 'SIZE 10000000'];
      const world = await worldOf({ sink: { extensions } });
      const alice = await world.person('alice', { key: 'rsa' });
      const bob = await world.person('bob', { key: 'rsa4096' });
      const list = await world.list({ members: [alice, bob], settings });
      const fateWith = async (size: number) => {
        extensions[1] = `SIZE ${size}`;
        await world.daemon.stop();
        await world.restart();
        return world.post(await make(alice, list), list.address);
      };
      const ended = (id: string) =>
        world.untilDeliveries(id, (all) => all.every((one) => one.finishedAt !== null));
      await ended((await fateWith(10_000_000)).id);
      const sizeFor = (member: Identity) =>
        world.sink.messages.find(({ to }) => to.includes(member.address))?.bytes.length ?? 0;
      const [least, most] = [sizeFor(alice), sizeFor(bob)];
      expect(least).toBeGreaterThan(100_000);
      expect(least).toBeLessThan(most);

      const all = await ended((await fateWith(most)).id);
      expect(all.map((one) => one.state)).toEqual(['delivered', 'delivered']);
      const some = await ended((await fateWith(least)).id);
      expect(some.map((one) => [one.member, one.state, one.reason])).toEqual([
        [alice.address, 'delivered', null],
        [bob.address, 'failed', 'too-large-for-relay'],
      ]);
      const known = world.sink.messages.length;
      const none = await fateWith(least - 1);
      expect(none).toMatchObject({ event: 'refused', reason: 'too-large-for-relay' });
      expect(await world.deliveries(none.id)).toEqual([]);
      const told = await world.daemon.run(['explain', none.id]);
      expect(told.stdout.replace(/\s+/g, ' ')).toContain(`has ${least} octets, the relay takes ${least - 1}`);
      const notices = () => world.sink.messages.slice(known).flatMap(({ to }) => to);
      await until(() => notices().includes(list.owner));
    },
    90_000,
  );

  it('at the exact octet, in clear: one octet more is refused', async () => {
    const extensions = ['PIPELINING', 'SIZE 10000000'];
    const world = await worldOf({ sink: { extensions } });
    const list = await world.list({ bare: ['alice@example.org', 'bob@example.org'] });
    const fateWith = async (size: number) => {
      extensions[1] = `SIZE ${size}`;
      await world.daemon.stop();
      await world.restart();
      const post = clearPost('alice@example.org', list.address, ofOneLength(), 'a line\n'.repeat(15_000));
      return world.post(post, list.address);
    };
    await fateWith(10_000_000);
    const [copy] = await world.mailTo('bob@example.org');
    const octets = copy?.bytes.length ?? 0;
    const fits = await fateWith(octets);
    await world.untilDeliveries(fits.id, (all) => all.every((row) => row.state === 'delivered'));
    const fate = await fateWith(octets - 1);
    expect(fate).toMatchObject({ event: 'refused', reason: 'too-large-for-relay' });
    expect(await world.deliveries(fate.id)).toEqual([]);
  }, 60_000);

  it('too large for the relay of one domain: its members fail with that reason, the others have their copies', async () => {
    const narrow = await otherSink({ extensions: ['SIZE 120000'] });
    const world = await worldOf({
      relay: (sink) => [
        `relay: [{port: ${sink.port}, tls: none}, {port: ${narrow.port}, tls: none, domains: partner.example}]`,
      ],
    });
    const alice = await world.person('alice');
    const members = [alice];
    for (const name of ['bert', 'cleo'])
      members.push(await world.person(name, { address: `${name}@partner.example` }));
    const list = await world.list({ members, settings: { 'report.failures': 'at-once' } });
    const entity = Buffer.concat([
      secretEntity(),
      Buffer.alloc(100_000, 'sixty octets of text that nobody needs to read twice here\r\n'),
    ]);
    const { id } = await world.post(await signedAndEncrypted(alice, list, { entity }), list.address);
    const rows = await world.untilDeliveries(id, (all) => all.every((row) => row.finishedAt !== null));
    expect(rows.map((row) => [row.member, row.state, row.reason])).toEqual([
      [alice.address, 'delivered', null],
      ['bert@partner.example', 'failed', 'too-large-for-relay'],
      ['cleo@partner.example', 'failed', 'too-large-for-relay'],
    ]);
    const reports = await world.mailTo(list.owner);
    expect(reports).toHaveLength(1);
    expect(reports[0]?.bytes.toString()).toContain('2 of 3 copies');
  });

  it('8 bit in clear and signed, where no relay offers 8BITMIME: refused with that reason, never recoded', async () => {
    const world = await worldOf({ sink: { extensions: ['PIPELINING'] } });
    const alice = await world.person('alice');
    const list = await world.list({ members: [alice, await world.person('bob')] });
    const entity = Buffer.from(
      'Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\u00fc\u00dfe\r\n',
    );
    const post = mailOf(postHeaders(alice.address, list.address), await signed(alice, entity));
    const fate = await world.post(post, list.address);
    expect(fate).toMatchObject({ event: 'refused', reason: 'needs-8bitmime' });
    const [toOwner] = await world.mailTo(list.owner);
    expect(toOwner?.bytes.toString()).toContain('8BITMIME');
    expect(world.sink.messages.every(({ bytes }) => bytes.every((octet) => octet < 0x80))).toBe(true);
    const told = await world.daemon.run(['explain', fate.id]);
    expect(told.stdout).toMatch(/never recoded because that\s+breaks signatures/);

    const plain = await world.post(clearPost(alice.address, list.address, [], 'seven bits\n'), list.address);
    await world.untilDeliveries(plain.id, (all) => all.every((row) => row.state === 'delivered'));
  });
});

describe('REQUIRETLS', () => {
  /** A relay called localhost with TLS, and the CA that vouches for it. */
  async function tlsSink(extensions: readonly string[]) {
    const ca = await makeCa('Relay Root');
    const names = derSequence(der(0x82, Buffer.from('localhost')), der(0x87, Buffer.from([127, 0, 0, 1])));
    const identity = await ca.issue({
      name: 'localhost',
      eku: 'serverAuth',
      extensions: [{ oid: '2.5.29.17', valueDer: names }],
    });
    const tls = { key: readFileSync(identity.keyPath), cert: readFileSync(identity.certPath) };
    return { ca, server: identity, sink: await otherSink({ tls, extensions }) };
  }

  it.each([
    ['passed on over verified TLS', ['REQUIRETLS', '8BITMIME'], 'required', 'delivered'],
    ['refused by a relay that does not offer it', ['8BITMIME'], 'required', 'refused'],
    ['refused where TLS is not verified', ['REQUIRETLS', '8BITMIME'], 'opportunistic', 'refused'],
  ] as const)('%s', async (_, extensions, tls, becomes) => {
    const { ca, server, sink } = await tlsSink(extensions);
    const cafile = tls === 'required' ? `, cafile: ${ca.certPath}` : '';
    const world = await worldOf({
      listen: `listen: {protocol: smtp, port: 0, tls: {cert: ${server.certPath}, key: ${server.keyPath}}}`,
      relay: () => [`relay: {host: localhost, port: ${sink.port}, tls: ${tls}${cafile}}`],
    });
    const alice = await world.person('alice');
    const list = await world.list({ members: [alice] });
    const post = await signedAndEncrypted(alice, list);
    const sent = await sendMail({
      port: world.daemon.port(),
      from: alice.address,
      to: [list.address],
      data: post,
      tls: () => {},
      mailParameters: 'REQUIRETLS',
    });
    const id = /accepted as (\w+)/.exec(sent.text)?.[1] ?? '';
    const fate = await world.fate({ id });
    const copies = () =>
      sink.messages.filter(({ bytes }) => headerOf(bytes, 'Message-ID') === headerOf(post, 'Message-ID'));
    if (becomes === 'delivered') {
      await world.untilDeliveries(id, (all) => all.every((row) => row.state === 'delivered'));
      expect(copies()).toMatchObject([{ secure: true, parameters: 'REQUIRETLS' }]);
    } else {
      expect(fate).toMatchObject({ event: 'refused', reason: 'needs-tls' });
      // The author is told; of his post nothing is in it.
      await sink.until(() => sink.messages.some(({ to }) => to.includes(alice.address)));
      expect(copies()).toEqual([]);
      expect(await world.ledger(id)).toContain('refused needs-tls');
    }
  });

  it('holds for the mail to the owners with a post that could not be opened', async () => {
    const { ca, server, sink } = await tlsSink(['REQUIRETLS', '8BITMIME']);
    const world = await worldOf({
      listen: `listen: {protocol: smtp, port: 0, tls: {cert: ${server.certPath}, key: ${server.keyPath}}}`,
      relay: () => [`relay: {host: localhost, port: ${sink.port}, tls: required, cafile: ${ca.certPath}}`],
    });
    const [alice, stranger] = [await world.person('alice'), await world.person('stranger')];
    const list = await world.list({ members: [alice] });
    await sendMail({
      port: world.daemon.port(),
      from: alice.address,
      to: [list.address],
      data: await signedAndEncrypted(alice, { address: list.address, identity: stranger }),
      tls: () => {},
      mailParameters: 'REQUIRETLS',
    });
    const toOwner = () => sink.messages.find(({ to }) => to.includes(list.owner));
    await sink.until(() => toOwner() !== undefined);
    expect(toOwner()?.bytes.toString()).toContain('message.eml');
    expect(toOwner()).toMatchObject({ secure: true, parameters: 'REQUIRETLS' });
  });
});
