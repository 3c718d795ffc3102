import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Identity, TestCa } from '../kit/pki.ts';
import { mailOf, textEntity } from '../kit/smime-mime.ts';
import { postHeaders, readCopy, secretEntity, signed, signedAndEncrypted } from './posts.ts';
import { type List, makeWorld, type World } from './world.ts';

// Public authorities sign with an intermediate; cafile holds their roots only. The intermediate comes with mail.

let world: World;
let middle: TestCa;
let alice: Identity;
beforeAll(async () => {
  world = await makeWorld();
  middle = await world.ca.intermediate({ name: 'Middle CA' });
  alice = await world.person('alice');
});
afterEach(() => expect(world.leaks()).toEqual([]));
afterAll(() => world?.stop());

const person = (name: string) => middle.issue({ name, address: `${name}@example.org`, key: 'p256' });

async function teach(list: List, who: Identity): Promise<void> {
  const entity = await signed(who, textEntity('my certificate\n'), { chain: [middle] });
  await world.post(mailOf(postHeaders(who.address, list.at('sendcert')), entity), list.at('sendcert'));
}

async function expectCopy(list: List, who: Identity): Promise<void> {
  const entity = secretEntity();
  const post = await signedAndEncrypted(alice, list, { entity });
  await world.post(post, list.address);
  const copy = await world.copyFor(who, post);
  expect(await readCopy(world.ca, who, copy.bytes)).toEqual(entity);
}

describe('a member whose certificate an intermediate authority issued', () => {
  it('gets his copies once a signed mail of his brought both', async () => {
    const bob = await person('bob');
    const list = await world.list({ members: [alice], bare: [bob.address] });
    await teach(list, bob);
    await expectCopy(list, bob);
  });

  it('gets them after a restart too: the intermediate is in the store', async () => {
    const carl = await person('carl');
    const list = await world.list({ members: [alice], bare: [carl.address] });
    await teach(list, carl);
    await world.daemon.stop();
    await world.restart();
    await expectCopy(list, carl);
  });

  it('gets them when both were put into one file of the certificate directory', async () => {
    const dina = await person('dina');
    const list = await world.list({ members: [alice], bare: [dina.address] });
    const folder = join(world.root, 'spool/certificates');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, dina.address), dina.certPem + middle.certPem);
    await world.daemon.logged((line) => line.event === 'imported' && line.address === dina.address);
    await expectCopy(list, dina);
  });

  it('gets them when both were imported by command', async () => {
    const emil = await person('emil');
    const list = await world.list({ members: [alice], bare: [emil.address] });
    const done = await world.daemon.run(['cert', 'import', '-'], { input: emil.certPem + middle.certPem });
    expect(done.stdout).toContain('imported');
    await expectCopy(list, emil);
  });
});
