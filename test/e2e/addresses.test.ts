import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { runProgram, withFiles } from '../kit/client.ts';
import type { Identity } from '../kit/pki.ts';
import { headerOf, mailOf, textEntity } from '../kit/smime-mime.ts';
import {
  clearPost,
  encryptedOnly,
  postHeaders,
  readCopy,
  secretEntity,
  signed,
  signedAndEncrypted,
  verifyEntity,
} from './posts.ts';
import { type List, makeWorld, secret, until, type World } from './world.ts';

let world: World;
let alice: Identity;
let owner: Identity;
let list: List;
beforeAll(async () => {
  world = await makeWorld();
  alice = await world.person('alice');
  list = await world.list({ name: 'team', members: [alice] });
  owner = await world.ca.issue({ name: 'Owner', address: list.owner, key: 'p256' });
});
afterEach(() => expect(world.leaks()).toEqual([]));
afterAll(() => world?.stop());

/** A mail to one of the further addresses, signed in clear. */
const signedMail = async (who: Identity, ending: string, subject: string, text = '\n'): Promise<Buffer> =>
  mailOf(
    postHeaders(who.address, list.at(ending), [['Subject', subject]]),
    await signed(who, textEntity(text)),
  );

/** The entity of a mail: what openssl verifies. */
const entityOf = (mail: Buffer): Buffer => mail.subarray(mail.indexOf('MIME-Version: 1.0\r\n') + 19);

/** reseal's answers to somebody so far. */
const answersTo = (address: string) => world.sink.messages.filter(({ to }) => to.includes(address));

describe('-request', () => {
  it.each([
    ['HELP in the Subject', 'HELP', ''],
    ['help in the text', 'hello', 'help\n'],
    ['Re: help', 'Re: help', ''],
  ])('%s is answered, signed by the list', async (name, subject, text) => {
    const asker = await world.person(`asker-${name.replace(/\W/g, '').toLowerCase()}`);
    const mail = await signedMail(asker, 'request', subject, text);
    expect(await world.post(mail, list.at('request'))).toMatchObject({ event: 'command', answered: true });
    const [answer] = await world.mailTo(asker.address);
    expect(answer?.from).toBe('');
    const bytes = answer?.bytes ?? Buffer.alloc(0);
    expect(headerOf(bytes, 'Auto-Submitted')).toBe('auto-replied');
    expect(headerOf(bytes, 'In-Reply-To')).toBe(headerOf(mail, 'Message-ID'));
    const content = await verifyEntity(world.ca, entityOf(bytes));
    expect(content.toString()).toContain('GET CERT');
  });

  it('GET CERT: the answer carries the certificate with its chain as p7c, which openssl reads', async () => {
    const asker = await world.person('wants-cert');
    const middle = await world.ca.intermediate({ name: 'Middle' });
    const name = 'chained';
    const identity = await middle.issue({ name, address: `${name}@lists.example`, key: 'p256' });
    const chained = await world.list({ name, identity });
    writeFileSync(join(chained.keyFolder, 'cert.pem'), identity.certPem + middle.certPem, { mode: 0o600 });
    const to = chained.at('request');
    const mail = mailOf(
      postHeaders(asker.address, to, [['Subject', 'GET CERT']]),
      await signed(asker, textEntity('\n')),
    );
    await world.post(mail, to);
    const [answer] = await world.mailTo(asker.address);
    const content = (await verifyEntity(world.ca, entityOf(answer?.bytes ?? Buffer.alloc(0)))).toString();
    expect(content).toMatch(/application\/pkcs7-mime; smime-type=certs-only/);
    const part = content.slice(content.indexOf('smime-type=certs-only'));
    const p7c = Buffer.from(part.slice(part.indexOf('\r\n\r\n') + 4).split('\r\n--')[0] ?? '', 'base64');
    const printed = await withFiles({ p7c }, (paths) =>
      runProgram('openssl', ['pkcs7', '-inform', 'DER', '-in', paths.p7c, '-print_certs']),
    );
    for (const { certPem } of [identity, middle])
      expect(printed.stdout.toString().replace(/\s/g, '')).toContain(certPem.replace(/\s/g, ''));
  });

  it('unsigned or forged is not answered', async () => {
    const stranger = await world.person('stranger');
    const unsigned = await world.post(
      clearPost(stranger.address, list.at('request'), [['Subject', 'HELP']]),
      list.at('request'),
    );
    expect(unsigned).toMatchObject({ event: 'command', answered: false });
    const forged = mailOf(
      postHeaders(stranger.address, list.at('request'), [['Subject', 'GET CERT']]),
      await signed(alice, textEntity('\n')),
    );
    expect(await world.post(forged, list.at('request'))).toMatchObject({ event: 'command', answered: false });
    const elsewhere = await signedMail(stranger, 'request', 'HELP');
    expect(await world.post(elsewhere, list.at('request'), 'victim@example.org')).toMatchObject({
      answered: false,
    });
    expect(
      await world.onDatabase((q) =>
        q
          .selectFrom('deliveries')
          .select('member')
          .where('member', 'in', [stranger.address, 'victim@example.org'])
          .execute(),
      ),
    ).toEqual([]);
  });

  it('an encrypted command without a signature inside is not followed; with one it is', async () => {
    const asker = await world.person('in-secret');
    const at = { ...list, address: list.at('request') };
    const unsafe = await world.post(await encryptedOnly(asker.address, at), list.at('request'));
    expect(unsafe).toMatchObject({ event: 'command', reason: 'encrypted-unsigned', answered: false });
    const entity = textEntity(`get cert\n-- \n${secret}\n`);
    const safe = await signedAndEncrypted(asker, at, { entity });
    expect(await world.post(safe, list.at('request'))).toMatchObject({ event: 'command', answered: true });
    const [answer] = await world.mailTo(asker.address);
    expect(answer?.bytes.toString()).toContain('certs-only');
  });

  it('is rate-limited: the second answer within the hour is not sent', async () => {
    const asker = await world.person('impatient');
    expect(await world.post(await signedMail(asker, 'request', 'HELP'), list.at('request'))).toMatchObject({
      answered: true,
    });
    const again = await signedMail(asker, 'request', 'HELP', 'once more\n');
    expect(await world.post(again, list.at('request'))).toMatchObject({ answered: false });
  });
});

