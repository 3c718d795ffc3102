import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { addMembers, removeMember } from '../../src/store/members.ts';
import type { Identity } from '../kit/pki.ts';
import type { SinkOptions } from '../kit/sink.ts';
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
import { type List, makeWorld, type World } from './world.ts';

// What members, authors and owners are told by the clock. Time passes by setting back what was written down.

const day = 86_400_000;
let world: World;
let alice: Identity;
let answer: SinkOptions['answer'] | null = null;
beforeAll(async () => {
  world = await makeWorld({ sink: { answer: (stage, info) => answer?.(stage, info) ?? null } });
  alice = await world.person('alice');
});
afterEach(() => {
  answer = null;
  expect(world.leaks()).toEqual([]);
});
afterAll(() => world?.stop());

async function housekeeping(): Promise<void> {
  const done = await world.daemon.run(['housekeeping']);
  expect(done.code, done.stderr).toBe(0);
}

/** So long ago was everything that was told, reported and decided about this list. */
const timePasses = (list: List, ms: number) =>
  world.onDatabase(async (q) => {
    await q
      .updateTable('notices')
      .set((e) => ({ lastAt: e('lastAt', '-', ms) }))
      .where('listId', '=', list.id)
      .execute();
    await q
      .updateTable('postings')
      .set((e) => ({ decidedAt: e('decidedAt', '-', ms) }))
      .where('listId', '=', list.id)
      .execute();
    for (const period of ['daily', 'weekly']) {
      const key = `report.${period}.${list.id}`;
      const mark = await q.selectFrom('meta').select('value').where('key', '=', key).executeTakeFirst();
      const [at, ledger] = (mark?.value ?? '').split(' ');
      const value = `${Number(at) - ms} ${ledger}`;
      await q.updateTable('meta').set({ value }).where('key', '=', key).execute();
    }
  });

const held = (address: string) => (rows: readonly { member: string; state: string }[]) =>
  rows.some((row) => row.member === address && row.state === 'held');

async function heldPost(list: List, address: string, entity = secretEntity()): Promise<Buffer> {
  const post = await signedAndEncrypted(alice, list, { entity });
  const { id } = await world.post(post, list.address);
  await world.untilDeliveries(id, held(address));
  return post;
}

/** What the list signed. */
const textOf = async (mail: Buffer | undefined): Promise<string> => {
  const bytes = mail ?? Buffer.alloc(0);
  return (
    await verifyEntity(world.ca, bytes.subarray(bytes.indexOf('MIME-Version: 1.0\r\n') + 19))
  ).toString();
};

const sendCertificate = async (list: List, who: Identity) => {
  const content = await signed(who, textEntity(`here it is, ${Date.now()}\n`));
  return world.post(mailOf(postHeaders(who.address, list.at('sendcert')), content), list.at('sendcert'));
};

