import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  ensureFolder,
  readIfPresent,
  removeIfPresent,
  removeTemporary,
  syncFolder,
  writeDurably,
} from '../../src/base/files.ts';
import { tempFolder } from '../kit/tmp.ts';

const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8);

describe('removeTemporary', () => {
  it('removes what a killed process left of writeDurably, and nothing that may be in work or is not its own', async () => {
    const folder = tempFolder();
    const kept = ['alice@example.org', '.hidden', 'x.tmp', '.a.b.tmp'];
    for (const name of [...kept, '.4711.k3x9.tmp']) writeFileSync(join(folder, name), '');
    expect(await removeTemporary(folder, 60_000)).toBe(0);
    expect(await removeTemporary(folder, -60_000)).toBe(1);
    expect(readdirSync(folder).sort()).toEqual(kept.sort());
    expect(await removeTemporary(join(folder, 'missing'), 0)).toBe(0);
  });
});

describe('writeDurably', () => {
  it('writes a file that only its owner reads, and replaces it', async () => {
    const folder = tempFolder();
    const path = join(folder, 'private_key');
    await writeDurably(path, 'first');
    await writeDurably(path, Buffer.from('second'));
    expect(readFileSync(path, 'utf8')).toBe('second');
    expect(modeOf(path)).toBe('600');
    expect(readdirSync(folder)).toEqual(['private_key']);
  });

  it('takes the mode that is asked for, not that of the file before', async () => {
    const path = join(tempFolder(), 'cert.pem');
    writeFileSync(path, 'old', { mode: 0o640 });
    await writeDurably(path, 'new', 0o644);
    expect(modeOf(path)).toBe('644');
  });

  it('leaves the old file and no other when it fails', async () => {
    const folder = tempFolder();
    mkdirSync(join(folder, 'taken'));
    writeFileSync(join(folder, 'taken', 'inside'), 'old');
    await expect(writeDurably(join(folder, 'taken'), 'new')).rejects.toMatchObject({ code: 'EISDIR' });
    expect(readdirSync(folder)).toEqual(['taken']);
    expect(readFileSync(join(folder, 'taken', 'inside'), 'utf8')).toBe('old');
    await expect(writeDurably(join(folder, 'missing', 'file'), 'new')).rejects.toMatchObject({
      code: 'ENOENT',
    });
  });

  it('lets a reader see the old content or the new, never a part', async () => {
    const path = join(tempFolder(), 'file');
    const contents = ['a', 'b'].map((letter) => letter.repeat(300_000));
    await writeDurably(path, contents[0] ?? '');
    let writing = true;
    const seen = new Set<string>();
    const reader = (async () => {
      while (writing) seen.add((await readIfPresent(path))?.toString() ?? 'nothing');
    })();
    for (let i = 0; i < 20; i++) await writeDurably(path, contents[i % 2] ?? '');
    writing = false;
    await reader;
    expect([...seen].filter((text) => !contents.includes(text)).map((text) => text.length)).toEqual([]);
  });
});

describe('files that may not be there', () => {
  it('are read as null and removed without a word', async () => {
    const path = join(tempFolder(), 'none');
    expect(await readIfPresent(path)).toBeNull();
    await expect(removeIfPresent(path)).resolves.toBeUndefined();
    await expect(syncFolder(join(path, 'deeper'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('but other troubles are told', async () => {
    const folder = tempFolder();
    writeFileSync(join(folder, 'file'), '');
    await expect(readIfPresent(folder)).rejects.toMatchObject({ code: 'EISDIR' });
    await expect(readIfPresent(join(folder, 'file', 'below'))).rejects.toMatchObject({ code: 'ENOTDIR' });
  });

  it('folders are made with their parents for their owner alone', async () => {
    const path = join(tempFolder(), 'a', 'b');
    await ensureFolder(path);
    await ensureFolder(path);
    expect([modeOf(path), modeOf(join(path, '..'))]).toEqual(['700', '700']);
  });
});
