import { isFault } from '../../base/errors.ts';
import type { Floor } from '../../pki/algorithms.ts';
import { floorOf } from '../../policy/floor.ts';
import { resolvePolicy } from '../../policy/resolve.ts';
import type { Roles } from '../../policy/scenario.ts';
import { type ListPolicy, parseSettings } from '../../policy/settings.ts';
import type { Queries } from '../../store/database.ts';
import { allLists, findList, findService, type ListRow, listById, rolesOf } from '../../store/lists.ts';
import { findMember } from '../../store/members.ts';
import type { JsonObject } from '../../store/schema.ts';

/** A list as the stages see it: read-only, resolved when a stage begins. */
export interface ListContext {
  readonly id: number;
  readonly address: string;
  /** The part before the @. */
  readonly name: string;
  readonly domain: string;
  readonly open: boolean;
  readonly policy: ListPolicy;
  readonly floor: Floor;
}

/** Settings that hold for all lists of the site (`defaults:` in etc/reseal.yaml). */
export type SiteDefaults = Partial<ListPolicy>;

/** A list's row with its policy resolved. */
export function contextOf(row: ListRow, defaults: SiteDefaults): ListContext {
  const { policy } = resolvePolicy({
    site: defaults,
    profile: row.profile,
    list: parseSettings(textsOf(row.settings)),
  });
  const [name = '', domain = ''] = row.address.split('@');
  return {
    id: row.id,
    address: row.address,
    name,
    domain,
    open: row.state === 'open',
    policy,
    floor: floorOf(policy),
  };
}

/** The row keeps settings as an owner wrote them; anything but text is not a setting. */
function textsOf(settings: JsonObject): Record<string, string> {
  return Object.fromEntries(
    Object.entries(settings).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

/** The list with this address, or null. */
export async function listAt(
  q: Queries,
  address: string,
  defaults: SiteDefaults,
): Promise<ListContext | null> {
  const row = await findList(q, address);
  return row ? contextOf(row, defaults) : null;
}

/** The service address as a list that nobody is a member of, if this address is it. */
export async function serviceAt(
  q: Queries,
  address: string,
  defaults: SiteDefaults,
): Promise<ListContext | null> {
  const row = await findService(q, address);
  return row ? contextOf(row, defaults) : null;
}

/** The list with this id; it is there as long as a posting names it. */
export async function listOf(q: Queries, id: number, defaults: SiteDefaults): Promise<ListContext | null> {
  const row = await listById(q, id);
  return row ? contextOf(row, defaults) : null;
}

/** All lists of the site whose settings can be read; the others are told to `unreadable` and stop nobody else. */
export async function everyList(
  q: Queries,
  defaults: SiteDefaults,
  unreadable: (address: string, words: string) => void,
): Promise<ListContext[]> {
  const lists: ListContext[] = [];
  for (const row of await allLists(q)) {
    try {
      lists.push(contextOf(row, defaults));
    } catch (error) {
      if (!isFault(error)) throw error;
      unreadable(row.address, error.message);
    }
  }
  return lists;
}

/** The language of mail to a member: his own, else the list's. */
export function languageOf(
  list: ListContext,
  member: { readonly settings: JsonObject } | null | undefined,
): string {
  const language = member?.settings.lang;
  return typeof language === 'string' ? language : list.policy.language;
}

/** What an address is on a list. */
export async function rolesOn(q: Queries, list: Pick<ListContext, 'id'>, address: string): Promise<Roles> {
  const member = await findMember(q, list.id, address);
  const roles = (await rolesOf(q, list.id)).filter((role) => role.address === address);
  return {
    member: member?.state === 'active',
    suspended: member?.state === 'suspended',
    owner: roles.some((role) => role.role === 'owner'),
    moderator: roles.some((role) => role.role === 'moderator'),
  };
}
