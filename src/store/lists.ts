import type { Selectable } from 'kysely';
import type { Queries } from './database.ts';
import { storeFault } from './faults.ts';
import type { JsonObject, ListsTable, Role } from './schema.ts';

export interface ListRow {
  readonly id: number;
  readonly kind: ListsTable['kind'];
  /** Canonical. */
  readonly address: string;
  readonly state: 'open' | 'closed';
  readonly profile: string | null;
  /** The settings that this list sets itself, by name. */
  readonly settings: JsonObject;
  readonly createdAt: number;
}

export interface RoleHolder {
  readonly listId: number;
  readonly address: string;
  readonly role: Role;
  readonly name: string;
}

const listOf = (row: Selectable<ListsTable>): ListRow => ({ ...row, settings: JSON.parse(row.settings) });

/** Makes an open list and gives it with its id. Fault: 'list-exists'. */
export async function createList(
  q: Queries,
  d: { address: string; profile: string | null; settings: JsonObject; createdAt: number },
): Promise<ListRow> {
  const row = await q
    .insertInto('lists')
    .values({ ...d, kind: 'list', settings: JSON.stringify(d.settings), state: 'open' })
    .onConflict((c) => c.column('address').doNothing())
    .returningAll()
    .executeTakeFirst();
  if (!row) throw storeFault('list-exists', { address: d.address });
  return listOf(row);
}

/** Makes sure that the service address has its row; only one address has. */
export async function ensureService(q: Queries, d: { address: string; createdAt: number }): Promise<void> {
  const values = { ...d, kind: 'service', state: 'open', profile: null, settings: '{}' } as const;
  await q
    .insertInto('lists')
    .values(values)
    .onConflict((c) => c.column('address').doNothing())
    .execute();
}

/** The list with this canonical address, or null. */
export async function findList(q: Queries, address: string): Promise<ListRow | null> {
  return findKind(q, address, 'list');
}

/** The service address, if this canonical address is it, or null. */
export async function findService(q: Queries, address: string): Promise<ListRow | null> {
  return findKind(q, address, 'service');
}

async function findKind(q: Queries, address: string, kind: ListRow['kind']): Promise<ListRow | null> {
  const row = await q
    .selectFrom('lists')
    .selectAll()
    .where('address', '=', address)
    .where('kind', '=', kind)
    .executeTakeFirst();
  return row ? listOf(row) : null;
}

/** The list, or the service address, with this id, or null. */
export async function listById(q: Queries, id: number): Promise<ListRow | null> {
  const row = await q.selectFrom('lists').selectAll().where('id', '=', id).executeTakeFirst();
  return row ? listOf(row) : null;
}

/** All lists, open and closed, by address. */
export async function allLists(q: Queries): Promise<ListRow[]> {
  const rows = await q
    .selectFrom('lists')
    .selectAll()
    .where('kind', '=', 'list')
    .orderBy('address')
    .execute();
  return rows.map(listOf);
}

/** Replaces the list's own settings, and its profile if one is given. */
export async function setListSettings(
  q: Queries,
  id: number,
  d: { settings: JsonObject; profile?: string | null },
): Promise<void> {
  await q
    .updateTable('lists')
    .set({ settings: JSON.stringify(d.settings), ...(d.profile === undefined ? {} : { profile: d.profile }) })
    .where('id', '=', id)
    .execute();
}

/** Opens or closes the list. */
export async function setListState(q: Queries, id: number, state: ListRow['state']): Promise<void> {
  await q.updateTable('lists').set({ state }).where('id', '=', id).execute();
}

/** Gives an address a role; a repeat changes the name only. */
export async function addRole(q: Queries, holder: RoleHolder): Promise<void> {
  await q
    .insertInto('roles')
    .values(holder)
    .onConflict((c) => c.columns(['listId', 'address', 'role']).doUpdateSet({ name: holder.name }))
    .execute();
}

/** Takes the role away and tells whether the address had it. */
export async function removeRole(
  q: Queries,
  d: { listId: number; address: string; role: Role },
): Promise<boolean> {
  const result = await q
    .deleteFrom('roles')
    .where('listId', '=', d.listId)
    .where('address', '=', d.address)
    .where('role', '=', d.role)
    .executeTakeFirst();
  return result.numDeletedRows > 0n;
}

/** All owners and moderators of a list, by address. */
export async function rolesOf(q: Queries, listId: number): Promise<RoleHolder[]> {
  return q
    .selectFrom('roles')
    .selectAll()
    .where('listId', '=', listId)
    .orderBy('address')
    .orderBy('role')
    .execute();
}

/** The lists (ids) on which an address holds a role. */
export async function listsHeldBy(q: Queries, address: string): Promise<number[]> {
  const rows = await q
    .selectFrom('roles')
    .select('listId')
    .distinct()
    .where('address', '=', address)
    .execute();
  return rows.map((row) => row.listId);
}

/** Who has this role on the list, by address. */
export async function holdersOf(q: Queries, listId: number, role: Role): Promise<RoleHolder[]> {
  return (await rolesOf(q, listId)).filter((holder) => holder.role === role);
}
