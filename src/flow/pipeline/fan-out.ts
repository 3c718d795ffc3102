import type { Database } from '../../store/database.ts';
import { insertDeliveries, pendingDelivery } from '../../store/deliveries.ts';
import { fanOutBegun, insertForMembers } from '../../store/fan-out.ts';
import { type PostingRow, setCursor, setPostingState } from '../../store/postings.ts';
import { addressesOf } from '../mail/notices-to.ts';

const chunk = 500;

export interface FanOutParts {
  readonly database: Database;
  readonly lifetimeMs: number;
  /** Called after each chunk: delivery begins while the fan-out goes on. */
  readonly wakeDelivery: () => void;
}

/**
 * Makes one delivery row per active member (or per holder of a role, for mail to -owner and -editor), in chunks with
 * a cursor on the posting, so that a crash continues where it was. Which certificate and cipher a copy gets is
 * decided when it is attempted. Not on the disk yet when it resolves: a claim is, before a copy leaves.
 */
export async function fanOut(parts: FanOutParts, posting: PostingRow, at: number): Promise<void> {
  if (posting.kind === 'owner' || posting.kind === 'editor') {
    const { lifetimeMs } = parts;
    const role = posting.kind === 'owner' ? 'owner' : 'moderator';
    const addresses = await addressesOf(parts.database.q, posting.listId, role);
    await parts.database.hastily(async (tx) => {
      await insertDeliveries(
        tx,
        addresses.map((member) => pendingDelivery(posting.id, member, { at, lifetimeMs })),
      );
      await setPostingState(tx, posting.id, 'distributing');
    });
    parts.wakeDelivery();
    return;
  }
  let cursor = posting.cursor;
  const begunAt = cursor === null ? at : ((await fanOutBegun(parts.database.q, posting.id)) ?? at);
  do {
    const after = cursor;
    cursor = await parts.database.hastily(async (tx) => {
      const last = await insertForMembers(tx, {
        postingId: posting.id,
        listId: posting.listId,
        after,
        limit: chunk,
        begunAt,
        at,
        expiresAt: at + parts.lifetimeMs,
      });
      if (last !== null) await setCursor(tx, posting.id, last);
      else await setPostingState(tx, posting.id, 'distributing');
      return last;
    });
    parts.wakeDelivery();
  } while (cursor !== null);
}
