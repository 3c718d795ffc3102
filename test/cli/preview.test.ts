import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { defaultFloor } from '../../src/pki/algorithms.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { revocationOff } from '../../src/pki/revocation.ts';
import { openMessage } from '../../src/smime/open.ts';
import { openDatabase } from '../../src/store/database.ts';
import { findList } from '../../src/store/lists.ts';
import { remember } from '../../src/store/signatures.ts';
import { smimeEncrypt, smimeSign } from '../kit/openssl-smime.ts';
import { type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import { makeTeam, type Root } from './kit.ts';

const secret = 'the words inside';
const header =
  'From: alice@example.org\r\nTo: team@lists.example\r\nSubject: Hi\r\nMessage-ID: <1@example.org>\r\n';
const clear = `${header}Content-Type: text/plain\r\n\r\n${secret}\r\n`;

let ca: TestCa;
let alice: Identity;
let root: Root;
let sealed: string;

beforeAll(async () => {
  ca = await makeCa();
  alice = await ca.issue({ name: 'Alice', address: 'alice@example.org' });
  root = await makeTeam(ca);
  await root.json('cert', 'import', root.file('alice.pem', alice.certPem));
  for (const one of ['alice', 'bob', 'carol']) await root.json('member', 'add', 'team', `${one}@example.org`);
  await root.json('member', 'set', 'team', 'carol@example.org', '--suspend');
  const entity = Buffer.from(`Content-Type: text/plain\r\n\r\n${secret}\r\n`);
  const signed = await smimeSign(alice, entity);
  const certPath = join(root.path, 'etc/lists/team@lists.example/cert.pem');
  const encrypted = await smimeEncrypt({ certPath }, signed);
  sealed = root.file('sealed.eml', Buffer.concat([Buffer.from(header), encrypted]));
});

/** All that a preview could have changed: rows of every table, and files of the spool. */
async function stateOf({ path }: Root): Promise<unknown> {
  const database = await openDatabase(join(path, 'spool/reseal.db'));
  try {
    const tables = [
      'messages',
      'postings',
      'deliveries',
      'signatures',
      'ledger',
      'certificates',
      'bindings',
      'bindingHistory',
      'capabilities',
      'tokens',
      'notices',
      'meta',
    ] as const;
    const rows = [];
    for (const one of tables) rows.push(await database.q.selectFrom(one).selectAll().execute());
    const files = readdirSync(join(path, 'spool'), { recursive: true }).map(String);
    return { rows, files: files.filter((name) => !name.startsWith('reseal.db')).sort() };
  } finally {
    await database.close();
  }
}

describe('preview', () => {
  it('tells the verdict, the rule and the fate of each copy, and nothing of the content', async () => {
    const before = await stateOf(root);
    const value = await root.json('preview', sealed, '--list', 'team');
    expect(value).toMatchObject({
      list: 'team@lists.example',
      verdict: { verdict: 'signed', author: 'alice@example.org', encrypted: true },
      decision: 'authorized',
      rule: 'member-may-post',
      reason: null,
      copies: [
        { member: 'alice@example.org', fate: 'sealed', cipher: 'aes-256-cbc', keyTransport: 'rsa' },
        { member: 'bob@example.org', fate: 'held', cipher: null, reason: 'no-certificate' },
        { member: 'carol@example.org', fate: 'suspended' },
      ],
    });
    const { code, stdout } = await root.run('preview', sealed, '--list', 'team');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^Verdict {3}signed by alice@example\.org, came encrypted$/m);
    expect(stdout).toMatch(/^Decision {2}team@lists\.example: it would be distributed\.$/m);
    expect(stdout).toMatch(/^bob@example\.org +held[ -]+no certificate is known for bob@example\.org$/m);
    expect(stdout + JSON.stringify(value)).not.toContain(secret);
    expect(await stateOf(root)).toEqual(before);
  });

  it('names twenty members of each fate, and counts all', async () => {
    const rest = Array.from({ length: 60 }, (_, n) => `many-${n}@example.org`);
    await root.json('member', 'import', 'team', root.file('many.txt', rest.join('\n')));
    const { stdout } = await root.run('preview', sealed, '--list', 'team');
    expect(stdout).toMatch(/^63 members: 1 encrypted, 61 held, 1 /m);
    expect(stdout).toContain('\nand 41 more: --all names all\n');
    expect(stdout.split('\n').length).toBeLessThan(40);
    const all = (await root.run('preview', sealed, '--list', 'team', '--all')).stdout;
    for (const one of rest) expect(all).toContain(one);
    await root.json('member', 'remove', 'team', ...rest);
  });

  it('tells of a post in clear that it leaves in clear', async () => {
    const file = root.file('clear.eml', clear);
    expect(await root.json('preview', file, '--list', 'team')).toMatchObject({
      verdict: { verdict: 'unsigned', encrypted: false },
      decision: 'authorized',
      copies: [{ fate: 'clear' }, { fate: 'clear' }, { fate: 'suspended' }],
    });
  });

  it.each<[string, string, string[], object]>([
    [
      'a stranger',
      clear.replace('alice', 'mallory'),
      [],
      { decision: 'refused-in-session', rule: 'may-not-post', verdict: null, copies: [] },
    ],
    ['the null sender', clear, ['--from-envelope', '<>'], { decision: 'dropped', rule: 'null-sender' }],
    [
      'what only looks encrypted',
      `${header}Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n\r\nrubbish\r\n`,
      [],
      { decision: 'unopened', verdict: { verdict: 'malformed' }, copies: [] },
    ],
  ])('tells what becomes of %s', async (name, text, args, expected) => {
    const file = root.file(`${name}.eml`, text);
    expect(await root.json('preview', file, '--list', 'team', ...args)).toMatchObject(expected);
  });

  describe('of what the post itself would bring', () => {
    const posted = async (name: string, author: Identity): Promise<string> => {
      const signed = await smimeSign(author, Buffer.from(`Content-Type: text/plain\r\n\r\n${secret}\r\n`));
      const from = header.replace('alice@', `${author.address.split('@')[0]}@`);
      return root.file(`${name}.eml`, Buffer.concat([Buffer.from(from), signed]));
    };

    it('takes a first certificate into account, and writes nothing', async () => {
      await root.json('list', 'set', 'team', 'send.encrypt=always');
      const bob = await ca.issue({ name: 'Bob', address: 'bob@example.org', key: 'p256' });
      const file = await posted('first', bob);
      const before = await stateOf(root);
      const value = await root.json('preview', file, '--list', 'team');
      const certificate = parseCertificate(bob.certDer);
      const filing = { address: bob.address, action: 'use', reason: 'first' };
      expect(value).toMatchObject({
        harvest: {
          none: null,
          filings: [
            { ...filing, purpose: 'sign', certificate: { sha256: certificate.sha256 } },
            { ...filing, purpose: 'enc' },
          ],
        },
      });
      // His own copy is encrypted to it already.
      const { copies } = value as { copies: { member: string }[] };
      expect(copies.find((one) => one.member === bob.address)).toMatchObject({
        fate: 'sealed',
        certificate: certificate.sha256,
      });
      const text = (await root.run('preview', file, '--list', 'team')).stdout.replace(/\s+/g, ' ');
      expect(text).toContain(
        `Harvest bob@example.org: signing and encryption certificate of CN=Bob (issued by CN=Test Root, ${certificate.sha256.slice(0, 8)}) would come in use: it is the first that is known.`,
      );
      expect(await stateOf(root)).toEqual(before);
    });

    it('says of another key that it would wait, and encrypts to the known one', async () => {
      const file = await posted('other', await ca.issue({ name: 'Alice', address: 'alice@example.org' }));
      const before = await stateOf(root);
      const value = await root.json('preview', file, '--list', 'team');
      expect(value).toMatchObject({
        harvest: { filings: [{ action: 'pending', reason: 'changed-key' }, { action: 'pending' }] },
      });
      const { copies } = value as { copies: { member: string; certificate: string }[] };
      expect(copies[0]).toMatchObject({
        member: alice.address,
        certificate: parseCertificate(alice.certDer).sha256,
      });
      expect(await stateOf(root)).toEqual(before);
    });

    it('says why nothing would be taken', async () => {
      await root.json('list', 'set', 'team', 'harvest=off');
      const bob = await ca.issue({ name: 'Bob', address: 'bob@example.org', key: 'p256' });
      const file = await posted('off', bob);
      expect(await root.json('preview', file, '--list', 'team')).toMatchObject({
        harvest: { filings: [{ action: 'skip', reason: 'off' }, { action: 'skip' }] },
      });
      await root.json('list', 'set', 'team', 'harvest=confirm-change', 'send.encrypt=as-received');
      const unsigned = await root.run('preview', root.file('unsigned.eml', clear), '--list', 'team');
      expect(unsigned.stdout).toContain('Nothing: no signature in it proves who wrote it.');
    });
  });

  it('knows a replay, and remembers none itself', async () => {
    const signed = await smimeSign(alice, Buffer.from(`Content-Type: text/plain\r\n\r\n${secret}\r\n`));
    const message = Buffer.concat([Buffer.from(header), signed]);
    const file = root.file('signed.eml', message);
    for (let time = 0; time < 2; time++)
      expect(await root.json('preview', file, '--list', 'team')).toMatchObject({ decision: 'authorized' });
    const { signature } = openMessage({
      message,
      keys: [],
      anchors: [ca.certDer],
      known: [],
      pins: [],
      at: Date.now(),
      floor: defaultFloor,
      openedSize: 1_000_000,
      revocation: revocationOff,
    });
    const database = await openDatabase(join(root.path, 'spool/reseal.db'));
    const sha256 = signature?.allSha256[0] ?? '';
    const list = await findList(database.q, 'team@lists.example');
    const seen = { kind: 'post', seenAt: Date.now(), messageId: 'other' } as const;
    await database.write((tx) => remember(tx, { ...seen, sha256, listId: list?.id ?? 0 }));
    await database.close();
    expect(await root.json('preview', file, '--list', 'team')).toMatchObject({
      decision: 'dropped',
      rule: 'replay',
      copies: [],
    });
  });

  it('is wrong usage without a list, or with no address', async () => {
    expect((await root.run('preview', sealed)).code).toBe(2);
    expect((await root.run('preview', sealed, '--list', 'team', '--from-envelope', 'x')).code).toBe(2);
  });

  it('says that members would see each other, where copies are shared', async () => {
    const bob = await ca.issue({ name: 'Bob', address: 'bob@example.org' });
    await root.json('cert', 'import', root.file('bob.pem', bob.certPem));
    const certPath = join(root.path, 'etc/lists/team@lists.example/cert.pem');
    const signed = await smimeSign(alice, Buffer.from('Content-Type: text/plain\r\n\r\nanother\r\n'));
    const encrypted = await smimeEncrypt({ certPath }, signed);
    const file = root.file('another.eml', Buffer.concat([Buffer.from(header), encrypted]));
    const apart = await root.run('preview', file, '--list', 'team');
    expect(apart.stdout).not.toContain('send.envelope');
    await root.json('list', 'set', 'team', 'send.envelope=grouped');
    expect(await root.json('preview', file, '--list', 'team')).toMatchObject({ grouped: true });
    const together = await root.run('preview', file, '--list', 'team');
    expect(together.stdout.replace(/\s+/g, ' ')).toContain("see each other's certificates in it");
  });
});
