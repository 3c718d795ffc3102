import { dayMs, dayOf } from '../base/day.ts';
import { isFault } from '../base/errors.ts';
import type { Certificate } from '../pki/certificate.ts';
import { noticeDue, noticeIsDue } from '../store/notices.ts';
import { renewal } from './check-site.ts';
import { type AnnouncementParts, announceKeys } from './key-announcement.ts';
import type { ListContext } from './list-context.ts';
import { addressesOf, noticesTo } from './report-mails.ts';

export type KeyCareParts = AnnouncementParts;

/** Days before the end on which the owners are warned, once each; 0: it is over. */
const stages = [0, 1, 7, 30] as const;

/**
 * What the keys of lists need each day: owners are warned 30, 7 and 1 days before a certificate in use ends, and when it
 * has ended; announcements of new keys that were interrupted go on. One list's trouble stops no other.
 */
export async function careForListKeys(parts: KeyCareParts, lists: readonly ListContext[]): Promise<void> {
  for (const list of lists) {
    try {
      await warnOwners(parts, list);
    } catch (error) {
      if (!isFault(error)) throw error;
      parts.log.error('notice-failed', { list: list.address, code: error.code, detail: error.message });
    }
  }
  await announceKeys(parts);
}

async function warnOwners(parts: KeyCareParts, list: ListContext): Promise<void> {
  const pairs = [await parts.keyring.signingPair(list), await parts.keyring.encryptionPair(list)];
  const certificates = new Map(
    pairs.flatMap((pair) => (pair ? [[pair.certificate.sha256, pair.certificate] as const] : [])),
  );
  for (const certificate of certificates.values()) {
    const stage = stageOf(certificate, parts.clock.now());
    if (stage === null) continue;
    for (const owner of await addressesOf(parts.database.q, list.id, 'owner'))
      await warn(parts, list, { owner, certificate, stage });
  }
}

/** The latest warning that is due, or null; of one that a long stop of the daemon skipped nothing is said. */
function stageOf({ notAfter }: Certificate, now: number): (typeof stages)[number] | null {
  return stages.find((days) => now >= notAfter - days * dayMs) ?? null;
}

async function warn(
  parts: KeyCareParts,
  list: ListContext,
  d: { readonly owner: string; readonly certificate: Certificate; readonly stage: number },
): Promise<void> {
  const { owner, certificate, stage } = d;
  const kind = `key-ends ${stage} ${certificate.sha256}`;
  const now = parts.clock.now();
  const about = { listId: list.id, member: owner, kind, now, everyMs: Number.POSITIVE_INFINITY };
  if (!(await noticeIsDue(parts.database.q, about))) return;
  const until = dayOf(certificate.notAfter);
  const mails = await noticesTo(parts, list, [owner], {
    template: 'owner-alert',
    variables: {
      event:
        stage === 0 ? `the list's certificate ended on ${until}` : `the list's certificate ends on ${until}`,
      reason: stage === 0 ? 'list-certificate-ended' : 'list-certificate-ends',
      reason_text:
        stage === 0
          ? `The certificate of the list ended on ${until}. Mail programs refuse to encrypt to it, and warn of what the list signs.`
          : `The certificate of the list ends on ${until}. Then mail programs refuse to encrypt to it, and warn of what the list signs.`,
      details: [`On the server: ${renewal(certificate, list.address)}`, `SHA-256: ${certificate.sha256}`],
    },
  });
  await parts.database.write(async (tx) => {
    if (await noticeDue(tx, about)) for (const mail of mails) await mail.queue(tx);
  });
  parts.log.event('key-ends', { list: list.address, to: owner, certificate: certificate.sha256, until });
}