describe('copies that wait', () => {
  it('are told of once a day: how many, and until when the oldest waits; signed by the list', async () => {
    const bare = 'digest@example.org';
    const list = await world.list({ key: 'p256', members: [alice], bare: [bare] });
    for (let n = 0; n < 3; n++) await heldPost(list, bare);
    await housekeeping();
    expect(await world.mailTo(bare)).toHaveLength(1);
    await timePasses(list, day);
    await housekeeping();
    const [, digest] = await world.mailTo(bare, 2);
    const bytes = digest?.bytes;
    const until = new Date(Date.now() + 14 * day).toISOString().slice(0, 10);
    const words = `3 encrypted messages wait for you, the oldest until ${until}`;
    expect((headerOf(bytes ?? Buffer.alloc(0), 'Subject') ?? '').replace(/\s+/g, ' ')).toContain(words);
    expect(await textOf(bytes)).toContain(list.at('sendcert'));
    await housekeeping();
    expect(await world.mailTo(bare, 2)).toHaveLength(2);
  });

  type Way = (list: List, who: Identity, file: string) => Promise<unknown>;
  const run = async (...args: string[]) => {
    const done = await world.daemon.run(args);
    expect(done.code, done.stderr).toBe(0);
  };
  const ways: [way: string, settings: Record<string, string>, bring: Way][] = [
    ['import', {}, (_, __, file) => run('cert', 'import', file)],
    [
      'the directory by hand',
      {},
      async (_, who) => writeFileSync(join(world.root, 'spool/certificates', who.address), who.certPem),
    ],
    [
      'approval of one that waited',
      { 'harvest.first': 'owner' },
      async (list, who) => {
        expect(await sendCertificate(list, who)).toMatchObject({ event: 'certificate-not-taken' });
        const { sha256 } = await world.onDatabase((q) =>
          q
            .selectFrom('bindings')
            .select('sha256')
            .where('address', '=', who.address)
            .executeTakeFirstOrThrow(),
        );
        expect(
          world.sink.messages.some(
            ({ to, bytes }) => to.includes(who.address) && bytes.includes('enveloped-data'),
          ),
        ).toBe(false);
        await run('cert', 'approve', who.address, sha256);
      },
    ],
  ];
  it.each(ways)('go out when a certificate comes by %s', async (way, settings, bring) => {
    const who = await world.person(`by-${way.replace(/\W/g, '')}`);
    const list = await world.list({ key: 'p256', members: [alice], bare: [who.address], settings });
    const posts = [await heldPost(list, who.address), await heldPost(list, who.address)];
    const file = join(world.root, `${who.address}.pem`);
    writeFileSync(file, who.certPem);
    await bring(list, who, file);
    for (const post of posts) await readCopy(world.ca, who, (await world.copyFor(who, post)).bytes);
  });

  it('go out when the expired certificate is renewed for the same key', async () => {
    const old = await world.person('renews', {
      notBefore: new Date(Date.now() - 9 * day),
      notAfter: new Date(Date.now() - day),
    });
    const list = await world.list({ key: 'p256', members: [alice, old] });
    const post = await heldPost(list, old.address);
    const [notice] = await world.mailTo(old.address);
    const ended = new Date(Date.now() - day).toISOString().slice(0, 10);
    expect((await textOf(notice?.bytes)).replace(/=?\s+/g, ' ')).toContain(`expired on ${ended}`);
    const renewed = await world.person('renews', { keyFrom: old });
    expect(await sendCertificate(list, renewed)).toMatchObject({ event: 'certificate-received' });
    await readCopy(world.ca, renewed, (await world.copyFor(renewed, post)).bytes);
  });

  it('go out when the list comes to accept the certificate', async () => {
    const weak = await world.ca.issue({ name: 'Weak', address: 'weak@example.org', key: 'rsa1024' });
    const list = await world.list({ key: 'p256', members: [alice, weak] });
    const post = await heldPost(list, weak.address);
    await run('list', 'set', list.address, 'minimum.rsa=1024');
    await readCopy(world.ca, weak, (await world.copyFor(weak, post)).bytes);
  });

  it('are told of in the language of the member', async () => {
    const list = await world.list({ key: 'p256', members: [alice] });
    await world.join(list, 'deutsch@example.org', { lang: 'de' });
    await heldPost(list, 'deutsch@example.org');
    const [notice] = await world.mailTo('deutsch@example.org');
    expect(await textOf(notice?.bytes)).toMatch(/Was zu tun ist[\s\S]*von der Liste signiert/);
  });

  it('do not go to who left and came back after the post (RULES 17)', async () => {
    const who = await world.person('comes-back');
    const list = await world.list({ key: 'p256', members: [alice], bare: [who.address] });
    const post = await signedAndEncrypted(alice, list);
    const { id } = await world.post(post, list.address);
    await world.untilDeliveries(id, held(who.address));
    await world.onDatabase(async (q) => {
      await removeMember(q, list.id, who.address);
      await addMembers(q, list.id, [{ address: who.address, name: '', since: Date.now() }]);
    });
    await sendCertificate(list, who);
    const rows = await world.untilDeliveries(id, (all) => all.every((row) => row.finishedAt !== null));
    expect(rows.find((row) => row.member === who.address)).toMatchObject({
      state: 'cancelled',
      reason: 'not-a-member',
    });
  });

  it('of mail to the owners do not go to who is no owner any more', async () => {
    const list = await world.list({ key: 'p256', members: [alice] });
    const owner = await world.ca.issue({ name: 'Owner', address: list.owner, key: 'p256' });
    const post = await signedAndEncrypted(alice, { ...list, address: list.at('owner') });
    const { id } = await world.post(post, list.at('owner'));
    await world.untilDeliveries(id, held(list.owner));
    await world.onDatabase((q) => q.deleteFrom('roles').where('address', '=', list.owner).execute());
    await sendCertificate(list, owner);
    const rows = await world.untilDeliveries(id, (all) => all.every((row) => row.finishedAt !== null));
    expect(rows).toMatchObject([{ member: list.owner, state: 'cancelled' }]);
  });
});

it('a certificate that ends soon: the member and the owners are told once, by signed mail', async () => {
  const ends = new Date(Date.now() + 5 * day);
  const who = await world.person('ends-soon', { notAfter: ends });
  const list = await world.list({ key: 'p256', members: [who] });
  for (let n = 0; n < 2; n++) await housekeeping();
  const [mail, ...more] = await world.mailTo(who.address);
  expect(more).toEqual([]);
  expect(headerOf(mail?.bytes ?? Buffer.alloc(0), 'Reply-To')).toBe(list.at('sendcert'));
  const text = await textOf(mail?.bytes);
  expect(text).toContain(ends.toISOString().slice(0, 10));
  expect(text).toContain(list.at('sendcert'));
  const [toOwner, ...others] = await world.mailTo(list.owner);
  expect(others).toEqual([]);
  expect(await textOf(toOwner?.bytes)).toContain(`${who.address}: ${ends.toISOString().slice(0, 10)}`);
});

