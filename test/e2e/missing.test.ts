import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { type Identity, makeCa } from '../kit/pki.ts';
import { headerOf, mailOf, textEntity } from '../kit/smime-mime.ts';
import {
  clearPost,
  postHeaders,
  readCopy,
  secretEntity,
  signed,
  signedAndEncrypted,
  signedBy,
  verifyEntity,
} from './posts.ts';
import { type List, makeWorld, secret, until, type World } from './world.ts';

let world: World;
let alice: Identity;
beforeAll(async () => {
  world = await makeWorld();
  alice = await world.person('alice');
});
afterEach(() => expect(world.leaks()).toEqual([]));
afterAll(() => world?.stop());

const empty = Buffer.alloc(0);
const held = (rows: readonly { state: string }[]) => rows.some((row) => row.state === 'held');
const entityOf = (mail: Buffer): Buffer => mail.subarray(mail.indexOf('MIME-Version: 1.0\r\n') + 19);

/** A signed mail to -sendcert, as the notice asks for. */
async function sendCertificate(list: List, who: Identity): Promise<Awaited<ReturnType<World['post']>>> {
  const mail = mailOf(
    postHeaders(who.address, list.at('sendcert')),
    await signed(who, textEntity('here it is\n')),
  );
  return world.post(mail, list.at('sendcert'));
}

/** The file of the certificate directory, '' if there is none. */
function certificateFile(name: string): string {
  try {
    return readFileSync(join(world.root, 'spool/certificates', name), 'latin1');
  } catch {
    return '';
  }
}

describe('the certificate is missing', () => {
  let list: List;
  let carol: Identity;
  const entities = [secretEntity(), secretEntity()];
  const posts: Buffer[] = [];
  const ids: string[] = [];

  it('his copy is held; he gets one notice, signed by the list, naming the outer Subject only', async () => {
    carol = await world.person('carol', { key: 'rsa' });
    list = await world.list({ name: 'hold', members: [alice], bare: [carol.address] });
    for (const entity of entities) posts.push(await signedAndEncrypted(alice, list, { entity }));
    for (const post of posts) {
      const { id } = await world.post(post, list.address);
      ids.push(id);
      const rows = await world.untilDeliveries(id, held);
      const row = rows.find((one) => one.member === carol.address);
      expect(row).toMatchObject({ state: 'held', reason: 'no-certificate' });
    }
    const notices = await world.mailTo(carol.address);
    const bytes = notices[0]?.bytes ?? empty;
    expect(headerOf(bytes, 'From')).toBe(list.address);
    expect(headerOf(bytes, 'Reply-To')).toBe(list.at('sendcert'));
    expect(headerOf(bytes, 'Auto-Submitted')).toBe('auto-generated');
    const text = (await verifyEntity(world.ca, entityOf(bytes))).toString();
    expect(text).toContain('the outer subject');
    expect(text).toContain(list.at('sendcert'));
    expect(await world.ledger(ids[0] ?? '')).toContain(`held no-certificate ${carol.address}`);
  });

  it('no second notice for the second post, nor after a crash', async () => {
    await world.daemon.kill();
    await world.restart();
    // What the daemon does at once after a start is done when another post has been delivered.
    const last = clearPost(alice.address, list.address);
    await world.post(last, list.address);
    await world.copyFor(alice, last);
    const mails = await world.mailTo(carol.address);
    expect(mails.filter(({ bytes }) => headerOf(bytes, 'Auto-Submitted') !== null)).toHaveLength(1);
  });

  it('a signed mail to -sendcert releases them, and is confirmed', async () => {
    expect(await sendCertificate(list, carol)).toMatchObject({
      event: 'certificate-received',
      answered: true,
    });
    for (const [index, post] of posts.entries()) {
      const copy = await world.copyFor(carol, post);
      expect(await readCopy(world.ca, carol, copy.bytes)).toEqual(entities[index]);
    }
    await until(() =>
      world.sink.messages.some(
        ({ to, bytes }) => to.includes(carol.address) && headerOf(bytes, 'Auto-Submitted') === 'auto-replied',
      ),
    );
    const answer = world.sink.messages.find(
      ({ to, bytes }) => to.includes(carol.address) && headerOf(bytes, 'Auto-Submitted') === 'auto-replied',
    );
    const text = (await verifyEntity(world.ca, entityOf(answer?.bytes ?? empty))).toString();
    expect(text).toContain(carol.address);
    expect(text).toContain('2 messages were waiting');
    expect(text).toMatch(/Used for: +\w/);
    expect(await world.ledger(ids[0] ?? '')).toContain(`delivered ${carol.address}`);
  });

  it('the certificate is in the directory, as Sympa names it', () => {
    expect(certificateFile('carol@example.org')).toContain(carol.certPem.trim());
  });

  it('the mail to -sendcert was distributed to nobody', () => {
    expect(world.sink.messages.some(({ bytes }) => bytes.includes('here it is'))).toBe(false);
  });
});

