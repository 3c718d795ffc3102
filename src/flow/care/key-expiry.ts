import { dayOf } from '../../base/day.ts';
import type { Certificate } from '../../pki/certificate.ts';
import { noticeDue, noticeIsDue } from '../../store/notices.ts';
import { type ListContext, serviceAt } from '../lists/list-context.ts';
import { renewal } from '../lists/renewal.ts';
import { queueIf } from '../mail/local-mail.ts';
import { addressesOf, noticesTo, tryNotice } from '../mail/notices-to.ts';
import { stageOf } from './expiry-stages.ts';
import { type AnnouncementParts, announceKeys } from './key-announcement.ts';

export interface KeyCareParts extends AnnouncementParts {
  readonly serviceAddress: string;
  /** Who looks after the service address. */
  readonly postmaster: string;
}

/**
 * What the keys of lists need by the clock: owners are warned 30, 7 and 1 days before a certificate in use ends, and when it
 * has ended, the postmaster of that of the service address; announcements of new keys that were interrupted go on. One
 * list's trouble stops no other. Gives the number of mails.
 */
export async function careForListKeys(parts: KeyCareParts, lists: readonly ListContext[]): Promise<number> {
  const { q } = parts.database;
  const service = await serviceAt(q, parts.serviceAddress, parts.defaults);
  let told = service ? await alone(parts, service, async () => [parts.postmaster]) : 0;
  for (const list of lists) told += await alone(parts, list, () => addressesOf(q, list.id, 'owner'));
  return told + (await announceKeys(parts));
}

type FindReaders = () => Promise<readonly string[]>;

/** One list whose mail cannot be written keeps no other from being warned. */
async function alone(parts: KeyCareParts, list: ListContext, readers: FindReaders): Promise<number> {
  return (await tryNotice(parts, { list: list.address }, () => warnOf(parts, list, readers))) ?? 0;
}

async function warnOf(parts: KeyCareParts, list: ListContext, readers: FindReaders): Promise<number> {
  const pairs = [await parts.keyring.signingPair(list), await parts.keyring.encryptionPair(list)];
  const certificates = new Map(
    pairs.flatMap((pair) => (pair ? [[pair.certificate.sha256, pair.certificate] as const] : [])),
  );
  let told = 0;
  for (const certificate of certificates.values()) {
    const stage = stageOf(certificate.notAfter, parts.clock.now());
    if (stage === null) continue;
    for (const to of await readers()) if (await warn(parts, list, { to, certificate, stage })) told++;
  }
  return told;
}

async function warn(
  parts: KeyCareParts,
  list: ListContext,
  d: { readonly to: string; readonly certificate: Certificate; readonly stage: number },
): Promise<boolean> {
  const { to, certificate, stage } = d;
  const kind = `key-ends ${stage} ${certificate.sha256}`;
  const now = parts.clock.now();
  const about = { listId: list.id, member: to, kind, now, everyMs: Number.POSITIVE_INFINITY };
  if (!(await noticeIsDue(parts.database.q, about))) return false;
  const until = dayOf(certificate.notAfter);
  const isOver = stage === 0;
  const [ends, then] = isOver ? ['ended', 'Mail'] : ['ends', 'Then mail'];
  const isService = list.address === parts.serviceAddress;
  const whose = isService ? 'service address' : 'list';
  const mails = await noticesTo(parts, list, [to], {
    template: 'owner-alert',
    variables: {
      event: `the ${whose}'s certificate ${ends} on ${until}`,
      reason: `list-certificate-${ends}`,
      reason_text: `The certificate of the ${whose} ${ends} on ${until}. ${then} programs refuse to encrypt to it, and warn of what the ${whose} signs.`,
      details: [`On the server: ${renewal(certificate, list.address)}`, `SHA-256: ${certificate.sha256}`],
      postmaster: isService,
    },
  });
  const isTold = await queueIf(parts, mails, (tx) => noticeDue(tx, about));
  if (isTold) parts.log.event('key-ends', { list: list.address, to, certificate: certificate.sha256, until });
  return isTold;
}
