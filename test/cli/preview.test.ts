import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { defaultFloor } from '../../src/pki/algorithms.ts';
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
});
