import type { Queries } from '../../store/database.ts';
import { type OpenPosting, openPostingsAfter } from '../../store/postings.ts';
import type { JsonObject } from '../../store/schema.ts';

/** A message that can be read only with a certain key, or that nobody has opened yet. */
export interface KeyNeed {
  /** The spool id. */
  readonly message: string;
  /** What it waits for, in a few words. */
  readonly why: string;
}

const page = 500;

/**
 * The messages of a list that are still to be opened with the key of this certificate (RULES 18): copies that are to be
 * sent or are held, posts that wait for a moderator, in quarantine, unopened or not yet looked at. What is not opened
 * may need any key (an archive, once there is one, will count here too); only where it names none of the list's keys is that known, and then it needs none.
 */
export async function needsOf(q: Queries, listId: number, sha256: string): Promise<KeyNeed[]> {
  const needs: KeyNeed[] = [];
  for (let after = 0; ; ) {
    const postings = await openPostingsAfter(q, { listId, after, limit: page });
    for (const posting of postings) {
      const why = whyNeeded(posting, sha256);
      if (why !== null) needs.push({ message: posting.messageId, why });
    }
    if (postings.length < page) return needs;
    after = postings.at(-1)?.id ?? after;
  }
}

const waits: Readonly<Partial<Record<OpenPosting['state'], string>>> = {
  held: 'waits for a moderator',
  'fanning-out': 'is being distributed',
  distributing: 'has copies that are not delivered yet',
  quarantine: 'is in quarantine',
};

function whyNeeded(posting: OpenPosting, sha256: string): string | null {
  const { verdict, state, messageState, messageReason, lists } = posting;
  if (verdict === null || verdict.decision === 'unopened') {
    // `no-recipient` is said only when all of the list's keys were there to be compared.
    const isForeign = messageState === 'unopened' && messageReason === 'no-recipient' && lists === 1;
    return isForeign ? null : `is not opened yet (${messageReason ?? messageState})`;
  }
  return keysIn(verdict).has(sha256) ? (waits[state] ?? state) : null;
}

/** The certificates whose keys opened a post: of every layer, as each has to be opened again. */
function keysIn(verdict: JsonObject): Set<unknown> {
  const layers = Array.isArray(verdict.layers) ? (verdict.layers as JsonObject[]) : [];
  return new Set([verdict.listKey, ...layers.map((layer) => layer.keySha256)]);
}
