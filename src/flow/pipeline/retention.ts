import { dayMs } from '../../base/day.ts';
import type { Queries } from '../../store/database.ts';
import { ledgerOf } from '../../store/ledger.ts';
import type { MessageRow } from '../../store/messages.ts';
import { postingsOf } from '../../store/postings.ts';
import type { HeldPosting } from '../../store/queue.ts';
import { timeOfId } from '../../store/spool-id.ts';
import { everyList, type SiteDefaults } from '../lists/list-context.ts';

/** Until when ciphertext that waits for a person is kept (RULES 17); null where no end is set. Times in ms. */
export interface Retention {
  /** A post that waits for a moderator (`held.days`). */
  ofHeld(posting: Pick<HeldPosting, 'list' | 'decidedAt'>): number | null;
  /** A message that could not be opened (`unopened.retry-days`): of several lists the longest. */
  ofUnopened(message: Pick<MessageRow, 'id' | 'receivedAt' | 'reason'>): Promise<number | null>;
  /** A message in quarantine (`quarantine.days`), known to the database or not. */
  ofQuarantine(id: string): Promise<number>;
}

/** While these last, the time limit does not run (RULES 18). */
const obstacles: ReadonlySet<string | null> = new Set(['key-locked', 'trust-unreadable']);

/** The retention of a site by the settings of its lists now. */
export async function retentionOf(
  q: Queries,
  d: { readonly defaults: SiteDefaults; readonly quarantineMs: number },
): Promise<Retention> {
  const lists = await everyList(q, d.defaults, () => {});
  return {
    ofHeld({ list: address, decidedAt }) {
      const list = lists.find((one) => one.address === address);
      return list && decidedAt !== null ? decidedAt + list.policy['held.days'] * dayMs : null;
    },
    async ofUnopened({ id, receivedAt, reason }) {
      if (obstacles.has(reason)) return null;
      const open = (await postingsOf(q, id)).filter((posting) => posting.state === 'new');
      const days = lists
        .filter((list) => open.some((posting) => posting.listId === list.id))
        .map((list) => list.policy['unopened.retry-days']);
      return days.length === 0 ? null : receivedAt + Math.max(...days) * dayMs;
    },
    ofQuarantine: async (id) => (await quarantinedAt(q, id)) + d.quarantineMs,
  };
}

/** When a message was put into quarantine, by the ledger; where that has forgotten it, when it was received. */
export async function quarantinedAt(q: Queries, id: string): Promise<number> {
  const put = (await ledgerOf(q, id)).findLast((line) => line.event === 'quarantined');
  return put?.at ?? timeOfId(id);
}