describe('-owner', () => {
  it('passes clear mail on, from anybody', async () => {
    const post = clearPost('anybody@example.net', list.at('owner'), [], 'a question\n');
    expect(await world.post(post, list.at('owner'))).toMatchObject({ event: 'forwarded' });
    const copy = await world.copyFor({ address: list.owner }, post);
    expect(copy.bytes.toString()).toContain('a question');
    expect(copy.to).toEqual([list.owner]);
  });

  it('seals to each owner what came encrypted and signed', async () => {
    await world.join(await world.list({ name: 'owners-card', key: 'p256' }), owner);
    const entity = secretEntity();
    const post = await signedAndEncrypted(alice, { ...list, address: list.at('owner') }, { entity });
    expect(await world.post(post, list.at('owner'))).toMatchObject({ event: 'forwarded', mode: 'sealed' });
    const copy = await world.copyFor(owner, post);
    expect(await readCopy(world.ca, owner, copy.bytes)).toEqual(entity);
    expect(
      world.sink.messages.filter(
        ({ bytes }) => headerOf(bytes, 'Message-ID') === headerOf(post, 'Message-ID'),
      ),
    ).toHaveLength(1);
  });

  it('passes on encrypted mail without a signature as it came: owners are no oracle for captured posts', async () => {
    const post = await encryptedOnly('anybody@example.net', { ...list, address: list.at('owner') });
    expect(await world.post(post, list.at('owner'))).toMatchObject({ event: 'forwarded', mode: 'intact' });
    const copy = await world.copyFor({ address: list.owner }, post);
    const body = post.subarray(post.indexOf('\r\n\r\n'));
    expect(copy.bytes.subarray(-body.length)).toEqual(body);
  });

  it('and the list in one transaction: both get it', async () => {
    const entity = secretEntity();
    const post = await signedAndEncrypted(alice, list, { entity });
    const sent = await world.send(post, [list.at('owner'), list.address]);
    await world.fate(sent, 2);
    expect(await readCopy(world.ca, alice, (await world.copyFor(alice, post)).bytes)).toEqual(entity);
    expect(await readCopy(world.ca, owner, (await world.copyFor(owner, post)).bytes)).toEqual(entity);
  });

  it('and the list one after the other: no duplicate of each other', async () => {
    const post = clearPost(alice.address, list.address, [['Cc', list.at('owner')]]);
    expect(await world.post(post, list.address)).toMatchObject({ event: 'authorized' });
    expect(await world.post(post, list.at('owner'))).toMatchObject({ event: 'forwarded' });
  });

  it('first and then the list: what was written to the owners is not opened for all, but nor is it lost', async () => {
    const post = await signedAndEncrypted(alice, list);
    expect(await world.post(post, list.at('owner'))).toMatchObject({ event: 'forwarded', mode: 'sealed' });
    const held = await world.post(post, list.address);
    expect(held).toMatchObject({ event: 'held', reason: 'replay-elsewhere' });
    await until(() => answersTo(list.owner).some(({ bytes }) => bytes.includes(held.id)));
    // The other way round the owners get it as it came.
    const other = await signedAndEncrypted(alice, list);
    expect(await world.post(other, list.address)).toMatchObject({ event: 'authorized' });
    expect(await world.post(other, list.at('owner'))).toMatchObject({ event: 'forwarded', mode: 'intact' });
  });
});

