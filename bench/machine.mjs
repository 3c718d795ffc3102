// What the figures were measured on.
import { execFileSync } from 'node:child_process';
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { arch, cpus, loadavg, platform, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { medianTime } from './figures.mjs';

/** Cores, memory, versions, the load by others when the bench began, and what one fsync costs where it runs. */
export async function describeMachine() {
  return {
    cores: cpus().length,
    cpu: cpus()[0]?.model ?? 'unknown',
    memoryGB: Math.round(totalmem() / 1e9),
    system: `${platform()} ${release()} ${arch()}`,
    node: process.versions.node,
    nodeOpenssl: process.versions.openssl,
    openssl: execFileSync('openssl', ['version'], { encoding: 'utf8' }).trim(),
    loadBefore: Number((loadavg()[0] ?? 0).toFixed(2)),
    fsyncMs: Number((await fsyncTime()).toFixed(2)),
  };
}

async function fsyncTime() {
  const folder = mkdtempSync(join(tmpdir(), 'reseal-bench-'));
  const file = openSync(join(folder, 'fsync'), 'w');
  try {
    return await medianTime(15, () => {
      writeSync(file, Buffer.alloc(4096, 1));
      fsyncSync(file);
    });
  } finally {
    closeSync(file);
    rmSync(folder, { recursive: true });
  }
}