it('the protected Subject stays inside: no notice, row or log has it', async () => {
  const bare = 'bare-subject@example.org';
  const list = await world.list({ key: 'p256', members: [alice], bare: [bare] });
  const entity = Buffer.from(
    `From: ${alice.address}\r\nTo: ${list.address}\r\nSubject: ${secret}\r\n` +
      'Content-Type: text/plain; charset=utf-8; hp="cipher"\r\n\r\ntext\r\n',
  );
  const post = await signedAndEncrypted(alice, list, { entity, headers: [['Subject', '[...]']] });
  expect(await world.post(post, list.address)).toMatchObject({ event: 'authorized' });
  const [notice] = await world.mailTo(bare);
  expect(notice?.bytes.includes(secret)).toBe(false);
  const copy = await world.copyFor(alice, post);
  expect(headerOf(copy.bytes, 'Subject')).toBe('[...]');
  expect(await readCopy(world.ca, alice, copy.bytes)).toEqual(entity);
});

it('a copy that waited too long is over, with a line in the ledger, and its spool file goes', async () => {
  const list = await world.list({ key: 'p256', members: [alice], bare: ['never@example.org'] });
  const { id } = await world.post(await signedAndEncrypted(alice, list), list.address);
  const rows = await world.untilDeliveries(id, held);
  const row = rows.find((one) => one.member === 'never@example.org');
  const days = ((row?.expiresAt ?? 0) - Date.now()) / 86_400_000;
  expect(Math.round(days)).toBe(14);
  expect(readdirSync(join(world.root, 'spool/messages'))).toContain(id);
  await world.onDatabase((q) =>
    q
      .updateTable('deliveries')
      .set({ expiresAt: 1 })
      .where('state', '=', 'held')
      .where('member', '=', 'never@example.org')
      .execute(),
  );
  const done = await world.daemon.run(['housekeeping']);
  expect(done.code, done.stderr).toBe(0);
  expect(await world.ledger(id)).toContain('expired no-certificate never@example.org');
  await until(() => !readdirSync(join(world.root, 'spool/messages')).includes(id));
});

it('certificates for one use go into files of their own', async () => {
  const sign = await world.ca.issue({
    name: 'Dora',
    address: 'dora@example.org',
    key: 'p256',
    usage: 'digitalSignature',
  });
  const enc = await world.ca.issue({
    name: 'Dora',
    address: 'dora@example.org',
    key: 'p256',
    usage: 'keyAgreement',
  });
  const list = await world.list({ key: 'p256', bare: [sign.address] });
  const entity = textEntity('both of mine\n');
  const mail = mailOf(
    postHeaders(sign.address, list.at('sendcert')),
    await signed(sign, entity, { chain: [enc] }),
  );
  expect(await world.post(mail, list.at('sendcert'))).toMatchObject({ event: 'certificate-received' });
  expect(certificateFile('dora@example.org@sign')).toContain(sign.certPem.trim());
  expect(certificateFile('dora@example.org@enc')).toContain(enc.certPem.trim());
  expect(certificateFile('dora@example.org')).toBe('');
});

