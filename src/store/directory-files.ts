import { chunksOf } from './chunks.ts';
import type { Queries } from './database.ts';

/** What was seen of a file of the certificate directory: one that is as it was need not be read again. */
export interface FileStamp {
  readonly file: string;
  /** Milliseconds since the epoch. */
  readonly mtime: number;
  readonly size: number;
}

/** The files that were looked at and found right. */
export async function fileStamps(q: Queries): Promise<FileStamp[]> {
  return q.selectFrom('directoryFiles').selectAll().execute();
}

/** How many there are. */
export async function countFileStamps(q: Queries): Promise<number> {
  const { count } = await q
    .selectFrom('directoryFiles')
    .select((e) => e.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow();
  return count;
}

/** Notes files that were looked at, and forgets others. */
export async function saveFileStamps(
  q: Queries,
  d: { readonly seen: readonly FileStamp[]; readonly gone: readonly string[] },
): Promise<void> {
  for (const chunk of chunksOf(d.seen)) {
    await q
      .insertInto('directoryFiles')
      .values([...chunk])
      .onConflict((c) =>
        c
          .column('file')
          .doUpdateSet((e) => ({ mtime: e.ref('excluded.mtime'), size: e.ref('excluded.size') })),
      )
      .execute();
  }
  for (const chunk of chunksOf(d.gone)) {
    await q.deleteFrom('directoryFiles').where('file', 'in', chunk).execute();
  }
}

/** Notes that the files of an address are behind its bindings, in the transaction that changes these. */
export async function noteChange(tx: Queries, address: string): Promise<void> {
  await tx
    .insertInto('directoryChanges')
    .values({ address, version: 1 })
    .onConflict((c) =>
      c.column('address').doUpdateSet((e) => ({ version: e('directoryChanges.version', '+', 1) })),
    )
    .execute();
}

/** Addresses whose files are behind, at most `limit`. */
export async function changedAddresses(q: Queries, limit: number): Promise<string[]> {
  const rows = await q.selectFrom('directoryChanges').select('address').limit(limit).execute();
  return rows.map((row) => row.address);
}

/** The changes noted for these addresses. */
export async function changesOf(q: Queries, addresses: readonly string[]): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for (const chunk of chunksOf(addresses)) {
    const rows = await q.selectFrom('directoryChanges').selectAll().where('address', 'in', chunk).execute();
    for (const { address, version } of rows) found.set(address, version);
  }
  return found;
}

/** Forgets changes whose files are written, unless another came meanwhile. */
export async function settleChanges(q: Queries, changes: ReadonlyMap<string, number>): Promise<void> {
  for (const chunk of chunksOf([...changes])) {
    await q
      .deleteFrom('directoryChanges')
      .where((e) =>
        e(
          e.refTuple('address', 'version'),
          'in',
          chunk.map(([address, version]) => e.tuple(address, version)),
        ),
      )
      .execute();
  }
}
