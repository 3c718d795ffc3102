import { closeSync, fsync as fsyncOf, openSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, readFile, rename, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { systemClock } from './clock.ts';
import { errnoOf } from './errors.ts';

const fsync = promisify(fsyncOf);

/** Makes a folder's entries durable: a rename or unlink in it survives a crash only after this. */
export async function syncFolder(path: string): Promise<void> {
  // Opening and closing change the kernel's memory only: called directly they take less than the way to the thread pool.
  const folder = openSync(path, 'r');
  try {
    await fsync(folder);
  } finally {
    closeSync(folder);
  }
}

/**
 * Replaces a file so that a reader, or a crash, finds the old content or the new, never a part: temporary file in
 * the same folder, fsync, rename, fsync of the folder.
 */
export async function writeDurably(path: string, content: Uint8Array | string, mode = 0o600): Promise<void> {
  await replaceFile(path, content, { mode });
  await syncFolder(dirname(path));
}

/** The same without the fsync of the folder, for many files at once. `at` is the time that the file shall have, ms. */
export async function replaceFile(
  path: string,
  content: Uint8Array | string,
  d: { readonly mode: number; readonly at?: number },
): Promise<void> {
  const temporary = join(dirname(path), `.${process.pid}.${Math.random().toString(36).slice(2)}.tmp`);
  let handle: FileHandle | null = await open(temporary, 'wx', d.mode);
  try {
    await handle.writeFile(content);
    if (d.at !== undefined) await handle.utimes(d.at / 1000, d.at / 1000);
    await handle.sync();
    await handle.close();
    handle = null;
    await rename(temporary, path);
  } catch (error) {
    await handle?.close().catch(() => undefined);
    await unlink(temporary).catch(() => undefined);
    throw error;
  }
}

/** Whether a file's name is one of those under which `replaceFile` writes. */
export const isTemporary = (name: string): boolean => /^\.\d+\.[0-9a-z]+\.tmp$/.test(name);

/**
 * Removes what `replaceFile` left in a folder when its process was killed: temporary files that nobody has touched for
 * `ageMs`. Gives their number; 0 if there is no such folder.
 */
export async function removeTemporary(folder: string, ageMs: number): Promise<number> {
  // The machine's own clock, which files have their times of: by another one, what is being written may look old.
  const before = systemClock.now() - ageMs;
  const names = await readdir(folder).catch(() => []);
  let removed = 0;
  for (const name of names.filter(isTemporary)) {
    const path = join(folder, name);
    // Not mtime: that is set to what the file shall have.
    const found = await stat(path).catch(() => null);
    if (!found || found.ctimeMs >= before) continue;
    await removeIfPresent(path);
    removed++;
  }
  return removed;
}

/** Makes a folder and its parents, readable by their owner only. */
export async function ensureFolder(path: string, mode = 0o700): Promise<void> {
  await mkdir(path, { recursive: true, mode });
}

/** The file's content, or null if there is no such file. */
export async function readIfPresent(path: string): Promise<Buffer | null> {
  try {
    return await readFile(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
}

/** Removes a file; one that is gone already is no error. */
export async function removeIfPresent(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}
