import { posix } from 'node:path';
import { parseSync } from 'oxc-parser';

/**
 * The rules about the source that no compiler checks. Each rule takes the files of src (paths relative to it) and
 * gives a sentence for every breach; `test/architecture.test.ts` runs them on reseal and on made-up bad sources.
 */

/** DESIGN "Layout": a folder imports itself or a lower rank. */
export const ranks: Readonly<Record<string, number>> = {
  base: 0,
  mime: 1,
  pki: 1,
  template: 1,
  cms: 2,
  smime: 3,
  smtp: 3,
  store: 3,
  policy: 3,
  fetch: 3,
  flow: 4,
  config: 4,
  app: 5,
  daemon: 6,
  web: 6,
  cli: 7,
};

/**
 * Folders that are split into rooms, from the first to the last: a file is in one, and imports its own or one before it.
 */
export const rooms: Readonly<Record<string, readonly string[]>> = {
  flow: [
    'lists',
    'revocation',
    'certificates',
    'post',
    'mail',
    'harvest',
    'delivery',
    'decision',
    'pipeline',
    'care',
    'operator',
  ],
};

/** Each brand of bytes has one maker (base/bytes.ts). */
export const brandMakers: Readonly<Record<string, RegExp>> = {
  brandReceived: /^(smtp\/receive|store\/spool)[^/]*\.ts$/,
  brandSealed: /^smime\/seal[^/]*\.ts$/,
  brandClear: /^flow\/post\/prepare[^/]*\.ts$/,
  brandComposed: /^flow\/mail\/notify[^/]*\.ts$/,
};

/** Files that may look into a Plaintext. A new one needs a reason: what it does with the bytes leaves nothing behind. */
export const exposers: readonly RegExp[] = [
  /^base\/bytes\.ts$/,
  /^smime\/(open|peel|seal|sign|inspect|workers?)[^/]*\.ts$/,
  /^flow\/decision\/commands\.ts$/,
];

/** Where a package or module may be imported; those not named are free. */
export const packagePlaces: Readonly<Record<string, readonly string[]>> = {
  'better-sqlite3': ['store'],
  kysely: ['store'],
  'smtp-server': ['smtp'],
  nodemailer: ['smtp', 'mime'],
  libmime: ['mime'],
  mailparser: ['mime', 'flow'],
  pkijs: ['pki'],
  asn1js: ['pki'],
  commander: ['cli'],
  pino: ['base'],
  yaml: ['config'],
  zod: ['mime', 'policy', 'config', 'flow'],
};

export const maxLines = 300;

interface Import {
  /** Path relative to src for a file of our own, else the specifier. */
  readonly target: string;
  readonly own: boolean;
  /** Names imported; `*` for all. */
  readonly names: readonly string[];
  /** Only a URL of the file, for a worker: counts for ranks, makes no cycle. */
  readonly byUrl: boolean;
}

export interface SourceFile {
  readonly path: string;
  readonly lines: number;
  readonly imports: readonly Import[];
  /** Uses worth a rule: `Date.now`, `new Date()`, `process.env`, `console`, `any`, `.expose`, `eval`, … */
  readonly uses: ReadonlySet<string>;
}

interface Node {
  readonly type: string;
  readonly [key: string]: unknown;
}

/** Reads one file of src. Throws if it does not parse. */
export function readSource(path: string, text: string): SourceFile {
  const { program, module, errors, comments } = parseSync(path, text);
  if (errors.length > 0) throw new Error(`${path}: ${errors[0]?.message}`);
  const imports: Import[] = [];
  const uses = new Set<string>();
  const add = (specifier: string, names: readonly string[], byUrl = false) => {
    const own = specifier.startsWith('.');
    const target = own ? posix.join(posix.dirname(path), specifier.replace(/\.js$/, '.ts')) : specifier;
    imports.push({ target, own, names, byUrl });
  };
  for (const one of module.staticImports)
    add(
      one.moduleRequest.value,
      one.entries.map((e) => e.importName.name ?? (e.importName.kind === 'Default' ? 'default' : '*')),
    );
  for (const one of module.staticExports)
    for (const entry of one.entries)
      if (entry.moduleRequest !== null) add(entry.moduleRequest.value, [entry.importName.name ?? '*']);
  for (const comment of comments)
    if (/@ts-(ignore|nocheck|expect-error)|biome-ignore/.test(comment.value)) uses.add('a silenced check');

  const visit = (node: Node) => {
    const used = useOf(node);
    if (used !== null) uses.add(used);
    if (node.type === 'ImportExpression') add(literal(node.source) ?? '?', ['*']);
    if (node.type === 'TSImportType') add(literal(node.source) ?? '?', ['*']);
    const url = workerUrl(node);
    if (url !== null) add(url, [], true);
    for (const value of Object.values(node)) {
      if (Array.isArray(value)) {
        for (const item of value) if (isNode(item)) visit(item);
      } else if (isNode(value)) visit(value);
    }
  };
  visit(program as unknown as Node);
  return { path, lines: text.replace(/\n$/, '').split('\n').length, imports, uses };
}

const isNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string';

const literal = (value: unknown): string | null =>
  isNode(value) && value.type === 'Literal' && typeof value.value === 'string' ? value.value : null;

const identifier = (value: unknown): string | null =>
  isNode(value) && value.type === 'Identifier' && typeof value.name === 'string' ? value.name : null;

const first = (value: unknown): unknown => (Array.isArray(value) ? value[0] : undefined);

/** The relative path in `new URL('./worker.ts', import.meta.url)`. */
function workerUrl(node: Node): string | null {
  if (node.type !== 'NewExpression' || identifier(node.callee) !== 'URL') return null;
  const path = literal(first(node.arguments));
  return path !== null && /^\.\.?\/.*\.[jt]s$/.test(path) ? path : null;
}

function useOf(node: Node): string | null {
  if (node.type === 'TSAnyKeyword') return 'any';
  if (node.type === 'TSNonNullExpression') return 'a non-null assertion';
  if (node.type === 'NewExpression') {
    const callee = identifier(node.callee);
    if (callee === 'Date' && first(node.arguments) === undefined) return 'the system clock';
    if (callee === 'Function') return 'eval';
  }
  if (node.type === 'CallExpression') {
    const callee = identifier(node.callee);
    if (callee === 'Date') return 'the system clock';
    if (callee === 'eval' || callee === 'Function') return 'eval';
  }
  if (node.type === 'ImportDeclaration' && /^(node:)?process$/.test(literal(node.source) ?? ''))
    return 'process.env';
  if (node.type === 'Property' && identifier(node.key) === 'expose') return 'Plaintext.expose';
  if (node.type !== 'MemberExpression') return null;
  const object = identifier(node.object);
  const property = identifier(node.property) ?? literal(node.property);
  if (object === 'Date' && property === 'now') return 'the system clock';
  if (object === 'process' && property === 'env') return 'process.env';
  if (object === 'console') return 'console';
  return property === 'expose' ? 'Plaintext.expose' : null;
}

const folderOf = (path: string): string => path.slice(0, Math.max(0, path.indexOf('/')));

/** Imports of a higher rank, or of another folder of the same rank; folders without a rank. */
export function rankBreaches(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) => {
    const from = folderOf(file.path);
    const rank = ranks[from];
    if (rank === undefined) return [`${file.path}: the folder ${from || 'src'} has no rank`];
    return file.imports.flatMap((one) => {
      if (!one.own || folderOf(one.target) === from) return [];
      const other = ranks[folderOf(one.target)];
      return other !== undefined && other < rank
        ? []
        : [`${file.path} (rank ${rank}) imports ${one.target} (rank ${other})`];
    });
  });
}

const roomOf = (path: string): string => {
  const [, room = '', file] = path.split('/');
  return file === undefined ? '' : room;
};

/** Imports of a later room of the same folder; files of a split folder that are in none of its rooms. */
export function roomBreaches(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) => {
    const folder = folderOf(file.path);
    const order = rooms[folder];
    if (order === undefined) return [];
    const room = roomOf(file.path);
    if (!order.includes(room)) return [`${file.path} is in no room of src/${folder}`];
    return file.imports
      .filter((one) => one.own && folderOf(one.target) === folder)
      .filter((one) => order.indexOf(roomOf(one.target)) > order.indexOf(room))
      .map((one) => `${file.path} imports ${one.target}: ${room} comes before ${roomOf(one.target)}`);
  });
}

/** Imports of files that are not there: mistyped, or only found by luck. */
export function missingImports(files: readonly SourceFile[]): string[] {
  const known = new Set(files.map((file) => file.path));
  return files.flatMap((file) =>
    file.imports.flatMap((one) =>
      one.own && !known.has(one.target) ? [`${file.path} imports ${one.target}, which is not there`] : [],
    ),
  );
}

