import type { OpenReport } from '../smime/open.ts';
import { remember, type Sighting } from '../store/signatures.ts';
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
  return parts.database.write(async (tx) => {
    const found = new Set<Sighting>();
    for (const sha256 of signature.allSha256) found.add(await remember(tx, { ...about, sha256 }));
    return sightings.find((sighting) => found.has(sighting)) ?? null;
  });
}
