import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { runProgram, withFiles } from '../kit/client.ts';
import type { Identity } from '../kit/pki.ts';
import { cmsOf, headerOf, mailOf, textEntity } from '../kit/smime-mime.ts';
import {
  clearPost,
  encrypted,
  openCopy,
  postHeaders,
  readCopy,
  secretEntity,
  signed,
  signedAndEncrypted,
  signedBy,
} from './posts.ts';
import { type List, makeWorld, secret, until, type World } from './world.ts';

/** SMIMECapabilities (RFC 8551 2.5.2) that list aes256-GCM only; also the value of the extension of RFC 4262. */
const gcmOnly = Buffer.from('300d300b060960864801650304012e', 'hex');

let world: World;
let author: Identity;
beforeAll(async () => {
  world = await makeWorld();
  author = await world.person('author', { key: 'rsa' });
});
afterEach(() => expect(world.leaks()).toEqual([]));
afterAll(() => world?.stop());

/** Content cipher and key transport of a copy, as openssl prints the structure. */
async function algorithmsOf(copy: Buffer): Promise<string> {
  const printed = await withFiles({ der: cmsOf(copy) }, ({ der }) =>
    runProgram('openssl', ['cms', '-cmsout', '-print', '-noout', '-inform', 'DER', '-in', der]),
  );
  const text = printed.stdout.toString();
  const [, cipher] =
    /(?:contentEncryptionAlgorithm|contentEncryptionAlgorithm:)[\s\S]*?algorithm: (\S+)/.exec(text) ?? [];
  const [, transport] = /keyEncryptionAlgorithm:[\s\S]*?algorithm: (\S+)/.exec(text) ?? [];
  return `${transport} ${cipher}`.toLowerCase();
}

describe('each member gets his own copy', () => {
  let list: List;
  const people: Record<string, Identity> = {};
  const entity = secretEntity();
  let post: Buffer;
  beforeAll(async () => {
    list = await world.list({ members: [author] });
    people.rsa2048 = await world.person('rsa2048', { key: 'rsa' });
    people.rsa4096 = await world.person('rsa4096', { key: 'rsa4096' });
    people.p256 = await world.person('p256');
    people.p384 = await world.person('p384', { key: 'p384' });
    people.p521 = await world.person('p521', { key: 'p521' });
    people.extension = await world.person('extension', {
      extensions: [{ oid: '1.2.840.113549.1.9.15', critical: false, valueDer: gcmOnly }],
    });
    people.pinned = await world.person('pinned', { key: 'rsa' });
    for (const [name, person] of Object.entries(people)) {
      const pins = { cipher: 'aes-128-gcm', keyTransport: 'rsa-oaep-sha256' };
      await world.join(list, person, name === 'pinned' ? pins : {});
    }
    post = await signedAndEncrypted(author, list, { entity });
    const fate = await world.post(post, list.address);
    expect(fate).toMatchObject({ event: 'authorized', rule: 'member-may-post', author: author.address });
    await world.untilDeliveries(fate.id, (rows) => rows.length === 8 && rows.every((row) => row.finishedAt));
  });

  it.each([
    ['rsa2048', 'rsaencryption aes-256-cbc'],
    ['rsa4096', 'rsaencryption aes-256-cbc'],
    ['p256', 'dhsinglepass-stddh-sha256kdf-scheme aes-256-cbc'],
    ['p384', 'dhsinglepass-stddh-sha384kdf-scheme aes-256-cbc'],
    ['p521', 'dhsinglepass-stddh-sha384kdf-scheme aes-256-cbc'],
    ['extension', 'dhsinglepass-stddh-sha256kdf-scheme aes-256-gcm'],
    ['pinned', 'rsaesoaep aes-128-gcm'],
  ])('%s by %s, with the bytes that the author signed', async (name, algorithms) => {
    const member = people[name] as Identity;
    const copy = await world.copyFor(member, post);
    expect(copy.to).toEqual([member.address]);
    expect(await readCopy(world.ca, member, copy.bytes)).toEqual(entity);
    expect(await algorithmsOf(copy.bytes)).toBe(algorithms);
  });

  it('names one recipient and no other member in a copy', async () => {
    const copy = await world.copyFor(people.p256 as Identity, post);
    expect(copy.bytes.includes('rsa2048@example.org')).toBe(false);
    const otherOpens = await openCopy(people.p384 as Identity, copy.bytes).catch((error: Error) => error);
    expect(otherOpens).toBeInstanceOf(Error);
  });

  it('nobody else: every delivery is delivered, once', async () => {
    const id = headerOf(post, 'Message-ID');
    const copies = world.sink.messages.filter(({ bytes }) => headerOf(bytes, 'Message-ID') === id);
    const expected = [author, ...Object.values(people)].map((one) => one.address);
    expect(copies.flatMap((copy) => copy.to).sort()).toEqual(expected.sort());
  });
});

