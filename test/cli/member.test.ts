import { describe, expect, it } from 'vitest';
import { createTeam, makeRoot } from './kit.ts';

async function rootWithTeam() {
  const root = makeRoot();
  await createTeam(root, 'o@example.org');
  return root;
}

describe('member', () => {
  it('add, set, list and remove', async () => {
    const root = await rootWithTeam();
    expect(await root.json('member', 'add', 'team', 'Alice@Example.ORG', 'bob@example.org')).toEqual({
      list: 'team@lists.example',
      added: ['alice@example.org', 'bob@example.org'],
      already: [],
    });
    expect(await root.json('member', 'add', 'team', 'alice@example.org')).toMatchObject({
      added: [],
      already: ['alice@example.org'],
    });
    await root.json(
      'member',
      'set',
      'team',
      'bob@example.org',
      '--cipher',
      'aes-128-cbc',
      '--key-transport',
      'rsa-oaep-sha256',
      '--lang',
      'de',
      '--suspend',
      '--name',
      'Bob B.',
    );
    expect(await root.json('member', 'list', 'team')).toMatchObject([
      { address: 'alice@example.org', state: 'active', settings: {}, certificate: null },
      {
        address: 'bob@example.org',
        name: 'Bob B.',
        state: 'suspended',
        settings: { cipher: 'aes-128-cbc', keyTransport: 'rsa-oaep-sha256', lang: 'de' },
      },
    ]);
    expect(
      await root.json('member', 'set', 'team', 'bob@example.org', '--cipher', 'default', '--resume'),
    ).toMatchObject({
      state: 'active',
      settings: { keyTransport: 'rsa-oaep-sha256', lang: 'de' },
    });
    expect(await root.json('member', 'remove', 'team', 'bob@example.org')).toMatchObject({
      removed: ['bob@example.org'],
      cancelled: 0,
    });
    const table = await root.run('member', 'list', 'team');
    expect(table.stdout.split('\n').map((line) => line.split(/ +/)[0])).toEqual([
      'MEMBER',
      'alice@example.org',
      '',
    ]);
    const gone = await root.run('member', 'remove', 'team', 'alice@example.org', 'bob@example.org');
    expect(gone).toMatchObject({
      code: 1,
      stderr: 'reseal: bob@example.org is not a member of team@lists.example\n',
    });
    expect(await root.json('member', 'list', 'team')).toHaveLength(1);
  });

  it.each<[string[], string]>([
    [['set', 'team', 'a@example.org', '--cipher', 'des-ede3-cbc'], '--cipher cannot be "des-ede3-cbc"'],
    [['set', 'team', 'a@example.org', '--key-transport', 'fax'], '--key-transport cannot be "fax"'],
    [['set', 'team', 'a@example.org', '--lang', 'deutsch!'], '--lang cannot be "deutsch!"'],
    [['set', 'team', 'a@example.org'], 'nothing to do: give an option: see --help'],
    [['set', 'team', 'a@example.org', '--suspend', '--resume'], '--suspend cannot be "--resume"'],
    [['add', 'team', 'a@example.org', 'b@example.org', '--name', 'Both'], '--name cannot be "Both"'],
    [
      ['add', 'team', 'a@example.org', 'two words@example.org'],
      '"two words@example.org" is not a mail address',
    ],
  ])('%j is wrong usage', async (args, sentence) => {
    const result = await makeRoot().run('member', ...args);
    expect(result.code).toBe(2);
    expect(result.stderr.startsWith(`reseal: ${sentence}`), result.stderr).toBe(true);
  });

  it('import takes the good lines and tells each bad one', async () => {
    const root = await rootWithTeam();
    const csv =
      'address,name,lang\na@example.org,"Ann, A.",de\nnobody\nb@example.org,Bob\na@example.org,again\n';
    const dry = await root.pipe(csv, 'member', 'import', 'team', '--dry-run', '--json');
    expect(JSON.parse(dry.stdout)).toMatchObject({ dryRun: true, added: 2 });
    expect(await root.json('member', 'list', 'team')).toEqual([]);
    const done = await root.pipe(csv, 'member', 'import', 'team', '-');
    expect(done).toEqual({
      code: 1,
      stdout: 'team@lists.example: 2 members added, 0 there already, 2 bad lines\n',
      stderr:
        'reseal: line 3: "nobody" is not a mail address\nreseal: line 5: a@example.org stands in line 2 already\n',
    });
    expect(await root.json('member', 'list', 'team')).toMatchObject([
      { name: 'Ann, A.', settings: { lang: 'de' } },
      { name: 'Bob' },
    ]);
    const file = root.file('more.txt', 'b@example.org\nc@example.org\n');
    expect(await root.json('member', 'import', 'team', file)).toMatchObject({
      added: 1,
      already: 1,
      bad: [],
    });
    const missing = await root.run('member', 'import', 'team', '/nowhere.csv');
    expect(missing).toEqual({ code: 1, stdout: '', stderr: 'reseal: /nowhere.csv does not exist\n' });
  });

  it('import refuses lines that are not UTF-8', async () => {
    const root = await rootWithTeam();
    const latin1 = Buffer.from(
      'a@example.org,Ann\nb@example.org,M\u00fcller\n\u00e4\u00f6@example.org\n',
      'latin1',
    );
    expect(await root.run('member', 'import', 'team', root.file('latin1.csv', latin1))).toEqual({
      code: 1,
      stdout: 'team@lists.example: 1 member added, 0 there already, 2 bad lines\n',
      stderr: [2, 3].map((line) => `reseal: line ${line}: is not UTF-8; save the file as UTF-8\n`).join(''),
    });
  });
});
