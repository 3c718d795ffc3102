import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import {
  brandBreaches,
  cycles,
  longFiles,
  maxLines,
  missingImports,
  packageBreaches,
  rankBreaches,
  readmeBreaches,
  readSource,
  roomBreaches,
  rooms,
  type SourceFile,
  useBreaches,
} from './kit/architecture.ts';

const project = fileURLToPath(new URL('..', import.meta.url));
const filesUnder = (folder: string): string[] =>
  readdirSync(join(project, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(project.length));

const rules = {
  rankBreaches,
  roomBreaches,
  missingImports,
  cycles,
  longFiles,
  brandBreaches,
  packageBreaches,
  useBreaches,
};

describe('the source of reseal', () => {
  const paths = filesUnder('src/');
  const files = paths
    .filter((path) => path.endsWith('.ts'))
    .map((path) => readSource(path.slice('src/'.length), readFileSync(join(project, path), 'utf8')));
  const readmes = new Map(
    paths
      .filter((path) => path.endsWith('/README.md'))
      .map((path) => [dirname(path).slice('src/'.length), readFileSync(join(project, path), 'utf8')]),
  );

  it('is found', () => expect(files.map((file) => file.path)).toContain('base/bytes.ts'));
  it.each(Object.entries(rules))('has no %s', (_, rule) => expect(rule(files)).toEqual([]));
  it('has a README.md of one screen in each folder and room, which names its files and rooms', () =>
    expect(readmeBreaches(files, readmes)).toEqual([]));

  it('names rules that stand in docs/rules.md', () => {
    const stands = new Set(
      [...readFileSync(join(project, 'docs/rules.md'), 'utf8').matchAll(/^(\d+)\. /gm)].map(([, n]) => n),
    );
    const named = ['src/', 'test/', 'bin/'].flatMap(filesUnder).flatMap((path) => {
      const text = readFileSync(join(project, path), 'latin1');
      return [...text.matchAll(/\bRULES (\d+)/g)].map(([, n]) => ({ path, n }));
    });
    expect(named.length).toBeGreaterThan(100);
    expect(named.filter(({ n }) => !stands.has(n))).toEqual([]);
  });

  it('names no place of the machine it was written on', () => {
    const machine = /(^|[^a-z.])\/(wor[k]|far[m])\/[a-z.]|https?:\/\/registr[y]\./;
    const texts = ['src/', 'test/', 'bin/', 'etc/', '.ci/'].flatMap(filesUnder);
    expect(texts.filter((path) => machine.test(readFileSync(join(project, path), 'latin1')))).toEqual([]);
  });
});

describe('the rules see', () => {
  const graph = (sources: Record<string, string>): SourceFile[] =>
    Object.entries(sources).map(([path, text]) => readSource(path, text));
  const clock = { 'base/clock.ts': 'export const now = () => Date.now();' };

  it('nothing in a good graph', () => {
    const good = graph({
      ...clock,
      'base/bytes.ts': 'export const brandSealed = 1; export class Plaintext { expose() {} }',
      'mime/a.ts':
        "import { now } from '../base/clock.ts'; import { b } from './b.ts'; export const a = [now, b];",
      'mime/b.ts': 'export const b: unknown = new Date(0);',
      'smime/seal.ts':
        "import { brandSealed } from '../base/bytes.ts'; export const s = (p: P) => [p.expose(), brandSealed];",
      'flow/mail/notify.ts': "import './mail.ts'; import '../lists/list.ts'; import '../../base/clock.ts';",
      'flow/mail/mail.ts': '',
      'flow/lists/list.ts': '',
      'cli/main.ts': "import { a } from '../mime/a.ts'; console.log(a, process.env.RESEAL_ROOT);",
      'store/db.ts': "import { Kysely } from 'kysely'; new URL('./thread.ts', import.meta.url);",
      'store/thread.ts': "import './db.ts';",
    });
    for (const rule of Object.values(rules)) expect(rule(good)).toEqual([]);
  });

  it.each<[string, keyof typeof rules, Record<string, string>, string]>([
    [
      'a higher rank',
      'rankBreaches',
      { 'mime/a.ts': "import { b } from '../cms/b.ts';" },
      'mime/a.ts (rank 1) imports cms/b.ts (rank 2)',
    ],
    [
      'a sibling',
      'rankBreaches',
      { 'store/a.ts': "import type { B } from '../smtp/b.ts';" },
      'store/a.ts (rank 3) imports smtp/b.ts (rank 3)',
    ],
    [
      'a sibling, re-exported',
      'rankBreaches',
      { 'pki/a.ts': "export * from '../mime/b.ts';" },
      'pki/a.ts (rank 1) imports mime/b.ts (rank 1)',
    ],
    [
      'a higher rank, imported late',
      'rankBreaches',
      { 'base/a.ts': "await import('../cli/b.ts');" },
      'base/a.ts (rank 0) imports cli/b.ts (rank 7)',
    ],
    [
      'a higher rank in a type',
      'rankBreaches',
      { 'base/a.ts': "type B = import('../cli/b.ts').B;" },
      'base/a.ts (rank 0) imports cli/b.ts (rank 7)',
    ],
    [
      'a higher rank as a worker',
      'rankBreaches',
      { 'cms/a.ts': "new URL('../flow/b.ts', import.meta.url);" },
      'cms/a.ts (rank 2) imports flow/b.ts (rank 4)',
    ],
    [
      'a folder without a rank',
      'rankBreaches',
      { 'utils/a.ts': '' },
      'utils/a.ts: the folder utils has no rank',
    ],
    [
      'a file outside the folders',
      'rankBreaches',
      { 'types.ts': '' },
      'types.ts: the folder src has no rank',
    ],
    [
      'a later room',
      'roomBreaches',
      { 'flow/lists/a.ts': "import type { B } from '../mail/b.ts';" },
      'flow/lists/a.ts imports flow/mail/b.ts: lists comes before mail',
    ],
    ['a file in no room', 'roomBreaches', { 'flow/a.ts': '' }, 'flow/a.ts is in no room of src/flow'],
    [
      'a file in a room that is none',
      'roomBreaches',
      { 'flow/utils/a.ts': '' },
      'flow/utils/a.ts is in no room of src/flow',
    ],
    [
      'a file that is not there',
      'missingImports',
      { 'base/a.ts': "import './b.ts';" },
      'base/a.ts imports base/b.ts, which is not there',
    ],
    [
      'a cycle',
      'cycles',
      {
        'base/a.ts': "import './b.ts';",
        'base/b.ts': "import './c.ts';",
        'base/c.ts': "import type { A } from './a.ts';",
      },
      'base/a.ts → base/b.ts → base/c.ts → base/a.ts',
    ],
    [
      'a cycle behind a way in',
      'cycles',
      { 'base/a.ts': "import './b.ts';", 'base/b.ts': "import './b.ts';" },
      'base/b.ts → base/b.ts',
    ],
    [
      'a long file',
      'longFiles',
      { 'base/a.ts': '\n'.repeat(maxLines + 1) },
      `base/a.ts has ${maxLines + 1} lines: is there a second idea in it?`,
    ],
    [
      'a stolen brand',
      'brandBreaches',
      { 'flow/deliver.ts': "import { brandSealed } from '../base/bytes.ts';" },
      'flow/deliver.ts imports brandSealed, which is for ^smime\\/seal[^/]*\\.ts$ alone',
    ],
    [
      'a renamed brand',
      'brandBreaches',
      { 'flow/fan-out.ts': "import { brandClear as b } from '../base/bytes.ts';" },
      'flow/fan-out.ts imports brandClear, which is for ^flow\\/post\\/prepare[^/]*\\.ts$ alone',
    ],
    [
      'a handed-on brand',
      'brandBreaches',
      { 'mime/a.ts': "export { brandReceived } from '../base/bytes.ts';" },
      'mime/a.ts imports brandReceived, which is for ^(smtp\\/receive|store\\/spool)[^/]*\\.ts$ alone',
    ],
    [
      'a package out of place',
      'packageBreaches',
      { 'flow/a.ts': "import { sql } from 'kysely';" },
      'flow/a.ts imports kysely: its place is store',
    ],
    [
      'a part of a package out of place',
      'packageBreaches',
      { 'flow/a.ts': "import p from 'nodemailer/lib/addressparser';" },
      'flow/a.ts imports nodemailer: its place is smtp, mime',
    ],
    [
      'the clock',
      'useBreaches',
      { 'flow/a.ts': 'export const t = Date.now();' },
      'flow/a.ts uses the system clock',
    ],
    [
      'the clock, otherwise',
      'useBreaches',
      { 'flow/a.ts': 'export const t = new Date();' },
      'flow/a.ts uses the system clock',
    ],
    [
      'the environment',
      'useBreaches',
      { 'flow/a.ts': 'export const e = process.env.HOME;' },
      'flow/a.ts uses process.env',
    ],
    [
      'the environment, imported',
      'useBreaches',
      { 'flow/a.ts': "import { env } from 'node:process'; export const e = env;" },
      'flow/a.ts uses process.env',
    ],
    ['console', 'useBreaches', { 'daemon/a.ts': "console.error('x');" }, 'daemon/a.ts uses console'],
    ['any', 'useBreaches', { 'base/a.ts': 'export const a = (b: any) => b;' }, 'base/a.ts uses any'],
    [
      'a non-null assertion',
      'useBreaches',
      { 'base/a.ts': 'export const a = (b?: string) => b!.length;' },
      'base/a.ts uses a non-null assertion',
    ],
    [
      'a silenced check',
      'useBreaches',
      { 'base/a.ts': '// @ts-expect-error because\nexport const a = 1;' },
      'base/a.ts uses a silenced check',
    ],
    [
      'eval',
      'useBreaches',
      { 'template/a.ts': "export const a = new Function('return 1');" },
      'template/a.ts uses eval',
    ],
    [
      'an exposed plaintext',
      'useBreaches',
      { 'store/a.ts': 'export const a = (p: P) => p.expose();' },
      'store/a.ts uses Plaintext.expose',
    ],
    [
      'an exposed plaintext by name',
      'useBreaches',
      { 'store/a.ts': 'export const a = (p: P) => p["expose"];' },
      'store/a.ts uses Plaintext.expose',
    ],
    [
      'an exposed plaintext, taken apart',
      'useBreaches',
      { 'store/a.ts': 'export const a = ({ expose }: P) => expose;' },
      'store/a.ts uses Plaintext.expose',
    ],
  ])('%s', (_, name, sources, breach) => {
    expect(rules[name](graph({ ...clock, ...sources }))).toContain(breach);
  });

  it('a missing and a long README.md', () => {
    const files = graph({ 'base/a.ts': '', 'cms/a.ts': '' });
    expect(readmeBreaches(files, new Map([['cms', '`a`\n'.repeat(46)]]))).toEqual([
      'src/base has no README.md',
      'src/cms/README.md has 46 lines: one screen, 45, is the most',
    ]);
  });

  it('a room without a README.md, and one that the map of its folder leaves out', () => {
    const files = graph({ 'flow/mail/a.ts': '' });
    const map = rooms.flow?.filter((room) => room !== 'mail').map((room) => `\`${room}\``);
    expect(readmeBreaches(files, new Map([['flow', `${map}`]]))).toEqual([
      'src/flow/README.md does not name the room mail',
      'src/flow/mail has no README.md',
    ]);
  });

  it('a README.md that leaves a file out, or names one that went', () => {
    const files = graph({ 'cli/a.ts': '', 'cli/list-set.ts': '', 'cli/b.ts': '' });
    expect(readmeBreaches(files, new Map([['cli', '`a`, `list*.ts`, `c.ts`, and `set` of `d`']]))).toEqual([
      'src/cli/README.md does not name b.ts',
      'src/cli/README.md names c.ts, which is not there',
    ]);
  });
});
