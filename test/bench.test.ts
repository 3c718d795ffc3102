import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { hasProgram, needs } from './kit/needs.ts';

const bench = (...args: string[]) =>
  spawnSync(process.execPath, ['bin/bench.mjs', ...args], {
    cwd: new URL('..', import.meta.url),
    encoding: 'utf8',
    timeout: 100_000,
  });

it('the bench is asked for its options with --help, and told what it does not know', () => {
  const asked = bench('--help');
  expect([asked.status, asked.stderr]).toEqual([0, '']);
  expect(asked.stdout).toMatch(/^usage: npm run bench -- .*--only opening\|.*\n$/);
  const mistaken = bench('--hepl');
  expect([mistaken.status, mistaken.stdout]).toEqual([64, '']);
  expect(mistaken.stderr).toMatch(/^bench: Unknown option '--hepl'; usage: /);
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

  it.skipIf(!needs('smtp-sink and smtp-source of Postfix', hasProgram('smtp-sink')))(
    'prints what a copy costs the daemon, beside smtp-source',
    () => {
      const { status, stdout, stderr } = bench('--only', 'end-to-end', '--case', '10x10kB', '--runs', '1');
      expect(stderr).not.toMatch(/error/i);
      expect(status).toBe(0);
      for (const row of [
        /^10 members, 10 kB +[\d.]+ copies\/s +smtp-source: [\d.]+ copies\/s +[\d./]+ +>= 0.8 (met|MISSED) +\d+ ms, \d+ MB\/s$/m,
        /^10 members, 10 kB +[\d.]+ ms CPU\/copy +smtp-source: [\d.]+ ms .*< 0.5 ms (met|MISSED) +user [\d.]+, system [\d.]+;/m,
        /^10 members, 10 kB +[\d.]+ ms to the first copy +smtp-source, one copy: [\d.]+ ms .*< 100 ms (met|MISSED)$/m,
        /^10 members, 10 kB +[\d.]+ MB peak memory +before the first post: [\d.]+ MB/m,
      ])
        expect(stdout).toMatch(row);
    },
    120_000,
  );

  it.skipIf(!needs('Postfix and root to start one', hasProgram('postfix') && process.getuid?.() === 0))(
    'prints how much is accepted in a second, beside Postfix',
    () => {
      const { status, stdout, stderr } = bench('--quick', '--only', 'intake', '--runs', '1');
      expect(stderr).not.toMatch(/error/i);
      expect(status).toBe(0);
      for (const what of ['1 session', '10 sessions', '50 sessions', '10 sessions, one message each'])
        expect(stdout).toMatch(
          new RegExp(
            `^${what} +[\\d.]+ messages/s +Postfix, on hold: [\\d.]+ messages/s +[\\d./]+ +>= 1 (met|MISSED)`,
            'm',
          ),
        );
    },
    120_000,
  );

  it.skipIf(!needs('smtp-sink and smtp-source of Postfix', hasProgram('smtp-sink')))(
    'prints how long a small post waits for a large one',
    () => {
      const { status, stdout, stderr } = bench('--quick', '--only', 'mixed');
      expect(stderr).not.toMatch(/error/i);
      expect(status).toBe(0);
      expect(stdout).toMatch(
        /^250 to the last copy +[\d.]+ ms +alone: [\d.]+ ms +[\d./]+ +delayed < 1 s (met|MISSED) +at most \d+ ms in \d+ tries$/m,
      );
    },
    120_000,
  );

  it.each([[['--only', 'nothing']], [['--fast']], [['more']], [['--case', '5x5']], [['--runs', '0']]])(
    'refuses %j',
    (args) => {
      const { status, stderr } = bench(...args);
      expect(status).toBe(64);
      expect(stderr).toContain('usage: npm run bench -- [--quick] [--json]');
    },
  );
});
