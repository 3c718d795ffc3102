import { spawnSync } from 'node:child_process';
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { hasProgram } from './needs.ts';
import { tempFolder } from './tmp.ts';

export type DiskCall = 'create' | 'write' | 'sync' | 'truncate' | 'rename' | 'unlink';

/** A disk that does as told, between a program and its C library: for Node's files and SQLite's. */
export interface FailingDisk {
  /** For the program under test. */
  readonly env: Readonly<Record<string, string>>;
  /** From now on these calls fail on paths that contain `path` (`…$`: end with it), but for the first `skip` of them. */
  fail(calls: readonly DiskCall[], code: 'ENOSPC' | 'EROFS' | 'EIO', path: string, skip?: number): void;
  /** The process is killed at one of these calls, before it is carried out. */
  kill(calls: readonly DiskCall[], path: string, skip: number): void;
  /** All is well again. */
  mend(): void;
}

/** Whether there is a C compiler to make it with, and Linux to put it in place. */
export const canFail = process.platform === 'linux' && hasProgram('cc');

export function makeFailingDisk(): FailingDisk {
  const folder = tempFolder();
  const library = join(folder, 'failing-disk.so');
  const source = join(import.meta.dirname, 'failing-disk.c');
  const made = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, source, '-ldl']);
  if (made.status !== 0) throw new Error(`cc said: ${made.stderr}`);
  const order = join(folder, 'order');
  const write = (calls: readonly DiskCall[], code: number, path: string, skip: number): void => {
    writeFileSync(`${order}.new`, `${calls.join(',')} ${code} ${path} ${skip}\n`);
    renameSync(`${order}.new`, order);
  };
  return {
    env: { LD_PRELOAD: library, FAILING_DISK: order },
    fail: (calls, code, path, skip = 0) => write(calls, constants.errno[code], path, skip),
    kill: (calls, path, skip) => write(calls, -constants.signals.SIGKILL, path, skip),
    mend: () => rmSync(order, { force: true }),
  };
}
