import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { holderOf, lockSpool } from '../../src/store/lock.ts';
import { tempFolder } from '../kit/tmp.ts';
import { t0 } from './fixtures.ts';
import { compileStore, startProcess } from './processes.ts';

const lockPath = () => join(tempFolder(), 'lock');
const holder = (boot: string) => ({ pid: process.pid, boot, since: t0 });

/** A daemon of another process: takes the lock at start, or says why not. */
const daemon = `
  import { lockSpool } from './store/lock.js';
  try {
    // Kept: a lock that nobody holds a reference to is collected, and free.
    globalThis.lock = lockSpool(process.argv[1], { pid: process.pid, boot: 'theirs', since: ${t0} });
    console.log('locked');
  } catch (error) {
    console.log(error.code + ' ' + error.message);
  }
  setInterval(() => {}, 1000);`;

function take(path: string, boot: string) {
  const lock = lockSpool(path, holder(boot));
  onTestFinished(() => lock.release());
  return lock;
}

describe('the spool lock', () => {
  it('refuses a second process and names the first', async () => {
    const path = lockPath();
    const folder = compileStore('lock');
    const other = startProcess(daemon, [path], folder);
    expect(await other.hear()).toBe('locked');
    expect(() => lockSpool(path, holder('ours'))).toThrow(
      expect.objectContaining({
        code: 'spool-locked',
        data: { path, pid: other.pid },
        message: expect.stringContaining(`process id ${other.pid}`),
      }),
    );
    expect(holderOf(path)).toEqual({ pid: other.pid, boot: 'theirs', since: t0 });

    // kill -9 leaves the file behind; it holds nobody up.
    await other.kill();
    expect(holderOf(path)).toBeNull();
    take(path, 'ours');
    expect(holderOf(path)).toEqual(holder('ours'));
    const third = startProcess(daemon, [path], folder);
    expect(await third.hear()).toMatch(new RegExp(`^spool-locked .*process id ${process.pid}\\)`));
  });

  it('is given to one of many that start at the same time', async () => {
    const path = lockPath();
    const folder = compileStore('lock');
    const words = await Promise.all([1, 2, 3, 4].map(() => startProcess(daemon, [path], folder).hear()));
    expect(words.filter((word) => word === 'locked')).toHaveLength(1);
    expect(words.filter((word) => word.startsWith('spool-locked'))).toHaveLength(3);
  });

  it('refuses a second daemon in the same process, and is free after release', () => {
    const path = lockPath();
    expect(holderOf(path)).toBeNull();
    const first = take(path, 'first');
    expect(() => lockSpool(path, holder('second'))).toThrow(
      expect.objectContaining({ code: 'spool-locked' }),
    );
    expect(holderOf(path)?.boot).toBe('first');
    first.release();
    first.release();
    expect(existsSync(path)).toBe(false);
    expect(holderOf(path)).toBeNull();
    take(path, 'second');
    expect(holderOf(path)?.boot).toBe('second');
  });
});
