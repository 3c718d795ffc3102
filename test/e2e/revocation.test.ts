import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { cmsSign } from '../kit/openssl.ts';
import { type Identity, makeCa } from '../kit/pki.ts';
import { derOf, placesOf, servePki, withCrls } from '../kit/revocation.ts';
import type { SinkMessage } from '../kit/sink.ts';
import { mailOf, signedEntity, textEntity } from '../kit/smime-mime.ts';
import {
  encrypted,
  postHeaders,
  readCopy,
  secretEntity,
  signed,
  signedAndEncrypted,
  verifyEntity,
} from './posts.ts';
import { type List, makeWorld, type World } from './world.ts';

// RFC 8550 4.1, 6: revocation is looked up each time, for authors at receipt and for members at each attempt.

let world: World;
let alice: Identity;
let mallory: Identity;
beforeAll(async () => {
  world = await makeWorld();
  alice = await world.person('alice');
  mallory = await world.person('mallory');
});
afterEach(() => expect(world.leaks()).toEqual([]));
afterAll(() => world?.stop());

let files = 0;

/** A file with a list of the world's authority. */
function crlFile(...o: Parameters<World['ca']['crl']>): string {
  const path = join(world.root, `etc/crl-${++files}.pem`);
  writeFileSync(path, world.ca.crl(...o));
  return path;
}

const explain = async (id: string): Promise<string> =>
  (await world.daemon.run(['explain', id])).stdout.replace(/\s+/g, ' ');

/** The text of a notice whose signature is right. */
async function readNotice(notice: SinkMessage | undefined): Promise<string> {
  const bytes = notice?.bytes ?? Buffer.alloc(0);
  const entity = bytes.subarray(bytes.indexOf('MIME-Version: 1.0\r\n') + 19);
  return (await verifyEntity(world.ca, entity)).toString().replace(/\s+/g, ' ');
}

async function postFrom(author: Identity, list: List) {
  return world.post(await signedAndEncrypted(author, list), list.address);
}

describe('a post whose signer was revoked', () => {
  it.each([
    ['required', 'refused'],
    ['optional', 'held'],
  ])('accept.signature: %s: it is %s, and why is told', async (signature, event) => {
    const settings = { 'trust.crlfile': crlFile({ revoked: [mallory] }), 'accept.signature': signature };
    const list = await world.list({ members: [alice, mallory], settings });
    const fate = await postFrom(mallory, list);
    expect(fate.event).toBe(event);
    const told = await explain(fate.id);
    expect(told).toContain(
      'It counts as untrusted: the certificate of CN=mallory (issued by CN=Test Root) was revoked',
    );
    expect(told).toContain('the author gets a new certificate and sends it again');
    expect((await postFrom(alice, list)).event).toBe('authorized');
  });

  it('goes on where the list does not look', async () => {
    const settings = { 'trust.crlfile': crlFile({ revoked: [mallory] }), revocation: 'off' };
    const list = await world.list({ members: [alice, mallory], settings });
    expect((await postFrom(mallory, list)).event).toBe('authorized');
  });

  it('is signed clear, or for -sendcert: nothing of it is taken', async () => {
    const settings = { 'trust.crlfile': crlFile({ revoked: [mallory] }) };
    const list = await world.list({ members: [alice], bare: [mallory.address], settings });
    const mail = mailOf(
      postHeaders(mallory.address, list.at('sendcert')),
      await signed(mallory, textEntity('mine\n')),
    );
    expect((await world.post(mail, list.at('sendcert'))).event).toBe('certificate-not-taken');
  });
});

describe('nothing current is known of the signer', () => {
  it('soft, the default: it goes on', async () => {
    const list = await world.list({ members: [alice] });
    expect((await postFrom(alice, list)).event).toBe('authorized');
  });

  it('hard: it is held, and what is missing is told', async () => {
    const list = await world.list({ members: [alice], settings: { revocation: 'hard' } });
    const fate = await postFrom(alice, list);
    expect(fate.event).toBe('held');
    expect(await explain(fate.id)).toContain(
      'It counts as untrusted: no current revocation list was found for the certificate of CN=alice (issued by CN=Test Root)',
    );
  });

  it('a list in a file cannot be read: the post waits until it can, even soft', async () => {
    const path = crlFile();
    rmSync(path);
    const list = await world.list({ members: [alice], settings: { 'trust.crlfile': path } });
    const post = await signedAndEncrypted(alice, list);
    const sent = await world.send(post, list.address);
    expect(await world.fate(sent)).toMatchObject({ event: 'unopened', reason: 'trust-unreadable' });
    writeFileSync(path, world.ca.crl());
    world.daemon.signal('SIGHUP');
    expect((await world.fate(sent, 2)).event).toBe('authorized');
    await world.copyFor(alice, post);
  });
});