/** Import cycles, of types too; each is told once, from its first file in order. */
export function cycles(files: readonly SourceFile[]): string[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const done = new Set<string>();
  const found: string[] = [];
  const walk = (path: string, trail: readonly string[]) => {
    const at = trail.indexOf(path);
    if (at >= 0) {
      found.push([...trail.slice(at), path].join(' → '));
      return;
    }
    if (done.has(path)) return;
    for (const one of byPath.get(path)?.imports ?? [])
      if (one.own && !one.byUrl) walk(one.target, [...trail, path]);
    done.add(path);
  };
  for (const path of [...byPath.keys()].sort()) walk(path, []);
  return found;
}

export function longFiles(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) =>
    file.lines > maxLines ? [`${file.path} has ${file.lines} lines: is there a second idea in it?`] : [],
  );
}

/** Imports of a brand function by a file that is not its maker. */
export function brandBreaches(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) =>
    file.imports
      .filter((one) => one.target === 'base/bytes.ts')
      .flatMap((one) =>
        Object.entries(brandMakers).flatMap(([brand, maker]) =>
          (one.names.includes(brand) || one.names.includes('*')) && !maker.test(file.path)
            ? [`${file.path} imports ${brand}, which is for ${maker.source} alone`]
            : [],
        ),
      ),
  );
}

export function packageBreaches(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) =>
    file.imports.flatMap((one) => {
      const name = one.own ? '' : (/^(@[^/]+\/)?[^/]+/.exec(one.target)?.[0] ?? '');
      const places = Object.hasOwn(packagePlaces, name) ? packagePlaces[name] : undefined;
      return places === undefined || places.includes(folderOf(file.path))
        ? []
        : [`${file.path} imports ${name}: its place is ${places.join(', ')}`];
    }),
  );
}

const usePlaces: Readonly<Record<string, (path: string) => boolean>> = {
  any: () => false,
  'a non-null assertion': () => false,
  'a silenced check': () => false,
  eval: () => false,
  'the system clock': (path) => path === 'base/clock.ts',
  'process.env': (path) => ['config', 'cli', 'daemon'].includes(folderOf(path)),
  console: (path) => folderOf(path) === 'cli',
  'Plaintext.expose': (path) => exposers.some((exposer) => exposer.test(path)),
};

/** Uses of what is reserved for a few places or for none. */
export function useBreaches(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) =>
    [...file.uses].flatMap((use) =>
      usePlaces[use]?.(file.path) === false ? [`${file.path} uses ${use}`] : [],
    ),
  );
}

/** Folders and rooms with source but without a README.md that names what is there, or with one of more than a screen. */
export function readmeBreaches(files: readonly SourceFile[], readmes: ReadonlyMap<string, string>): string[] {
  const folders = new Set(files.flatMap((file) => [folderOf(file.path), posix.dirname(file.path)]));
  return [...folders].flatMap((folder) => {
    const text = readmes.get(folder);
    if (text === undefined) return [`src/${folder} has no README.md`];
    const lines = text.trimEnd().split('\n').length;
    const long =
      lines > 45 ? [`src/${folder}/README.md has ${lines} lines: one screen, 45, is the most`] : [];
    const there = files
      .filter((file) => posix.dirname(file.path) === folder)
      .map((file) => nameOf(file.path));
    const unnamed = (rooms[folder] ?? [])
      .filter((room) => !text.includes(`\`${room}\``))
      .map((room) => `src/${folder}/README.md does not name the room ${room}`);
    return [...long, ...unnamed, ...namesBreaches(folder, text, there)];
  });
}

const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** Files are named in backticks: `a.ts`, `a`, or `list*.ts` for a group; what is said with `.ts` must be there. */
function namesBreaches(folder: string, text: string, there: readonly string[]): string[] {
  const named = [...text.matchAll(/`([a-z0-9*-]+)(\.ts)?`/g)].map(([, name = '', isFile]) => ({
    words: `${name}.ts`,
    pattern: new RegExp(`^${name.replaceAll('*', '.*')}\\.ts$`),
    isFile: isFile !== undefined,
  }));
  return [
    ...there
      .filter((file) => !named.some(({ pattern }) => pattern.test(file)))
      .map((file) => `src/${folder}/README.md does not name ${file}`),
    ...named
      .filter(({ isFile, pattern }) => isFile && !there.some((file) => pattern.test(file)))
      .map(({ words }) => `src/${folder}/README.md names ${words}, which is not there`),
  ];
}
