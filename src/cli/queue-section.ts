import { dayOf } from '../base/day.ts';
import { table } from './output.ts';

/** Which list is asked for (null: all), and how many lines of each kind. */
export interface Scope {
  readonly listId: number | undefined;
  readonly limit: number;
}

/** One kind of what waits, for JSON and for people. */
export interface Section {
  readonly name: string;
  readonly title: string;
  readonly rows: readonly object[];
  readonly shown: readonly string[];
}

/** The scope as the store's queries take it. */
export function inStore({ listId, limit }: Scope): { listId?: number; limit: number } {
  return { ...(listId === undefined ? {} : { listId }), limit };
}

/** A table with a column LIST only where there are several. */
export function listed<T extends { readonly list: string }>(
  rows: readonly T[],
  columns: Readonly<Record<string, (one: T) => string>>,
): string[] {
  const isSeveral = new Set(rows.map((one) => one.list)).size > 1;
  const all = isSeveral ? { LIST: (one: T) => one.list, ...columns } : columns;
  const cells = rows.map((one) => Object.values(all).map((cell) => cell(one)));
  return table(Object.keys(all), cells, '');
}

/** `, team@lists.example` behind a title where all rows are of one list. */
export function ofOneList(rows: readonly { readonly list: string }[]): string {
  const lists = [...new Set(rows.map((one) => one.list))];
  return lists.length === 1 ? `, ${lists[0]}` : '';
}

/** A day, or `-` where no end is set. */
export const dayOrNone = (ms: number | null): string => (ms === null ? '-' : dayOf(ms));
