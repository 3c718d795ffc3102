import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import SQLite from 'better-sqlite3';
import { expect, it } from 'vitest';
import { canForget, makeForgetfulDisk } from './forgetful-disk.ts';
import { needs } from './needs.ts';
import { tempFolder } from './tmp.ts';

const program = `
  import { open, rename, rm } from 'node:fs/promises';
  import SQLite from ${JSON.stringify(createRequire(import.meta.url).resolve('better-sqlite3'))};
  const write = async (name, text, sync) => {
    const file = await open(name, 'a');
    await file.writeFile(text);
    if (sync) await file.sync();
    await file.close();
  };
  const syncFolder = async (path) => {
    const folder = await open(path, 'r');
    await folder.sync();
    await folder.close();
  };
  await write('in/durable', 'all of it', true);
  await write('in/content-lost', 'not synced', false);
  await write('in/grows', 'first', true);
  await write('in/grows', ', second', false);
  await write('in/moves', 'moves', true);
  await rm('in/was-there');
  await syncFolder('in');
  const database = new SQLite('x.db');
  database.pragma('synchronous = FULL');
  database.exec('insert into t values (2)');
  database.pragma('synchronous = NORMAL');
  database.exec('insert into t values (3)');
  await write('in/name-lost', 'synced, but not its name', true);
  await rename('in/moves', 'out/moved');
  await rm('in/comes-back');
  process.kill(process.pid, 'SIGKILL');
`;

it.skipIf(!needs('Linux, a C compiler and times of birth', canForget()))(
  'a power cut leaves what was fsynced, under the names that a folder had when it was fsynced',
  () => {
    const root = tempFolder();
    for (const name of ['in', 'out']) mkdirSync(join(root, name));
    for (const name of ['was-there', 'comes-back']) writeFileSync(join(root, 'in', name), 'old');
    const database = new SQLite(join(root, 'x.db'));
    database.pragma('journal_mode = WAL');
    database.exec('create table t (n integer); insert into t values (1)');
    const disk = makeForgetfulDisk(root);
    disk.begin();
    const { signal, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      cwd: root,
      env: { ...process.env, ...disk.env },
      encoding: 'utf8',
    });
    expect(signal, stderr).toBe('SIGKILL');
    database.close();
    disk.cut();
    const found = readdirSync(join(root, 'in'));
    const content = Object.fromEntries(
      found.sort().map((name) => [name, readFileSync(join(root, 'in', name), 'utf8')]),
    );
    expect(content).toEqual({
      'comes-back': 'old',
      'content-lost': '',
      durable: 'all of it',
      grows: 'first',
      moves: 'moves',
    });
    expect(readdirSync(join(root, 'out'))).toEqual([]);
    const left = new SQLite(join(root, 'x.db'));
    expect(left.prepare('select n from t').all()).toEqual([{ n: 1 }, { n: 2 }]);
    left.close();
  },
);
