import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { tempFolder } from '../kit/tmp.ts';

// A command that makes keys dies at each of its moments; who runs it again gets what he asked for.

const project = fileURLToPath(new URL('../../', import.meta.url));
const address = 'team@lists.example';

interface Ran {
  readonly status: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A new site; its commands die at `point`, if one is named. */
function site() {
  const root = tempFolder();
  const notes = tempFolder();
  mkdirSync(join(root, 'etc'), { mode: 0o700 });
  writeFileSync(join(root, 'etc/reseal.yaml'), 'hostname: lists.example\n');
  chmodSync(join(root, 'etc/reseal.yaml'), 0o600);
  const run = (args: readonly string[], point = 'none'): Ran => {
    const [seen, fired, disk] = ['seen', 'fired', 'disk'].map((name) => join(notes, name));
    const order = { root, seen, fired, disk, kill: { point, nth: 1 } };
    return spawnSync(
      process.execPath,
      [
        '--import',
        `${project}test/kit/kill-points.mjs`,
        `${project}dist/cli/main.js`,
        '--root',
        root,
        ...args,
      ],
      { encoding: 'utf8', env: { ...process.env, RESEAL_KILL_POINTS: JSON.stringify(order) } },
    );
  };
  return { root, run, points: () => readFileSync(join(notes, 'seen'), 'utf8').split('\n').filter(Boolean) };
}

const create = ['list', 'create', address, '--key', 'p-256', '--yes', '--owner', 'olga@example.org'];

describe('list create', () => {
  const whole = site();
  expect(whole.run(create)).toMatchObject({ status: 0 });
  // The fsyncs and renames of keys, and what tells the database of them; before one is after the one before.
  const points = whole.points().filter((one) => /^(after|amid) .*(etc\/lists|commit)/.test(one));

  it('has moments at which it may die', () => {
    expect(points.length).toBeGreaterThan(7);
    expect(points).toContain('after rename to etc/lists/*');
  });

  it.each(points)('killed %s: once more makes the list, with keys that are its own', (point) => {
    const { root, run } = site();
    expect(run(create, point).signal).toBe('SIGKILL');
    const again = run(create);
    const exists = /exists|already/.test(again.stderr);
    expect([again.status === 0 || exists, again.stderr]).toEqual([true, again.stderr]);
    const folder = join(root, 'etc/lists', address);
    expect(statSync(join(folder, 'private_key')).mode & 0o777).toBe(0o600);
    expect(existsSync(join(folder, 'cert.pem'))).toBe(true);
    expect(run(['check']).stdout).toContain(`${address}: key pair and certificate are right`);
    // What may be left is named so that `check` finds it when it is old enough (test/flow/check-files.test.ts).
    const left = readdirSync(join(root, 'etc/lists')).filter((name) => name !== address);
    expect(left.filter((name) => !name.startsWith('.new-'))).toEqual([]);
  });
});
