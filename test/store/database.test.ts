import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import SQLite from 'better-sqlite3';
import { Kysely, sql } from 'kysely';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { openDatabase } from '../../src/store/database.ts';
import { patiently, sqliteDialect } from '../../src/store/dialect.ts';
import { insertMessages } from '../../src/store/messages.ts';
import { changesCounter, readMeta, touch, writeMeta } from '../../src/store/meta.ts';
import { currentSchema, migrate } from '../../src/store/migrations.ts';
import type { Schema } from '../../src/store/schema.ts';
import { WriteAheadLog } from '../../src/store/write-ahead-log.ts';
import { tempFolder } from '../kit/tmp.ts';
import { databasePath, message, openTest } from './fixtures.ts';
import { holdTransaction, startProcess } from './processes.ts';

describe('a statement that need not last', () => {
  /** A database whose disk takes nothing until it is told to. */
  async function onSlowDisk() {
    const path = databasePath();
    await (await openDatabase(path)).close();
    let release: () => void = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    const log = new WriteAheadLog(path, { datasync: () => released, close: async () => {} });
    const handle = new SQLite(path);
    const { dialect, hasty } = sqliteDialect(handle, { patienceMs: 1000, log, lost: () => {} });
    onTestFinished(() => void handle.close());
    return {
      q: new Kysely<Schema>({ dialect }),
      hasty: new Kysely<Schema>({ dialect: hasty }),
      release,
    };
  }

  it('is seen by everybody when it is done, before the disk has it; others wait for the disk', async () => {
    const { q, hasty, release } = await onSlowDisk();
    await writeMeta(hasty, 'colour', 'green');
    expect(await readMeta(q, 'colour')).toBe('green');
    let isDurable = false;
    const lasting = writeMeta(q, 'colour', 'blue').then(() => {
      isDurable = true;
    });
    await pause(20);
    expect(await readMeta(hasty, 'colour')).toBe('blue');
    expect(isDurable).toBe(false);
    release();
    await lasting;
  });

  it('may be a transaction: all of it or nothing, and the next lasting one takes it along', async () => {
    const { q, hasty, release } = await onSlowDisk();
    await hasty.transaction().execute((tx) => writeMeta(tx, 'colour', 'green'));
    const failing = hasty.transaction().execute(async (tx) => {
      await writeMeta(tx, 'colour', 'blue');
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    expect(await readMeta(q, 'colour')).toBe('green');
    let isDurable = false;
    const lasting = writeMeta(q, 'size', 'small').then(() => {
      isDurable = true;
    });
    await pause(20);
    expect(isDurable).toBe(false);
    release();
    await lasting;
  });
});

describe('openDatabase', () => {
  it('makes a file that only its owner can read, in WAL mode with full sync', async () => {
    const path = databasePath();
    const { q } = await openTest(path);
    await touch(q);
    for (const file of [path, `${path}-wal`, `${path}-shm`])
      expect(statSync(file).mode & 0o777, file).toBe(0o600);
    expect(await readMeta(q, 'schema')).toBe(String(currentSchema));
    const other = new SQLite(path);
    expect(other.pragma('journal_mode', { simple: true })).toBe('wal');
    other.close();
  });

  it('keeps what was written when it is opened again', async () => {
    const path = databasePath();
    const first = await openDatabase(path);
    await writeMeta(first.q, 'colour', 'green');
    await first.close();
    const second = await openTest(path);
    expect(await readMeta(second.q, 'colour')).toBe('green');
  });

  it.each<[string, (path: string) => void, string, RegExp]>([
    [
      'schema newer than the program',
      (path) => {
        const db = new SQLite(path);
        migrate(db);
        db.prepare("UPDATE meta SET value = '99' WHERE key = 'schema'").run();
        db.close();
      },
      'database-newer',
      /schema 99.*up to 1.*newer reseal/,
    ],
    [
      'no database',
      (path) => writeFileSync(path, 'Dear council,\n'.repeat(200)),
      'database-corrupt',
      /damaged.*restore a backup/,
    ],
    [
      'pages overwritten',
      (path) => {
        const db = new SQLite(path);
        migrate(db);
        db.close();
        const bytes = readFileSync(path);
        bytes.fill(0xff, 4096, 8 * 4096);
        writeFileSync(path, bytes);
      },
      'database-corrupt',
      /damaged.*restore a backup/,
    ],
    [
      "another program's database",
      (path) => {
        const db = new SQLite(path);
        db.exec('CREATE TABLE recipes (title TEXT)');
        db.close();
      },
      'database-foreign',
      /another program/,
    ],
    ['a folder', (path) => mkdirSync(path), 'database-unwritable', /cannot be opened.*check/],
    ['our tables gone', (path) => brokenSchema(path), 'database-corrupt', /damaged/],
  ])('refuses %s with a sentence and a remedy', async (_, make, code, sentence) => {
    const path = databasePath();
    make(path);
    await expect(openDatabase(path)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(sentence),
      data: { path },
    });
  });

  it('reads all of a database to find damage that nothing else meets, unless told not to', async () => {
    const path = databasePath();
    const db = new SQLite(path);
    migrate(db);
    const add = db.prepare("INSERT INTO ledger (at, event, detail) VALUES (1, 'received', ?)");
    for (let n = 0; n < 200; n++) add.run('x'.repeat(2000));
    db.close();
    const bytes = readFileSync(path);
    bytes.fill(0xff, bytes.length - 20 * 4096, bytes.length - 19 * 4096);
    writeFileSync(path, bytes);
    await expect(openDatabase(path)).rejects.toMatchObject({ code: 'database-corrupt' });
    const { q, lost } = await openTest(path, { check: false });
    let told: Error | null = null;
    void lost.then((why) => {
      told = why;
    });
    expect(await readMeta(q, 'changes')).toBe('0');
    expect(told).toBeNull();
    await expect(q.selectFrom('ledger').selectAll().execute()).rejects.toMatchObject({
      code: 'database-corrupt',
    });
    // A daemon ends by this.
    expect(await lost).toMatchObject({ code: 'database-corrupt' });
  });

  it('changes nothing in a foreign database', async () => {
    const path = databasePath();
    const db = new SQLite(path);
    db.exec('CREATE TABLE recipes (title TEXT)');
    db.close();
    const before = readFileSync(path);
    await expect(openDatabase(path)).rejects.toMatchObject({ code: 'database-foreign' });
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  it('names the folder that is missing', async () => {
    const path = join(tempFolder(), 'no', 'reseal.db');
    await expect(openDatabase(path)).rejects.toMatchObject({ code: 'database-unwritable' });
  });

  it('lets two processes open a new file at the same time', async () => {
    const path = databasePath();
    const all = await Promise.all([openTest(path), openTest(path), openTest(path)]);
    for (const { q } of all) expect(await readMeta(q, 'schema')).toBe(String(currentSchema));
  });
});

function brokenSchema(path: string): void {
  const db = new SQLite(path);
  migrate(db);
  db.exec("DELETE FROM meta WHERE key = 'schema'");
  db.close();
}

describe('migrate', () => {
  const first = 'CREATE TABLE a (x INTEGER) STRICT';

  it('runs only the steps that are missing', () => {
    const db = new SQLite(':memory:');
    migrate(db, [first]);
    db.exec('INSERT INTO a VALUES (1)');
    migrate(db, [first, 'ALTER TABLE a ADD COLUMN y INTEGER DEFAULT 7']);
    expect(db.prepare('SELECT x, y FROM a').all()).toEqual([{ x: 1, y: 7 }]);
    expect(db.prepare("SELECT value FROM meta WHERE key = 'schema'").pluck().get()).toBe('2');
  });

  it('takes everything back when a step fails', () => {
    const db = new SQLite(':memory:');
    migrate(db, [first]);
    expect(() => migrate(db, [first, 'CREATE TABLE b (x INTEGER)', 'CREATE TABLE nonsense'])).toThrow();
    expect(db.prepare("SELECT value FROM meta WHERE key = 'schema'").pluck().get()).toBe('1');
    expect(db.prepare("SELECT count(*) FROM sqlite_schema WHERE name = 'b'").pluck().get()).toBe(0);
  });
});

describe('a transaction', () => {
  it('is seen by nobody before it ends, and plain queries wait for it', async () => {
    const { q, write } = await openTest();
    const order: string[] = [];
    let go = () => {};
    const gate = new Promise<void>((resolve) => {
      go = resolve;
    });
    const writing = write(async (tx) => {
      await writeMeta(tx, 'colour', 'green');
      order.push('written');
      await gate;
      order.push('done');
    });
    const reading = readMeta(q, 'colour').then((value) => order.push(`read ${value}`));
    go();
    await Promise.all([writing, reading]);
    expect(order).toEqual(['written', 'done', 'read green']);
  });

  it('leaves nothing behind when its work throws', async () => {
    const { q, write } = await openTest();
    const work = write(async (tx) => {
      await writeMeta(tx, 'colour', 'green');
      throw new Error('changed my mind');
    });
    await expect(work).rejects.toThrow('changed my mind');
    expect(await readMeta(q, 'colour')).toBeNull();
    await write((tx) => writeMeta(tx, 'colour', 'blue'));
    expect(await readMeta(q, 'colour')).toBe('blue');
  });

  it('runs one after the other', async () => {
    const { q, write } = await openTest();
    const add = () =>
      write(async (tx) => {
        const n = Number((await readMeta(tx, 'n')) ?? 0);
        await pause(1);
        await writeMeta(tx, 'n', String(n + 1));
      });
    await Promise.all(Array.from({ length: 20 }, add));
    expect(await readMeta(q, 'n')).toBe('20');
  });

  it('refuses a query that goes past it, which would wait for ever', async () => {
    const { q, write } = await openTest(databasePath(), { patienceMs: 20 });
    await expect(write(() => readMeta(q, 'n'))).rejects.toMatchObject({ code: 'transaction-nested' });
    await expect(write(() => write(async () => 1))).rejects.toMatchObject({ code: 'transaction-nested' });
    expect(await readMeta(q, 'n')).toBeNull();
  });

  it('lets what it started query freely once it is over', async () => {
    const { q, write } = await openTest();
    let later: Promise<string | null> = Promise.resolve(null);
    await write(async (tx) => {
      await writeMeta(tx, 'colour', 'green');
      later = pause(20).then(() => readMeta(q, 'colour'));
    });
    expect(await later).toBe('green');
  });

  it('has ended when the disk has it, a statement alone too, and others go on meanwhile', async () => {
    const { q, write } = await openTest();
    const held: (() => void)[] = [];
    const file = await open(databasePath(), 'w');
    const spy = vi.spyOn(Object.getPrototypeOf(file), 'datasync');
    onTestFinished(() => spy.mockRestore());
    await file.close();
    spy.mockImplementation(() => new Promise<void>((resolve) => held.push(resolve)));
    const ended: string[] = [];
    const first = write((tx) => writeMeta(tx, 'colour', 'green')).then(() => ended.push('transaction'));
    while (held.length === 0) await pause(1);
    // Others see it, and it may yet be lost.
    expect(await readMeta(q, 'colour')).toBe('green');
    expect(ended).toEqual([]);
    held.shift()?.();
    await first;
    const second = writeMeta(q, 'colour', 'blue').then(() => ended.push('statement'));
    while (held.length === 0) await pause(1);
    expect(ended).toEqual(['transaction']);
    held.shift()?.();
    await second;
  });

  it('is required by functions that change rows which belong together', async () => {
    const { q } = await openTest();
    await expect(insertMessages(q, [{ message: message('a'), postings: [] }])).rejects.toMatchObject({
      code: 'transaction-required',
    });
  });

  it('cannot begin after close, and close waits for it', async () => {
    const database = await openTest();
    const writing = database.write(async (tx) => {
      await pause(10);
      await writeMeta(tx, 'colour', 'green');
    });
    await database.close();
    await writing;
    await expect(readMeta(database.q, 'colour')).rejects.toMatchObject({ code: 'database-closed' });
    await expect(database.write((tx) => touch(tx))).rejects.toMatchObject({ code: 'database-closed' });
  });
});

describe('a lock held by another process', () => {
  const insert = "INSERT INTO meta VALUES ('theirs', '1')";

  it('makes writes wait, not fail, while reads and the event loop go on', async () => {
    const path = databasePath();
    const { q, write } = await openTest(path);
    const other = holdTransaction(path, insert);
    expect(await other.hear()).toBe('held');

    const order: string[] = [];
    const single = writeMeta(q, 'single', '1').then(() => order.push('single'));
    const transaction = write((tx) => writeMeta(tx, 'ours', '1')).then(() => order.push('transaction'));
    // Were SQLite left to wait by itself (busy_timeout 5 s or more), each of these turns would take as long.
    for (let turn = 0; turn < 30; turn++) await pause(5);
    expect(await readMeta(q, 'schema')).toBe(String(currentSchema));
    order.push('read');
    expect(order).toEqual(['read']);

    other.say('commit');
    await Promise.all([single, transaction]);
    expect(order[0]).toBe('read');
    expect(await Promise.all(['theirs', 'single', 'ours'].map((key) => readMeta(q, key)))).toEqual([
      '1',
      '1',
      '1',
    ]);
  });

  it('is survived by a transaction that reads before it writes (no SQLITE_BUSY_SNAPSHOT)', async () => {
    const path = databasePath();
    const { q, write } = await openTest(path);
    const writer = startProcess(
      `import SQLite from 'better-sqlite3';
       const db = new SQLite(process.argv[1], { timeout: 10000 });
       const add = db.prepare("UPDATE meta SET value = value + 1 WHERE key = 'changes'");
       console.log('ready');
       process.stdin.once('data', () => {
         for (let i = 0; i < 200; i++) db.transaction(() => add.run()).immediate();
         console.log('done'); process.exit();
       });`,
      [path],
    );
    expect(await writer.hear()).toBe('ready');
    writer.say('go');
    for (let i = 0; i < 100; i++) {
      await write(async (tx) => {
        const before = await changesCounter(tx);
        await touch(tx);
        expect(await changesCounter(tx)).toBe(before + 1);
      });
    }
    expect(await writer.hear()).toBe('done');
    expect(await changesCounter(q)).toBe(300);
  });

  it("is a Fault with a remedy once patience ends, and the writer's turn passes on", async () => {
    const path = databasePath();
    const { q, write } = await openTest(path, { patienceMs: 50 });
    const other = holdTransaction(path, insert);
    await other.hear();
    const code = 'database-busy';
    await expect(write((tx) => touch(tx))).rejects.toMatchObject({
      code,
      message: expect.stringContaining('fuser'),
    });
    await expect(touch(q)).rejects.toMatchObject({ code });
    other.say('commit');
    await other.hear();
    await write((tx) => touch(tx));
    expect(await changesCounter(q)).toBe(1);
  });

  it('is gone with the process that is killed, and what it did with it', async () => {
    const path = databasePath();
    const { q, write } = await openTest(path);
    const other = holdTransaction(path, insert);
    await other.hear();
    const writing = write((tx) => touch(tx));
    await other.kill();
    await writing;
    expect(await readMeta(q, 'theirs')).toBeNull();
    expect(await changesCounter(q)).toBe(1);
  });
});

describe('patiently', () => {
  it('waits longer each time, up to 100 ms, and throws other errors at once', async () => {
    const busy = Object.assign(new Error('locked'), { code: 'SQLITE_BUSY' });
    const waits: number[] = [];
    const wait = async (ms: number) => void waits.push(ms);
    const attempt = patiently(
      () => {
        throw busy;
      },
      { path: 'x', patienceMs: 500, wait },
    );
    await expect(attempt).rejects.toMatchObject({ code: 'database-busy', cause: busy });
    expect(waits).toEqual([5, 10, 20, 40, 80, 100, 100, 100, 100]);
    const fails = () => patiently(() => JSON.parse('{'), { path: 'x', patienceMs: 500, wait });
    await expect(fails()).rejects.toThrow(SyntaxError);
    expect(waits).toHaveLength(9);
  });
});

describe('a full disk', () => {
  it('is a Fault, and the transaction leaves nothing', async () => {
    const path = databasePath();
    const database = await openTest(path);
    await sql`pragma max_page_count = 60`.execute(database.q);
    const filling = database.write(async (tx) => {
      for (let i = 0; i < 100; i++) await writeMeta(tx, `key ${i}`, 'x'.repeat(4000));
    });
    await expect(filling).rejects.toMatchObject({ code: 'database-full' });
    expect(await readMeta(database.q, 'key 0')).toBeNull();
    await touch(database.q);
    expect(await changesCounter(database.q)).toBe(1);
  });
});