describe('certificates of one person in the names of two', () => {
  const pair = async (name: string): Promise<[sign: Identity, enc: Identity]> => {
    const who = { address: `${name}@example.org`, key: 'p256' } as const;
    return [
      await world.ca.issue({ ...who, name: `${name} signs`, usage: 'digitalSignature' }),
      await world.ca.issue({ ...who, name: `${name} reads`, usage: 'keyAgreement' }),
    ];
  };
  const heldPost = async (list: List) => {
    const entity = secretEntity();
    const post = await signedAndEncrypted(alice, list, { entity });
    const { id } = await world.post(post, list.address);
    await world.untilDeliveries(id, held);
    return { post, entity, id };
  };

  it('one that nothing signed names waits for an owner; his approval sends what waited', async () => {
    const [sign, enc] = await pair('lea');
    const list = await world.list({ key: 'p256', members: [alice], bare: [sign.address] });
    const { post, entity } = await heldPost(list);
    const bring = async (text: string) => {
      const mail = mailOf(
        postHeaders(sign.address, list.at('sendcert')),
        await signed(sign, textEntity(text), { chain: [enc] }),
      );
      return world.post(mail, list.at('sendcert'));
    };
    const { id } = await bring('mine\n');
    expect(await world.ledger(id)).toContain(`certificate-pending candidate ${sign.address}`);
    const answers = async (n: number) => {
      const mails = await world.mailTo(sign.address, n);
      const all = await Promise.all(mails.map(({ bytes }) => verifyEntity(world.ca, entityOf(bytes))));
      return all.map((text) => text.toString().replace(/=\r\n/g, '').replace(/\s+/g, ' '));
    };
    const done = (await answers(3)).find((text) => text.includes('the list now has'));
    expect(done).toContain('but is not in use yet');
    expect(done).not.toMatch(/will be encrypted with it|No message was waiting/);
    const alerts = () =>
      world.sink.messages.filter(
        ({ to, bytes }) => to.includes(list.owner) && bytes.includes('waits for your approval'),
      );
    await world.sink.until(() => alerts().length > 0);
    // Again and again it is told of once.
    for (const text of ['once more\n', 'and again\n']) await bring(text);
    expect(alerts()).toHaveLength(1);
    const { sha256 } = parseCertificate(enc.certDer);
    expect(await world.daemon.run(['cert', 'pending'])).toMatchObject({
      stdout: expect.stringContaining(sha256.slice(0, 8)),
    });
    await world.daemon.run(['cert', 'approve', sign.address, sha256.slice(0, 16)]);
    expect(await readCopy(world.ca, enc, (await world.copyFor(sign, post)).bytes)).toEqual(entity);
  });

  it('one that has expired is not taken: the ledger and his answer say so', async () => {
    const day = 86_400_000;
    const address = 'nils@example.org';
    const sign = await world.person('nils', { usage: 'digitalSignature' });
    const enc = await world.person('nils', {
      usage: 'keyAgreement',
      notBefore: new Date(Date.now() - 9 * day),
      notAfter: new Date(Date.now() - day),
    });
    const list = await world.list({ key: 'p256', bare: [address] });
    const entity = await signed(sign, textEntity('mine\n'), { chain: [enc] });
    const mail = mailOf(postHeaders(address, list.at('sendcert')), entity);
    const { id } = await world.post(mail, list.at('sendcert'));
    expect(await world.ledger(id)).toContain(`certificate-not-taken expired ${address}`);
    const [answer] = await world.mailTo(address);
    const text = (await verifyEntity(world.ca, entityOf(answer?.bytes ?? empty))).toString();
    expect(text.replace(/\s+/g, ' ')).toContain('Nothing can be encrypted to you yet');
  });

  it('one that the signature names is used at once, up to the copy', async () => {
    const [sign, enc] = await pair('mia');
    const list = await world.list({ key: 'p256', members: [alice], bare: [sign.address] });
    const { post, entity } = await heldPost(list);
    const mail = mailOf(
      postHeaders(sign.address, list.at('sendcert')),
      signedBy(sign, textEntity('mine\n'), { prefers: enc }),
    );
    expect(await world.post(mail, list.at('sendcert'))).toMatchObject({ event: 'certificate-received' });
    expect(await readCopy(world.ca, enc, (await world.copyFor(sign, post)).bytes)).toEqual(entity);
  });
});

