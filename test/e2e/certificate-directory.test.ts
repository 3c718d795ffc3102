import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { inUse } from '../../src/store/certificates.ts';
import type { Identity } from '../kit/pki.ts';
import { mailOf, textEntity } from '../kit/smime-mime.ts';
import { sympaName, sympaOldName } from '../kit/sympa.ts';
import { postHeaders, readCopy, secretEntity, signed, signedAndEncrypted } from './posts.ts';
import { makeWorld, until, type World } from './world.ts';

// The certificate directory, edited by hand while the daemon runs.

let world: World;
let alice: Identity;
let folder: string;
beforeAll(async () => {
  world = await makeWorld();
  alice = await world.person('alice');
  folder = join(world.root, 'spool/certificates');
  mkdirSync(folder, { recursive: true });
});
afterEach(() => expect(world.leaks()).toEqual([]));
afterAll(() => world?.stop());

const usedBy = async (address: string): Promise<string | undefined> =>
  (await world.onDatabase((q) => inUse(q, address, 'enc')))?.sha256;
const idOf = (one: Identity): string => parseCertificate(one.certDer).sha256;

it.each([
  ['the new', sympaName],
  ['the old', sympaOldName],
])('a file of a member by %s naming releases his copies', async (_, nameOf) => {
  const address = nameOf === sympaName ? "o'neill+new@example.org" : "o'neill+old@example.org";
  const bob = await world.ca.issue({ name: 'Bob', address, key: 'p256' });
  const list = await world.list({ members: [alice], bare: [address] });
  const entity = secretEntity();
  const post = await signedAndEncrypted(alice, list, { entity });
  const { id } = await world.post(post, list.address);
  await world.untilDeliveries(id, (rows) => rows.some((row) => row.state === 'held'));
  writeFileSync(join(folder, nameOf(address)), bob.certPem);
  expect(await readCopy(world.ca, bob, (await world.copyFor(bob, post)).bytes)).toEqual(entity);
  await until(() => existsSync(join(folder, sympaName(address))));
  expect(nameOf === sympaName || !existsSync(join(folder, nameOf(address)))).toBe(true);
});

it('edits and mail at the same time: the last word is in database and directory; what is taken away comes back', async () => {
  const address = 'carol@example.org';
  const [first, second] = [await world.person('carol'), await world.person('carol')];
  const list = await world.list({ key: 'p256', members: [alice], bare: [address] });
  const mail = mailOf(postHeaders(address, list.at('sendcert')), await signed(first, textEntity('mine\n')));
  await world.post(mail, list.at('sendcert'));
  const file = join(folder, address);
  expect(readFileSync(file, 'utf8')).toBe(first.certPem);
  rmSync(file);
  writeFileSync(file, second.certPem);
  await until(async () => (await usedBy(address)) === idOf(second));
  // Mail with the one before is a change again, and waits; what is no younger than the change (in seconds) is old.
  const again = async () =>
    mailOf(postHeaders(address, list.at('sendcert')), await signed(first, textEntity('mine!\n')));
  await until(async () => {
    const { reason } = await world.post(await again(), list.at('sendcert'));
    expect(['older', 'changed-key']).toContain(reason);
    return reason === 'changed-key';
  });
  expect(await usedBy(address)).toBe(idOf(second));
  rmSync(file);
  await until(() => existsSync(file));
  expect(readFileSync(file, 'utf8')).toBe(second.certPem);
  const removed = await world.daemon.run(['cert', 'remove', address]);
  expect(removed.code, removed.stderr).toBe(0);
  expect(existsSync(file)).toBe(false);
  await world.daemon.stop();
  await world.restart();
  expect(existsSync(file)).toBe(false);
  expect(await usedBy(address)).toBeUndefined();
});