it('uses the capabilities that a member signed', async () => {
  const gcm = await world.person('signed-capabilities');
  const list = await world.list({ members: [author, gcm] });
  const entity = secretEntity();
  const own = mailOf(
    postHeaders(gcm.address, list.address),
    await encrypted(list.identity, signedBy(gcm, entity, { capabilities: gcmOnly })),
  );
  await world.post(own, list.address);
  const copy = await world.copyFor(gcm, own);
  expect(await algorithmsOf(copy.bytes)).toContain('aes-256-gcm');
  expect(await readCopy(world.ca, gcm, copy.bytes)).toEqual(entity);
});

it('encrypts with a key of its own for each message, cipher and member', async () => {
  const [one, two] = [await world.person('fresh-1'), await world.person('fresh-2')];
  const list = await world.list({ members: [author, one, two] });
  const post = await signedAndEncrypted(author, list);
  const again = await signedAndEncrypted(author, list);
  for (const data of [post, again]) await world.post(data, list.address);
  const tails: string[] = [];
  for (const data of [post, again])
    for (const who of [one, two])
      tails.push(
        cmsOf((await world.copyFor(who, data)).bytes)
          .subarray(-64)
          .toString('hex'),
      );
  // Members of one message share its ciphertext; another message shares nothing.
  expect(tails[0]).toBe(tails[1]);
  expect(tails[2]).toBe(tails[3]);
  expect(tails[0]).not.toBe(tails[2]);
  const received = cmsOf(post).subarray(-64).toString('hex');
  expect(tails).not.toContain(received);
});

describe('header of a copy', () => {
  const trace: readonly [string, string] = [
    'Received',
    'from pc.author.example (10.0.0.7) by mx.example with ESMTP; Tue, 1 Sep 2026 10:00:00 +0000',
  ];
  const extra = [
    trace,
    ['X-Originating-IP', '10.0.0.7'],
    ['Bcc', 'hidden@example.org'],
    ['Sender', 'desk@example.org'],
    ['Return-Path', '<author@example.org>'],
    ['Disposition-Notification-To', 'author@example.org'],
    ['In-Reply-To', '<before@client.example>'],
    ['X-Own', 'stays   as   it is'],
  ] as const;

  it('is the author\u2019s and the list\u2019s (RFC 2369, RFC 2919)', async () => {
    const list = await world.list({ members: [author], settings: { 'send.subject-tag': '[team]' } });
    const post = await signedAndEncrypted(author, list, { headers: extra });
    await world.post(post, list.address);
    const copy = await world.copyFor(author, post);
    const head = copy.bytes.subarray(0, copy.bytes.indexOf('\r\n\r\n')).toString();
    const name = list.address.split('@')[0];
    expect(copy.from).toBe(list.at('bounces'));
    expect(head).toMatch(
      /^Received: from client\.example \(.*\[127\.0\.0\.1\]\)\r\n\tby lists\.example with ESMTP id /,
    );
    expect(head).toContain('\r\nReceived: from pc.author.example (10.0.0.7) by mx.example');
    expect(headerOf(copy.bytes, 'List-Id')).toBe(`<${name}.lists.example>`);
    expect(headerOf(copy.bytes, 'List-Post')).toBe(`<mailto:${list.address}>`);
    expect(headerOf(copy.bytes, 'List-Help')).toBe(`<mailto:${list.at('request')}?subject=HELP>`);
    expect(headerOf(copy.bytes, 'List-Owner')).toBe(`<mailto:${list.at('owner')}>`);
    expect(headerOf(copy.bytes, 'List-Unsubscribe')).toContain('mailto:');
    expect(headerOf(copy.bytes, 'Sender')).toBe(list.address);
    expect(headerOf(copy.bytes, 'Precedence')).toBe('list');
    expect(headerOf(copy.bytes, 'From')).toBe(author.address);
    expect(headerOf(copy.bytes, 'Subject')).toBe('[team] the outer subject');
    expect(headerOf(copy.bytes, 'In-Reply-To')).toBe('<before@client.example>');
    expect(head).toContain('\r\nX-Own: stays   as   it is\r\n');
    for (const gone of ['Bcc', 'Return-Path', 'Disposition-Notification-To'])
      expect(headerOf(copy.bytes, gone)).toBeNull();
    for (const once of ['From', 'To', 'Subject', 'Sender', 'Message-ID', 'MIME-Version', 'Content-Type'])
      expect(head.match(new RegExp(`^${once}:`, 'gim')), once).toHaveLength(1);
  });

  it('is without the trace of the author\u2019s network if the list says so', async () => {
    const list = await world.list({ members: [author], settings: { 'send.received': 'drop' } });
    const post = await signedAndEncrypted(author, list, { headers: extra });
    await world.post(post, list.address);
    const copy = await world.copyFor(author, post);
    const head = copy.bytes.subarray(0, copy.bytes.indexOf('\r\n\r\n')).toString();
    expect(head).not.toContain('10.0.0.7');
    expect(head.match(/^Received:/gm)).toHaveLength(1);
  });

  it('sends answers to the list if the list says so', async () => {
    const list = await world.list({ members: [author], settings: { 'send.reply-to': 'list' } });
    const post = await signedAndEncrypted(author, list, { headers: [['Reply-To', 'me@example.org']] });
    await world.post(post, list.address);
    const copy = await world.copyFor(author, post);
    expect(headerOf(copy.bytes, 'Reply-To')).toBe(list.address);
  });
});

