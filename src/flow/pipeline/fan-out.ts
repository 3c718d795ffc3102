import type { Database } from '../../store/database.ts';
import { insertDeliveries, type NewDelivery } from '../../store/deliveries.ts';
import { membersAfter } from '../../store/members.ts';
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
 * decided when it is attempted.
 */
export async function fanOut(parts: FanOutParts, posting: PostingRow, at: number): Promise<void> {
  const row = (member: string): NewDelivery => ({
    postingId: posting.id,
    member,
    state: 'pending',
    reason: null,
    detail: null,
    nextAt: at,
    createdAt: at,
    expiresAt: at + parts.lifetimeMs,
  });
  if (posting.kind === 'owner' || posting.kind === 'editor') {
    const role = posting.kind === 'owner' ? 'owner' : 'moderator';
    const addresses = await addressesOf(parts.database.q, posting.listId, role);
    await parts.database.write(async (tx) => {
      await insertDeliveries(tx, addresses.map(row));
      await setPostingState(tx, posting.id, 'distributing');
    });
    parts.wakeDelivery();
    return;
  }
  let cursor = posting.cursor;
  for (let more = true; more; ) {
    const after = cursor;
    const page = await membersAfter(parts.database.q, posting.listId, after, chunk);
    const last = page.at(-1)?.address ?? after;
    more = page.length === chunk;
    await parts.database.write(async (tx) => {
      await insertDeliveries(
        tx,
        page.filter((member) => member.state === 'active').map((member) => row(member.address)),
      );
      await setCursor(tx, posting.id, last);
      if (!more) await setPostingState(tx, posting.id, 'distributing');
    });
    cursor = last;
    parts.wakeDelivery();
  }
}
