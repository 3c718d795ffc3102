import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Identity } from '../kit/pki.ts';
import type { SinkMessage } from '../kit/sink.ts';
import { headerOf, mailOf, textEntity } from '../kit/smime-mime.ts';
import {
  clearPost,
  postHeaders,
  readCopy,
  secretEntity,
  signed,
  signedAndEncrypted,
  verifyEntity,
} from './posts.ts';
import { type List, makeWorld, until, type World } from './world.ts';

// What a member without a usable certificate reads, and what becomes of his answers, his programs' too.

let world: World;
let alice: Identity;
beforeAll(async () => {
  world = await makeWorld();
  alice = await world.person('alice');
});
afterEach(() => expect(world.leaks()).toEqual([]));
afterAll(() => world?.stop());

const empty = Buffer.alloc(0);

/** The text of a notice whose signature is right, on one line. */
async function readNotice(notice: SinkMessage | undefined): Promise<string> {
  const bytes = notice?.bytes ?? empty;
  const entity = bytes.subarray(bytes.indexOf('MIME-Version: 1.0\r\n') + 19);
  const text = (await verifyEntity(world.ca, entity)).toString('latin1').replace(/=\r\n/g, '');
  const octets = text.replace(/=([0-9A-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(octets, 'latin1').toString().replace(/\s+/g, ' ');
}

/** The text of the notice about what waits, among the mails that are signed and not encrypted. */
async function missingNotice(address: string): Promise<string> {
  const why =
    /leave the list only encrypted|verlassen die Liste nur|ne quittent la liste que|salen de la lista solo/;
  let text: string | undefined;
  await until(async () => {
    const clear = world.sink.messages.filter(
      ({ to, bytes }) => to.includes(address) && bytes.includes('multipart/signed'),
    );
    text = (await Promise.all(clear.map(readNotice))).find((one) => why.test(one));
    return text !== undefined;
  });
  return text ?? '';
}

async function heldFor(list: List, address: string, entity = secretEntity()) {
  const post = await signedAndEncrypted(alice, list, { entity });
  const { id } = await world.post(post, list.address);
  await world.untilDeliveries(id, (rows) =>
    rows.some((row) => row.member === address && row.state === 'held'),
  );
  return { id, post, entity };
}

/** The answer that a mail program makes of a notice. */
const answerTo = async (
  notice: SinkMessage | undefined,
  from: string,
  content: Buffer,
  more: [string, string][] = [],
) =>
  mailOf(
    postHeaders(from, headerOf(notice?.bytes ?? empty, 'Reply-To') ?? '', [
      ['Subject', `Re: ${(headerOf(notice?.bytes ?? empty, 'Subject') ?? '').replace(/\s+/g, ' ')}`],
      ['In-Reply-To', headerOf(notice?.bytes ?? empty, 'Message-ID') ?? ''],
      ...more,
    ]),
    content,
  );

/** What was queued until now has left before this mail, which comes last. */
async function untilAllLeft(list: List): Promise<void> {
  const last = clearPost('somebody@example.net', list.at('owner'));
  await world.post(last, list.at('owner'));
  await world.copyFor({ address: list.owner }, last);
}

it('hold, notice, signed answer, release: an address with a plus and capitals, and only he gets it', async () => {
  const carol = await world.ca.issue({ name: 'Carol', address: 'Carol.S+Lists@Example.Org', key: 'p256' });
  const member = 'carol.s+lists@example.org';
  const plain = 'carol.s@example.org';
  const list = await world.list({ key: 'p256', members: [alice] });
  for (const address of ['Carol.S+Lists@Example.Org', plain]) {
    const done = await world.daemon.run(['member', 'add', list.address, address]);
    expect(done.code, done.stderr).toBe(0);
  }
  const { id, post, entity } = await heldFor(list, member);
  const [notice] = await world.mailTo(member);
  expect(await readNotice(notice)).toContain(member);
  const answer = await answerTo(notice, carol.address, await signed(carol, textEntity('here it is\n')));
  const to = list
    .at('sendcert')
    .replace(/^./, (first) => first.toUpperCase())
    .replace('lists.', 'Lists.');
  expect(await world.post(answer, to)).toMatchObject({ event: 'certificate-received', answered: true });
  const copy = await world.copyFor({ address: member }, post);
  expect(await readCopy(world.ca, carol, copy.bytes)).toEqual(entity);
  const rows = await world.deliveries(id);
  expect(rows.find((row) => row.member === plain)).toMatchObject({ state: 'held', reason: 'no-certificate' });
});

describe('no loop', () => {
  it('answers that programs make of a notice are dropped, signed or not, and nobody is told', async () => {
    const bob = await world.person('bob');
    const list = await world.list({ key: 'p256', members: [alice], bare: [bob.address] });
    await heldFor(list, bob.address);
    const [notice] = await world.mailTo(bob.address);
    expect([headerOf(notice?.bytes ?? empty, 'Auto-Submitted'), notice?.from]).toEqual([
      'auto-generated',
      list.at('bounces'),
    ]);
    const text = textEntity('I am on holiday\n');
    const automatic: [string, string][] = [['Auto-Submitted', 'auto-replied']];
    const precedence: [string, string][] = [['Precedence', 'auto_reply']];
    const cases: [content: Buffer, more: [string, string][], from: string, reason: string][] = [
      [text, automatic, bob.address, 'automatic'],
      [await signed(bob, text), automatic, bob.address, 'automatic'],
      [text, precedence, bob.address, 'automatic'],
      [await signed(bob, text), [], '', 'null-sender'],
    ];
    for (const [content, more, from, reason] of cases) {
      const mail = await answerTo(notice, bob.address, content, more);
      expect(await world.post(mail, list.at('sendcert'), from)).toMatchObject({ event: 'dropped', reason });
      const toBounces = await answerTo(notice, bob.address, content, more);
      expect(await world.post(toBounces, list.at('bounces'), from)).toMatchObject({ event: 'bounce' });
    }
    await untilAllLeft(list);
    expect(await world.mailTo(bob.address)).toHaveLength(1);
    expect(await world.mailTo(list.owner)).toHaveLength(1);
    // By hand he is heard all the same.
    const byHand = await answerTo(notice, bob.address, await signed(bob, textEntity('back\n')));
    expect(await world.post(byHand, list.at('sendcert'))).toMatchObject({ event: 'certificate-received' });
  });

  it('a notice to a member that is a list, or that comes back, is dropped there', async () => {
    const inner = await world.list({ key: 'p256', members: [alice] });
    const outer = await world.list({ key: 'p256', members: [alice], bare: [inner.address] });
    await heldFor(outer, inner.address);
    const [notice] = await world.mailTo(inner.address);
    const bytes = notice?.bytes ?? empty;
    for (const to of [inner.address, inner.at('sendcert'), inner.at('request'), inner.at('owner')])
      expect(await world.post(bytes, to, notice?.from ?? '')).toMatchObject({
        event: 'dropped',
        reason: 'automatic',
      });
    for (const to of [outer.address, outer.at('sendcert')])
      expect(await world.post(bytes, to, notice?.from ?? '')).toMatchObject({
        event: 'dropped',
        reason: 'loop',
      });
    await untilAllLeft(inner);
    await untilAllLeft(outer);
    expect(await world.mailTo(inner.address)).toHaveLength(1);
    expect(world.sink.messages.filter(({ to }) => to.includes(inner.owner))).toHaveLength(1);
  });
});

describe('what came meanwhile is told in words, in the language of the member', () => {
  const codes = /changed-key|owner-decides|not-signed|too-many|no-certificate|candidate|no-path/;
  const waits = {
    en: 'waits until an owner',
    de: 'wartet, bis ein Eigent',
    fr: 'attend qu',
    es: 'espera a que',
  };
  it.each(Object.entries(waits))('%s: a certificate that waits for approval', async (lang, words) => {
    const who = await world.person(`waits-${lang}`);
    const list = await world.list({ key: 'p256', members: [alice], settings: { 'harvest.first': 'owner' } });
    await world.join(list, who.address, { lang });
    const mail = mailOf(
      postHeaders(who.address, list.at('sendcert')),
      await signed(who, textEntity('mine\n')),
    );
    expect(await world.post(mail, list.at('sendcert'))).toMatchObject({ reason: 'owner-decides' });
    await heldFor(list, who.address);
    const text = await missingNotice(who.address);
    expect(text).toContain(words);
    expect(text).toContain(list.at('owner'));
    expect(text).not.toMatch(codes);
    expect(text).not.toContain('Thunderbird');
  });

  it('a certificate of another key beside an expired one waits', async () => {
    const old = await world.person('expired', {
      notBefore: new Date(Date.now() - 9 * 86_400_000),
      notAfter: new Date(Date.now() - 86_400_000),
    });
    const list = await world.list({ key: 'p256', members: [alice, old] });
    const other = await world.person('expired');
    const mail = mailOf(
      postHeaders(old.address, list.at('sendcert')),
      await signed(other, textEntity('new\n')),
    );
    expect(await world.post(mail, list.at('sendcert'))).toMatchObject({ reason: 'changed-key' });
    await heldFor(list, old.address);
    const text = await missingNotice(old.address);
    expect(text).toMatch(/expired on .* waits until an owner of the list approves it/);
    expect(text).not.toMatch(codes);
  });

  const notSigned = {
    en: 'the message is not signed',
    de: 'es war nicht signiert',
    fr: 'pas sign\u00e9',
    es: 'no estaba firmado',
  };
  it.each(Object.entries(notSigned))('%s: a mail from which nothing was taken', async (lang, words) => {
    const address = `unsigned-${lang}@example.org`;
    const list = await world.list({ key: 'p256', members: [alice] });
    await world.join(list, address, { lang });
    expect(await world.post(clearPost(address, list.at('sendcert')), list.at('sendcert'))).toMatchObject({
      reason: 'not-signed',
    });
    await heldFor(list, address);
    const text = await missingNotice(address);
    expect(text).toContain(words);
    expect(text).not.toMatch(codes);
    expect(text).toContain('Thunderbird');
  });
});

it('the report that a crash left untold is sent after the start, once', async () => {
  const list = await world.list({ key: 'p256', settings: { 'report.failures': 'never' } });
  const zoe = await world.person('zoe');
  await world.join(list, zoe);
  const { id } = await world.post(await signedAndEncrypted(zoe, list), list.address);
  await world.copyFor(zoe, (await world.mailTo(zoe.address))[0]?.bytes ?? empty);
  await world.untilDeliveries(id, (rows) => rows.every((row) => row.finishedAt !== null));
  await world.daemon.kill();
  // As a crash between the last copy and the end of the posting leaves it.
  await world.onDatabase(async (q) => {
    const settings = JSON.stringify({ 'report.failures': 'at-once' });
    await q.updateTable('lists').set({ settings }).where('id', '=', list.id).execute();
    const posting = await q
      .selectFrom('postings')
      .select('id')
      .where('messageId', '=', id)
      .executeTakeFirstOrThrow();
    await q.updateTable('postings').set({ state: 'distributing' }).where('id', '=', posting.id).execute();
    const failed = { state: 'failed', detail: 'the relay refused it at RCPT: 550 5.1.1 gone' } as const;
    await q.updateTable('deliveries').set(failed).where('postingId', '=', posting.id).execute();
  });
  await world.restart();
  const [report] = await world.mailTo(list.owner);
  expect(await readNotice(report)).toContain('1 of 1 copies');
  await world.daemon.kill();
  await world.restart();
  await world.daemon.logged((line) => line.event === 'housekeeping');
  await untilAllLeft(list);
  expect(world.sink.messages.filter(({ to }) => to.includes(list.owner))).toHaveLength(2);
});