describe('what an ordinary post brings and is not taken', () => {
  it.each<[string, Record<string, string>, number, RegExp]>([
    ['off', { harvest: 'off' }, 0, /the list takes no certificate from mail/],
    ['older', { harvest: 'verified' }, -7_200_000, /a newer one is known/],
  ])('%s: a line in the ledger, and `explain` says why', async (reason, settings, ms, words) => {
    const address = `not-${reason}@example.org`;
    const [known, other] = [await world.person(`not-${reason}`), await world.person(`not-${reason}`)];
    const list = await world.list({ key: 'p256', members: [known], settings });
    // What is in use was brought now: a mail of before comes too late.
    await world.onDatabase((q) =>
      q.updateTable('bindings').set({ since: Date.now() }).where('address', '=', address).execute(),
    );
    const post = mailOf(
      postHeaders(address, list.address),
      signedBy(other, textEntity('post\n'), { at: Date.now() + ms }),
    );
    const { id } = await world.post(post, list.address);
    const told = (await world.ledger(id)).filter((line) => line.startsWith('certificate-not-taken'));
    expect(told).toEqual([`certificate-not-taken ${reason} ${address}`]);
    const { stdout } = await world.daemon.run(['explain', id]);
    const [line] = /Not taken for [\s\S]*?\.\n/.exec(stdout) ?? [''];
    expect(line.replace(/\s+/g, ' ')).toMatch(words);
    expect(line).toContain('signing and encryption');
  });
});

describe('a copy that waited is released when he may not have it any more', () => {
  it.each([
    ['suspended', (list: List, who: Identity) => ['member', 'set', list.address, who.address, '--suspend']],
    ['list-closed', (list: List) => ['list', 'close', list.address]],
  ])('%s: it is ended, says why, and nobody is told that it went out', async (reason, command) => {
    const who = await world.person(reason);
    const list = await world.list({ key: 'p256', members: [alice], bare: [who.address] });
    const post = await signedAndEncrypted(alice, list);
    const { id } = await world.post(post, list.address);
    await world.untilDeliveries(id, held);
    expect(await world.daemon.run(command(list, who))).toMatchObject({ code: 0 });
    const imported = await world.daemon.run(['cert', 'import', who.certPath]);
    expect(imported).toMatchObject({ code: 0 });
    expect(imported.stdout).not.toMatch(/released/);
    const rows = await world.untilDeliveries(id, (all) => !held(all) && all.every((row) => row.finishedAt));
    expect(rows.find((row) => row.member === who.address)).toMatchObject({ state: 'cancelled', reason });
  });
});

it('the certificate in an ordinary post releases as well', async () => {
  const erin = await world.person('erin', { key: 'rsa' });
  const list = await world.list({ members: [alice], bare: [erin.address] });
  const entity = secretEntity();
  const post = await signedAndEncrypted(alice, list, { entity });
  const { id } = await world.post(post, list.address);
  await world.untilDeliveries(id, held);
  const own = await signedAndEncrypted(erin, list);
  expect(await world.post(own, list.address)).toMatchObject({ event: 'authorized' });
  expect(await readCopy(world.ca, erin, (await world.copyFor(erin, post)).bytes)).toEqual(entity);
  await world.copyFor(erin, own);
});

it.each([
  ['notify', true],
  ['drop', false],
])('missing.action: %s drops the copy, told: %s', async (action, told) => {
  const bare = `bare-${action}@example.org`;
  const list = await world.list({
    key: 'p256',
    members: [alice],
    bare: [bare],
    settings: { 'missing.action': action },
  });
  const { id } = await world.post(await signedAndEncrypted(alice, list), list.address);
  const rows = await world.untilDeliveries(
    id,
    (all) => all.length === 2 && all.every((row) => row.finishedAt !== null),
  );
  expect(rows.find((row) => row.member === bare)).toMatchObject({
    state: 'dropped',
    reason: 'no-certificate',
  });
  expect(await world.ledger(id)).toContain(`dropped no-certificate ${bare}`);
  const notices = await world.onDatabase((q) =>
    q
      .selectFrom('deliveries')
      .select('id')
      .where('member', '=', bare)
      .where('state', '!=', 'dropped')
      .execute(),
  );
  expect(notices).toHaveLength(told ? 1 : 0);
  if (told) {
    const [notice] = await world.mailTo(bare);
    const text = (await verifyEntity(world.ca, entityOf(notice?.bytes ?? empty))).toString();
    expect(text).toContain(list.at('sendcert'));
  }
});

