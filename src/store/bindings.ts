import { chunksOf, pagesOf } from './chunks.ts';
import { type Queries, requireTransaction } from './database.ts';
import { noteChange } from './directory-files.ts';
import type { BindingChange, BindingRow, BindingState, Purpose } from './schema.ts';

/** Which certificate, for which address and purpose. */
export type BindingKey = Pick<BindingRow, 'address' | 'purpose' | 'sha256'>;

/** Why a binding changed, for its history: by whom in words, and the message (spool id) that brought it. */
export interface Provenance {
  readonly by: string;
  readonly messageId?: string | null;
  /**
   * Whether those whose place it takes may have it again by themselves, though they have another key: only where nobody
   * said anything about that key (an import of many, a stopgap).
   */
  readonly othersMayReturn?: boolean;
}

/**
 * Binds a certificate to an address as in use, pending or refused, and gives the SHA-256 of the one that it replaces,
 * or null. There is one in use per address and purpose: the earlier becomes superseded, or replaced where the key changes,
 * and with it what that one superseded. Asking for pending leaves a binding alone that is in use, or that an owner refused
 * or removed: a proposal takes nothing back. Of what is known the signing time stays. Each change is added to the history.
 * Fault: 'transaction-required'.
 */
export async function bind(tx: Queries, row: BindingRow, why?: Provenance): Promise<string | null> {
  requireTransaction(tx, 'bind');
  const { address, purpose, sha256 } = row;
  const found = (await bindingsOf(tx, address)).filter((one) => one.purpose === purpose);
  const before = found.find((one) => one.sha256 === sha256);
  const kept: readonly (BindingState | undefined)[] = ['in-use', 'refused', 'removed', 'pending'];
  if (row.state === 'pending' && kept.includes(before?.state)) return null;
  const used = found.find((one) => one.state === 'in-use' && one.sha256 !== sha256);
  if (row.state === 'in-use') {
    const end = { ...why, by: why?.by ?? row.source, at: row.since };
    const others = found.filter((one) => one === used || one.state === 'superseded');
    const replaced = why?.othersMayReturn === true ? [] : await keyChanges(tx, { row, used, others });
    for (const one of replaced) await setBindingState(tx, one, 'replaced', end);
    if (used && !replaced.includes(used)) await setBindingState(tx, used, 'superseded', end);
  }
  const set = {
    state: row.state,
    since: row.since,
    source: row.source,
    signingTime: row.signingTime ?? before?.signingTime ?? null,
  };
  await tx
    .insertInto('bindings')
    .values(row)
    .onConflict((c) => c.columns(['address', 'purpose', 'sha256']).doUpdateSet(set))
    .execute();
  await noteChange(tx, address);
  if (before?.state !== row.state || before.source !== row.source) await remember(tx, row, row.since, why);
  return row.state === 'in-use' ? (used?.sha256 ?? null) : null;
}

/** Of `others` those with another key, where a certificate brings another than the one in use had, or than none had. */
async function keyChanges(
  tx: Queries,
  d: {
    readonly row: BindingRow;
    readonly used: BindingRow | undefined;
    readonly others: readonly BindingRow[];
  },
): Promise<BindingRow[]> {
  const { row, used, others } = d;
  if (others.length === 0) return [];
  const all = [row, ...others].map((one) => one.sha256);
  const rows = await tx
    .selectFrom('certificates')
    .select(['sha256', 'spkiSha256'])
    .where('sha256', 'in', all)
    .execute();
  const keys = new Map(rows.map((one) => [one.sha256, one.spkiSha256]));
  const key = keys.get(row.sha256);
  if (used && keys.get(used.sha256) === key) return [];
  return others.filter((one) => one.sha256 !== row.sha256 && keys.get(one.sha256) !== key);
}

/**
 * Moves a binding to another state and tells whether there is one. To bring one in use call `bind`, which makes room
 * for it. `why` adds it to the history, and since when it is so to the binding.
 */
export async function setBindingState(
  q: Queries,
  key: BindingKey,
  state: Exclude<BindingState, 'in-use'>,
  why?: Provenance & { readonly at: number },
): Promise<boolean> {
  const row = await q
    .updateTable('bindings')
    .set({ state, ...(why && { since: why.at }) })
    .where('address', '=', key.address)
    .where('purpose', '=', key.purpose)
    .where('sha256', '=', key.sha256)
    .returningAll()
    .executeTakeFirst();
  if (row) await noteChange(q, row.address);
  if (row && why) await remember(q, row, why.at, why);
  return row !== undefined;
}

