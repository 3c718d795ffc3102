import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Identity } from '../kit/pki.ts';
import { hang, type Sink, startSink } from '../kit/sink.ts';
import { type Headers, mailOf, textEntity } from '../kit/smime-mime.ts';
import { tempFolder } from '../kit/tmp.ts';
import {
  clearPost,
  encrypted,
  postHeaders,
  readCopy,
  secretEntity,
  signed,
  signedAndEncrypted,
} from './posts.ts';
import { type List, makeWorld, until, type World } from './world.ts';

/** What `reseal explain` says of a message in one line: it folds its text, and its tables have many blanks. */
async function explain(world: World, id: string): Promise<string> {
  const { code, stdout, stderr } = await world.daemon.run(['explain', id]);
  if (code !== 0) throw new Error(`explain said ${code}: ${stderr}`);
  return stdout.replace(/\s+/g, ' ');
}

describe('messages, keys and authorities', () => {
  let world: World;
  let author: Identity;
  let good: List;
  beforeAll(async () => {
    world = await makeWorld({ yaml: ['keys.passphrase-file: etc/{list}.passphrase'] });
    author = await world.person('author', { key: 'rsa' });
    good = await world.list({ name: 'good', members: [author] });
    const wrong = join(world.root, 'etc/locked@lists.example.passphrase');
    writeFileSync(wrong, 'not the right one\n', { mode: 0o600 });
  });
  afterEach(() => expect(world.leaks()).toEqual([]));
  afterAll(() => world?.stop());

  /** The other lists and messages do not notice. */
  async function othersGoOn(list = good): Promise<void> {
    const entity = secretEntity();
    const post = await signedAndEncrypted(author, list, { entity });
    expect(await world.post(post, list.address)).toMatchObject({ event: 'authorized' });
    expect(await readCopy(world.ca, author, (await world.copyFor(author, post)).bytes)).toEqual(entity);
  }

  const multipart = 'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; micalg=sha-256';
  const cms = 'Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m';
  const base64 = 'Content-Transfer-Encoding: base64';
  const broken: readonly (readonly [what: string, spoil: (post: Buffer) => Buffer | string])[] = [
    [
      'CMS that is cut off',
      (post) => Buffer.concat([post.subarray(0, post.length - 800), Buffer.from('\r\n')]),
    ],
    ['CMS of which only the beginning came', (post) => post.subarray(0, post.indexOf('\r\n\r\n') + 82)],
    ['what is no base64', () => `${cms}\r\n${base64}\r\n\r\n%%%% this is no base64 %%%%\r\n`],
    ['random octets', () => `${cms}\r\n${base64}\r\n\r\n${noise(3000).toString('base64')}\r\n`],
    ['random octets as they are', () => Buffer.concat([Buffer.from(`${cms}\r\n\r\n`), noise(3000)])],
    ['a signed multipart of one part', () => `${multipart}; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n`],
    ['a signed multipart without a boundary', () => `${multipart}\r\n\r\n--b\r\n\r\nhello\r\n--b--\r\n`],
    [
      'a signed multipart whose signature is none',
      () =>
        `${multipart}; boundary=b\r\n\r\n--b\r\n\r\nhi\r\n--b\r\nContent-Type: application/pkcs7-signature\r\n\r\nx\r\n--b--\r\n`,
    ],
  ];
  it.each(broken)('%s: named, told to the owners, and the list goes on', async (_what, spoil) => {
    const list = await world.list({ members: [author] });
    const post = await signedAndEncrypted(author, list);
    const spoiled = Buffer.from(spoil(post));
    const isWhole = spoiled.subarray(0, 5).toString() === post.subarray(0, 5).toString();
    const message = isWhole ? spoiled : mailOf(postHeaders(author.address, list.address), spoiled);
    const fate = await world.post(message, list.address);
    const sentence = 'its MIME or S/MIME structure is broken or cut off, so nobody got it';
    expect(fate).toMatchObject({ event: 'malformed', level: 'warn', list: list.address, detail: sentence });
    const story = await explain(world, fate.id);
    expect(story).toMatch(new RegExp(`Given up, as it could not be opened, at \\S+: ${sentence}`));
    expect(story).toContain('What would change it: the author sends it again');
    expect(await world.deliveries(fate.id)).toEqual([]);
    const [told] = await world.mailTo(list.owner);
    expect(told?.bytes.toString()).toContain(fate.id);
    await othersGoOn(list);
  });

  it.each<readonly [what: string, header: Headers, code: number]>([
    ['2,000 header fields', Array.from({ length: 2000 }, () => ['X-Filler', 'x'] as const), 554],
    ['a header of 400 kB', [['X-Filler', 'x '.repeat(200_000)]], 554],
    ['From that names nobody', [['From', 'undisclosed:;']], 550],
    ['From with a NUL', [['From', 'author\0@example.org']], 550],
  ])('%s: refused in the session', async (_what, header, code) => {
    const message = clearPost(author.address, good.address, header);
    const sent = await world.send(message, good.address, author.address);
    expect(sent).toMatchObject({ code, text: expect.stringMatching(/^5\.[67]\.\d .{10}/) });
    await othersGoOn();
  });

  /** The key file of a list, made unusable and usable again. */
  const keyFaults: readonly (readonly [
    name: string,
    what: string,
    spoil: (key: string, list: List) => void,
    words: RegExp,
  ])[] = [
    [
      'mismatch',
      'another key',
      (key) => writeFileSync(key, readFileSync(good.identity.keyPath)),
      /cert\.pem and .*private_key do not belong together/,
    ],
    [
      'locked',
      'a key with another passphrase',
      (key, { identity }) => {
        const form = {
          type: 'pkcs8',
          format: 'pem',
          cipher: 'aes-256-cbc',
          passphrase: 'the right one',
        } as const;
        writeFileSync(key, identity.key.export(form));
      },
      /private_key cannot be decrypted: the passphrase is wrong/,
    ],
    [
      'open-mode',
      'a key that everybody may read',
      (key) => chmodSync(key, 0o644),
      /private_key may be read or changed by other users \(chmod 600 .*private_key\)/,
    ],
    ['rubbish', 'rubbish for a key', (key) => writeFileSync(key, 'rubbish'), /holds no private key in PEM/],
  ];
  it.each(keyFaults)(
    '%s, %s: named in log and explain, waits, and is distributed when mended',
    async (name, _what, spoil, words) => {
      const list = await world.list({ name, members: [author] });
      const key = join(list.keyFolder, 'private_key');
      spoil(key, list);
      const entity = secretEntity();
      const post = await signedAndEncrypted(author, list, { entity });
      const fate = await world.post(post, list.address);
      expect(fate).toMatchObject({ event: 'unopened', level: 'warn', detail: expect.stringMatching(words) });
      expect(world.daemon.log).toContainEqual(
        expect.objectContaining({
          event: 'key-unusable',
          list: list.address,
          detail: expect.stringMatching(words),
        }),
      );
      const story = await explain(world, fate.id);
      expect(story).toMatch(words);
      expect(story).toContain('What to do: `reseal check` says what is wrong with the key');
      const check = await world.daemon.run(['check']);
      expect(check).toMatchObject({ code: 1, stdout: expect.stringMatching(words) });
      await othersGoOn();
      writeFileSync(key, readFileSync(list.identity.keyPath), { mode: 0o600 });
      chmodSync(key, 0o600);
      world.daemon.signal('SIGHUP');
      expect(await world.fate(fate, 2)).toMatchObject({ event: 'authorized', author: author.address });
      expect(await readCopy(world.ca, author, (await world.copyFor(author, post)).bytes)).toEqual(entity);
    },
  );

  it('authorities that cannot be read: what depends on them waits, and is judged when they are back', async () => {
    const folder = tempFolder();
    const cafile = join(folder, 'ca.pem');
    const list = await world.list({
      members: [author],
      settings: { 'trust.cafile': cafile, 'accept.signature': 'required' },
    });
    const entity = textEntity('signed, and for everybody to read\n');
    const post = mailOf(postHeaders(author.address, list.address), await signed(author, entity));
    const fate = await world.post(post, list.address);
    const words = `the trusted authorities in ${cafile} cannot be read (ENOENT)`;
    expect(fate).toMatchObject({
      event: 'unopened',
      reason: 'trust-unreadable',
      detail: expect.stringContaining(words),
    });
    const story = await explain(world, fate.id);
    expect(story).toContain(words);
    expect(story).toContain('What to do: `reseal check` says what is wrong with trust.cafile');
    await othersGoOn();
    writeFileSync(cafile, world.ca.certPem);
    world.daemon.signal('SIGHUP');
    expect(await world.fate(fate, 2)).toMatchObject({ event: 'authorized', author: author.address });
    await world.copyFor(author, post);
  });

  it('authorities that are gone when copies leave: the copies wait, and nobody is told that he has no certificate', async () => {
    const cafile = join(tempFolder(), 'ca.pem');
    const late = await world.person('late');
    const list = await world.list({
      members: [author],
      bare: [late.address],
      settings: { 'trust.cafile': cafile },
    });
    writeFileSync(cafile, world.ca.certPem);
    const entity = secretEntity();
    const post = await signedAndEncrypted(author, list, { entity });
    const { id } = await world.post(post, list.address);
    const waits = (reason: string) =>
      world.untilDeliveries(id, (rows) => rows.some((row) => row.state === 'held' && row.reason === reason));
    await waits('no-certificate');
    rmSync(cafile);
    world.daemon.signal('SIGHUP');
    // Until it has looked, the authorities that it knows count: a copy that is due meanwhile leaves.
    await world.daemon.logged(
      ({ event, detail }) => event === 'trust-unreadable' && String(detail).includes(cafile),
    );
    await world.join(good, late);
    await world.onDatabase((q) =>
      q.updateTable('deliveries').set({ state: 'pending', nextAt: 1 }).where('state', '=', 'held').execute(),
    );
    world.daemon.signal('SIGHUP');
    await waits('trust-unreadable');
    expect(await explain(world, id)).toMatch(
      /late@example\.org held .*cannot be read \(ENOENT\).*`reseal check` says/,
    );
    await othersGoOn();
    writeFileSync(cafile, world.ca.certPem);
    world.daemon.signal('SIGHUP');
    const copy = await world.copyFor(late, post);
    expect(await readCopy(world.ca, late, copy.bytes)).toEqual(entity);
    // The notice about his first certificate, and the copy.
    const ofList = (await world.mailTo(late.address)).filter(({ from }) => from === list.at('bounces'));
    expect(ofList).toHaveLength(2);
  });

  it('authorities that are rubbish: named in the log and by check', async () => {
    const cafile = join(tempFolder(), 'ca.pem');
    writeFileSync(cafile, '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
    const list = await world.list({ members: [author], settings: { 'trust.cafile': cafile } });
    const fate = await world.post(await signedAndEncrypted(author, list), list.address);
    expect(fate).toMatchObject({ event: 'held' });
    const problem = expect.objectContaining({
      event: 'trust-problem',
      detail: expect.stringContaining(cafile),
    });
    expect(world.daemon.log).toContainEqual(problem);
    expect((await world.daemon.run(['check'])).stdout).toContain(cafile);
    await othersGoOn();
  });

  it('a post encrypted to somebody else: the reason and the remedy, and the rest goes on', async () => {
    const list = await world.list({ members: [author] });
    const other = await world.person('other', { key: 'rsa' });
    const post = mailOf(
      postHeaders(author.address, list.address),
      await encrypted(other, await signed(author, secretEntity())),
    );
    const fate = await world.post(post, list.address);
    expect(fate).toMatchObject({ event: 'unopened', reason: 'no-recipient' });
    expect(await explain(world, fate.id)).toMatch(/`reseal list show \S+@\S+ --cert` is the present one/);
    await othersGoOn();
  });
});

describe('a relay', () => {
  const answers: Record<string, string> = {
    'busy@example.org': '451 4.2.1 The mailbox is busy',
    'gone@example.org': '550 5.1.1 There is no such mailbox',
  };
  let silent = false;
  let world: World;
  let author: Identity;
  beforeAll(async () => {
    world = await makeWorld({
      yaml: ['relay.timeout: 1s'],
      sink: {
        answer: (stage, { line }) => {
          if (stage !== 'RCPT') return null;
          if (silent && line.includes('slow@')) return hang;
          return Object.entries(answers).find(([address]) => line.includes(address))?.[1] ?? null;
        },
      },
    });
    author = await world.person('author', { key: 'rsa' });
  });
  afterEach(() => expect(world.leaks()).toEqual([]));
  afterAll(() => world?.stop());

  it('that answers 4xx and 5xx: each copy has its words, the others are delivered', async () => {
    const members = [author, await world.person('busy'), await world.person('gone')];
    const list = await world.list({ members });
    const fate = await world.post(await signedAndEncrypted(author, list), list.address);
    const rows = await world.untilDeliveries(fate.id, (all) => all.every((row) => row.reply !== null));
    expect(rows.map((row) => [row.member, row.state, row.reason])).toEqual([
      ['author@example.org', 'delivered', null],
      ['busy@example.org', 'deferred', '4.2.1'],
      ['gone@example.org', 'failed', '5.1.1'],
    ]);
    const story = await explain(world, fate.id);
    expect(story).toMatch(
      /busy@example\.org deferred: the relay did not take it: 4.. 4\.2\.1 The mailbox is busy;.*What would change it for busy@example\.org: it is tried again/,
    );
    expect(story).toMatch(
      /gone@example\.org failed .*refused it at RCPT: 5\d\d 5\.1\.1 There is no such mailbox/,
    );
    const reply = 'The mailbox is busy';
    expect(world.daemon.log).toContainEqual(
      expect.objectContaining({ event: 'deferred', level: 'warn', member: 'busy@example.org', reply }),
    );
    delete answers['busy@example.org'];
    expect(await world.daemon.run(['queue', 'retry', fate.id])).toMatchObject({ code: 0 });
    await world.mailTo('busy@example.org');
  });

  const patient = { timeout: 60_000 };
  // Both wait ten seconds for nothing but the relay's rest: at the same time, each with a relay of its own.
  it.concurrent('that says nothing: given up after relay.timeout, and delivered later', patient, async () => {
    silent = true;
    const list = await world.list({ members: [author, await world.person('slow')] });
    const fate = await world.post(await signedAndEncrypted(author, list), list.address);
    const isDeferred = (rows: readonly { state: string; member: string }[]) =>
      rows.some((row) => row.member === 'slow@example.org' && row.state === 'deferred');
    await world.untilDeliveries(fate.id, isDeferred);
    const story = await explain(world, fate.id);
    expect(story).toMatch(
      /slow@example\.org deferred: the relay did not take it: .*[Tt]imeout.*What would change it for slow@example\.org: `reseal check`/,
    );
    silent = false;
    await retriedUntilDelivered(world, fate.id);
  });

  it.concurrent(
    'that refuses connections: a sentence, and everything leaves when it is there',
    patient,
    async () => {
      const path = join(tempFolder(), 'relay.sock');
      const site = await makeWorld();
      let relay: Sink | null = null;
      try {
        await site.daemon.stop();
        const yaml = join(site.root, 'etc/reseal.yaml');
        writeFileSync(yaml, readFileSync(yaml, 'utf8').replace(/^relay: .*$/m, `relay.path: ${path}`));
        await site.restart();
        const member = await site.person('member');
        const list = await site.list({ members: [member] });
        const fate = await site.post(await signedAndEncrypted(member, list), list.address);
        await site.untilDeliveries(fate.id, (rows) => rows.some((row) => row.reason === 'relay-down'));
        expect(await explain(site, fate.id)).toMatch(
          /member@example\.org deferred: the relay did not take it: .*relay\.sock.*What would change it for member@example\.org: `reseal check` tries the relay/,
        );
        const check = await site.daemon.run(['check']);
        expect(check).toMatchObject({
          code: 1,
          stdout: expect.stringMatching(/problem +relay .*relay\.sock/),
        });
        relay = await startSink({ path });
        await retriedUntilDelivered(site, fate.id);
        expect(relay.messages.map(({ to }) => to)).toEqual([[member.address]]);
      } finally {
        await site.stop();
        await relay?.close();
      }
    },
  );

  /** A relay that was down is left alone for ten seconds; after that an operator's retry delivers. */
  const retriedUntilDelivered = (site: World, id: string) =>
    until(async () => {
      await site.daemon.run(['queue', 'retry', id]);
      return (await site.deliveries(id)).every((row) => row.state === 'delivered');
    }, 30_000);
});

/** Octets without order, the same each time. */
function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = 12345;
  for (let at = 0; at < length; at++) {
    state = (state * 1103515245 + 12345) % 2147483648;
    // No line ends: a line that is too long or bare would be another fault.
    bytes[at] = 0x80 | (state >> 16);
    if (at % 70 === 68) bytes.write('\r\n', at++);
  }
  return bytes;
}
