import { readFile } from 'node:fs/promises';
import { errnoOf, wordsOf } from '../base/errors.ts';
import { canonicalAddress } from '../mime/address.ts';
import type { Queries } from '../store/database.ts';
import { allLists, findList, type ListRow } from '../store/lists.ts';
import { cliFault } from './faults.ts';

/** The canonical form of an address given on the command line. Fault 'usage-address'. */
export function addressOf(text: string): string {
  const address = canonicalAddress(text);
  if (address === null) throw cliFault('usage-address', { found: text });
  return address;
}

/** The list named by its address, or by its name alone if only one is called so. Faults 'list-unknown', 'list-ambiguous'. */
export async function listNamed(q: Queries, text: string): Promise<ListRow> {
  if (text.includes('@')) {
    const address = addressOf(text);
    const list = await findList(q, address);
    if (list) return list;
    throw cliFault('list-unknown', { list: address, known: await knownLists(q) });
  }
  const found = (await allLists(q)).filter((list) => list.address.split('@')[0] === text.toLowerCase());
  const [list, ...more] = found;
  if (!list) throw cliFault('list-unknown', { list: text, known: await knownLists(q) });
  if (more.length > 0) {
    throw cliFault('list-ambiguous', { list: text, lists: found.map((one) => one.address) });
  }
  return list;
}

async function knownLists(q: Queries): Promise<string> {
  const lists = await allLists(q);
  if (lists.length === 0) return ': there are no lists yet, `reseal list create` makes one';
  return lists.length <= 5
    ? `; there are ${lists.map((list) => list.address).join(', ')}`
    : ': see `reseal list list`';
}

/** For options that may be given several times. */
export function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

/** One of a few words. Fault 'usage-value'. */
export function oneOf<T extends string>(what: string, found: string, known: readonly T[]): T {
  const value = known.find((one) => one === found);
  if (value === undefined)
    throw cliFault('usage-value', { what, found, expected: `one of ${known.join(', ')}` });
  return value;
}

/** A whole number within bounds. Fault 'usage-value'. */
export function wholeNumber(what: string, found: string, least: number, most: number): number {
  const value = /^\d{1,9}$/.test(found) ? Number(found) : Number.NaN;
  if (!(value >= least && value <= most)) {
    throw cliFault('usage-value', { what, found, expected: `a whole number from ${least} to ${most}` });
  }
  return value;
}

/** `name=value` pairs. Fault 'usage-value'. */
export function assignments(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const [, name, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
      if (name === undefined || value === undefined) {
        throw cliFault('usage-value', { what: 'a setting', found: text, expected: 'name=value' });
      }
      return [name.trim(), value];
    }),
  );
}

/** A file's content, or standard input for `-`. Fault 'file-unreadable'. */
export async function readInput(path: string): Promise<Buffer> {
  if (path === '-') {
    const pieces: Buffer[] = [];
    for await (const piece of process.stdin) pieces.push(piece as Buffer);
    return Buffer.concat(pieces);
  }
  try {
    return await readFile(path);
  } catch (error) {
    throw cliFault('file-unreadable', { path, why: errnoOf(error) ?? wordsOf(error) });
  }
}
