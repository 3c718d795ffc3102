import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Identity } from '../kit/pki.ts';
import { mailOf, textEntity } from '../kit/smime-mime.ts';
import { sendMail } from '../kit/smtp-send.ts';
import {
  clearPost,
  encrypted,
  postHeaders,
  readCopy,
  secretEntity,
  signed,
  signedAndEncrypted,
} from './posts.ts';
import { makeWorld, type World } from './world.ts';

let world: World;
let alice: Identity;

describe('SMTP', () => {
  beforeAll(async () => {
    world = await makeWorld();
    alice = await world.person('alice');
  });
  afterEach(() => expect(world.leaks()).toEqual([]));
  afterAll(() => world?.stop());

  it.each([
    ['a list that does not exist', () => 'nosuch@lists.example'],
    ['another domain: no relay', () => 'somebody@elsewhere.example'],
    ['an ending that there is not', (list: string) => list.replace('@', '-subscribe@')],
    ['a list with the ending of the bounces of no list', () => 'nosuch-bounces@lists.example'],
  ])('%s: 550 5.1.1', async (_, address) => {
    const list = await world.list({ key: 'p256', members: [alice] });
    const sent = await world.send(clearPost(alice.address, list.address), address(list.address));
    expect(sent).toMatchObject({ code: 550 });
    expect(sent.text).toMatch(/^5\.1\.1 /);
  });

  it.each([
    ['a stranger', {}, 'stranger@example.org', /^5\.7\.1 You may not post/, 'may-not-post'],
    [
      'a clear post where encryption is required',
      { 'accept.encryption': 'required' },
      'alice@example.org',
      /^5\.7\.1 .*encrypted/,
      'not-encrypted',
    ],
    [
      'an unsigned one where a signature is required',
      { 'accept.signature': 'required' },
      'alice@example.org',
      /^5\.7\.1 .*signed/,
      'not-signed',
    ],
    [
      'one that is too large for the list',
      { 'accept.max-size': '1kB' },
      'alice@example.org',
      /^5\.2\.3 /,
      'too-big',
    ],
  ])('%s is refused at the end of DATA, with the reason', async (_, settings, from, text, reason) => {
    const list = await world.list({ key: 'p256', members: [alice], settings });
    const post = clearPost(from, list.address, [], 'x'.repeat(70).concat('\n').repeat(20));
    const sent = await world.send(post, list.address);
    expect([550, 552]).toContain(sent.code);
    expect(sent.text).toMatch(text);
    const rows = await world.onDatabase((q) =>
      q.selectFrom('ledger').select(['event', 'reason']).where('list', '=', list.address).execute(),
    );
    expect(rows).toEqual([{ event: 'refused', reason }]);
    expect(
      await world.onDatabase((q) =>
        q
          .selectFrom('messages')
          .select('id')
          .where('fromAddress', '=', from)
          .where('size', '>', 1400)
          .execute(),
      ),
    ).toEqual([]);
  });

  it('a closed list says so', async () => {
    const list = await world.list({ key: 'p256', members: [alice] });
    await world.onDatabase((q) =>
      q.updateTable('lists').set({ state: 'closed' }).where('id', '=', list.id).execute(),
    );
    const sent = await world.send(clearPost(alice.address, list.address), list.address);
    expect(sent).toMatchObject({ code: 550 });
    expect(sent.text).toMatch(/^5\.2\.1 .*closed/);
  });

  it.each([
    ['its own List-Id', (list: string) => ['List-Id', `The list <${list.replace('@', '.')}>`] as const],
    ['its own X-Loop', (list: string) => ['X-Loop', list] as const],
  ])('a loop with %s is refused where it shows', async (_, field) => {
    const list = await world.list({ key: 'p256', members: [alice] });
    const sent = await world.send(
      clearPost(alice.address, list.address, [field(list.address)]),
      list.address,
    );
    expect(sent).toMatchObject({ code: 554 });
  });

  it.each([
    [
      'a loop',
      (list: string) =>
        [
          ['X-Loop', list],
          ['Auto-Submitted', 'auto-generated'],
        ] as const,
      'loop',
    ],
    ['an answer of a machine', () => [['Auto-Submitted', 'auto-replied']] as const, 'automatic'],
    ['a bulk mail', () => [['Precedence', 'bulk']] as const, 'automatic'],
    ['an out-of-office note', () => [['X-Autoreply', 'yes']] as const, 'automatic'],
  ])('%s is taken and dropped, with a ledger line and no answer', async (_, headers, reason) => {
    const list = await world.list({ key: 'p256', members: [alice] });
    const fate = await world.post(
      clearPost(alice.address, list.address, headers(list.address)),
      list.address,
    );
    expect(fate).toMatchObject({ event: 'dropped', reason });
    expect(await world.ledger(fate.id)).toEqual(['received', `dropped ${reason}`]);
    expect(await world.deliveries(fate.id)).toEqual([]);
  });

  it('a bounce (null sender) to the list is dropped', async () => {
    const list = await world.list({ key: 'p256', members: [alice] });
    const fate = await world.post(clearPost(alice.address, list.address), list.address, '');
    expect(fate).toMatchObject({ event: 'dropped', reason: 'null-sender' });
  });

  it('one transaction for two lists: each distributes, and is not the other\u2019s replay', async () => {
    const bob = await world.person('bob');
    const one = await world.list({ key: 'p256', members: [alice] });
    const two = await world.list({ key: 'p256', members: [alice, bob] });
    const entity = secretEntity();
    const post = mailOf(
      postHeaders(alice.address, one.address),
      await encrypted([one.identity, two.identity], await signed(alice, entity)),
    );
    const sent = await world.send(post, [one.address, two.address]);
    expect(sent).toMatchObject({ code: 250 });
    expect(await world.fate(sent, 1)).toMatchObject({ event: 'authorized', list: one.address });
    expect(await world.fate(sent, 2)).toMatchObject({ event: 'authorized', list: two.address });
    const rows = await world.untilDeliveries(
      sent.id,
      (all) => all.length === 3 && all.every((row) => row.state === 'delivered'),
    );
    expect(rows.map((row) => row.member)).toEqual([alice.address, alice.address, bob.address]);
    expect(await readCopy(world.ca, bob, (await world.copyFor(bob, post)).bytes)).toEqual(entity);
  });

  it('one transaction for a list that takes it and one that does not: 250, and each has its own outcome', async () => {
    const yes = await world.list({ key: 'p256', members: [alice] });
    const no = await world.list({ key: 'p256' });
    const post = clearPost(alice.address, yes.address);
    const sent = await world.send(post, [yes.address, no.address]);
    expect(sent).toMatchObject({ code: 250 });
    await world.fate(sent, 2);
    const events = world.daemon.log.filter((line) => line.id === sent.id && line.list !== undefined);
    const outcomes = events.map((line) => `${line.list} ${line.event}`);
    expect(outcomes).toContain(`${yes.address} authorized`);
    expect(outcomes).toContain(`${no.address} refused`);
  });

  it('an address given twice gets the mail once', async () => {
    const list = await world.list({ key: 'p256', members: [alice] });
    const post = clearPost(alice.address, list.address);
    const sent = await world.send(post, [list.address, list.address.toUpperCase(), list.address]);
    await world.fate(sent);
    const rows = await world.untilDeliveries(sent.id, (all) => all.every((row) => row.state === 'delivered'));
    expect(rows).toHaveLength(1);
  });

  it('8-bit and SMTPUTF8 mail passes on with what it needs', async () => {
    const list = await world.list({ key: 'p256', members: [alice] });
    const post = mailOf(
      postHeaders(alice.address, list.address, [['Subject', 'gr\u00fc\u00dfe']]),
      textEntity('gr\u00fc\u00dfe\n'),
    );
    const reply = await sendMail({
      port: world.daemon.port(),
      from: alice.address,
      to: [list.address],
      data: post,
      mailParameters: 'BODY=8BITMIME SMTPUTF8',
    });
    expect(reply).toMatchObject({ code: 250 });
    const id = /accepted as (\w+)/.exec(reply.text)?.[1] ?? '';
    const [row] = await world.untilDeliveries(
      id,
      (all) => all.length === 1 && all[0]?.state !== 'pending' && all[0]?.state !== 'in-flight',
    );
    // The relay of this test offers no SMTPUTF8: what cannot be passed on is refused, not mangled.
    expect(row).toMatchObject({ state: 'failed' });
    expect(row?.detail).toMatch(/SMTPUTF8/);
  });
});

