import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, renameSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { runFolder } from '../kit/tmp.ts';

/**
 * Compiles src/cms and what it imports into the run's folder and gives the path, for tests that need a process of their
 * own: Node 20 runs no TypeScript. Types are checked elsewhere.
 */
export function compiled(): string {
  const made = join(runFolder(), 'cms-compiled');
  if (existsSync(made)) return made;
  const folder = mkdtempSync(join(runFolder(), 'tsc-'));
  const config = {
    extends: resolve('tsconfig.build.json'),
    compilerOptions: {
      rootDir: resolve('src'),
      outDir: join(folder, 'out'),
      typeRoots: [resolve('node_modules/@types')],
    },
    include: [resolve('src/cms')],
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
  spawnSync(process.execPath, [resolve('node_modules/typescript/bin/tsc'), '-p', folder]);
  writeFileSync(join(folder, 'out/package.json'), '{"type":"module"}');
  // Another test file may have been as quick.
  if (!existsSync(made)) renameSync(join(folder, 'out'), made);
  return made;
}

/** Linux's own figure: `resourceUsage().maxRSS` of a child begins with what its parent had. */
const peak = `const { readFileSync: readStatus } = await import('node:fs');
  const peak = () => Number(/VmHWM:\\s+(\\d+) kB/.exec(readStatus('/proc/self/status', 'latin1'))[1]) * 1024;`;

/**
 * Runs a module of JavaScript in a process of its own and gives the JSON that it prints. `import(src + '/cms/x.js')`
 * finds the compiled sources; `peak()` is the most memory that the process ever had, in octets.
 */
export function runModule<T>(program: string, flags: readonly string[] = []): T {
  const source = `const src = ${JSON.stringify(compiled())};\n${peak}\n${program}`;
  const args = [...flags, '--input-type=module', '--eval', source];
  return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })) as T;
}
