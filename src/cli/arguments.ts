import { type FileHandle, open } from 'node:fs/promises';
import { resolve } from 'node:path';
import { errnoOf, wordsOf } from '../base/errors.ts';
import { canonicalAddress } from '../mime/address.ts';
import { nearest } from '../policy/nearest.ts';
import { isSettingName, listSettings } from '../policy/settings.ts';
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
  const address = text.includes('@') ? addressOf(text) : null;
  const whole = address === null ? null : await findList(q, address);
  if (whole) return whole;
  const lists = await allLists(q);
  const [list, ...more] = address === null ? lists.filter((one) => nameOf(one) === text.toLowerCase()) : [];
  if (!list) throw cliFault('list-unknown', { list: address ?? text, hint: hintFor(address ?? text, lists) });
  if (more.length > 0) {
    throw cliFault('list-ambiguous', { list: text, lists: [list, ...more].map((one) => one.address) });
  }
  return list;
}

const nameOf = (list: ListRow): string => list.address.split('@')[0] ?? '';

function hintFor(text: string, lists: readonly ListRow[]): string {
  if (lists.length === 0) return 'there are no lists yet, `reseal list create` makes one';
  const near = nearestList(text, lists);
  if (near !== null) return `did you mean ${near}?`;
  if (lists.length === 1) return `the only list is ${lists[0]?.address}`;
  if (lists.length > 5) return '`reseal list list` names all';
  return `the lists are ${lists.map((list) => list.address).join(', ')}`;
}

/** The list that was probably meant: a slip in its name or in its domain, not in both. */
function nearestList(text: string, lists: readonly ListRow[]): string | null {
  const [name = '', domain] = text.split('@');
  const domainOf = (list: ListRow): string => list.address.slice(nameOf(list).length + 1);
  const there = lists.filter((list) => domain === undefined || domainOf(list) === domain);
  const meant = nearest(name, there.map(nameOf));
  const byName = there.find((list) => nameOf(list) === meant);
  if (byName || domain === undefined) return byName?.address ?? null;
  const elsewhere = lists.filter((list) => nameOf(list) === name);
  const near = nearest(domain, elsewhere.map(domainOf));
  return near === null ? null : `${name}@${near}`;
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

/** `name=value` pairs of list settings; a path is below `root` unless it is absolute. Fault 'usage-value'. */
export function assignments(texts: readonly string[], root: string): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const [, name, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
      if (name === undefined || value === undefined) {
        throw cliFault('usage-value', { what: 'a setting', found: text, expected: 'name=value' });
      }
      const setting = name.trim();
      const isPath = isSettingName(setting) && listSettings[setting].kind.isPath && value !== '';
      return [setting, isPath ? resolve(root, value) : value];
    }),
  );
}

/**
 * A file's content, or standard input for `-`; little more than `most` octets of it. Faults 'file-missing',
 * 'file-unreadable'.
 */
export async function readInput(path: string, most = Number.POSITIVE_INFINITY): Promise<Buffer> {
  if (path === '-') return readUpTo(process.stdin, most);
  let handle: FileHandle | null = null;
  try {
    handle = await open(path, 'r');
    const info = await handle.stat();
    // What is no file may be without end, as a device is.
    if (info.isFile() && info.size <= most) return await handle.readFile();
    return await readUpTo(handle.createReadStream({ autoClose: false }), most);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') throw cliFault('file-missing', { path });
    throw cliFault('file-unreadable', { path, why: errnoOf(error) ?? wordsOf(error) });
  } finally {
    await handle?.close();
  }
}

/** All of a stream, or a little more than `most` octets. */
async function readUpTo(stream: AsyncIterable<unknown>, most: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let octets = 0;
  for await (const piece of stream) {
    pieces.push(piece as Buffer);
    octets += (piece as Buffer).length;
    if (octets > most) break;
  }
  return Buffer.concat(pieces);
}