describe('a post in clear', () => {
  it('leaves as it came, its signature intact', async () => {
    const list = await world.list({
      members: [author],
      bare: ['nobody-knows@example.org'],
      settings: { 'send.subject-tag': 'x' },
    });
    const entity = await signed(author, textEntity('open to all\n'));
    const post = mailOf(postHeaders(author.address, list.address), entity);
    await world.post(post, list.address);
    for (const member of [author, { address: 'nobody-knows@example.org' }]) {
      const copy = await world.copyFor(member, post);
      expect(copy.bytes.subarray(-entity.length + entity.indexOf('\r\n\r\n'))).toEqual(
        entity.subarray(entity.indexOf('\r\n\r\n')),
      );
      expect(headerOf(copy.bytes, 'Content-Type')).toContain('multipart/signed');
    }
  });

  it('is encrypted for each under send.encrypt: always, and held for who has no certificate', async () => {
    const member = await world.person('always');
    const list = await world.list({
      members: [author, member],
      bare: ['bare-always@example.org'],
      settings: { 'send.encrypt': 'always' },
    });
    const post = clearPost(author.address, list.address);
    const fate = await world.post(post, list.address);
    const copy = await world.copyFor(member, post);
    expect((await openCopy(member, copy.bytes)).toString()).toContain('in clear');
    const rows = await world.untilDeliveries(fate.id, (all) =>
      all.every((row) => row.state !== 'pending' && row.state !== 'in-flight'),
    );
    expect(rows.find((row) => row.member === 'bare-always@example.org')).toMatchObject({
      state: 'held',
      reason: 'no-certificate',
    });
  });

  it('is encrypted for who can read it under send.encrypt: when-possible', async () => {
    const member = await world.person('possible');
    const bare = 'bare-possible@example.org';
    const list = await world.list({
      members: [author, member],
      bare: [bare],
      settings: { 'send.encrypt': 'when-possible' },
    });
    const post = clearPost(author.address, list.address);
    await world.post(post, list.address);
    expect((await openCopy(member, (await world.copyFor(member, post)).bytes)).toString()).toContain(
      'in clear',
    );
    const clear = await world.copyFor({ address: bare }, post);
    expect(headerOf(clear.bytes, 'Content-Type')).toContain('text/plain');
    expect(clear.bytes.toString()).toContain('in clear');
  });
});

it('never leaves in clear if it came encrypted, whatever the settings', async () => {
  const bare = 'bare-secret@example.org';
  const list = await world.list({
    members: [author],
    bare: [bare],
    settings: { 'send.encrypt': 'when-possible' },
  });
  const post = await signedAndEncrypted(author, list);
  const fate = await world.post(post, list.address);
  await world.copyFor(author, post);
  const rows = await world.untilDeliveries(fate.id, (all) => all.some((row) => row.state === 'held'));
  expect(rows.find((row) => row.member === bare)).toMatchObject({ state: 'held' });
  expect(world.sink.messages.some(({ bytes }) => bytes.includes(secret))).toBe(false);
});

it('carries large posts: 3 MB arrive whole', async () => {
  const member = await world.person('large');
  const list = await world.list({ members: [member, author] });
  const entity = textEntity(`${'0123456789abcdef'.repeat(4)}\n`.repeat(48_000));
  const post = await signedAndEncrypted(author, list, { entity });
  await world.post(post, list.address);
  const copy = await world.copyFor(member, post);
  expect((await readCopy(world.ca, member, copy.bytes)).equals(entity)).toBe(true);
});

it('forgets the spool file when nothing waits for it any more', async () => {
  const list = await world.list({ members: [author] });
  const post = await signedAndEncrypted(author, list);
  const fate = await world.post(post, list.address);
  await world.untilDeliveries(fate.id, (rows) => rows.every((row) => row.state === 'delivered'));
  await until(() =>
    world.onDatabase(async (q) => {
      const row = await q
        .selectFrom('postings')
        .select('state')
        .where('messageId', '=', fate.id)
        .executeTakeFirst();
      return row?.state === 'done';
    }),
  );
  expect(await world.ledger(fate.id)).toEqual(['received', 'authorized', `delivered ${author.address}`]);
});
