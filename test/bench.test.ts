import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { hasProgram, needs } from './kit/needs.ts';

const bench = (...args: string[]) =>
  spawnSync(process.execPath, ['bin/bench.mjs', ...args], {
    cwd: new URL('..', import.meta.url),
    encoding: 'utf8',
    timeout: 100_000,
  });

describe.skipIf(!needs('openssl', hasProgram('openssl')))('the bench', () => {
  it('prints each figure of sealing beside its yardstick, and the machine', () => {
    const { status, stdout, stderr } = bench('--quick', '--only', 'sealing');
    expect(stderr).not.toMatch(/error/i);
    expect(status).toBe(0);
    expect(stdout).toMatch(
      /^machine: \d+ cores, .+\nnode [\d.]+ \(OpenSSL .+\), OpenSSL .+ one fsync: [\d.]+ ms\n/,
    );
    for (const row of [
      /^10 kB, keys cached +[\d.]+ µs +openssl cms -encrypt: [\d.]+ µs +[\d./]+ +< 100 µs (met|MISSED)$/m,
      /^1 MB, keys cached +[\d.]+ µs +own code, per member: [\d.]+ µs +[\d./]+$/m,
      /^1 MB, keys cached +[\d.]+ µs +10 kB: [\d.]+ µs +[\d./]+ +<= 2 times (met|MISSED)$/m,
      /^10 kB, keys not cached +[\d.]+ µs +keys cached: [\d.]+ µs +[\d./]+$/m,
    ])
      expect(stdout).toMatch(row);
    expect(stdout).not.toContain('End to end');
  }, 120_000);

  it('prints how much is verified and opened in a second, and paths validated, beside openssl', () => {
    const { status, stdout, stderr } = bench('--quick', '--only', 'opening');
    expect(stderr).not.toMatch(/error/i);
    expect(status).toBe(0);
    for (const row of [
      /^verify 10 kB +[\d.]+ messages\/s +openssl cms -verify: [\d.]+ messages\/s +[\d.]+ +>= 5 times +(met|MISSED)$/m,
      /^open 10 kB +[\d.]+ messages\/s +openssl cms -decrypt: [\d.]+ messages\/s +[\d.]+ +>= 5 times +(met|MISSED)$/m,
      /^verify 1 MB +[\d.]+ messages\/s +openssl cms -verify: [\d.]+ messages\/s/m,
      /^open 1 MB +[\d.]+ messages\/s +openssl cms -decrypt: [\d.]+ messages\/s/m,
      /^path validation +[\d.]+ paths\/s +openssl verify: [\d.]+ paths\/s/m,
    ])
      expect(stdout).toMatch(row);
    expect(stdout).not.toContain('Sealing');
  }, 120_000);

  it.each([[['--only', 'nothing']], [['--fast']], [['more']]])('refuses %j', (args) => {
    const { status, stderr } = bench(...args);
    expect(status).toBe(64);
    expect(stderr).toContain('usage: bench [--quick] [--json]');
  });
});
