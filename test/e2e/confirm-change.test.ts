import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { bindingsOf } from '../../src/store/bindings.ts';
import { cmsDecrypt } from '../kit/openssl.ts';
import { type Identity, makeSelfSigned } from '../kit/pki.ts';
import { cmsOf, headerOf, mailOf, textEntity } from '../kit/smime-mime.ts';
import {
  countersigned,
  openCopy,
  postHeaders,
  readCopy,
  secretEntity,
  signatureDer,
  signed,
  signedAndEncrypted,
} from './posts.ts';
import { type List, makeWorld, until, type World } from './world.ts';

// RULES 15: a certificate with another key for a known address, with real SMTP.

let world: World;
let alice: Identity;
beforeAll(async () => {
  world = await makeWorld();
  alice = await world.person('alice');
});
afterEach(() => expect(world.leaks()).toEqual([]));
afterAll(() => world?.stop());

const idOf = (one: Identity): string => parseCertificate(one.certDer).sha256;

/** `sign new in-use`, sorted. */
async function states(address: string, names: Readonly<Record<string, Identity>>): Promise<string[]> {
  const rows = await world.onDatabase((q) => bindingsOf(q, address));
  const nameOf = (sha256: string) =>
    Object.entries(names).find(([, one]) => idOf(one) === sha256)?.[0] ?? '?';
  return rows.map((row) => `${row.purpose} ${nameOf(row.sha256)} ${row.state}`).sort();
}

/** A mail to an address of the list, signed by some keys or none. */
async function write(
  from: string,
  to: string,
  text: string,
  signers: readonly Identity[],
): Promise<Awaited<ReturnType<World['post']>>> {
  const [first, ...also] = signers;
  const entity = textEntity(`${text}\n`);
  return world.post(
    mailOf(postHeaders(from, to), first ? await signed(first, entity, { also }) : entity),
    to,
  );
}

/** The token in the last mail to somebody, which he can open with this key. */
async function tokenFor(who: Identity, address: string, n: number): Promise<string> {
  const mails = (await world.mailTo(address, n)).slice(0, n);
  const mail = mails.at(-1)?.bytes ?? Buffer.alloc(0);
  expect(mail.toString('latin1')).not.toContain('confirm-');
  expect(headerOf(mail, 'Subject')).toBe('[...]');
  const text = (await openCopy(who, mail)).toString('latin1');
  return /confirm-[a-z2-7]{32}/.exec(text)?.[0] ?? 'none';
}

