import type { OpenReport } from '../../smime/open.ts';
import type { Queries } from '../../store/database.ts';
import { remember, type Sighting, sightingIn } from '../../store/signatures.ts';
import type { ListContext } from '../lists/list-context.ts';
import type { FlowParts, PostingWork } from './posting-work.ts';

/** Gravest first. */
const sightings: readonly Sighting[] = ['seen-here', 'seen-elsewhere', 'new'];

/**
 * What the replay memory says of a mail's signatures (RULES 4), null if none counts; and remembers them. Mail to -owner,
 * -sendcert and the other addresses is remembered too: captured there and posted to the list, it would be opened for all.
 */
export async function sightingOf(
  parts: Pick<FlowParts, 'database'>,
  { list, message, posting, spooled }: PostingWork,
  report: Pick<OpenReport, 'signature'>,
): Promise<Sighting | null> {
  const { signature } = report;
  if (signature === null) return null;
  const about = {
    listId: list.id,
    kind: posting.kind,
    seenAt: spooled.receivedAt,
    messageId: message.id,
  };
  // Whatever is done about it is on the disk after it, or not at all.
  return parts.database.hastily(async (tx) => {
    const found = new Set<Sighting>();
    for (const sha256 of signature.allSha256) found.add(await remember(tx, { ...about, sha256 }));
    return gravest(found);
  });
}

/** What it would say of a post that came now. Nothing is remembered. */
export async function sightingNow(
  q: Queries,
  list: Pick<ListContext, 'id'>,
  { signature }: Pick<OpenReport, 'signature'>,
): Promise<Sighting | null> {
  const found = new Set<Sighting>();
  for (const sha256 of signature?.allSha256 ?? [])
    found.add(await sightingIn(q, { sha256, listId: list.id, kind: 'post' }));
  return gravest(found);
}

const gravest = (found: ReadonlySet<Sighting>): Sighting | null =>
  sightings.find((sighting) => found.has(sighting)) ?? null;