describe('a revocation list in the message', () => {
  it('counts for it, and for later posts, after a restart too', async () => {
    const middle = await world.ca.intermediate({ name: 'Middle' });
    const nora = await middle.issue({ name: 'nora', address: 'nora@example.org', key: 'p256' });
    const settings = { revocation: 'hard', 'trust.crlfile': crlFile() };
    const list = await world.list({ bare: [nora.address], settings });
    const entity = secretEntity();
    const der = await cmsSign(nora, entity, { chain: [middle] });
    const inner = signedEntity(entity, withCrls(der, derOf(middle.crl())));
    const post = mailOf(postHeaders(nora.address, list.address), await encrypted(list.identity, inner));
    expect((await world.post(post, list.address)).event).toBe('authorized');
    expect(await readCopy(world.ca, nora, (await world.copyFor(nora, post)).bytes)).toEqual(entity);
    await world.daemon.stop();
    await world.restart();
    const later = await signedAndEncrypted(nora, list, { sign: { chain: [middle] } });
    expect((await world.post(later, list.address)).event).toBe('authorized');
    const bare = await signedAndEncrypted(nora, list);
    expect((await world.post(bare, list.address)).event).toBe('authorized');
  });

  it('counts for nothing if its authority did not sign it', async () => {
    const forger = await world.ca.issue({ name: 'Test Root' });
    const forged = world.ca.crl();
    const list = await world.list({ members: [alice], settings: { revocation: 'hard' } });
    const entity = secretEntity();
    const bad = Buffer.concat([derOf(forged).subarray(0, -8), Buffer.alloc(8, 1)]);
    const der = withCrls(await cmsSign(alice, entity, { chain: [forger] }), bad);
    const inner = signedEntity(entity, der);
    const post = mailOf(postHeaders(alice.address, list.address), await encrypted(list.identity, inner));
    expect((await world.post(post, list.address)).event).toBe('held');
    expect((await postFrom(alice, list)).event).toBe('held');
  });
});

