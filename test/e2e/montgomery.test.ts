import { createCipheriv, generateKeyPairSync, randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { agreementSchemes } from '../../src/pki/algorithms.ts';
import { agreeWith } from '../cms/agreement.ts';
import { cbc, forgeEnvelope } from '../cms/forge.ts';
import type { Identity } from '../kit/pki.ts';
import { cmsEntity, mailOf } from '../kit/smime-mime.ts';
import { postHeaders, readCopy, secretEntity, signed } from './posts.ts';
import { type List, makeWorld, type World } from './world.ts';

// A list whose key for encryption is X25519 or X448 (RFC 8418), with a signing key beside it. No peer here can write to
// such a key: the envelope is the tests' own.

let world: World;
let alice: Identity;
beforeAll(async () => {
  world = await makeWorld();
  alice = await world.person('alice');
});
afterEach(() => expect(world.leaks()).toEqual([]));
afterAll(() => world?.stop());

async function encryptTo(list: Identity, entity: Buffer, scheme: string): Promise<Buffer> {
  const [contentKey, iv] = [randomBytes(32), randomBytes(16)];
  const cipher = createCipheriv('aes-256-cbc', contentKey, iv);
  const ciphertext = Buffer.concat([cipher.update(entity), cipher.final()]);
  const recipients = [agreeWith({ to: list, scheme, contentKey })];
  return cmsEntity(forgeEnvelope({ recipients, algorithm: cbc(iv), ciphertext }), 'enveloped-data');
}

/** Puts a pair for each use in place of the one that the list has. */
async function pairsOf(list: List, kind: 'x25519' | 'x448'): Promise<Identity> {
  const { address } = list;
  const signing = await world.ca.issue({ name: 'sign', address, key: 'ed25519' });
  const { privateKey: key } = kind === 'x448' ? generateKeyPairSync('x448') : generateKeyPairSync('x25519');
  const reading = await world.ca.issue({ name: 'enc', address, keyFrom: { ...signing, key } });
  for (const [suffix, one] of [
    ['.sign', signing],
    ['.enc', reading],
  ] as const) {
    const pem = one.key.export({ type: 'pkcs8', format: 'pem' });
    writeFileSync(join(list.keyFolder, `private_key${suffix}`), pem, { mode: 0o600 });
    writeFileSync(join(list.keyFolder, `cert.pem${suffix}`), one.certPem);
  }
  for (const name of ['private_key', 'cert.pem']) rmSync(join(list.keyFolder, name));
  return reading;
}

it.each(
  agreementSchemes
    .filter(({ kdf }) => kdf === 'hkdf')
    .flatMap(({ oid, digest }) => (['x25519', 'x448'] as const).map((kind) => [kind, digest, oid] as const)),
)('a post encrypted to an %s key with HKDF and %s is opened and distributed', async (kind, _, scheme) => {
  const bob = await world.person(`bob-${kind}`);
  const list = await world.list({ key: 'p256', members: [alice, bob] });
  const reading = await pairsOf(list, kind);
  const entity = secretEntity();
  const inner = await signed(alice, entity);
  const post = mailOf(postHeaders(alice.address, list.address), await encryptTo(reading, inner, scheme));
  expect(await world.post(post, list.address)).toMatchObject({ event: 'authorized', author: alice.address });
  expect(await readCopy(world.ca, bob, (await world.copyFor(bob, post)).bytes)).toEqual(entity);
  // The pair is told of as it is, and another key of its kind does not open.
  const { stdout } = await world.daemon.run(['key', 'list', list.address]);
  expect(stdout.toLowerCase()).toContain(kind);
});