describe('-editor', () => {
  it('reaches the moderators, else the owners', async () => {
    const moderated = await world.list({ name: 'moderated', key: 'p256' });
    const first = clearPost('anybody@example.net', moderated.at('editor'));
    await world.post(first, moderated.at('editor'));
    await world.copyFor({ address: moderated.owner }, first);
    await world.onDatabase((q) =>
      q
        .insertInto('roles')
        .values({ listId: moderated.id, address: 'mod@example.org', role: 'moderator', name: '' })
        .execute(),
    );
    const second = clearPost('anybody@example.net', moderated.at('editor'));
    const fate = await world.post(second, moderated.at('editor'));
    await world.copyFor({ address: 'mod@example.org' }, second);
    expect((await world.deliveries(fate.id)).map((row) => row.member)).toEqual(['mod@example.org']);
  });
});

describe('-bounces', () => {
  it('is written down and never answered, from anybody', async () => {
    const before = world.sink.messages.length;
    const bounce = clearPost('mailer-daemon@mx.example', list.at('bounces'), [
      ['Auto-Submitted', 'auto-replied'],
    ]);
    const sent = await world.send(bounce, list.at('bounces'), '');
    expect(sent).toMatchObject({ code: 250 });
    await until(async () => (await world.ledger(sent.id)).includes('bounce'));
    const fromPerson = await world.send(await signedMail(alice, 'bounces', 'HELP'), list.at('bounces'));
    await until(async () => (await world.ledger(fromPerson.id)).includes('bounce'));
    for (const id of [sent.id, fromPerson.id]) expect(await world.deliveries(id)).toEqual([]);
    expect(world.sink.messages.length).toBe(before);
  });
});

describe('-sendcert', () => {
  it('says why nothing could be taken from it, if it is signed', async () => {
    const weak = await world.person('sends-nothing');
    const off = await world.list({ name: 'no-harvest', key: 'p256', settings: { harvest: 'off' } });
    const mail = mailOf(
      postHeaders(weak.address, off.at('sendcert')),
      await signed(weak, textEntity('mine\n')),
    );
    expect(await world.post(mail, off.at('sendcert'))).toMatchObject({ event: 'certificate-not-taken' });
    const [answer] = await world.mailTo(weak.address);
    expect((await verifyEntity(world.ca, entityOf(answer?.bytes ?? Buffer.alloc(0)))).toString()).toMatch(
      /does not take certificates\s+from mail/,
    );
  });

  it('unsigned: a line in the ledger, no answer, nothing distributed', async () => {
    const fate = await world.post(clearPost(alice.address, list.at('sendcert')), list.at('sendcert'));
    expect(fate).toMatchObject({ event: 'certificate-not-taken', reason: 'not-signed', answered: false });
    expect(answersTo(alice.address).some(({ bytes }) => headerOf(bytes, 'In-Reply-To') !== null)).toBe(false);
    expect(await world.deliveries(fate.id)).toEqual([]);
  });
});

describe('the service address', () => {
  const service = 'reseal@lists.example';

  it('takes commands, and opens those that are encrypted to it', async () => {
    const identity = await world.ca.issue({ name: 'Service', address: service, key: 'p256' });
    const folder = join(world.root, 'etc/service/lists.example');
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeFileSync(join(folder, 'cert.pem'), identity.certPem, { mode: 0o600 });
    writeFileSync(join(folder, 'private_key'), readFileSync(identity.keyPath), { mode: 0o600 });
    // It is read once, at the start.
    await world.daemon.stop();
    await world.restart();
    const asker = await world.person('asks-service');
    const entity = textEntity(`help\n-- \n${secret}\n`);
    const mail = await signedAndEncrypted(asker, { address: service, identity }, { entity });
    expect(await world.post(mail, service)).toMatchObject({ event: 'command', answered: true });
    const [answer] = await world.mailTo(asker.address);
    const bytes = answer?.bytes ?? Buffer.alloc(0);
    expect(headerOf(bytes, 'From')).toBe(service);
    await verifyEntity(world.ca, entityOf(bytes));
  });

  it('has no endings, and is no list', async () => {
    for (const address of ['reseal-owner@lists.example', 'reseal-request@lists.example'])
      expect(await world.send(clearPost(alice.address, address), address)).toMatchObject({ code: 550 });
    const fate = await world.post(clearPost(alice.address, service), service);
    expect(fate).toMatchObject({ event: 'command', answered: false });
    expect(await world.deliveries(fate.id)).toEqual([]);
  });
});
