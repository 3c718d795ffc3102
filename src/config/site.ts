import { readFile, stat } from 'node:fs/promises';
import { hostname as machineName } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { errnoOf } from '../base/errors.ts';
import { type ListPolicy, listSettings } from '../policy/settings.ts';
import { contradictionsIn } from './checks.ts';
import { type Entries, type GroupEntries, readEntries } from './entries.ts';
import { fault, type Mistake } from './faults.ts';
import { type Listen, readSockets } from './listen.ts';
import { type RelaySettings, readRelays } from './relays.ts';
import {
  defaultsPrefix,
  listenPrefix,
  listPrefixes,
  relayPrefix,
  type SiteValues,
  siteSettings,
} from './settings.ts';
import { absolute, readTable } from './values.ts';

/** What is absent from the file and has a value all the same. */
type Filled = 'hostname' | 'service.address' | 'postmaster' | 'database' | 'certificates';

/** The configuration of the site, frozen: `site['queue.lifetime']`. Times in milliseconds, sizes in octets, paths absolute. */
export type Site = Omit<SiteValues, `listen.${string}` | `relay.${string}` | Filled> & {
  readonly [K in Filled]: string;
} & {
  /** The folder that relative paths are below. */
  readonly root: string;
  /** The file that was read; null if there is none and all is default. */
  readonly file: string | null;
  readonly listen: readonly Listen[];
  /** In the order of the file: of several for the same domains the first is used while it works. */
  readonly relays: readonly RelaySettings[];
  /** Settings for all lists, as `resolvePolicy` takes them. */
  readonly defaults: Partial<ListPolicy>;
  /** systemd's folder of credentials, or null. */
  readonly credentials: string | null;
  /** A variable of the environment; only secrets are asked of it, so that no value of a site holds one. */
  readonly environment: (name: string) => string | undefined;
};

/**
 * Loads the configuration. Root: `root`, else `RESEAL_ROOT`, else the folder of the package; file: `file`, else
 * `etc/reseal.yaml` below the root, which may be missing (then all is default). `machine` is the machine's name.
 *
 * Throws one Fault for everything that is wrong: with the code of the mistake if there is one (`config-value`, …; see
 * faults.ts), else `config-mistakes` with a line for each. Every mistake names file, line and column, the setting,
 * what was found and what is expected.
 */
export async function loadSite(d: {
  readonly root?: string | undefined;
  readonly file?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly machine?: string | undefined;
}): Promise<Site> {
  const root = resolve(d.root ?? (d.env.RESEAL_ROOT || packageFolder()));
  if (!(await isFolder(root))) throw fault('config-root', { root });
  const file = d.file === undefined ? join(root, 'etc/reseal.yaml') : resolve(d.file);
  const text = await readText(file, d.file !== undefined);
  const { site, mistakes } = parseSite(text ?? '', {
    root,
    file: text === null ? null : file,
    machine: d.machine ?? machineName(),
    credentials: d.env.CREDENTIALS_DIRECTORY || null,
    environment: (name) => d.env[name],
  });
  const [first, ...more] = mistakes;
  if (first === undefined) return site;
  if (more.length === 0) throw first;
  throw fault('config-mistakes', { mistakes: mistakes.map((one) => one.message) }, { cause: mistakes });
}