describe('a member whose certificate was revoked', () => {
  it('gets a notice in place of his copy, which goes out when he has another certificate', async () => {
    const bob = await world.person('bob');
    const path = crlFile();
    const list = await world.list({ members: [alice, bob], settings: { 'trust.crlfile': path } });
    const first = await signedAndEncrypted(alice, list);
    await world.post(first, list.address);
    await world.copyFor(bob, first);

    writeFileSync(path, world.ca.crl({ revoked: [bob], number: 2 }));
    const seen = world.daemon.log.length;
    world.daemon.signal('SIGHUP');
    await world.daemon.logged((line) => world.daemon.log.indexOf(line) >= seen && line.event === 'reload');
    const entity = secretEntity();
    const second = await signedAndEncrypted(alice, list, { entity });
    const { id } = await world.post(second, list.address);
    await world.copyFor(alice, second);
    const rows = await world.untilDeliveries(id, (all) => all.some((row) => row.state === 'held'));
    expect(rows.find((row) => row.member === bob.address)).toMatchObject({
      state: 'held',
      reason: 'revoked',
    });
    const [, notice] = await world.mailTo(bob.address, 2);
    expect(await readNotice(notice)).toContain(
      'Your certificate (CN=bob), issued by CN=Test Root, was revoked.',
    );
    expect(await explain(id)).toMatch(/bob@example\.org.*revoked/);

    const renewed = await world.person('bob', { keyFrom: bob });
    const mail = mailOf(
      postHeaders(bob.address, list.at('sendcert')),
      await signed(renewed, textEntity('here\n')),
    );
    // RULES 15: a lost key is lost under every certificate, so nothing brings it back but an owner's word.
    expect(await world.post(mail, list.at('sendcert'))).toMatchObject({
      event: 'certificate-not-taken',
      reason: 'revoked-key',
    });
    expect(await world.deliveries(id)).toContainEqual(
      expect.objectContaining({ member: bob.address, state: 'held' }),
    );
    const { sha256 } = parseCertificate(renewed.certDer);
    const approved = await world.daemon.run(['cert', 'approve', bob.address, sha256.slice(0, 16)]);
    expect(approved).toMatchObject({ code: 0, stderr: '' });
    expect(await readCopy(world.ca, renewed, (await world.copyFor(bob, second)).bytes)).toEqual(entity);
  });

  it('though it is pinned: a pin stands in for the authority, not against its word', async () => {
    const paula = await world.person('paula');
    const path = crlFile({ number: 20 });
    const settings = { 'trust.crlfile': path, 'accept.signature': 'required' };
    const list = await world.list({ members: [alice, paula], settings });
    const done = await world.daemon.run(['cert', 'import', paula.certPath, '--pin', paula.address]);
    expect(done.code, done.stderr).toBe(0);
    const before = await signedAndEncrypted(paula, list);
    expect(await world.post(before, list.address)).toMatchObject({ event: 'authorized' });
    await readCopy(world.ca, paula, (await world.copyFor(paula, before)).bytes);

    writeFileSync(path, world.ca.crl({ revoked: [paula], number: 21 }));
    await world.daemon.stop();
    await world.restart();
    const fate = await postFrom(paula, list);
    expect(fate).toMatchObject({ event: 'refused' });
    expect(await explain(fate.id)).toMatch(/the certificate of CN=\S* .*was revoked/);
    const { id } = await postFrom(alice, list);
    const rows = await world.untilDeliveries(id, (all) => all.some((row) => row.state === 'held'));
    expect(rows.find((row) => row.member === paula.address)).toMatchObject({ reason: 'revoked' });
  });

  it('of whom nothing is known waits under hard, and is told that it is not his to mend', async () => {
    const quiet = await makeCa('Quiet');
    const carl = await quiet.issue({ name: 'carl', address: 'carl@example.org', key: 'p256' });
    const cafile = join(world.root, 'etc/two.pem');
    writeFileSync(cafile, world.ca.certPem + quiet.certPem);
    const settings = { revocation: 'hard', 'trust.crlfile': crlFile(), 'trust.cafile': cafile };
    const list = await world.list({ members: [alice, carl], settings });
    const { id } = await postFrom(alice, list);
    const rows = await world.untilDeliveries(id, (all) => all.some((row) => row.state === 'held'));
    expect(rows.find((row) => row.member === carl.address)).toMatchObject({
      state: 'held',
      reason: 'not-checked',
    });
    const [notice] = await world.mailTo(carl.address);
    expect(await readNotice(notice)).toContain('What to do ---------- Nothing.');
  });
});

describe('a list that is out of date', () => {
  it('is warned of once, and `check` says what to do', async () => {
    const path = crlFile({ nextUpdate: new Date(Date.now() - 60_000) });
    const list = await world.list({ members: [alice], settings: { 'trust.crlfile': path } });
    const warnings = () =>
      world.daemon.log.filter((line) => line.event === 'crl-outdated' && line.path === path);
    for (const n of [1, 2]) {
      const seen = world.daemon.log.length;
      world.daemon.signal('SIGHUP');
      await world.daemon.logged((line) => world.daemon.log.indexOf(line) >= seen && line.event === 'reload');
      if (n === 1) await world.daemon.logged((line) => line.event === 'crl-outdated' && line.path === path);
      expect((await postFrom(alice, list)).event).toBe('authorized');
    }
    expect(warnings()).toHaveLength(1);
    const { stdout, code } = await world.daemon.run(['check']);
    expect(stdout).toMatch(
      new RegExp(`problem +${list.address}: the revocation list ${path} of CN=Test Root ended on .*SIGHUP`),
    );
    expect(code).toBe(1);
  });
});

describe('fetching', () => {
  it('never goes to this machine, though its name is allowed', async () => {
    const pki = await servePki({ '/ca.crl': derOf(world.ca.crl()) });
    const url = `http://localhost:${pki.port}/ca.crl`;
    const zoe = await world.person('zoe', { extensions: placesOf({ crl: url }) });
    const inner = await makeWorld({ yaml: [`fetch.hosts: ["localhost:${pki.port}"]`] });
    try {
      writeFileSync(inner.ca.certPath, world.ca.certPem);
      inner.daemon.signal('SIGHUP');
      await inner.daemon.logged((line) => line.event === 'reload');
      const list = await inner.list({ members: [zoe], settings: { revocation: 'hard' } });
      const fate = await inner.post(await signedAndEncrypted(zoe, list), list.address);
      expect(fate.event).toBe('held');
      expect(inner.daemon.log).toContainEqual(
        expect.objectContaining({ event: 'fetch-failed', code: 'fetch-address', url }),
      );
      expect(pki.asked).toEqual([]);
    } finally {
      await inner.stop();
    }
  });
});
