import { Plaintext } from '../../base/bytes.ts';
import type { ContentCipher } from '../../pki/algorithms.ts';
import type { SealRecipient } from '../../smime/jobs.ts';
import type { CryptoWorkers } from '../../smime/workers.ts';
import { chunksOf } from '../../store/chunks.ts';
import type { Database } from '../../store/database.ts';
import { memberPages } from '../../store/members.ts';
import type { FindRecipients, MemberCertificate } from '../certificates/member-certificate.ts';
import { sealKeysFrom } from '../certificates/seal-keys.ts';
import type { ListContext } from '../lists/list-context.ts';
import { sealedHead } from '../post/prepare.ts';
import { type SealedCopy, sealPosting } from './seal-copies.ts';

type MadeCopy = Extract<SealedCopy, { head: Buffer }>;

/** Members who are looked at together, as in a batch of the delivery. */
const atOnce = 100;

/**
 * How large the smallest sealed copy is for each batch of a list's members who can get one, in octets: zeros take the
 * place of the entity (`entity` octets), all else is done as for the copies themselves, so each octet is counted. A copy
 * that members share (`send.envelope: grouped`) is larger. Of those whom nothing can be sealed to now nothing is said.
 */
export async function* smallestCopies(
  parts: {
    readonly database: Database;
    readonly workers: Pick<CryptoWorkers, 'seal' | 'count'>;
    readonly findRecipients: FindRecipients;
  },
  d: {
    readonly list: ListContext;
    readonly header: Buffer;
    readonly entity: number;
    readonly receivedBits: number;
  },
): AsyncGenerator<number> {
  const { q } = parts.database;
  const findKeys = sealKeysFrom(q);
  const seal = sealPosting(parts.workers, async () => new Plaintext(new Uint8Array(d.entity)), new Map());
  /** Not encoded again for each batch: of a large entity that takes longer than all else, and anybody can send one. */
  const known = new Map<string, number>();
  const octetsOf = async (cipher: ContentCipher, copy: MadeCopy): Promise<number> => {
    const name = `${cipher} ${copy.phase}`;
    const lines = known.get(name) ?? (await copy.lines()).length;
    known.set(name, lines);
    return copy.head.length + lines;
  };
  try {
    for await (const page of memberPages(q, d.list.id)) {
      const active = page.filter(({ state }) => state === 'active');
      for (const batch of chunksOf(active, atOnce)) {
        const sizes: number[] = [];
        const found = await parts.findRecipients(d.list, batch, d.receivedBits);
        for (const [cipher, recipients] of byCipher([...found.values()])) {
          const outer = sealedHead(d.header, await seal.contentType(cipher));
          for (const copy of await seal.address(cipher, recipients, { findKeys }))
            if ('head' in copy) sizes.push(outer.length + (await octetsOf(cipher, copy)));
        }
        if (sizes.length > 0) yield Math.min(...sizes);
      }
    }
  } finally {
    await seal.end();
  }
}

function byCipher(found: readonly MemberCertificate[]): Map<ContentCipher, SealRecipient[]> {
  const groups = new Map<ContentCipher, SealRecipient[]>();
  for (const one of found) {
    if (!one.usable) continue;
    const { cipher } = one.choice;
    groups.set(cipher, [...(groups.get(cipher) ?? []), one.recipient]);
  }
  return groups;
}
