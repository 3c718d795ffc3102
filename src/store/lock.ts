import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import SQLite from 'better-sqlite3';
import { sqliteCodeOf } from './dialect.ts';
import { storeFault } from './faults.ts';

export interface LockHolder {
  readonly pid: number;
  /** The boot id of the daemon's start. */
  readonly boot: string;
  /** When it took the lock. */
  readonly since: number;
}

export interface SpoolLock {
  release(): void;
}

/**
 * Makes this process the only daemon of a spool until it ends or `release` is called. `path` is `spool/lock`: it tells
 * people who holds the lock. Fault: 'spool-locked' naming the other process.
 *
 * The lock itself is SQLite's write lock on `<path>.db`, an empty database, and is kept by the kernel as long as the
 * process lives: after `kill -9`, or in a new container, it is free at once, and no process id that was given out again
 * keeps it. (A file with a pid in it has to be judged stale, and two starts that judge at the same time both win.)
 * Do not open the `.db` file by other means in the same process: closing it would drop the lock, for POSIX locks
 * belong to the process.
 */
export function lockSpool(path: string, holder: LockHolder): SpoolLock {
  const lock = tryLock(path);
  if (lock === null) throw storeFault('spool-locked', { path, pid: lastHolder(path)?.pid ?? null });
  try {
    // By rename, so that who is refused meanwhile reads the whole of it.
    writeFileSync(`${path}.new`, `${JSON.stringify(holder)}\n`, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  } catch (error) {
    lock.close();
    throw error;
  }
  return {
    release: () => {
      if (lock.open) rmSync(path, { force: true });
      lock.close();
    },
  };
}

/** Who holds the lock now, or null if nobody does: for `status`. */
export function holderOf(path: string): LockHolder | null {
  const lock = tryLock(path);
  if (lock === null) return lastHolder(path);
  lock.close();
  return null;
}

/** The locked database, or null if it is locked already. */
function tryLock(path: string): SQLite.Database | null {
  const handle = new SQLite(`${path}.db`, { timeout: 0 });
  try {
    handle.exec('BEGIN IMMEDIATE');
    return handle;
  } catch (error) {
    handle.close();
    if (sqliteCodeOf(error)?.startsWith('SQLITE_BUSY')) return null;
    throw error;
  }
}

function lastHolder(path: string): LockHolder | null {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return null;
  }
}