describe('reports to the owners', () => {
  it('daily: a copy that the relay refused, with its words; nothing on a day without', async () => {
    const bob = await world.person('bob');
    const list = await world.list({ key: 'p256', members: [alice, bob] });
    await housekeeping();
    answer = (stage, info) => (stage === 'RCPT' && info.to === bob.address ? '550 5.1.1 no such user' : null);
    const { id } = await world.post(await signedAndEncrypted(alice, list), list.address);
    await world.untilDeliveries(id, (rows) => rows.every((row) => row.finishedAt !== null));
    answer = null;
    await timePasses(list, day);
    await housekeeping();
    const [report] = await world.mailTo(list.owner);
    const text = await textOf(report?.bytes);
    expect(text).toContain('1 of 2 copies');
    expect(text).toContain(`${bob.address}: the relay refused it at RCPT: 550 5.1.1 no such user`);
    expect(text).toContain(`reseal explain ${id}`);
    await timePasses(list, day);
    await housekeeping();
    // What was queued before this mail has left before it.
    const last = clearPost(alice.address, list.at('owner'));
    await world.post(last, list.at('owner'));
    await world.copyFor({ address: list.owner }, last);
    expect(world.sink.messages.filter(({ to }) => to.includes(list.owner))).toHaveLength(2);
  });

  it('at once: a post that reached nobody', async () => {
    const bob = await world.person('bob');
    const list = await world.list({ key: 'p256', members: [bob] });
    answer = (stage, info) => (stage === 'RCPT' && info.to === bob.address ? '550 5.1.1 no such user' : null);
    await world.post(await signedAndEncrypted(bob, list), list.address);
    const [report] = await world.mailTo(list.owner);
    expect(await textOf(report?.bytes)).toContain('1 of 1 copies');
  });

  it('weekly: holds that ended and who has no certificate', async () => {
    const bare = 'never-sends@example.org';
    const list = await world.list({ key: 'p256', members: [alice], bare: [bare] });
    await housekeeping();
    await heldPost(list, bare);
    await world.onDatabase((q) =>
      q
        .updateTable('deliveries')
        .set({ expiresAt: 1 })
        .where('member', '=', bare)
        .where('state', '=', 'held')
        .execute(),
    );
    await housekeeping();
    await timePasses(list, 7 * day);
    await housekeeping();
    const [report] = await world.mailTo(list.owner);
    const text = (await textOf(report?.bytes)).replace(/=\r\n/g, '');
    expect(text).toContain(`${bare}: 1 message; no certificate is known for ${bare}`);
    expect(text).toMatch(/nothing can be encrypted now[\s\S]*never-sends@example\.org: no certificate/);
    expect(text).not.toContain(alice.address);
  });
});

describe('report.author: yes', () => {
  it('the author is told how many got it, by a signed answer without names', async () => {
    const author = await world.person('author');
    const list = await world.list({
      key: 'p256',
      members: [author, alice],
      settings: { 'report.author': 'yes' },
    });
    const post = await signedAndEncrypted(author, list);
    await world.post(post, list.address);
    const mails = await world.mailTo(author.address, 2);
    const summary = mails.find(({ bytes }) => headerOf(bytes, 'Auto-Submitted') === 'auto-replied');
    expect(summary?.from).toBe('');
    expect(headerOf(summary?.bytes ?? Buffer.alloc(0), 'In-Reply-To')).toBe(headerOf(post, 'Message-ID'));
    const text = await textOf(summary?.bytes);
    expect(text).toContain('Delivered encrypted to 2 of 2 members.');
    expect(text).not.toContain(alice.address);
  });

  it('after a day while a copy waits; a post that is not signed tells nobody', async () => {
    const author = await world.person('waits');
    const bare = 'waits-for@example.org';
    const settings = { 'report.author': 'yes', 'send.encrypt': 'always' };
    const list = await world.list({ key: 'p256', members: [author], bare: [bare], settings });
    await world.post(await signedAndEncrypted(author, list), list.address);
    await world.post(clearPost(author.address, list.address), list.address);
    await world.mailTo(bare);
    await world.mailTo(author.address, 2);
    await housekeeping();
    await timePasses(list, day);
    for (let n = 0; n < 2; n++) await housekeeping();
    const mails = await world.mailTo(author.address, 3);
    const summaries = mails.filter(({ bytes }) => headerOf(bytes, 'Auto-Submitted') === 'auto-replied');
    expect(summaries).toHaveLength(1);
    const text = await textOf(summaries[0]?.bytes);
    expect(text).toContain('Delivered encrypted to 1 of 2 members.');
    expect(text).toContain('Waiting: 1');
  });
});

it('-sendcert answers with the certificate of the list attached', async () => {
  const who = await world.person('asks');
  const list = await world.list({ key: 'p256' });
  await sendCertificate(list, who);
  const [mail] = await world.mailTo(who.address);
  expect(await textOf(mail?.bytes)).toMatch(/application\/pkcs7-mime; smime-type=certs-only/);
});
