import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import { headerOf, mailOf } from '../kit/smime-mime.ts';
import { encrypted, postHeaders, readCopy, secretEntity, signed, signedAndEncrypted } from './posts.ts';
import { type List, makeWorld, type World } from './world.ts';

let world: World;
let other: TestCa;
let stranger: Identity;
let bob: Identity;

beforeAll(async () => {
  world = await makeWorld();
  other = await makeCa('Other Authority');
  stranger = await other.issue({ name: 'stranger', address: 'stranger@example.org', key: 'p256' });
  bob = await world.person('bob');
});
afterAll(() => world.stop());

/** A list with authorities of its own, and how the other one comes to them. */
async function listAnd(settings: Record<string, string> = {}): Promise<{ list: List; trust(): void }> {
  const cafile = join(world.root, `ca-${Math.random()}.pem`);
  writeFileSync(cafile, world.ca.certPem);
  const list = await world.list({
    key: 'p256',
    members: [bob],
    bare: [stranger.address],
    settings: { 'trust.cafile': cafile, ...settings },
  });
  const trust = () => {
    writeFileSync(cafile, `${readFileSync(cafile, 'utf8')}\n${other.certPem}`);
    world.daemon.signal('SIGHUP');
  };
  return { list, trust };
}

interface Retried {
  readonly id: string;
  readonly messages: number;
  readonly postings: number;
  readonly copies: number;
  readonly why: string | null;
}

async function retry(name: string): Promise<Retried | undefined> {
  const { code, stdout, stderr } = await world.daemon.run(['retry', name, '--json']);
  if (code !== 0) throw new Error(stderr);
  return (JSON.parse(stdout) as Retried[])[0];
}

describe('a post that was held or refused because nobody vouched for its signature', () => {
  it('held: is distributed by itself when the authority is added, once, and both decisions are in the ledger', async () => {
    const { list, trust } = await listAnd();
    const entity = secretEntity();
    const post = await signedAndEncrypted(stranger, list, { entity });
    const { id, event } = await world.post(post, list.address);
    expect(event).toBe('held');
    await world.mailTo(list.owner);
    trust();
    const copy = await world.copyFor(bob, post);
    expect(await readCopy(other, bob, copy.bytes)).toEqual(entity);
    await world.untilDeliveries(id, (rows) => rows.every((row) => row.state === 'delivered'));
    expect(await world.ledger(id)).toEqual([
      'received',
      'held encrypted-unsigned',
      'harvested first stranger@example.org',
      'harvested first stranger@example.org',
      'authorized',
      `delivered ${bob.address}`,
      `delivered ${stranger.address}`,
    ]);
    expect((await world.daemon.run(['queue', 'list', '--held'])).stdout).not.toContain(id);
    const told = (await world.daemon.run(['explain', id])).stdout.replace(/\s+/g, ' ');
    expect(told).toMatch(
      /At first held at [\d:]+: it is encrypted, .* Accepted at [\d:]+ by the rule member-may-post/,
    );
    // What was distributed is not decided again, nor is its own signature a replay.
    expect(await retry(id)).toMatchObject({ messages: 0, postings: 0, copies: 0, why: expect.any(String) });
    expect(await world.deliveries(id)).toHaveLength(2);
    expect(world.leaks()).toEqual([]);
  });

  it('refused: by hand it stays so as long as nothing came, and is distributed when it did', async () => {
    const { list, trust } = await listAnd({ 'accept.signature': 'required' });
    const post = await signedAndEncrypted(stranger, list);
    const { id, event, reason } = await world.post(post, list.address);
    expect([event, reason]).toEqual(['refused', 'no-path']);
    expect((await world.daemon.run(['queue', 'list', '--unopened'])).stdout).toMatch(
      new RegExp(`Refused, and kept .*${id} +\\d{4}-\\d\\d-\\d\\d +no-path`, 's'),
    );
    // Its bytes stay, for this only.
    expect((await world.daemon.run(['housekeeping'])).code).toBe(0);
    expect(await retry(headerOf(post, 'Message-ID') ?? '')).toMatchObject({ id, messages: 0, postings: 1 });
    await world.daemon.logged((line) => line.event === 'judged-again' && line.id === id);
    expect(await world.deliveries(id)).toEqual([]);
    const told = (await world.daemon.run(['explain', id])).stdout.replace(/\s+/g, ' ');
    expect(told).toContain('judged again, and it stays refused: the certificate is issued by');
    expect(told).toContain(`trust.cafile; then \`reseal retry ${id}\` judges it again. For that it is kept`);
    trust();
    await world.copyFor(bob, post);
    expect((await world.ledger(id)).slice(1)).toEqual(
      expect.arrayContaining(['refused no-path', 'retry no-path', 'authorized']),
    );
  });

  it('refused by a moderator: an authority that comes later changes nothing', async () => {
    const { list, trust } = await listAnd();
    const { id } = await world.post(await signedAndEncrypted(stranger, list), list.address);
    expect((await world.daemon.run(['queue', 'refuse', id])).code).toBe(0);
    trust();
    expect(await retry(id)).toMatchObject({ postings: 0 });
    const after = await world.post(await signedAndEncrypted(stranger, list), list.address);
    expect(after.event).toBe('authorized');
    expect(await world.deliveries(id)).toEqual([]);
  });

  it('sent to two lists of which one trusts: the other decides again without taking it for a replay', async () => {
    const trusting = await listAnd();
    trusting.trust();
    const { list, trust } = await listAnd();
    const inner = await signed(stranger, secretEntity());
    const both = await encrypted([trusting.list.identity, list.identity], inner);
    const to = `${trusting.list.address}, ${list.address}`;
    const post = mailOf(postHeaders(stranger.address, to), both);
    const sent = await world.send(post, [trusting.list.address, list.address]);
    const fates = [await world.fate(sent, 1), await world.fate(sent, 2)].map((one) => one.event);
    expect(fates.sort()).toEqual(['authorized', 'held']);
    trust();
    await world.untilDeliveries(sent.id, (rows) => rows.length === 4);
    expect((await world.ledger(sent.id)).filter((line) => line.includes('replay'))).toEqual([]);
  });
});