describe('LMTP', () => {
  let lmtp: World;
  beforeAll(async () => {
    lmtp = await makeWorld({ protocol: 'lmtp' });
    alice = await lmtp.person('alice');
  });
  afterEach(() => expect(lmtp.leaks()).toEqual([]));
  afterAll(() => lmtp?.stop());

  it('answers for each recipient; what is refused there is not decided again', async () => {
    const yes = await lmtp.list({ key: 'p256', members: [alice] });
    const no = await lmtp.list({ key: 'p256' });
    const strict = await lmtp.list({
      key: 'p256',
      members: [alice],
      settings: { 'accept.encryption': 'required' },
    });
    const post = clearPost(alice.address, yes.address);
    const sent = await lmtp.send(post, [no.address, yes.address, strict.address]);
    expect(sent.perRecipient.map((reply) => reply.code)).toEqual([550, 250, 550]);
    expect(sent.perRecipient[2]?.text).toContain('encrypted');
    const id = /accepted as (\w+)/.exec(sent.perRecipient[1]?.text ?? '')?.[1] ?? '';
    await lmtp.untilDeliveries(
      id,
      (all) => all.length === 1 && all.every((row) => row.state === 'delivered'),
    );
    const postings = await lmtp.onDatabase((q) =>
      q.selectFrom('postings').select(['listId', 'state']).where('messageId', '=', id).execute(),
    );
    expect(postings.map((row) => row.listId)).toEqual([yes.id]);
    expect((await lmtp.ledger(id)).filter((line) => line.startsWith('refused')).sort()).toEqual([
      'refused may-not-post',
      'refused not-encrypted',
    ]);
  });

  it('stores nothing if all are refused', async () => {
    const no = await lmtp.list({ key: 'p256' });
    const sent = await lmtp.send(clearPost('stranger@example.org', no.address), no.address);
    expect(sent.perRecipient.map((reply) => reply.code)).toEqual([550]);
    const rows = await lmtp.onDatabase((q) =>
      q.selectFrom('messages').select('id').where('fromAddress', '=', 'stranger@example.org').execute(),
    );
    expect(rows).toEqual([]);
  });

  it('carries a sealed post', async () => {
    const list = await lmtp.list({ members: [alice] });
    const entity = secretEntity();
    const post = await signedAndEncrypted(alice, list, { entity });
    await lmtp.post(post, list.address);
    expect(await readCopy(lmtp.ca, alice, (await lmtp.copyFor(alice, post)).bytes)).toEqual(entity);
  });
});
