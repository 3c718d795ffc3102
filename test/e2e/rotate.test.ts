import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { pemBlocks } from '../../src/pki/pem.ts';
import { runCommand } from '../kit/daemon.ts';
import { smimeVerify } from '../kit/openssl-smime.ts';
import type { Identity } from '../kit/pki.ts';
import { mailOf } from '../kit/smime-mime.ts';
import { postHeaders, readCopy, secretEntity, signed, signedAndEncrypted } from './posts.ts';
import { type List, makeWorld, until, type World } from './world.ts';

let world: World;
let alice: Identity;
beforeAll(async () => {
  world = await makeWorld({ yaml: ['keys.passphrase-file: etc/passphrases/{list}'] });
  alice = await world.person('alice');
});
afterEach(() => expect(world.leaks()).toEqual([]));
afterAll(() => world?.stop());

const key = (...args: string[]) => runCommand(world.root, ['key', ...args]);
const shaIn = (path: string) =>
  parseCertificate(pemBlocks(readFileSync(path))[0]?.der ?? Buffer.alloc(0)).sha256;

/** The list as an author knows it who has its certificate of now. */
function today(list: List): List {
  return { ...list, identity: { ...list.identity, certPath: join(list.keyFolder, 'cert.pem') } };
}

it('rotation while the daemon runs: the old key opens, the new one signs and is announced, nothing is lost', async () => {
  const bob = await world.person('bob');
  const list = await world.list({ key: 'p256', members: [alice], bare: [bob.address] });
  mkdirSync(join(world.root, 'etc/passphrases'), { mode: 0o700 });
  writeFileSync(join(world.root, 'etc/passphrases', list.address), 'correct horse\n', { mode: 0o600 });
  const certificate = join(list.keyFolder, 'cert.pem');
  const old = shaIn(certificate);
  // One copy waits for a certificate: it can be opened with the old key only.
  const before = secretEntity();
  const held = await signedAndEncrypted(alice, list, { entity: before });
  const { id } = await world.post(held, list.address);
  await world.untilDeliveries(id, (rows) => rows.some((row) => row.state === 'held'));
  await world.mailTo(bob.address);

  const rotated = await key('rotate', list.address, '--key', 'p-256', '--yes');
  expect(rotated).toMatchObject({ code: 0, stderr: '' });
  expect(rotated.stdout).toMatch(/3 people get a signed mail about it/);
  expect(shaIn(certificate)).not.toBe(old);
  expect(readFileSync(join(list.keyFolder, 'private_key'), 'latin1')).toContain('ENCRYPTED PRIVATE KEY');

  // Everybody is told; the signature is the one that was known.
  for (const address of [alice.address, list.owner, bob.address]) {
    const n = address === list.owner ? 1 : 2;
    await world.sink.until(() => world.sink.messages.filter(({ to }) => to.includes(address)).length >= n);
    const mail = world.sink.messages.find(
      ({ to, bytes }) => to.includes(address) && bytes.includes('new certificate'),
    );
    expect((await smimeVerify(world.ca, mail?.bytes ?? Buffer.alloc(0))).trusted).toBe(true);
  }

  // Needed until bob's copy is on its way.
  const early = await key('remove', list.address, old.slice(0, 12), '--yes');
  expect(early).toMatchObject({ code: 1, stdout: '' });
  expect(early.stderr).toContain(`${id} has copies that are not delivered yet`);

  // Authors with the old certificate and with the new one are both read.
  for (const known of [list, today(list)]) {
    const entity = secretEntity();
    const post = await signedAndEncrypted(alice, known, { entity });
    await world.send(post, list.address);
    expect(await readCopy(world.ca, alice, (await world.copyFor(alice, post)).bytes)).toEqual(entity);
  }

  // His certificate comes: the old post is opened with the old key, and the answer is signed with the new one.
  const text = Buffer.from('Content-Type: text/plain\r\n\r\nhere it is\r\n');
  const mail = mailOf(postHeaders(bob.address, list.at('sendcert')), await signed(bob, text));
  await world.post(mail, list.at('sendcert'));
  expect(await readCopy(world.ca, bob, (await world.copyFor(bob, held)).bytes)).toEqual(before);
  const answered = () =>
    world.sink.messages.find(({ to, bytes }) => to.includes(bob.address) && bytes.includes('has arrived'));
  await world.sink.until(() => answered() !== undefined);
  const answer = answered()?.bytes ?? Buffer.alloc(0);
  expect((await smimeVerify({ certPath: certificate }, answer)).trusted).toBe(true);
  expect((await smimeVerify(world.ca, answer)).trusted).toBe(false);
  await world.daemon.logged(
    (line) =>
      line.event === 'notice-signed' && line.to === bob.address && line.certificate === shaIn(certificate),
  );
  expect(await world.ledger(id)).toContain(`delivered ${bob.address}`);

  // All is delivered, and the key may go.
  await until(() =>
    world.onDatabase(async (q) => {
      const open = ['new', 'fanning-out', 'distributing'] as const;
      return (await q.selectFrom('postings').select('id').where('state', 'in', open).execute()).length === 0;
    }),
  );
  const removed = await key('remove', list.address, old.slice(0, 12), '--yes');
  expect(removed).toMatchObject({ code: 0, stderr: '' });
  // Within a second the daemon has read the keys again.
  await until(async () => {
    const late = await signedAndEncrypted(alice, list, { entity: secretEntity() });
    return (await world.post(late, list.address)).reason === 'no-recipient';
  });
});