describe('a certificate that cannot be used counts as missing, and the notice says why', () => {
  const day = 86_400_000;
  const cases: [name: string, make: (address: string) => Promise<Identity>, reason: string, words: RegExp][] =
    [
      [
        'expired',
        (address) =>
          world.ca.issue({
            name: 'Old',
            address,
            key: 'p256',
            notBefore: new Date(Date.now() - 9 * day),
            notAfter: new Date(Date.now() - day),
          }),
        'expired',
        /Your certificate \(CN=Old\) expired on \d{4}-\d\d-\d\d\./,
      ],
      [
        'not for encryption',
        (address) => world.ca.issue({ name: 'Signer', address, key: 'p256', usage: 'digitalSignature' }),
        'wrong-usage',
        /Your certificate \(CN=Signer\) is not made for encryption/,
      ],
      [
        'a short RSA key',
        (address) => world.ca.issue({ name: 'Short', address, key: 'rsa1024' }),
        'weak-key',
        /The key of your certificate \(CN=Short\) is weaker than this list accepts/,
      ],
      [
        'of an authority that nobody knows here',
        async (address) => (await makeCa('Foreign Root')).issue({ name: 'Far', address, key: 'p256' }),
        'not-trusted',
        /is not trusted here\. It was issued by CN=Foreign Root/,
      ],
    ];
  it.each(cases)('%s', async (name, make, reason, words) => {
    const address = `${name.replace(/\W/g, '-').toLowerCase()}@example.org`;
    const list = await world.list({ key: 'p256', members: [alice, await make(address)] });
    const { id } = await world.post(await signedAndEncrypted(alice, list), list.address);
    const rows = await world.untilDeliveries(id, held);
    expect(rows.find((row) => row.member === address)).toMatchObject({ state: 'held', reason });
    const [notice] = await world.mailTo(address);
    const text = (await verifyEntity(world.ca, entityOf(notice?.bytes ?? empty))).toString();
    expect(text.replace(/=\r\n/g, '').replaceAll('=3D', '=').replace(/\s+/g, ' ')).toMatch(words);
  });
});

describe('several posts are held for a member', () => {
  it('they go out oldest first', async () => {
    const otto = await world.person('otto');
    const list = await world.list({ key: 'p256', members: [alice], bare: [otto.address] });
    const posts: Buffer[] = [];
    for (let n = 0; n < 12; n++) {
      // The oldest takes longest to be made.
      const entity = textEntity(`${'line of a long post\n'.repeat(n < 3 ? 15_000 : 1)}`);
      const post = await signedAndEncrypted(alice, list, { entity });
      const { id } = await world.post(post, list.address);
      await world.untilDeliveries(id, held);
      posts.push(post);
    }
    await sendCertificate(list, otto);
    for (const post of posts) await world.copyFor(otto, post);
    const ids = posts.map((post) => headerOf(post, 'Message-ID'));
    const arrived = world.sink.messages
      .filter(({ to }) => to.includes(otto.address))
      .map(({ bytes }) => headerOf(bytes, 'Message-ID'))
      .filter((id) => ids.includes(id));
    expect(arrived).toEqual(ids);
  });
});

describe('a first certificate that waits for an owner (harvest.first: owner)', () => {
  it('is not asked for again; the member is told so in his language, and approval sends what waited', async () => {
    const gerda = await world.person('gerda');
    const list = await world.list({ key: 'p256', members: [alice], settings: { 'harvest.first': 'owner' } });
    await world.join(list, gerda.address, { lang: 'de' });
    /** The mail to the member with these words in it. */
    const told = async (words: RegExp): Promise<string> => {
      let found = '';
      await until(async () => {
        for (const { to, bytes } of world.sink.messages) {
          if (!to.includes(gerda.address) || !bytes.includes('multipart/signed')) continue;
          const text = (await verifyEntity(world.ca, entityOf(bytes))).toString();
          const plain = text.replace(/=\r\n/g, '').replace(/\s+/g, ' ');
          if (words.test(plain)) found = plain;
        }
        return found !== '';
      });
      return found;
    };
    await sendCertificate(list, gerda);
    const question = await told(/mit dem ersten Zertifikat, das die Liste von Ihnen sieht/);
    expect(question).not.toContain('nicht der, den die Liste kennt');
    const { id } = await world.post(await signedAndEncrypted(alice, list), list.address);
    const rows = await world.untilDeliveries(id, held);
    expect(rows.find((row) => row.member === gerda.address)).toMatchObject({ reason: 'pending' });
    expect(await told(/gekommen ist, wartet, bis ein Eigent/)).not.toContain('Thunderbird');
    const sha256 = createHash('sha256').update(gerda.certDer).digest('hex');
    const approved = await world.daemon.run(['cert', 'approve', gerda.address, sha256]);
    expect(approved.stdout).toContain('1 waiting copy released');
    await world.untilDeliveries(id, (all) => all.every((row) => row.state === 'delivered'));
  });
});