async function remember(q: Queries, row: BindingRow, at: number, why: Provenance | undefined): Promise<void> {
  const { address, purpose, sha256, state, source } = row;
  const change = { address, purpose, sha256, state, source, at };
  await q
    .insertInto('bindingHistory')
    .values({ ...change, by: why?.by ?? source, messageId: why?.messageId ?? null })
    .execute();
}

/** All that ever happened to the bindings of a certificate, oldest first. */
export async function historyOf(q: Queries, sha256: string): Promise<BindingChange[]> {
  return q.selectFrom('bindingHistory').selectAll().where('sha256', '=', sha256).orderBy('id').execute();
}

/** The certificates that an owner pinned to this address, as far as they are in use to sign (RULES 3). */
export async function pinnedTo(q: Queries, address: string): Promise<{ sha256: string; address: string }[]> {
  return q
    .selectFrom('bindings as b')
    .innerJoin('certificates as c', 'c.sha256', 'b.sha256')
    .select(['b.sha256', 'b.address'])
    .where('b.address', '=', address)
    .where('b.source', '=', 'pinned')
    .where('b.purpose', '=', 'sign')
    .where('b.state', '=', 'in-use')
    .where('c.state', '=', 'good')
    .execute();
}

/** Bindings that wait since `before` or longer, oldest first, at most `limit`. */
export async function waitingSince(q: Queries, d: { before: number; limit: number }): Promise<BindingRow[]> {
  return q
    .selectFrom('bindings')
    .selectAll()
    .where('state', '=', 'pending')
    .where('since', '<=', d.before)
    .orderBy('since')
    .limit(d.limit)
    .execute();
}

/** What members of a list use to read and nobody vouched for but the mail that brought it. */
export async function unapprovedOf(q: Queries, listId: number): Promise<BindingRow[]> {
  return q
    .selectFrom('bindings as b')
    .innerJoin('members as m', 'm.address', 'b.address')
    .selectAll('b')
    .where('m.listId', '=', listId)
    .where('b.purpose', '=', 'enc')
    .where('b.state', '=', 'in-use')
    .where('b.source', '=', 'harvested')
    .orderBy('b.address')
    .execute();
}

/** Of these addresses, those for which some certificate waits for a person's word. */
export async function pendingAmong(
  q: Queries,
  addresses: readonly string[],
  purpose: Purpose,
): Promise<Set<string>> {
  const found = new Set<string>();
  for (const chunk of chunksOf(addresses)) {
    const rows = await q
      .selectFrom('bindings')
      .select('address')
      .where('address', 'in', chunk)
      .where('purpose', '=', purpose)
      .where('state', '=', 'pending')
      .execute();
    for (const { address } of rows) found.add(address);
  }
  return found;
}

/** All bindings of an address, newest first. */
export async function bindingsOf(q: Queries, address: string): Promise<BindingRow[]> {
  return q
    .selectFrom('bindings')
    .selectAll()
    .where('address', '=', address)
    .orderBy('since', 'desc')
    .orderBy('sha256')
    .execute();
}

/** All bindings of a certificate, by address. */
export async function bindingsOfCertificate(q: Queries, sha256: string): Promise<BindingRow[]> {
  return q.selectFrom('bindings').selectAll().where('sha256', '=', sha256).orderBy('address').execute();
}

/**
 * Bindings in the order of address, purpose and certificate; of one state or purpose if given. `after` is the last
 * one of the page before.
 */
export async function allBindings(
  q: Queries,
  d: { state?: BindingState; purpose?: Purpose; after?: BindingKey | null; limit: number },
): Promise<BindingRow[]> {
  let query = q
    .selectFrom('bindings')
    .selectAll()
    .orderBy('address')
    .orderBy('purpose')
    .orderBy('sha256')
    .limit(d.limit);
  const { after } = d;
  if (after) {
    query = query.where((e) =>
      e(e.refTuple('address', 'purpose', 'sha256'), '>', e.tuple(after.address, after.purpose, after.sha256)),
    );
  }
  if (d.state) query = query.where('state', '=', d.state);
  if (d.purpose) query = query.where('purpose', '=', d.purpose);
  return query.execute();
}

/** All bindings in the order of `allBindings`, a page at a time. */
export function bindingPages(
  q: Queries,
  d: { state?: BindingState; purpose?: Purpose } = {},
): AsyncGenerator<readonly BindingRow[]> {
  return pagesOf((after, limit) => allBindings(q, { ...d, after, limit }));
}
