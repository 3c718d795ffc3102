import { type Queries, requireTransaction } from './database.ts';
import type { PostingKind } from './schema.ts';

/** What the site's memory says of a signature; `here` is the same address of the same list. */
export type Sighting = 'new' | 'seen-here' | 'seen-elsewhere';

/**
 * The memory against replay (RULES 4): remembers that a signature came to an address of a list and tells whether it has
 * been seen before. `sha256` is that of the SignerInfo's signature value, `messageId` the spool id. The same message
 * asking again, after a crash, gets the answer that it got the first time; a message that one transaction sent to
 * several addresses is not its own replay. Fault: 'transaction-required'.
 */
export async function remember(
  tx: Queries,
  d: { sha256: string; listId: number; kind: PostingKind; seenAt: number; messageId: string },
): Promise<Sighting> {
  requireTransaction(tx, 'remember');
  const seen = await tx
    .selectFrom('signatures')
    .selectAll()
    .where('signatureSha256', '=', d.sha256)
    .execute();
  const here = seen.find((row) => row.listId === d.listId && row.kind === d.kind);
  if (here && here.messageId !== d.messageId) return 'seen-here';
  if (!here) {
    const { sha256, ...rest } = d;
    await tx
      .insertInto('signatures')
      .values({ signatureSha256: sha256, ...rest })
      .execute();
  }
  const first = here?.seenAt ?? d.seenAt;
  const elsewhere = seen.some((row) => row !== here && row.messageId !== d.messageId && row.seenAt <= first);
  return elsewhere ? 'seen-elsewhere' : 'new';
}

/** The answer that `remember` would give of a signature that came now in a message of its own; nothing is remembered. */
export async function sightingIn(
  q: Queries,
  d: { sha256: string; listId: number; kind: PostingKind },
): Promise<Sighting> {
  const seen = await q
    .selectFrom('signatures')
    .select(['listId', 'kind'])
    .where('signatureSha256', '=', d.sha256)
    .execute();
  if (seen.some((row) => row.listId === d.listId && row.kind === d.kind)) return 'seen-here';
  return seen.length > 0 ? 'seen-elsewhere' : 'new';
}

/** Forgets signatures seen before `before` and gives their number. */
export async function forgetSignatures(q: Queries, before: number): Promise<number> {
  const result = await q.deleteFrom('signatures').where('seenAt', '<', before).executeTakeFirst();
  return Number(result.numDeletedRows);
}
