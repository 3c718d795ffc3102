import { execFileSync } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Identity, makeCa } from '../kit/pki.ts';
import { cmsOf, headerOf, mailOf } from '../kit/smime-mime.ts';
import { encrypted, postHeaders, readCopy, secretEntity, signed, signedAndEncrypted } from './posts.ts';
import { type List, makeWorld, type World } from './world.ts';

let world: World;
let alice: Identity;
let other: List;
beforeAll(async () => {
  world = await makeWorld({ yaml: ['keys.passphrase-file: etc/passphrases/{list}'] });
  mkdirSync(join(world.root, 'etc/passphrases'), { mode: 0o700 });
  alice = await world.person('alice');
  other = await world.list({ name: 'other', key: 'p256', members: [alice] });
});
afterEach(() => expect(world.leaks()).toEqual([]));
afterAll(() => world?.stop());

async function otherListGoesOn(): Promise<void> {
  const post = await signedAndEncrypted(alice, other);
  await world.post(post, other.address);
  await world.copyFor(alice, post);
}

const passphrase = (list: List, text: string): void =>
  writeFileSync(join(world.root, 'etc/passphrases', list.address), text, { mode: 0o600 });

/** Puts the list's key under a passphrase. */
function lock(list: List, secretWords: string): void {
  const key = createPrivateKey(readFileSync(list.identity.keyPath));
  const pem = key.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: secretWords });
  writeFileSync(join(list.keyFolder, 'private_key'), pem, { mode: 0o600 });
}

describe('the key of the list cannot be used', () => {
  type Case = [name: string, spoil: (list: List) => void, mend: (list: List) => void, words: RegExp];
  const cases: Case[] = [
    [
      'the passphrase is wrong',
      (list) => {
        lock(list, 'right');
        passphrase(list, 'wrong');
      },
      (list) => passphrase(list, 'right'),
      /passphrase/,
    ],
    [
      'the passphrase is missing',
      (list) => lock(list, 'right'),
      (list) => passphrase(list, 'right'),
      /passphrase/,
    ],
    [
      'everybody may read it',
      (list) => chmodSync(join(list.keyFolder, 'private_key'), 0o644),
      (list) => chmodSync(join(list.keyFolder, 'private_key'), 0o600),
      /chmod 600|mode/,
    ],
    [
      'it is gone',
      (list) => renameSync(join(list.keyFolder, 'private_key'), join(list.keyFolder, 'away')),
      (list) => renameSync(join(list.keyFolder, 'away'), join(list.keyFolder, 'private_key')),
      /private_key/,
    ],
    ...(
      [
        ['it is a pipe', (path) => execFileSync('mkfifo', ['-m', '600', path]), /it is no file/],
        ['it has 2 GB', (path) => truncateSync(path, 2 ** 31), /2147483648 octets/],
        ['it is empty', (path) => writeFileSync(path, '', { mode: 0o600 }), /no private key in PEM/],
        ['it is a link to nowhere', (path) => symlinkSync('gone', path), /ENOENT.*mend the link/],
      ] satisfies [string, (path: string) => unknown, RegExp][]
    ).map(
      ([name, make, words]): Case => [
        name,
        (list) => {
          const path = join(list.keyFolder, 'private_key');
          renameSync(path, join(list.keyFolder, 'away'));
          if (name.endsWith('GB')) writeFileSync(path, '', { mode: 0o600 });
          make(path);
        },
        (list) => renameSync(join(list.keyFolder, 'away'), join(list.keyFolder, 'private_key')),
        words,
      ],
    ),
    [
      'it is another certificate\u2019s',
      (list) => writeFileSync(join(list.keyFolder, 'private_key'), readFileSync(other.identity.keyPath)),
      (list) => writeFileSync(join(list.keyFolder, 'private_key'), readFileSync(list.identity.keyPath)),
      /belong together/,
    ],
  ];
  it.each(cases)(
    '%s: the post waits, the other list goes on; mended and SIGHUP: it is distributed',
    async (_, spoil, mend, words) => {
      const list = await world.list({ key: 'p256', members: [alice] });
      spoil(list);
      const entity = secretEntity();
      const post = await signedAndEncrypted(alice, list, { entity });
      const fate = await world.post(post, list.address);
      expect(fate).toMatchObject({ event: 'unopened', reason: 'key-locked' });
      expect(String(fate.detail)).toMatch(words);
      const warning = world.daemon.log.find(
        (line) => line.event === 'key-unusable' && line.list === list.address,
      );
      expect(String(warning?.detail)).toContain(list.keyFolder);
      await otherListGoesOn();
      expect(await world.deliveries(fate.id)).toEqual([]);
      mend(list);
      world.daemon.signal('SIGHUP');
      const copy = await world.copyFor(alice, post);
      expect(await readCopy(world.ca, alice, copy.bytes)).toEqual(entity);
      expect(await world.ledger(fate.id)).toEqual([
        'received',
        'unopened key-locked',
        'authorized',
        `delivered ${alice.address}`,
      ]);
    },
  );

  it('after the post was accepted: its copies wait, their lifetime stops, and they leave when it is back', async () => {
    const bob = await world.person('bob');
    const list = await world.list({ key: 'p256', members: [alice], bare: [bob.address] });
    const entity = secretEntity();
    const post = await signedAndEncrypted(alice, list, { entity });
    const { id } = await world.post(post, list.address);
    await world.untilDeliveries(
      id,
      (all) => all.some((row) => row.state === 'held') && all.some((row) => row.state === 'delivered'),
    );
    const key = join(list.keyFolder, 'private_key');
    chmodSync(key, 0o644);
    world.daemon.signal('SIGHUP');
    await world.daemon.logged((line) => line.event === 'reload' && world.daemon.log.indexOf(line) > 0);
    // His certificate comes with a mail that is not encrypted, so the list's key is not asked for.
    const mail = mailOf(
      postHeaders(bob.address, list.at('sendcert')),
      await signed(bob, Buffer.from('Content-Type: text/plain\r\n\r\nhere\r\n')),
    );
    await world.post(mail, list.at('sendcert'));
    const locked = await world.untilDeliveries(id, (all) => all.some((row) => row.reason === 'key-locked'));
    const row = locked.find((one) => one.member === bob.address);
    expect(row).toMatchObject({ state: 'held', reason: 'key-locked' });
    expect(row?.expiresAt).toBeGreaterThan(Date.now() + 100 * 86_400_000);
    await otherListGoesOn();
    chmodSync(key, 0o600);
    world.daemon.signal('SIGHUP');
    expect(await readCopy(world.ca, bob, (await world.copyFor(bob, post)).bytes)).toEqual(entity);
  });
});

