import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Identity, TestCa } from '../kit/pki.ts';
import { headerOf } from '../kit/smime-mime.ts';
import { tempFolder } from '../kit/tmp.ts';
import { clearPost, encryptedOnly, signedAndEncrypted } from './posts.ts';
import { type List, makeWorld, secret, type World } from './world.ts';

let world: World;
let alice: Identity;
let bob: Identity;
let list: List;

beforeAll(async () => {
  world = await makeWorld();
  alice = await world.person('alice');
  bob = await world.person('bob');
  list = await world.list({ members: [alice, bob], settings: { 'send.sign': 'always' } });
});
afterAll(() => world.stop());

interface Line {
  readonly event: string;
  readonly member: string | null;
  readonly reason: string | null;
  readonly detail: string | null;
  readonly data: Record<string, unknown> | null;
  readonly smime: { readonly operation: string; readonly outcome: string } | null;
}

/** What the ledger says of the cryptography of a message: `decryption ok`. */
async function smimeOf(id: string): Promise<{ lines: Line[]; told: string[]; text: string }> {
  const { stdout } = await world.daemon.run(['log', '--message', id, '--json']);
  const lines = JSON.parse(stdout) as Line[];
  const told = lines.flatMap(({ smime, reason }) =>
    smime ? [[smime.operation, smime.outcome, reason].filter(Boolean).join(' ')] : [],
  );
  return { lines, told, text: (await world.daemon.run(['log', '--message', id])).stdout };
}

const explained = async (...args: string[]): Promise<string> => {
  const { stdout, stderr } = await world.daemon.run(['explain', ...args]);
  return `${stdout} ${stderr}`.replace(/\s+/g, ' ');
};

describe('explain', () => {
  it.each<[string, (middle: TestCa) => object | null, RegExp, RegExp]>([
    [
      'revoked',
      (middle) => ({ revoked: [middle] }),
      /\(the certificate of CN=Middle \(issued by CN=Test Root\) was revoked\)/,
      /CN=Test Root has revoked CN=Middle: the author gets a certificate of an authority that is not revoked/,
    ],
    [
      'expired',
      () => null,
      /the certificate of CN=Middle \(issued by CN=Test Root\) had expired/,
      /a current certificate of CN=Middle comes into trust\.cafile, .*; then `reseal retry \w+` judges it again/,
    ],
  ])('names the authority whose certificate is %s, and what helps', async (_, crl, found, remedy) => {
    const revocation = crl(world.ca);
    const day = 86_400_000;
    const middle = await world.ca.intermediate({
      name: 'Middle',
      ...(revocation
        ? {}
        : { notBefore: new Date(Date.now() - 9 * day), notAfter: new Date(Date.now() - day) }),
    });
    const carol = await middle.issue({ name: 'carol', address: 'carol@example.org', key: 'p256' });
    const path = join(tempFolder(), 'crl.pem');
    writeFileSync(path, world.ca.crl(crl(middle) ?? {}));
    const settings = { 'accept.signature': 'required', 'trust.crlfile': path };
    const strict = await world.list({ members: [alice], bare: [carol.address], settings });
    const post = await signedAndEncrypted(carol, strict, { sign: { chain: [middle] } });
    const { id, event } = await world.post(post, strict.address);
    expect(event).toBe('refused');
    const told = await explained(id);
    expect(told).toMatch(found);
    expect(told).toMatch(remedy);
  });

  it('tells of an address that the message is not about, and of one of reseal\u2019s own mails', async () => {
    const bare = await world.list({ members: [alice], bare: ['quiet@example.org'] });
    const { id } = await world.post(await signedAndEncrypted(alice, bare), bare.address);
    await world.mailTo('quiet@example.org');
    expect(await explained(id, '--member', 'typo@example.org')).toContain(
      'reseal: typo@example.org has no copy of it: it was not distributed, or he was no member then',
    );
    expect(await explained(id, '--member', alice.address)).not.toContain('has no copy');
    const rows = JSON.parse(
      (await world.daemon.run(['log', '--member', 'quiet@example.org', '--json'])).stdout,
    );
    const notice = (rows as { event: string; messageId: string }[]).find((row) => row.event === 'signature');
    expect(await explained(notice?.messageId ?? '')).toContain('written by reseal itself');
  });
});

