import { isFault } from '../../base/errors.ts';
import type { ListPolicy } from '../../policy/settings.ts';
import type { Queries } from '../../store/database.ts';
import { listsHeldBy } from '../../store/lists.ts';
import { listsOfAddress } from '../../store/members.ts';
import { type ListContext, listOf, type SiteDefaults } from '../lists/list-context.ts';

type HarvestPolicy = Pick<ListPolicy, 'harvest' | 'harvest.first'>;

/** Where a list's settings cannot be read: a person decides. */
const unreadable: HarvestPolicy = { harvest: 'confirm-change', 'harvest.first': 'owner' };

/**
 * The list as it takes certificates for this address: all lists share what is known of it, so each of which it is a
 * member, or holds a role, may ask for more care than the one that the mail came to, and none for less (RULES 15).
 */
export async function listForHarvest(
  q: Queries,
  list: ListContext,
  address: string,
  defaults: SiteDefaults,
): Promise<ListContext> {
  const memberships = (await listsOfAddress(q, address)).map(({ listId }) => listId);
  const ids = new Set([...memberships, ...(await listsHeldBy(q, address))]);
  ids.delete(list.id);
  const others: HarvestPolicy[] = [];
  for (const id of ids) others.push(await policyOf(q, id, defaults));
  const { policy } = list;
  const careful = others.some((one) => one.harvest !== 'verified');
  const asks = others.some((one) => one['harvest.first'] !== 'verified');
  return {
    ...list,
    policy: {
      ...policy,
      harvest: policy.harvest === 'verified' && careful ? 'confirm-change' : policy.harvest,
      'harvest.first': policy['harvest.first'] === 'verified' && asks ? 'owner' : policy['harvest.first'],
    },
  };
}

async function policyOf(q: Queries, listId: number, defaults: SiteDefaults): Promise<HarvestPolicy> {
  try {
    return (await listOf(q, listId, defaults))?.policy ?? unreadable;
  } catch (error) {
    if (isFault(error)) return unreadable;
    throw error;
  }
}
