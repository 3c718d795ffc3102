import { patternFor } from './pattern.ts';
import type { Run } from './run.ts';
import { Hash, listOf, numberOf, pairsOf, textOf, type Value } from './values.ts';

/** Methods of texts, lists and hashes (Template::VMethods). None of them changes its value. */
type Method<T> = (self: T, args: readonly Value[], run: Run) => Value;

const textMethods = new Map<string, Method<string>>([
  ['length', (self) => [...self].length],
  ['size', () => 1],
  ['empty', (self) => (self === '' ? 1 : 0)],
  ['defined', () => 1],
  ['list', (self) => [self]],
  ['upper', (self) => self.toUpperCase()],
  ['lower', (self) => self.toLowerCase()],
  ['ucfirst', (self) => self.slice(0, 1).toUpperCase() + self.slice(1)],
  ['lcfirst', (self) => self.slice(0, 1).toLowerCase() + self.slice(1)],
  ['trim', (self) => self.trim()],
  ['collapse', (self) => self.trim().replace(/\s+/g, ' ')],
  ['match', match],
  ['search', (self, [pattern], run) => patternFor(textOf(pattern ?? '', run), self, '', run).test(self)],
  ['split', split],
  ['replace', replace],
  ['remove', (self, [pattern], run) => replace(self, [pattern ?? '', ''], run)],
]);

const listMethods = new Map<string, Method<Value[]>>([
  ['size', (self) => self.length],
  ['max', (self) => self.length - 1],
  ['empty', (self) => (self.length === 0 ? 1 : 0)],
  ['defined', (self, [index], run) => index === undefined || (self[numberOf(index, run)] ?? null) !== null],
  [
    'first',
    (self, [count], run) => (count === undefined ? (self[0] ?? null) : self.slice(0, numberOf(count, run))),
  ],
  [
    'last',
    (self, [count], run) =>
      count === undefined ? (self.at(-1) ?? null) : lastOf(self, numberOf(count, run)),
  ],
  ['item', (self, [index], run) => self.at(numberOf(index ?? 0, run)) ?? null],
  ['list', (self) => self],
  ['join', join],
  ['reverse', (self, _, run) => counted(self, run).toReversed()],
  ['sort', sort],
  ['unique', (self, _, run) => [...new Map(self.map((item) => [textOf(item, run), item])).values()]],
]);

const hashMethods = new Map<string, Method<Hash>>([
  ['size', (self) => self.size],
  ['empty', (self) => (self.size === 0 ? 1 : 0)],
  ['defined', (self, [name], run) => name === undefined || (self.get(textOf(name, run)) ?? null) !== null],
  ['exists', (self, [name], run) => self.has(textOf(name ?? '', run))],
  ['item', (self, [name], run) => self.get(textOf(name ?? '', run)) ?? null],
  ['keys', (self, _, run) => counted([...self.keys()], run)],
  ['values', (self, _, run) => counted([...self.values()], run)],
  ['pairs', (self, _, run) => counted(pairsOf(self), run)],
  ['list', (self, _, run) => counted(pairsOf(self), run)],
  ['hash', (self) => self],
  [
    'sort',
    (self, _, run) =>
      sortByKey([...self.keys()], (key) => textOf(self.get(key) ?? '', run).toLowerCase(), run),
  ],
]);

/** Names beginning with `_` or `.` are private in TT2: undefined, and not to be set. */
export const isPrivate = (name: string): boolean => /^[_.]/.test(name);

/** `value.name(args)`: a hash's own entry, a list's element, or a method; null if there is none. */
export function memberOf(value: Value, name: string, args: readonly Value[], run: Run): Value {
  if (value === null || isPrivate(name)) return null;
  if (value instanceof Hash) return value.get(name) ?? hashMethods.get(name)?.(value, args, run) ?? null;
  if (Array.isArray(value)) {
    const method = listMethods.get(name);
    if (method !== undefined) return method(value, args, run);
    return /^-?\d{1,9}$/.test(name) ? (value.at(Number(name)) ?? null) : null;
  }
  const method = textMethods.get(name);
  if (method !== undefined) return method(textOf(value, run), args, run);
  return listMethods.get(name)?.(listOf(value), args, run) ?? null;
}

function counted(list: Value[], run: Run): Value[] {
  run.step(list.length);
  return list;
}

const lastOf = (list: Value[], count: number): Value[] => (count > 0 ? list.slice(-count) : []);

function join(self: Value[], [joint]: readonly Value[], run: Run): Value {
  const between = textOf(joint ?? ' ', run);
  run.spend(between.length * self.length);
  return counted(self, run)
    .map((item) => textOf(item, run))
    .join(between);
}

/** By text without regard to case; hashes by the fields named. */
function sort(self: Value[], fields: readonly Value[], run: Run): Value {
  const keyOf = (item: Value): string => {
    if (!(item instanceof Hash)) return textOf(item, run).toLowerCase();
    return fields
      .map((field) => textOf(item.get(textOf(field, run)) ?? '', run).toLowerCase())
      .join('\u0000');
  };
  return sortByKey(self, keyOf, run);
}

function sortByKey<T extends Value>(items: readonly T[], keyOf: (item: T) => string, run: Run): Value {
  run.step(items.length);
  return items
    .map((item) => ({ item, key: keyOf(item) }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    .map(({ item }) => item);
}

/** The groups of the first match, 1 if the pattern has none; with a second argument all matches; '' if no match. */
function match(self: string, [pattern, all]: readonly Value[], run: Run): Value {
  if (pattern === undefined) return self;
  const expression = patternFor(textOf(pattern, run), self, 'g', run);
  const matches: Value[] = [];
  for (const [whole, ...groups] of self.matchAll(expression)) {
    run.step();
    run.spend(whole.length);
    const once = all === undefined || all === null || all === '' || all === 0;
    if (once) return groups.length > 0 ? groups.map((group: string | undefined) => group ?? null) : [1];
    matches.push(...(groups.length > 0 ? groups : [whole]));
  }
  return matches.length > 0 ? matches : '';
}

/** Cuts at a pattern; without one at blanks. Empty texts at the end are left out, as Perl does. */
function split(self: string, [pattern]: readonly Value[], run: Run): Value {
  const pieces =
    pattern === undefined
      ? self.trimStart().split(/\s+/)
      : self
          .split(patternFor(textOf(pattern, run), self, '', run))
          .map((piece: string | undefined) => piece ?? '');
  while (pieces.at(-1) === '') pieces.pop();
  return counted(pieces, run);
}

/** Replaces all matches; `$1` … `$9` in the replacement are the groups. */
function replace(self: string, [pattern, replacement]: readonly Value[], run: Run): Value {
  const by = textOf(replacement ?? '', run);
  run.spend(self.length);
  return self.replace(patternFor(textOf(pattern ?? '', run), self, 'g', run), (...found: unknown[]) => {
    run.step();
    run.spend(by.length);
    return by.replace(/\\([\\$])|\$(\d)/g, (_, escaped: string | undefined, group: string | undefined) => {
      const text = escaped ?? groupText(found, Number(group));
      run.spend(text.length);
      return text;
    });
  });
}

/** Group `number` from the arguments of a replace callback: match, groups, offset, whole text. */
function groupText(found: readonly unknown[], number: number): string {
  const group = number > 0 && number < found.length - 2 ? found[number] : '';
  return typeof group === 'string' ? group : '';
}
