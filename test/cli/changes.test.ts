import { chmodSync, chownSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { openDatabase } from '../../src/store/database.ts';
import { findLedger } from '../../src/store/ledger.ts';
import { changesCounter } from '../../src/store/meta.ts';
import { type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import { makeRoot, makeTeam, type Root } from './kit.ts';

let ca: TestCa;
let alice: Identity;
let root: Root;
beforeAll(async () => {
  ca = await makeCa();
  alice = await ca.issue({ name: 'Alice', address: 'alice@example.org', key: 'p256' });
  root = await makeTeam(ca);
  root.file('alice.pem', alice.certPem);
});

async function look<T>(ask: (q: Awaited<ReturnType<typeof openDatabase>>['q']) => Promise<T>): Promise<T> {
  const database = await openDatabase(join(root.path, 'spool/reseal.db'));
  try {
    return await ask(database.q);
  } finally {
    await database.close();
  }
}

describe('every change of an operator', () => {
  const changes: readonly (readonly string[])[] = [
    ['list', 'create', 'other@lists.example', '--key', 'p-256', '--yes'],
    ['list', 'set', 'team', 'language=de'],
    ['list', 'close', 'team'],
    ['list', 'open', 'team'],
    ['member', 'add', 'team', 'alice@example.org'],
    ['member', 'set', 'team', 'alice@example.org', '--lang', 'de'],
    ['cert', 'import', 'alice.pem'],
    ['cert', 'remove', 'alice@example.org'],
    ['cert', 'approve', 'alice@example.org', ''],
    ['member', 'remove', 'team', 'alice@example.org'],
    ['queue', 'retry', '--all'],
  ];
  it.each(changes.map((args) => [args.join(' '), args] as const))(
    'is seen by the daemon: %s',
    async (_, args) => {
      const before = await look(changesCounter);
      const shown =
        args[1] === 'approve'
          ? ((await root.json('cert', 'show', 'alice@example.org')) as { sha256: string }[])
          : [];
      await root.json(
        ...args.map((one) => (one === 'alice.pem' ? join(root.path, one) : one || (shown[0]?.sha256 ?? ''))),
      );
      expect(await look(changesCounter)).toBeGreaterThan(before);
    },
  );

  it('names who made it in the ledger', async () => {
    const lines = await look((q) => findLedger(q, { list: 'team@lists.example', limit: 100 }));
    expect(lines.map((line) => line.event)).toEqual([
      'list-created',
      'list-changed',
      'list-closed',
      'list-open',
      'member-added',
      'member-changed',
      'member-removed',
    ]);
    expect(lines.filter((line) => !/\S+ (made|set|:)|: |by \S+/.test(line.detail ?? ''))).toEqual([]);
  });
});

describe('what a command makes', () => {
  it('belongs to the owner of the place, also when root runs it', async () => {
    const place = makeRoot();
    const owner = anotherUser() ?? statSync(place.path).uid;
    for (const above of [place.path, dirname(place.path)]) chmodSync(above, 0o755);
    if (owner !== statSync(place.path).uid) chownSync(place.path, owner, owner);
    const made = await place.program('list', 'create', 'team@lists.example', '--key', 'p-256', '--yes');
    expect(made).toMatchObject({ code: 0 });
    const files = readdirSync(place.path, { recursive: true }).map((name) => join(place.path, String(name)));
    const told = await place.program('log', '--json');
    const operator = process.env.SUDO_USER || process.env.LOGNAME || userInfo().username;
    expect(told.stdout).toContain(`"${operator} made the list"`);
    expect(files.length).toBeGreaterThan(8);
    expect(files.filter((file) => statSync(file).uid !== owner)).toEqual([]);
    expect(files.filter((file) => (statSync(file).mode & 0o077) !== 0)).toEqual([]);
  });
});

it.skipIf(anotherUser() === null)('check reads the configuration as the owner of the spool', async () => {
  const place = makeRoot('hostname: lists.example\n');
  for (const above of [place.path, dirname(place.path)]) chmodSync(above, 0o755);
  const spool = join(place.path, 'spool');
  mkdirSync(spool, { mode: 0o700 });
  chownSync(spool, 65_534, 65_534);
  const { stdout } = await place.program('check');
  expect(stdout).toContain('the configuration cannot be read by the owner of the spool (EACCES)');
});

/** A user that root may become and who can read this checkout, else null. */
function anotherUser(): number | null {
  if (process.getuid?.() !== 0) return null;
  for (let folder = import.meta.dirname; folder !== '/'; folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o005) !== 0o005) return null;
  }
  return 65_534;
}
