import type { Selectable } from 'kysely';
import { chunksOf } from './chunks.ts';
import { type Queries, requireTransaction } from './database.ts';
import type { LedgerEvent } from './ledger-events.ts';
import { writeMeta } from './meta.ts';
import type { JsonObject, LedgerTable } from './schema.ts';

/** What happened, to whom, why. Holds no text of an encrypted post (RULES 14) and is never changed. */
export interface LedgerEntry {
  readonly at: number;
  /** Spool id. */
  readonly messageId?: string | null;
  readonly postingId?: number | null;
  /** The list's address: entries outlive the row of the list. */
  readonly list?: string | null;
  readonly member?: string | null;
  readonly event: LedgerEvent;
  readonly reason?: string | null;
  /** One sentence. */
  readonly detail?: string | null;
  readonly data?: JsonObject | null;
}

export type LedgerRow = Readonly<Required<LedgerEntry>> & { readonly id: number };

const lineOf = (row: Selectable<LedgerTable>): LedgerRow => ({
  ...row,
  data: row.data === null ? null : JSON.parse(row.data),
});

/** Adds to the ledger; in the transaction of the change that it tells of. */
export async function record(tx: Queries, entries: LedgerEntry | readonly LedgerEntry[]): Promise<void> {
  const all: readonly LedgerEntry[] = 'event' in entries ? [entries] : entries;
  for (const chunk of chunksOf(all)) {
    const values = chunk.map((entry) => ({
      at: entry.at,
      messageId: entry.messageId ?? null,
      postingId: entry.postingId ?? null,
      list: entry.list ?? null,
      member: entry.member ?? null,
      event: entry.event,
      reason: entry.reason ?? null,
      detail: entry.detail ?? null,
      data: entry.data ? JSON.stringify(entry.data) : null,
    }));
    await tx.insertInto('ledger').values(values).execute();
  }
}

/** All entries about one message (spool id), in the order they were written. */
export async function ledgerOf(q: Queries, messageId: string): Promise<LedgerRow[]> {
  const rows = await q
    .selectFrom('ledger')
    .selectAll()
    .where('messageId', '=', messageId)
    .orderBy('id')
    .execute();
  return rows.map(lineOf);
}

/** Which entries are asked for; what is left out is not asked about. */
export interface LedgerQuery {
  readonly list?: string;
  readonly member?: string;
  /** Spool ids. */
  readonly messageIds?: readonly string[];
  /** `from` ≤ at < `to`. */
  readonly from?: number;
  readonly to?: number;
  /** Written after this one. */
  readonly afterId?: number;
  readonly events?: readonly LedgerEvent[];
  /** At most so many: the newest. */
  readonly limit: number;
}

/** The entries that fit all that is asked for, oldest first. */
export async function findLedger(q: Queries, d: LedgerQuery): Promise<LedgerRow[]> {
  let query = q.selectFrom('ledger').selectAll().orderBy('at', 'desc').orderBy('id', 'desc').limit(d.limit);
  if (d.list !== undefined) query = query.where('list', '=', d.list);
  if (d.member !== undefined) query = query.where('member', '=', d.member);
  if (d.messageIds) query = query.where('messageId', 'in', d.messageIds);
  if (d.from !== undefined) query = query.where('at', '>=', d.from);
  if (d.to !== undefined) query = query.where('at', '<', d.to);
  if (d.afterId !== undefined) query = query.where('id', '>', d.afterId);
  if (d.events) query = query.where('event', 'in', d.events);
  return (await query.execute()).map(lineOf).reverse();
}

/** The id of the newest entry, 0 if there is none. */
export async function newestLedgerId(q: Queries): Promise<number> {
  const row = await q.selectFrom('ledger').select('id').orderBy('id', 'desc').limit(1).executeTakeFirst();
  return row?.id ?? 0;
}

/** The newest entry of one event about a member on a list, or null. */
export async function lastAbout(
  q: Queries,
  d: { list: string; member: string; event: LedgerEvent },
): Promise<LedgerRow | null> {
  const row = await q
    .selectFrom('ledger')
    .selectAll()
    .where('member', '=', d.member)
    .where('event', '=', d.event)
    .where('list', '=', d.list)
    .orderBy('id', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row ? lineOf(row) : null;
}

/**
 * Housekeeping by age: deletes up to `limit` entries older than `before` and gives their number. The limit of age is
 * kept in meta, and the table's trigger refuses any deletion above it. Fault: 'transaction-required'.
 */
export async function forgetLedger(tx: Queries, d: { before: number; limit: number }): Promise<number> {
  requireTransaction(tx, 'forgetLedger');
  await writeMeta(tx, 'ledger.keep-from', String(d.before));
  const old = tx.selectFrom('ledger').select('id').where('at', '<', d.before).orderBy('at').limit(d.limit);
  const result = await tx.deleteFrom('ledger').where('id', 'in', old).executeTakeFirst();
  return Number(result.numDeletedRows);
}
