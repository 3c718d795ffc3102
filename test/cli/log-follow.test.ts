import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { followLedger, type LogFilter } from '../../src/cli/log-follow.ts';
import { outputTo } from '../../src/cli/output.ts';
import { type Database, openDatabase } from '../../src/store/database.ts';
import { type LedgerEntry, record } from '../../src/store/ledger.ts';
import { makeCa, type TestCa } from '../kit/pki.ts';
import { openTest } from '../store/fixtures.ts';
import { makeTeam } from './kit.ts';

const now = Date.UTC(2026, 0, 5, 12);
const line = (member: string, change: Partial<LedgerEntry> = {}): LedgerEntry => ({
  at: now,
  event: 'retry',
  list: 'team@lists.example',
  member,
  ...change,
});
const write = (database: Database, ...lines: LedgerEntry[]) => database.write((tx) => record(tx, lines));

describe('log --follow', () => {
  let database: Database;
  beforeEach(async () => {
    database = await openTest();
  });

  /** Follows, and gives what it printed once `lines` lines are there. */
  async function followed(
    d: { filter?: LogFilter; from?: number | null; json?: boolean; lines: number },
    meanwhile: () => Promise<unknown>,
  ): Promise<string[]> {
    const end = new AbortController();
    const printed: string[] = [];
    const out = {
      write: (text: string) => {
        printed.push(text);
        if (printed.length === d.lines) end.abort();
      },
    };
    const output = outputTo({ json: d.json ?? true, out, err: out });
    const { filter = {}, from = null } = d;
    const over = followLedger(
      { database, output, site: { relays: [] } },
      { filter, from, limit: 1000, signal: end.signal },
    );
    await meanwhile();
    await over;
    return printed;
  }
  const members = (printed: readonly string[]) =>
    printed.map((text) => (JSON.parse(text) as { member: string }).member);

  it('prints what is written from now on, one JSON value in each line, once', async () => {
    await write(database, line('before@example.org'));
    const printed = await followed({ lines: 2 }, async () => {
      // On the same connection, so after the look for the newest line that was asked for before.
      await write(database, line('a@example.org'));
      await write(database, line('b@example.org', { at: now - 5000 }));
    });
    expect(members(printed)).toEqual(['a@example.org', 'b@example.org']);
    for (const text of printed) expect(text).toMatch(/^\{[^\n]*\}\n$/);
  });

  it('begins with those since a time, and goes on without a gap or one twice', async () => {
    await write(database, line('old@example.org', { at: now - 9000 }), line('past@example.org'));
    const printed = await followed({ from: now - 1000, lines: 2 }, () =>
      write(database, line('new@example.org')),
    );
    expect(members(printed)).toEqual(['past@example.org', 'new@example.org']);
  });

  it.each<[string, LogFilter]>([
    ['member', { member: 'b@example.org' }],
    ['list', { list: 'other@lists.example' }],
  ])('keeps to the filter of the %s', async (_, filter) => {
    const other = line('b@example.org', { list: 'other@lists.example' });
    const printed = await followed({ filter, lines: 2 }, async () => {
      await write(database, line('a@example.org'), other, line('c@example.org'));
      await write(database, line('a@example.org'));
      await write(database, other);
    });
    expect(members(printed)).toEqual(['b@example.org', 'b@example.org']);
  });

  it('writes a line for people that commands no terminal', async () => {
    const [text] = await followed({ json: false, lines: 1 }, () =>
      write(database, line('a@example.org', { detail: 'evil \u001b[2J' })),
    );
    expect(text).toMatch(
      /^2026-01-05 12:00:00 {2}retry +- {2}team@lists\.example {2}a@example\.org {2}evil \?\[2J\n$/,
    );
  });
});

describe('the program', () => {
  let ca: TestCa;
  beforeAll(async () => {
    ca = await makeCa();
  });

  it('ends well with Ctrl-C, and takes the same filters', async () => {
    const root = await makeTeam(ca);
    const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
    const args = ['log', '--follow', '--since', '1d', '--list', 'team', '--json', '--root', root.path];
    const database = await openDatabase(join(root.path, 'spool/reseal.db'));
    await write(database, line('first@example.org', { at: Date.now() }));
    const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
      const until = async (member: string): Promise<void> => {
        for (;;) {
          const { value, done } = await lines.next();
          if (done) throw new Error(`it ended before ${member} came`);
          if ((JSON.parse(value) as { member: string | null }).member === member) return;
        }
      };
      await until('first@example.org');
      await write(database, line('second@example.org', { at: Date.now() }));
      await until('second@example.org');
      child.kill('SIGINT');
      expect(await once(child, 'exit')).toEqual([0, null]);
    } finally {
      child.kill('SIGKILL');
      await database.close();
    }
  });
});

describe('log of what cannot be', () => {
  it('a day that does not exist, a time to come, an address that nobody has', async () => {
    const root = await makeTeam(await makeCa());
    for (const since of ['2026-02-31', '2999-01-01', 'tomorrow', '-3d']) {
      const { code, stderr } = await root.run('log', '--since', since);
      expect([since, code]).toEqual([since, 2]);
      expect(stderr).toContain('--since cannot be');
    }
    expect((await root.run('log', '--since', '2999-01-01')).stderr).toContain(
      'a time that is over: it is 20',
    );
    const { code, stderr } = await root.run('log', '--member', 'typo@example.org');
    expect(code).toBe(0);
    expect(stderr).toContain('typo@example.org is on no list');
    const problems = await root.run('cert', 'list', '--problems', '--address', 'typo@example.org');
    expect(problems.stdout).toContain('No certificate is known for typo@example.org');
  });
});
