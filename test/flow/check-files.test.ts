import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { checkLeftBehind } from '../../src/flow/operator/check-files.ts';
import { tempFolder } from '../kit/tmp.ts';
import { minute } from './parts.ts';

it('what a killed command left among the keys is told, when none can be writing it any more', async () => {
  const folder = tempFolder();
  const team = join(folder, 'team@lists.example');
  mkdirSync(join(folder, '.new-a1B2c3'));
  mkdirSync(team);
  writeFileSync(join(folder, '.new-a1B2c3', 'private_key'), '');
  for (const name of ['.4711.k3x9.tmp', 'private_key', '.hidden']) writeFileSync(join(team, name), '');
  expect(await checkLeftBehind(folder, Date.now())).toEqual([]);
  const found = await checkLeftBehind(folder, Date.now() + 2 * minute);
  expect(found.map(({ level, about }) => [level, about]).sort()).toEqual([
    ['warning', join(folder, '.new-a1B2c3')],
    ['warning', join(team, '.4711.k3x9.tmp')],
  ]);
  expect(found[0]?.text).toMatch(/a command that was killed left it, .*: rm -r /);
  expect(await checkLeftBehind(join(folder, 'missing'), Date.now())).toEqual([]);
});
