import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join, relative } from 'node:path';
import { canFail } from './failing-disk.ts';
import { tempFolder } from './tmp.ts';

/** A disk that after a power cut has what was made durable, and nothing else: for Node's files and SQLite's. */
export interface ForgetfulDisk {
  /** For the program under test. */
  readonly env: Readonly<Record<string, string>>;
  /** Takes all that is below the root for durable; to be called while nothing writes there. */
  begin(): void;
  /** The power is cut: content that was never fsynced is gone, and so are names that no fsync of a folder followed. */
  cut(): void;
}

/** Whether it can be made here: as `canFail`, on a file system that knows when a file was made. */
export function canForget(): boolean {
  return canFail && statSync(tempFolder(), { bigint: true }).birthtimeNs > 0n;
}

/** The disk below `root`. */
export function makeForgetfulDisk(root: string): ForgetfulDisk {
  const library = join(tempFolder(), 'forgetful-disk.so');
  const source = join(import.meta.dirname, 'forgetful-disk.c');
  const made = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, source, '-ldl', '-lpthread']);
  if (made.status !== 0) throw new Error(`cc said: ${made.stderr}`);
  const shadow = tempFolder();
  return {
    env: { LD_PRELOAD: library, FORGETFUL_DISK: shadow, FORGETFUL_ROOT: root },
    begin() {
      rmSync(shadow, { recursive: true });
      mkdirSync(shadow);
      const names = filesBelow(root).map((path) => {
        const { ino, birthtimeNs, mode, mtimeMs } = statSync(path, { bigint: true });
        const key = `${ino}.${birthtimeNs}`;
        const durable = join(shadow, key);
        // A database is written in place; other files are not touched again. One file may have two names.
        if (path.includes('.db')) copyFileSync(path, durable);
        else if (!existsSync(durable)) linkSync(path, durable);
        const permissions = (Number(mode) & 0o7777).toString(8);
        return `${relative(root, path)}\t${key}\t${permissions}\t${Number(mtimeMs) / 1000}\n`;
      });
      writeFileSync(join(shadow, 'names'), names.join(''));
    },
    cut() {
      const names = readFileSync(join(shadow, 'names'), 'utf8').split('\n').filter(Boolean);
      for (const path of filesBelow(root)) rmSync(path);
      for (const line of names) {
        const [name = '', key = '', mode = '', seconds = ''] = line.split('\t');
        const [path, durable] = [join(root, name), join(shadow, key)];
        if (existsSync(durable)) copyFileSync(durable, path);
        else writeFileSync(path, '');
        chmodSync(path, Number.parseInt(mode, 8));
        utimesSync(path, Number(seconds), Number(seconds));
      }
    },
  };
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
