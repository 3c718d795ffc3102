import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { parseSync } from 'oxc-parser';
import { describe, expect, it } from 'vitest';

// The engine's tests run on Node versions that better-sqlite3 is not built for: nothing that they load may load the store.

const root = resolve(import.meta.dirname, '..');
const script = readFileSync(join(root, '.ci/run'), 'utf8');
const folders = (/^engine=\((.*)\)$/m.exec(script)?.[1] ?? '').split(' ');

/** What a file loads when it runs; `import type` and types among what is imported load nothing. */
function loaded(path: string): string[] {
  const { staticImports, staticExports, dynamicImports } = parseSync(path, readFileSync(path, 'utf8')).module;
  const text = readFileSync(path, 'utf8');
  return [
    ...staticImports
      .filter(({ entries }) => entries.length === 0 || entries.some((entry) => !entry.isType))
      .map(({ moduleRequest }) => moduleRequest.value),
    ...staticExports.flatMap(({ entries }) =>
      entries.flatMap((entry) => (entry.isType || !entry.moduleRequest ? [] : [entry.moduleRequest.value])),
    ),
    ...dynamicImports.map(({ moduleRequest }) =>
      text.slice(moduleRequest.start, moduleRequest.end).replace(/^['"]|['"]$/g, ''),
    ),
  ];
}

/** How a file comes to load the store: the files on the way, or null. */
function wayToStore(from: string, seen: Set<string>): string[] | null {
  for (const name of loaded(from)) {
    if (name === 'better-sqlite3' || name === 'kysely') return [relative(root, from), name];
    if (!name.startsWith('.')) continue;
    const path = resolve(dirname(from), name);
    if (seen.has(path) || !/\.ts$/.test(path) || !existsSync(path)) continue;
    seen.add(path);
    const further = wayToStore(path, seen);
    if (further) return [relative(root, from), ...further];
  }
  return null;
}

const filesBelow = (folder: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => join(root, folder, name));

describe("the engine's tests", () => {
  it.each([20, 22, 24])('run on Node %i too', (version) => {
    expect(/^for version in (.*); do$/m.exec(script)?.[1]?.split(' ')).toContain(String(version));
  });

  it.each(folders)('in %s load nothing of the store', (folder) => {
    const files = filesBelow(folder);
    expect(files.length).toBeGreaterThan(0);
    expect(files.map((file) => wayToStore(file, new Set([file]))).filter((way) => way !== null)).toEqual([]);
  });

  it('are told from tests that do', () => {
    const file = join(root, 'test/store/lists.test.ts');
    expect(wayToStore(file, new Set([file]))?.at(-1)).toMatch(/^(better-sqlite3|kysely)$/);
  });
});
