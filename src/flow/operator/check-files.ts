import { access, constants, readdir, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, wordsOf } from '../../base/errors.ts';
import { isTemporary } from '../../base/files.ts';
import { unfinished } from '../lists/list-keys.ts';

/** One thing that was looked at. `text` says what is wrong and what to do; of what is good, what was found. */
export interface Finding {
  readonly level: 'good' | 'warning' | 'problem';
  readonly about: string;
  readonly text: string;
}

/** Makes a finding. */
export function finding(level: Finding['level'], about: string, text: string): Finding {
  return { level, about, text };
}

/** Folders that hold keys or messages must be there, ours, and closed to others. */
export async function checkFolder(
  path: string,
  d: { readonly what: string; readonly need: boolean; readonly uid: number | null },
): Promise<Finding[]> {
  const info = await stat(path).catch((error: unknown) => errnoOf(error) ?? 'unknown error');
  if (info === 'ENOENT') {
    return d.need
      ? [finding('warning', path, `${d.what} is not there yet: it is made when it is needed`)]
      : [];
  }
  if (typeof info === 'string')
    return [
      finding(
        'problem',
        path,
        `${d.what} cannot be looked at (${info}): let reseal's user own it and the folders above`,
      ),
    ];
  if (!info.isDirectory()) return [finding('problem', path, `${d.what} is no folder: move the file away`)];
  if ((info.mode & 0o077) !== 0) {
    return [
      finding(
        'problem',
        path,
        `${d.what} is open to other users (mode ${(info.mode & 0o777).toString(8)}): chmod 700 ${path}`,
      ),
    ];
  }
  if (d.uid !== null && d.uid !== 0 && info.uid !== d.uid) {
    return [finding('problem', path, `${d.what} belongs to user ${info.uid}, not to ${d.uid}: chown it`)];
  }
  return [finding('good', path, `${d.what}: mode and owner are right`)];
}

/** No command takes longer to make keys. */
const keysMadeWithinMs = 60_000;

/** What a command left in a folder of keys, or one below it, when it was killed: there may be a private key in it. */
export async function checkLeftBehind(folder: string, now: number): Promise<Finding[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const found: Finding[] = [];
  for (const entry of entries) {
    const path = join(folder, entry.name);
    const isLeft = isTemporary(entry.name) || entry.name.startsWith(unfinished);
    if (!isLeft) {
      if (entry.isDirectory()) found.push(...(await checkLeftBehind(path, now)));
      continue;
    }
    const info = await stat(path).catch(() => null);
    if (!info || info.ctimeMs > now - keysMadeWithinMs) continue;
    const text = `a command that was killed left it, perhaps with a private key that nobody uses: rm -r ${path}`;
    found.push(finding('warning', path, text));
  }
  return found;
}

const leastFree = 100_000_000;

/** Whether messages still find room below a folder: 100 MB and 1 % of its file system. Nothing of a folder that is not there. */
export async function checkRoom(
  folder: string,
  measure: (path: string) => Promise<Room> = statfs,
): Promise<Finding[]> {
  const room = await measure(folder).catch(() => null);
  // Some network and user-space file systems do not tell their size.
  if (room === null || room.blocks === 0) return [];
  const free = room.bavail * room.bsize;
  const share = room.bavail / room.blocks;
  const text = `${Math.floor(free / 1_000_000)} MB (${(share * 100).toFixed(1)} %) of its file system are free`;
  return free < leastFree || share < 0.01
    ? [finding('problem', folder, `only ${text}: make room before mail must be refused`)]
    : [finding('good', folder, text)];
}

/** Of a file system, in blocks of `bsize` octets: how many there are, and how many are free to us (statfs). */
export interface Room {
  readonly bsize: number;
  readonly blocks: number;
  readonly bavail: number;
}

/** Whether the configuration can be read by the user of the process, and changed by its owner alone. */
export async function checkConfigurationFile(file: string): Promise<Finding> {
  try {
    await access(file, constants.R_OK);
    const { mode } = await stat(file);
    return (mode & 0o022) === 0
      ? finding('good', file, 'the configuration is right')
      : finding('problem', file, `the configuration may be changed by other users: chmod go-w ${file}`);
  } catch (error) {
    const why = errnoOf(error) ?? wordsOf(error);
    return finding(
      'problem',
      file,
      `the configuration cannot be read by the owner of the spool (${why}), so the daemon cannot start: chown or chmod it, and the folders above`,
    );
  }
}