describe('a post that cannot be opened', () => {
  it('goes intact to the owners, with the reason, and to nobody else; with the old key back it is distributed', async () => {
    const list = await world.list({ key: 'p256', members: [alice] });
    const old = await world.ca.issue({ name: 'Old', address: list.address, key: 'rsa' });
    const entity = secretEntity();
    const post = mailOf(
      postHeaders(alice.address, list.address),
      await encrypted(old, await signed(alice, entity)),
    );
    const fate = await world.post(post, list.address);
    expect(fate).toMatchObject({ event: 'unopened', reason: 'no-recipient' });
    const [notice] = await world.mailTo(list.owner);
    const text = notice?.bytes.toString() ?? '';
    expect(text).toContain('could not be opened');
    expect(text).toContain(fate.id);
    const attached = Buffer.from(
      /message\/rfc822[\s\S]*?\r\n\r\n([\s\S]*?)\r\n--/.exec(text)?.[1] ?? '',
      'base64',
    );
    // A relay may not change it on the way: it is attached in an encoding, whole.
    expect(text.includes(post.subarray(-80).toString()) || attached.includes(post.subarray(-80))).toBe(true);
    expect(await world.deliveries(fate.id)).toEqual([]);
    writeFileSync(join(list.keyFolder, 'cert.pem.2020'), old.certPem, { mode: 0o600 });
    writeFileSync(join(list.keyFolder, 'private_key.2020'), readFileSync(old.keyPath), { mode: 0o600 });
    world.daemon.signal('SIGHUP');
    expect(await readCopy(world.ca, alice, (await world.copyFor(alice, post)).bytes)).toEqual(entity);
    expect(world.sink.messages.filter(({ to }) => to.includes(list.owner))).toHaveLength(1);
  });

  it('a second one within the minute is told of at its next try: nothing is kept from the owners', async () => {
    const list = await world.list({ key: 'p256', members: [alice] });
    const other = await world.person('somebody', { key: 'rsa' });
    const ids: string[] = [];
    for (let n = 0; n < 2; n++) {
      const content = await encrypted(other, await signed(alice, secretEntity()));
      const fate = await world.post(mailOf(postHeaders(alice.address, list.address), content), list.address);
      expect(fate).toMatchObject({ event: 'unopened' });
      ids.push(fate.id);
    }
    const told = async (n: number) =>
      (await world.mailTo(list.owner, n)).map(({ bytes }) => bytes.toString());
    expect((await told(1))[0]).toContain(ids[0]);
    await world.onDatabase(async (q) => {
      await q.updateTable('notices').set({ lastAt: 1 }).where('listId', '=', list.id).execute();
      await q.updateTable('messages').set({ nextAt: 1 }).where('id', 'in', ids).execute();
    });
    const mails = await told(2);
    expect(mails).toHaveLength(2);
    expect(mails[1]).toContain(ids[1]);
    for (const id of ids)
      expect((await world.ledger(id)).filter((line) => line.startsWith('unopened'))).toHaveLength(1);
  });

  it('goes to all as it came under unopened.action: members', async () => {
    const list = await world.list({
      key: 'p256',
      members: [alice],
      bare: ['bare@example.org'],
      settings: { 'unopened.action': 'members' },
    });
    const stranger = await world.person('stranger');
    const post = mailOf(
      postHeaders(alice.address, list.address),
      await encrypted(stranger, await signed(alice, secretEntity())),
    );
    await world.send(post, list.address);
    for (const member of [alice, { address: 'bare@example.org' }]) {
      const copy = await world.copyFor(member, post);
      expect(cmsOf(copy.bytes)).toEqual(cmsOf(post));
      expect(headerOf(copy.bytes, 'List-Id')).not.toBeNull();
    }
  });

  it.each([
    ['cut off', (post: Buffer) => Buffer.concat([post.subarray(0, post.length - 400), Buffer.from('\r\n')])],
    [
      'with garbage for CMS',
      (post: Buffer) =>
        Buffer.concat([post.subarray(0, post.indexOf('\r\n\r\n') + 4), Buffer.from('AAECAwQFBgc=\r\n')]),
    ],
    ['empty', (post: Buffer) => post.subarray(0, post.indexOf('\r\n\r\n') + 4)],
  ])('%s: the owners are told, nothing is distributed, the list goes on', async (_, spoil) => {
    const list = await world.list({ key: 'p256', members: [alice] });
    const fate = await world.post(spoil(await signedAndEncrypted(alice, list)), list.address);
    expect(['unopened', 'malformed']).toContain(fate.event);
    await world.mailTo(list.owner);
    expect(await world.deliveries(fate.id)).toEqual([]);
    const next = await signedAndEncrypted(alice, list);
    await world.post(next, list.address);
    await world.copyFor(alice, next);
  });
});

describe('trust changes', () => {
  it('an authority that is added lets held copies go after SIGHUP', async () => {
    const late = await makeCa('Late Root');
    const bob = await late.issue({ name: 'Late', address: 'late@example.org', key: 'p256' });
    const list = await world.list({ key: 'p256', members: [alice, bob] });
    const entity = secretEntity();
    const post = await signedAndEncrypted(alice, list, { entity });
    const { id } = await world.post(post, list.address);
    const rows = await world.untilDeliveries(id, (all) => all.some((row) => row.state === 'held'));
    expect(rows.find((row) => row.member === bob.address)).toMatchObject({ reason: 'not-trusted' });
    appendFileSync(world.ca.certPath, late.certPem);
    world.daemon.signal('SIGHUP');
    expect(await readCopy(world.ca, bob, (await world.copyFor(bob, post)).bytes)).toEqual(entity);
  });
});