describe('who leaves', () => {
  it('gets nothing that was held for him', async () => {
    const frank = await world.person('frank');
    const list = await world.list({ members: [alice], bare: [frank.address] });
    const post = await signedAndEncrypted(alice, list);
    const { id } = await world.post(post, list.address);
    await world.untilDeliveries(id, held);
    await world.onDatabase((q) => q.deleteFrom('members').where('address', '=', frank.address).execute());
    // His certificate comes all the same.
    await sendCertificate(list, frank);
    const rows = await world.untilDeliveries(id, (all) => all.every((row) => row.finishedAt !== null));
    expect(rows.find((row) => row.member === frank.address)).toMatchObject({
      state: 'cancelled',
      reason: 'not-a-member',
    });
    expect(
      world.sink.messages.some(
        ({ to, bytes }) =>
          to.includes(frank.address) && headerOf(bytes, 'Message-ID') === headerOf(post, 'Message-ID'),
      ),
    ).toBe(false);
  });
});

describe('another key for a known address (RULES 15)', () => {
  it('waits for confirmation: the old one stays in use', async () => {
    const grace = await world.person('grace');
    const list = await world.list({ members: [alice, grace] });
    const other = await world.person('grace');
    expect(await sendCertificate(list, other)).toMatchObject({
      event: 'certificate-not-taken',
      reason: 'changed-key',
    });
    const entity = secretEntity();
    const post = await signedAndEncrypted(alice, list, { entity });
    await world.post(post, list.address);
    expect(await readCopy(world.ca, grace, (await world.copyFor(grace, post)).bytes)).toEqual(entity);
  });

  it('the same key in a new certificate takes over at once', async () => {
    const heidi = await world.person('heidi');
    const list = await world.list({ members: [alice, heidi] });
    const renewed = await world.person('heidi', { keyFrom: heidi });
    expect(await sendCertificate(list, renewed)).toMatchObject({ event: 'certificate-received' });
    const post = await signedAndEncrypted(alice, list);
    const { id } = await world.post(post, list.address);
    await world.copyFor(heidi, post);
    const [row] = (
      await world.untilDeliveries(id, (all) => all.every((one) => one.finishedAt !== null))
    ).filter((one) => one.member === heidi.address);
    expect(row?.certificate).toBe(createHash('sha256').update(renewed.certDer).digest('hex'));
  });

  it('somebody else\u2019s certificate beside the signature is not taken', async () => {
    const mallory = await world.person('mallory');
    const victim = await world.person('victim');
    const list = await world.list({ members: [alice, mallory], bare: [victim.address] });
    const mail = mailOf(
      postHeaders(mallory.address, list.at('sendcert')),
      await signed(mallory, textEntity('with a guest\n'), { chain: [victim] }),
    );
    await world.post(mail, list.at('sendcert'));
    expect(
      await world.onDatabase((q) =>
        q.selectFrom('bindings').select('sha256').where('address', '=', victim.address).execute(),
      ),
    ).toEqual([]);
  });

  it('a signature that is not his brings nobody a certificate', async () => {
    const ivan = await world.person('ivan');
    const list = await world.list({ members: [alice], bare: ['judy@example.org'] });
    const forged = mailOf(
      postHeaders('judy@example.org', list.at('sendcert')),
      await signed(ivan, textEntity(`${Date.now()}\n`)),
    );
    expect(await world.post(forged, list.at('sendcert'))).toMatchObject({
      event: 'certificate-not-taken',
      answered: false,
    });
    expect(certificateFile('judy@example.org')).toBe('');
    expect(
      await world.onDatabase((q) =>
        q.selectFrom('bindings').select('sha256').where('address', '=', 'judy@example.org').execute(),
      ),
    ).toEqual([]);
  });
});
