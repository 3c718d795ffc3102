import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type ParsedNode,
  parseDocument,
  type Scalar,
} from 'yaml';
import { fault, type Mistake } from './faults.ts';
import { listPrefixes } from './settings.ts';

/** One setting as it stands in the file. */
export interface Entry {
  /** Its text, or texts if a list is given; null if it is something else, which `found` then names. */
  readonly raw: string | readonly string[] | null;
  /** What stands there, for messages. */
  readonly found: string;
  /** `file:line:column` of the value. */
  readonly place: string;
  /** `file:line:column` of the name. */
  readonly keyPlace: string;
}

/** What is found where no value is. */
export const nothing = 'without a value';

/** Settings by their dotted names. */
export type Entries = ReadonlyMap<string, Entry>;

/** The settings of one group of a list, such as one socket of `listen:`, and where it begins. */
export interface GroupEntries {
  readonly entries: Entries;
  readonly place: string;
}

export interface Reading {
  readonly entries: Entries;
  /** The groups of `listen:` and `relay:` by prefix, where these are written as lists. */
  readonly groups: ReadonlyMap<string, readonly GroupEntries[]>;
  readonly mistakes: readonly Mistake[];
}

/**
 * Reads a YAML file into settings by their dotted names: `relay.host: x` and `relay: {host: x}` are the same. A value is its
 * text as written, without YAML's own ideas of numbers and dates, so `0660` stays `0660`. `file` is for messages only.
 */
export function readEntries(text: string, file: string): Reading {
  const lines = new LineCounter();
  // uniqueKeys is ours: a setting may also be set twice in its two forms.
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false });
  const placeOf = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  const syntax = document.errors.map((error) =>
    fault('config-syntax', { place: placeOf(error.pos[0]), why: error.message }),
  );
  // After a syntax error the rest of the tree is a guess, and so would be every further message.
  if (syntax.length > 0) return { entries: new Map(), groups: new Map(), mistakes: syntax };

  const mistakes: Mistake[] = [];
  const groups = new Map<string, GroupEntries[]>();
  const listPlaces = new Map<string, string>();

  const add = (entries: Map<string, Entry>, name: string, entry: Entry): void => {
    const first = entries.get(name);
    if (first === undefined) entries.set(name, entry);
    else
      mistakes.push(fault('config-twice', { place: entry.keyPlace, setting: name, first: first.keyPlace }));
  };

  const walk = (node: ParsedNode | null, prefix: string, entries: Map<string, Entry>): void => {
    if (!isMap<ParsedNode, ParsedNode | null>(node)) {
      if (prefix === '' && (node === null || (isScalar(node) && node.value === null))) return;
      const setting = prefix.replace(/\.$/, '') || 'reseal.yaml';
      const found = describe(node);
      mistakes.push(
        fault('config-value', {
          place: placeOf(node?.range[0] ?? 0),
          setting,
          found,
          expected: 'settings, each as "name: value"',
        }),
      );
      return;
    }
    for (const { key, value } of node.items) {
      const keyPlace = placeOf(key.range?.[0] ?? 0);
      const name = prefix + (isScalar(key) ? textOf(key) : describe(key));
      if (isMap(value)) walk(value, `${name}.`, entries);
      else if (listPrefixes.includes(`${name}.`) && isSeq<ParsedNode>(value)) {
        const first = listPlaces.get(name);
        if (first !== undefined)
          mistakes.push(fault('config-twice', { place: keyPlace, setting: name, first }));
        listPlaces.set(name, keyPlace);
        const found = value.items.flatMap((item) => {
          const group = new Map<string, Entry>();
          walk(item, `${name}.`, group);
          return isMap(item) ? [{ entries: group, place: placeOf(item.range[0]) }] : [];
        });
        groups.set(`${name}.`, found);
      } else {
        const place = value === null ? keyPlace : placeOf(value.range[0]);
        add(entries, name, { raw: rawOf(value), found: describe(value), place, keyPlace });
      }
    }
  };

  const entries = new Map<string, Entry>();
  walk(document.contents, '', entries);
  return { entries, groups, mistakes };
}

function textOf(scalar: Scalar): string {
  return scalar.source ?? String(scalar.value);
}

function rawOf(node: ParsedNode | null): string | readonly string[] | null {
  if (isScalar(node) && node.value !== null) return textOf(node);
  if (isSeq<ParsedNode>(node)) {
    const texts = node.items.map(rawOf);
    return texts.every((one) => typeof one === 'string') ? texts : null;
  }
  return null;
}

function describe(node: ParsedNode | null): string {
  if (node === null || (isScalar(node) && node.value === null)) return nothing;
  if (isAlias(node)) return 'a YAML alias';
  if (isSeq(node)) return 'a list';
  if (isMap(node)) return 'a group of settings';
  return `"${textOf(node).slice(0, 80)}"`;
}
