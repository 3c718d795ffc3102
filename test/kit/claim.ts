import type { Queries } from '../../src/store/database.ts';
import { type Claim, type ClaimedRow, claim, duePostings } from '../../src/store/deliveries.ts';

/** Claims of the posting that has been due longest. */
export async function claimOldest(q: Queries, d: Omit<Claim, 'postingId'>): Promise<ClaimedRow[]> {
  const [oldest] = await duePostings(q, d);
  return oldest ? claim(q, { ...d, postingId: oldest.postingId }) : [];
}
