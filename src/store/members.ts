import type { Selectable } from 'kysely';
import { chunksOf, pagesOf } from './chunks.ts';
import type { Queries } from './database.ts';
import type { JsonObject, MembersTable } from './schema.ts';

export interface MemberRow {
  readonly listId: number;
  /** Canonical. */
  readonly address: string;
  readonly name: string;
  readonly state: 'active' | 'suspended';
  /** When the address became a member. */
  readonly since: number;
  /** `cipher`, `keyTransport`, `lang`, … where the member differs from the list. */
  readonly settings: JsonObject;
  /** By what he was suspended, if not by a person. */
  readonly suspendedBy: 'bounces' | null;
  /** What was refused before does not count: he was given another chance then. Null: all since he is a member. */
  readonly bouncesFrom: number | null;
}

export interface NewMember {
  readonly address: string;
  readonly name: string;
  readonly since: number;
  readonly settings?: JsonObject;
}

const memberOf = (row: Selectable<MembersTable>): MemberRow => ({
  ...row,
  settings: JSON.parse(row.settings),
});

/** Since when refused copies count against a member. */
export const bouncesSince = (member: Pick<MemberRow, 'since' | 'bouncesFrom'>): number =>
  Math.max(member.since, member.bouncesFrom ?? 0);

/** Adds active members and gives their number; who is a member already stays as he is and is not counted. */
export async function addMembers(q: Queries, listId: number, rows: readonly NewMember[]): Promise<number> {
  let added = 0n;
  for (const chunk of chunksOf(rows)) {
    const values = chunk.map(({ address, name, since, settings }) => ({
      listId,
      address,
      name,
      since,
      state: 'active' as const,
      settings: JSON.stringify(settings ?? {}),
    }));
    const result = await q
      .insertInto('members')
      .values(values)
      .onConflict((c) => c.doNothing())
      .executeTakeFirst();
    added += result.numInsertedOrUpdatedRows ?? 0n;
  }
  return Number(added);
}

/** Ends a membership and tells whether there was one. Open deliveries are `cancelFor`'s business. */
export async function removeMember(q: Queries, listId: number, address: string): Promise<boolean> {
  const result = await q
    .deleteFrom('members')
    .where('listId', '=', listId)
    .where('address', '=', address)
    .executeTakeFirst();
  return result.numDeletedRows > 0n;
}

/** One membership, or null. */
export async function findMember(q: Queries, listId: number, address: string): Promise<MemberRow | null> {
  const row = await q
    .selectFrom('members')
    .selectAll()
    .where('listId', '=', listId)
    .where('address', '=', address)
    .executeTakeFirst();
  return row ? memberOf(row) : null;
}

/** The memberships of some addresses on one list, by address; who is no member is not in the map. */
export async function membersNamed(
  q: Queries,
  listId: number,
  addresses: readonly string[],
): Promise<Map<string, MemberRow>> {
  const found = new Map<string, MemberRow>();
  for (const chunk of chunksOf(addresses)) {
    const rows = await q
      .selectFrom('members')
      .selectAll()
      .where('listId', '=', listId)
      .where('address', 'in', chunk)
      .execute();
    for (const row of rows) found.set(row.address, memberOf(row));
  }
  return found;
}

/**
 * The next `limit` members in the order of their addresses, suspended ones too. `after` is the last address of the
 * page before, null for the first page: a cursor that stays right while members come and go.
 */
export async function membersAfter(
  q: Queries,
  listId: number,
  after: string | null,
  limit: number,
): Promise<MemberRow[]> {
  const rows = await q
    .selectFrom('members')
    .selectAll()
    .where('listId', '=', listId)
    .where('address', '>', after ?? '')
    .orderBy('address')
    .limit(limit)
    .execute();
  return rows.map(memberOf);
}

/** All members in the order of their addresses, suspended ones too, a page at a time. */
export function memberPages(q: Queries, listId: number): AsyncGenerator<readonly MemberRow[]> {
  return pagesOf((after, limit) => membersAfter(q, listId, after?.address ?? null, limit));
}

/** How many members the list has, or how many in one state. */
export async function countMembers(q: Queries, listId: number, state?: MemberRow['state']): Promise<number> {
  let query = q
    .selectFrom('members')
    .select((e) => e.fn.countAll<number>().as('count'))
    .where('listId', '=', listId);
  if (state) query = query.where('state', '=', state);
  return (await query.executeTakeFirstOrThrow()).count;
}

/** Changes what is given of a membership (settings as a whole; a state without `suspendedBy` is a person's) and tells whether there is one. */
export async function setMember(
  q: Queries,
  d: { listId: number; address: string },
  change: Partial<Pick<MemberRow, 'name' | 'state' | 'settings' | 'suspendedBy' | 'bouncesFrom'>>,
): Promise<boolean> {
  const { settings, ...plain } = change;
  const set = {
    ...(change.state === undefined ? {} : { suspendedBy: null }),
    ...plain,
    ...(settings === undefined ? {} : { settings: JSON.stringify(settings) }),
  };
  if (Object.keys(set).length === 0) return (await findMember(q, d.listId, d.address)) !== null;
  const result = await q
    .updateTable('members')
    .set(set)
    .where('listId', '=', d.listId)
    .where('address', '=', d.address)
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

/** The address's memberships, by list. */
export async function listsOfAddress(q: Queries, address: string): Promise<MemberRow[]> {
  const rows = await q
    .selectFrom('members')
    .selectAll()
    .where('address', '=', address)
    .orderBy('listId')
    .execute();
  return rows.map(memberOf);
}