describe('the ledger of cryptography', () => {
  it('has the decryption, the verification, the list\u2019s signature once, and what each copy was encrypted to', async () => {
    const post = await signedAndEncrypted(alice, list, {
      headers: [['Subject', 'the outer subject']],
    });
    const { id } = await world.post(post, list.address);
    await world.untilDeliveries(id, (rows) => rows.every((row) => row.state === 'delivered'));
    const { lines, told, text } = await smimeOf(id);
    expect(told).toEqual([
      'decryption ok',
      'verification ok',
      'signature ok',
      'encryption ok',
      'encryption ok',
    ]);
    const dataOf = (event: string) => lines.find((line) => line.event === event)?.data;
    const sha256 = lines.find((line) => line.event === 'verification')?.data?.certificate;
    expect(dataOf('decryption')).toMatchObject({ cipher: 'aes-256-cbc', keyTransport: 'rsa' });
    expect(dataOf('verification')).toMatchObject({ addresses: [alice.address], digest: 'sha256' });
    expect(dataOf('signature')?.certificate).toBe(dataOf('decryption')?.certificate);
    expect(lines.find((line) => line.member === alice.address)?.data).toMatchObject({ certificate: sha256 });
    expect(text).toMatch(
      / decryption +- +encrypted \(aes-256-cbc, key by rsa\) and opened with the list's key \w{8}$/m,
    );
    expect(text).toMatch(/ verification .*alice.*: the signature is intact, the certificate trusted$/m);
    expect(text).toMatch(
      / delivered +bob@example\.org +encrypted to \w{8} \(aes-\d+-cbc, key by \w+\); taken$/m,
    );
    expect(world.leaks()).toEqual([]);
  });

  it('has every failed decryption as the same code, and who was not encrypted to and why', async () => {
    const post = await encryptedOnly(alice.address, list, { encrypt: { cipher: 'aes-256-gcm' } });
    // Near its end stands the tag that shows every change.
    const text64 = post.toString('latin1').trimEnd();
    const end = text64.length - 8;
    const bad = Buffer.from(
      `${text64.slice(0, end)}${text64[end] === 'A' ? 'B' : 'A'}${text64.slice(end + 1)}\r\n`,
      'latin1',
    );
    const { id } = await world.post(bad, list.address);
    const { told, text } = await smimeOf(id);
    expect(told).toEqual(['decryption failed decrypt-failed']);
    expect(text).toContain('could not be opened: it could not be decrypted');

    const bare = await world.list({ members: [alice], bare: ['nobody@example.org'] });
    const good = await world.post(await signedAndEncrypted(alice, bare), bare.address);
    await world.untilDeliveries(good.id, (rows) => rows.some((row) => row.state === 'held'));
    expect((await smimeOf(good.id)).told).toContain('encryption failed no-certificate');
    // The notice to him was signed.
    const notice = await world.daemon.run(['log', '--member', 'nobody@example.org', '--json']);
    expect(JSON.parse(notice.stdout)).toContainEqual(
      expect.objectContaining({ event: 'signature', smime: { operation: 'signature', outcome: 'ok' } }),
    );
    expect(world.leaks()).toEqual([]);
  });

  it('has nothing of a post in clear that nobody signed', async () => {
    const plain = await world.list({ members: [alice] });
    const post = clearPost(alice.address, plain.address, [], `${secret.length}\n`);
    const { id } = await world.post(post, plain.address);
    await world.copyFor(alice, post);
    expect((await smimeOf(headerOf(post, 'Message-ID') ?? id)).told).toEqual([]);
  });
});