/** The same from the file's text, without reading anything. With mistakes, `site` holds defaults in their places. */
export function parseSite(
  text: string,
  d: {
    readonly root: string;
    readonly file: string | null;
    readonly machine: string;
    readonly credentials: string | null;
    readonly environment?: Site['environment'];
  },
): { readonly site: Site; readonly mistakes: readonly Mistake[] } {
  const { root } = d;
  const reading = readEntries(text, d.file ?? '');
  const [below, others] = split(reading.entries, defaultsPrefix);
  const [listenOwn, notListen] = split(others, listenPrefix);
  const [relayOwn, own] = split(notListen, relayPrefix);

  const elsewhere = new Map(Object.keys(listSettings).map((name) => [name, defaultsPrefix + name]));
  const sockets = readSockets(groupsOf(listenOwn, reading.groups.get(listenPrefix)), root);
  const relaying = readRelays(groupsOf(relayOwn, reading.groups.get(relayPrefix)), root);
  const written = readTable(siteSettings, own, { root, prefix: '', elsewhere });
  const defaults = readTable(listSettings, below, { root, prefix: defaultsPrefix });
  const values = { ...tableDefaults(root), ...written.values } as SiteValues;

  const mistakes = [reading, sockets, relaying, written, defaults].flatMap((part) => part.mistakes);
  const forLists = Object.freeze(defaults.values) as Partial<ListPolicy>;
  // Of values that are wrong by themselves nothing more can be said.
  if (mistakes.length === 0) {
    const { entries } = reading;
    const { listen } = sockets;
    const { relays } = relaying;
    mistakes.push(...contradictionsIn({ values, listen, relays, defaults: forLists, entries }));
  }
  const hostname = values.hostname ?? d.machine;
  const site = {
    ...Object.fromEntries(Object.entries(values).filter(([name]) => !isRepeated(name))),
    hostname,
    'service.address': values['service.address'] ?? `reseal@${hostname}`,
    postmaster: values.postmaster ?? `postmaster@${hostname}`,
    database: values.database ?? join(values.spool, 'reseal.db'),
    certificates: values.certificates ?? join(values.spool, 'certificates'),
    root,
    file: d.file,
    listen: sockets.listen,
    relays: relaying.relays,
    defaults: forLists,
    credentials: d.credentials,
  };
  // Not enumerable, so that nothing that prints or compares a site comes upon it.
  Object.defineProperty(site, 'environment', { value: d.environment ?? (() => undefined) });
  return { site: Object.freeze(site) as unknown as Site, mistakes: inFileOrder(mistakes) };
}

function tableDefaults(root: string): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(siteSettings).map(([name, row]) => [
      name,
      row.kind.isPath ? absolute(root, row.default) : row.default,
    ]),
  );
}

/** Whether a setting belongs to a socket or a relay, of which there may be several. */
const isRepeated = (name: string): boolean => listPrefixes.some((prefix) => name.startsWith(prefix));

/** A socket or relay in the plain form is a group of its own, so both forms are read alike. */
function groupsOf(own: Entries, list: readonly GroupEntries[] | undefined): readonly GroupEntries[] {
  const plain = { entries: own, place: [...own.values()][0]?.keyPlace ?? '' };
  if (list === undefined) return [plain];
  return own.size > 0 ? [...list, plain] : list;
}

/** Entries with a prefix, and the others. */
function split(entries: Entries, prefix: string): [Entries, Entries] {
  const all = [...entries];
  return [
    new Map(all.filter(([name]) => name.startsWith(prefix))),
    new Map(all.filter(([name]) => !name.startsWith(prefix))),
  ];
}

function inFileOrder(mistakes: readonly Mistake[]): Mistake[] {
  const position = (mistake: Mistake): number => {
    const [, line = '0', column = '0'] = /:(\d+):(\d+)$/.exec(String(mistake.data.place ?? '')) ?? [];
    return Number(line) * 100_000 + Number(column);
  };
  return [...mistakes].sort((a, b) => position(a) - position(b));
}

/** The folder of package.json, seen from src/config as from dist/config. */
function packageFolder(): string {
  return resolve(dirname(fileURLToPath(import.meta.url)), '../..');
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false;
  }
}

async function readText(file: string, named: boolean): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const why = errnoOf(error) ?? 'unknown error';
    if (why !== 'ENOENT') throw fault('config-unreadable', { file, why }, { cause: error });
    if (named) throw fault('config-missing', { file }, { cause: error });
    return null;
  }
}
