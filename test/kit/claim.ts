import type { Queries } from '../../src/store/database.ts';
import { type Claim, claim, duePostings } from '../../src/store/deliveries.ts';
import type { DeliveryRow } from '../../src/store/schema.ts';

/** Claims of the posting that has been due longest. */
export async function claimOldest(q: Queries, d: Omit<Claim, 'postingId'>): Promise<DeliveryRow[]> {
  const [oldest] = await duePostings(q, d);
  return oldest ? claim(q, { ...d, postingId: oldest.postingId }) : [];
}
