// What the long runs (fuzz, torture) have in common: a folder of their own, test code compiled into it, numbers as options.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** A folder that goes when the process ends; of one that is to be kept only the compiled code in `js` goes. */
export function ownFolder(name) {
  const folder = mkdtempSync(join(tmpdir(), `reseal-${name}-`));
  let isKept = false;
  process.on('exit', () => {
    rmSync(join(folder, 'js'), { recursive: true, force: true });
    if (!isKept) rmSync(folder, { recursive: true, force: true });
  });
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));
  return {
    folder,
    keep: () => {
      isKept = true;
    },
  };
}

/** test/NAME and what it imports, as JavaScript in `out`: dist has the program only. Ends the process if that fails. */
export function compileTests(name, out) {
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const args = ['-p', join(root, 'test', name, 'tsconfig.json'), '--outDir', out];
  const { status, stdout, stderr } = spawnSync(process.execPath, [tsc, ...args], { encoding: 'utf8' });
  if (status !== 0) fail(name, 70, `test/${name} does not compile:\n${stdout}${stderr}`);
  writeFileSync(join(out, 'package.json'), '{"type":"module"}');
}

/** The option as a whole number from `least` on. */
export function numberIn(values, name, least) {
  const value = Number(values[name]);
  if (!Number.isSafeInteger(value) || value < least)
    throw new Error(`--${name} takes a number from ${least} on`);
  return value;
}

/** Says what is wrong and ends the process. */
export function fail(program, code, words) {
  console.error(`${program}: ${words}`);
  process.exit(code);
}
