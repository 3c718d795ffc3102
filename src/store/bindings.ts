import { type Queries, requireTransaction } from './database.ts';
import type { BindingRow, BindingState, Purpose } from './schema.ts';

/** Which certificate, for which address and purpose. */
export type BindingKey = Pick<BindingRow, 'address' | 'purpose' | 'sha256'>;

/**
 * Binds a certificate to an address as in use, pending or refused, and gives the SHA-256 of the one that it replaces,
 * or null. There is one in use per address and purpose: the earlier becomes superseded. Asking for pending leaves a
 * binding alone that is in use or was refused: a proposal takes nothing back. Fault: 'transaction-required'.
 */
export async function bind(tx: Queries, row: BindingRow): Promise<string | null> {
  requireTransaction(tx, 'bind');
  const { address, purpose, sha256, ...set } = row;
  const replaced =
    row.state === 'in-use'
      ? await tx
          .updateTable('bindings')
          .set({ state: 'superseded' })
          .where('address', '=', address)
          .where('purpose', '=', purpose)
          .where('state', '=', 'in-use')
          .where('sha256', '!=', sha256)
          .returning('sha256')
          .executeTakeFirst()
      : undefined;
  const kept: BindingState[] = row.state === 'pending' ? ['in-use', 'refused', 'pending'] : [];
  await tx
    .insertInto('bindings')
    .values(row)
    .onConflict((c) => {
      const update = c.columns(['address', 'purpose', 'sha256']).doUpdateSet(set);
      return kept.length > 0 ? update.where('bindings.state', 'not in', kept) : update;
    })
    .execute();
  return replaced?.sha256 ?? null;
}

/**
 * Moves a binding to another state and tells whether there is one. To bring one in use call `bind`, which makes room
 * for it.
 */
export async function setBindingState(
  q: Queries,
  key: BindingKey,
  state: Exclude<BindingState, 'in-use'>,
): Promise<boolean> {
  const result = await q
    .updateTable('bindings')
    .set({ state })
    .where('address', '=', key.address)
    .where('purpose', '=', key.purpose)
    .where('sha256', '=', key.sha256)
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
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
