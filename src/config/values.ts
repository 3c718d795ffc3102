import { resolve } from 'node:path';
import { nearest } from '../policy/nearest.ts';
import { readValue, type SettingTable } from '../policy/setting.ts';
import { type Entries, nothing } from './entries.ts';
import { fault, type Mistake } from './faults.ts';

/** Values by name, for those that the file sets. */
export type Written = Readonly<Record<string, unknown>>;

/** Where the settings of a table stand. */
interface Where {
  /** Relative paths are below it. */
  readonly root: string;
  /** What the names have in the file and not in the table: `defaults.`, or nothing. */
  readonly prefix: string;
  /** Names that are known but belong to another place, with what to write there. */
  readonly elsewhere?: ReadonlyMap<string, string>;
}

/** The values that `entries` set of a table, each checked against its kind; paths absolute. */
export function readTable(
  table: SettingTable,
  entries: Entries,
  d: Where,
): { readonly values: Written; readonly mistakes: readonly Mistake[] } {
  const values: Record<string, unknown> = {};
  const mistakes: Mistake[] = [];
  const known = [...Object.keys(table).map((name) => d.prefix + name), ...(d.elsewhere?.values() ?? [])];
  for (const [written, entry] of entries) {
    const name = written.slice(d.prefix.length);
    const row = Object.hasOwn(table, name) ? table[name] : undefined;
    if (row === undefined) {
      const members = known.filter((one) => one.startsWith(`${written}.`));
      // `relay:` with nothing below it but comments sets nothing and is no mistake.
      if (members.length > 0 && entry.found === nothing) continue;
      const hint = members.length > 0 ? `: it is a group, of ${some(members)}` : hintFor(name, known, d);
      mistakes.push(fault('config-unknown', { place: entry.keyPlace, setting: written, hint }));
      continue;
    }
    const value = entry.raw === null ? undefined : readValue(row.kind, entry.raw);
    if (value !== undefined) values[name] = row.kind.isPath ? absolute(d.root, value) : value;
    else {
      const { place, found } = entry;
      mistakes.push(fault('config-value', { place, setting: written, found, expected: row.kind.expected }));
    }
  }
  return { values, mistakes };
}

/** A path, or each of several, below `root` unless it is absolute. */
export function absolute(root: string, value: unknown): unknown {
  if (Array.isArray(value)) return Object.freeze(value.map((one) => absolute(root, one)));
  return typeof value === 'string' ? resolve(root, value) : value;
}

/** What to say after "there is no setting …". */
function hintFor(name: string, known: readonly string[], d: Where): string {
  if (/(pass(word|phrase)?|secret)$/i.test(name)) {
    const files = known.filter((one) => /pass(word|phrase)-file$/.test(one));
    return `: secrets are read from files only${files.length > 0 ? `, see ${files.join(' and ')}` : ''}`;
  }
  const elsewhere = d.elsewhere?.get(name);
  if (elsewhere !== undefined) return `: it is a setting of lists; for all of them write "${elsewhere}"`;
  const near = nearest(d.prefix + name, known);
  return near === null ? '; see etc/reseal.yaml.example' : `; did you mean "${near}"?`;
}

function some(names: readonly string[]): string {
  return names.length <= 10
    ? names.join(', ')
    : `${names.slice(0, 8).join(', ')} and ${names.length - 8} more`;
}