describe('a member with a new key', () => {
  let list: List;
  let old: Identity;
  let fresh: Identity;
  let token: string;
  const address = 'bob@example.org';
  const now = () => states(address, { old, fresh });
  const waiting = ['enc fresh pending', 'enc old in-use', 'sign fresh pending', 'sign old in-use'];
  beforeAll(async () => {
    old = await world.person('bob', { key: 'rsa' });
    fresh = await world.person('bob', { key: 'p256' });
    list = await world.list({ members: [alice, old] });
  });

  it('gets a token, encrypted to his old certificate, once; the old one stays in use', async () => {
    for (let n = 0; n < 2; n++)
      expect(await write(address, list.at('sendcert'), 'my new one', [fresh])).toMatchObject({
        event: 'certificate-not-taken',
        reason: 'changed-key',
      });
    token = await tokenFor(old, address, 1);
    expect(token).not.toBe('none');
    expect(await now()).toEqual(waiting);
    const post = await signedAndEncrypted(alice, list);
    await world.post(post, list.address);
    await readCopy(world.ca, old, (await world.copyFor(old, post)).bytes);
    const sealed = world.sink.messages.filter(
      ({ to, bytes }) => to.includes(address) && headerOf(bytes, 'Subject') === '[...]',
    );
    expect(sealed).toHaveLength(1);
    await world.mailTo(list.owner);
  });

  it.each<[string, () => Promise<unknown>]>([
    ['unsigned', () => write(address, list.at('sendcert'), token, [])],
    ['signed by the old key only', () => write(address, list.at('sendcert'), token, [old])],
    ['from another address', () => write(alice.address, list.at('sendcert'), token, [alice])],
    ['with one letter changed', () => write(address, list.at('sendcert'), wrong(token), [fresh])],
  ])('an answer %s changes nothing', async (_, answer) => {
    await answer();
    expect(await now()).toEqual(waiting);
  });
  const wrong = (text: string) => text.replace(/.$/, (last) => (last === 'a' ? 'b' : 'a'));

  it('his answer, quoted and signed with the new key, counts: the new one is used at once', async () => {
    const fate = await write(address, list.at('sendcert'), `Yes.\n\n>     ${token}\n> more`, [fresh]);
    expect(fate).toMatchObject({ event: 'certificate-received' });
    expect(await now()).toEqual([
      'enc fresh in-use',
      'enc old replaced',
      'sign fresh in-use',
      'sign old replaced',
    ]);
    expect(readFileSync(join(world.root, 'spool/certificates', address), 'latin1')).toContain(
      fresh.certPem.trim(),
    );
    const entity = secretEntity();
    const post = await signedAndEncrypted(alice, list, { entity });
    await world.post(post, list.address);
    expect(await readCopy(world.ca, fresh, (await world.copyFor(fresh, post)).bytes)).toEqual(entity);
    const shown = await world.daemon.run(['cert', 'show', idOf(fresh)]);
    expect(shown.stdout).toMatch(new RegExp(`history: .* in-use, confirmed by .*\\(message ${fate.id}\\)`));
    expect(shown.stdout).toMatch(/history: .* pending, a mail that bob@example\.org signed \(message/);
  });

  it('the token does not count a second time', async () => {
    const used = await world.onDatabase((q) => q.selectFrom('tokens').select('usedAt').execute());
    expect(used.every((row) => row.usedAt !== null)).toBe(true);
    await world.onDatabase((q) =>
      q.updateTable('bindings').set({ state: 'pending' }).where('sha256', '=', idOf(fresh)).execute(),
    );
    await write(address, list.at('sendcert'), token, [fresh]);
    expect((await now()).filter((one) => one.includes('fresh'))).toEqual([
      'enc fresh pending',
      'sign fresh pending',
    ]);
  });
});

describe('somebody who got a trusted certificate for another address', () => {
  let list: List;
  let victim: Identity;
  let attacker: Identity;
  const address = 'victoria@example.org';
  beforeAll(async () => {
    victim = await world.person('victoria', { key: 'rsa' });
    attacker = await world.person('victoria', { key: 'rsa' });
    list = await world.list({ members: [alice, victim] });
  });

  it('cannot read the token, gets no post, and the victim confirms nothing by answering', async () => {
    await world.post(await signedAndEncrypted(attacker, list), list.address);
    const mail = (await world.mailTo(address)).find(({ bytes }) => headerOf(bytes, 'Subject') === '[...]');
    const entity = mail?.bytes.subarray(mail.bytes.indexOf('MIME-Version:')) ?? Buffer.alloc(0);
    expect((await cmsDecrypt(attacker, cmsOf(entity))).ok).toBe(false);
    const text = (await openCopy(victim, mail?.bytes ?? Buffer.alloc(0))).toString('latin1');
    const token = /confirm-[a-z2-7]{32}/.exec(text)?.[0] ?? '';
    expect(token).not.toBe('');
    // She answers as her mail program does: signed with the one key that she has.
    await write(address, list.at('sendcert'), `Not mine!\n> ${token}`, [victim]);
    const names = { victim, attacker };
    expect(await states(address, names)).toEqual([
      'enc attacker pending',
      'enc victim in-use',
      'sign attacker pending',
      'sign victim in-use',
    ]);
    const post = await signedAndEncrypted(alice, list);
    await world.post(post, list.address);
    const copy = (await world.copyFor(victim, post)).bytes;
    await readCopy(world.ca, victim, copy);
    expect((await cmsDecrypt(attacker, cmsOf(copy.subarray(copy.indexOf('MIME-Version:'))))).ok).toBe(false);
  });

  it('an owner refuses it, and it does not come back', async () => {
    const refused = await world.daemon.run(['cert', 'refuse', address, idOf(attacker)]);
    expect(refused.code, refused.stderr).toBe(0);
    await write(address, list.at('sendcert'), 'again', [attacker]);
    expect(await states(address, { victim, attacker })).toEqual([
      'enc attacker refused',
      'enc victim in-use',
      'sign attacker refused',
      'sign victim in-use',
    ]);
  });
});

it('a signature by the old key that names the new certificate confirms at once; one beside it does not', async () => {
  const old = await world.person('carl');
  const fresh = await world.person('carl');
  const list = await world.list({ members: [old] });
  expect(await write(old.address, list.at('sendcert'), 'both', [fresh, old])).toMatchObject({
    event: 'certificate-not-taken',
    reason: 'changed-key',
  });
  const entity = textEntity('both\n');
  const mail = mailOf(
    postHeaders(old.address, list.at('sendcert')),
    countersigned(
      entity,
      signatureDer(entity, { by: old, prefers: fresh }),
      signatureDer(entity, { by: fresh }),
    ),
  );
  expect(await world.post(mail, list.at('sendcert'))).toMatchObject({ event: 'certificate-received' });
  expect(await states(old.address, { old, fresh })).toEqual([
    'enc fresh in-use',
    'enc old replaced',
    'sign fresh in-use',
    'sign old replaced',
  ]);
});

it('an answer to -request counts as well; where only the signing key changed, only that is confirmed', async () => {
  const old = await world.person('dora');
  const sign = await world.person('dora', { usage: 'digitalSignature' });
  const list = await world.list({ key: 'p256', members: [old] });
  await write(old.address, list.at('sendcert'), 'new signing key', [sign]);
  const token = await tokenFor(old, old.address, 1);
  await write(old.address, list.at('request'), `ok ${token}`, [sign]);
  expect(await states(old.address, { old, sign })).toEqual([
    'enc old in-use',
    'sign old replaced',
    'sign sign in-use',
  ]);
});

it('a token that was encrypted to an expired certificate, and answered, sends what waited for a new one', async () => {
  const day = 86_400_000;
  const old = await world.person('hugo', {
    key: 'rsa',
    notBefore: new Date(Date.now() - 9 * day),
    notAfter: new Date(Date.now() - day),
  });
  const fresh = await world.person('hugo');
  const list = await world.list({ key: 'p256', members: [alice, old] });
  const entity = secretEntity();
  const post = await signedAndEncrypted(alice, list, { entity });
  const { id } = await world.post(post, list.address);
  await world.untilDeliveries(id, (rows) =>
    rows.some(({ state, reason }) => state === 'held' && reason === 'expired'),
  );
  await write(old.address, list.at('sendcert'), 'new', [fresh]);
  const asked = () =>
    world.sink.messages.find(
      ({ to, bytes }) => to.includes(old.address) && headerOf(bytes, 'Subject') === '[...]',
    );
  await world.sink.until(() => asked() !== undefined);
  const text = (await openCopy(old, asked()?.bytes ?? Buffer.alloc(0))).toString('latin1');
  const token = /confirm-[a-z2-7]{32}/.exec(text)?.[0] ?? 'none';
  expect(await world.deliveries(id)).toContainEqual(
    expect.objectContaining({ member: old.address, state: 'held' }),
  );
  await write(old.address, list.at('sendcert'), token, [fresh]);
  expect(await readCopy(world.ca, fresh, (await world.copyFor(fresh, post)).bytes)).toEqual(entity);
});

it('nothing to encrypt a token to: he is told in clear, without one, and the owners decide', async () => {
  const old = await world.person('erwin', { usage: 'digitalSignature' });
  const fresh = await world.person('erwin');
  const list = await world.list({ key: 'p256', bare: [old.address] });
  await write(old.address, list.at('sendcert'), 'first', [old]);
  await write(old.address, list.at('sendcert'), 'other', [fresh]);
  const isQuestion = (bytes: Buffer) => (headerOf(bytes, 'Subject') ?? '').includes('is this your new');
  await until(async () => (await world.mailTo(old.address)).some(({ bytes }) => isQuestion(bytes)));
  const [mail] = (await world.mailTo(old.address)).filter(({ bytes }) => isQuestion(bytes));
  expect(mail?.bytes.toString('latin1')).not.toMatch(/confirm-[a-z2-7]{32}/);
  const { stdout } = await world.daemon.run(['cert', 'pending']);
  expect(stdout).toContain(old.address);
});

describe('cert import --pin', () => {
  it('makes the signatures of one certificate count for one address, without its authority', async () => {
    const pinned = await makeSelfSigned({ name: 'Paul', address: 'paul@example.org', key: 'p256' });
    const list = await world.list({
      key: 'p256',
      members: [alice],
      bare: [pinned.address, 'petra@example.org'],
      settings: { 'accept.signature': 'required' },
    });
    const post = (from: string) => write(from, list.address, `hello from ${from}`, [pinned]);
    expect(await post(pinned.address)).toMatchObject({ event: 'refused' });
    const done = await world.daemon.run(['cert', 'import', pinned.certPath, '--pin', pinned.address]);
    expect(done.code, done.stderr).toBe(0);
    expect(await post(pinned.address)).toMatchObject({ event: 'authorized', author: pinned.address });
    expect(await post('petra@example.org')).toMatchObject({ event: 'refused' });
    await world.daemon.run(['cert', 'remove', pinned.address]);
    expect(await post(pinned.address)).toMatchObject({ event: 'refused' });
  });
});

it('a certificate with several addresses serves each address of a member, and replaces none', async () => {
  const addresses = [
    'Greta@Example.org',
    'greta+lists@example.org',
    'gretel@example.org',
    'stranger@example.org',
  ];
  const known = await world.person('gretel');
  const many = await world.ca.issue({ name: 'Greta', address: addresses, key: 'p256' });
  const list = await world.list({
    key: 'p256',
    members: [alice, known],
    bare: ['greta@example.org', 'greta+lists@example.org'],
  });
  const post = await signedAndEncrypted(alice, list);
  const { id } = await world.post(post, list.address);
  await world.untilDeliveries(id, (rows) => rows.filter((row) => row.state === 'held').length === 2);
  await write('Greta@Example.ORG', list.at('sendcert'), 'all of mine', [many]);
  for (const member of ['greta@example.org', 'greta+lists@example.org']) {
    await world.untilDeliveries(
      id,
      (rows) => rows.find((row) => row.member === member)?.state === 'delivered',
    );
    expect(await states(member, { many })).toEqual(['enc many in-use', 'sign many in-use']);
  }
  expect(await states(known.address, { many, known })).toEqual(['enc known in-use', 'sign known in-use']);
  expect(await states('stranger@example.org', { many })).toEqual([]);
});
