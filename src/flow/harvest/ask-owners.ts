import { dayMs, dayOf } from '../../base/day.ts';
import { wordsOf } from '../../base/errors.ts';
import { shellWord } from '../../base/shell.ts';
import { bindingsOf, waitingSince } from '../../store/bindings.ts';
import { findCertificate } from '../../store/certificates.ts';
import { listsOfAddress } from '../../store/members.ts';
import { noticeDue, noticeIsDue } from '../../store/notices.ts';
import type { BindingRow } from '../../store/schema.ts';
import { type ListContext, listOf, type SiteDefaults } from '../lists/list-context.ts';
import { type DueMails, queueIf } from '../mail/local-mail.ts';
import { addressesOf, type NoticeParts, noticesTo } from '../mail/notices-to.ts';

export interface AskParts extends NoticeParts {
  readonly defaults: SiteDefaults;
}

const waitDays = 7;
const most = 500;

/**
 * Asks the owners about each certificate that has waited for seven days: once, and nothing comes of it by itself (RULES
 * 15). Gives how many questions were asked.
 */
export async function askAboutWaiting(parts: AskParts): Promise<number> {
  const { database, clock, log } = parts;
  const now = clock.now();
  const rows = await waitingSince(database.q, { before: now - waitDays * dayMs, limit: most });
  const waiting = new Map(rows.map((row) => [`${row.address} ${row.sha256}`, row]));
  let asked = 0;
  for (const row of waiting.values()) {
    for (const { listId } of await listsOfAddress(database.q, row.address)) {
      try {
        if (await ask(parts, listId, row, now)) asked++;
      } catch (error) {
        // A template that is broken, or one list, must not keep the others from being asked.
        log.error('owners-not-asked', { address: row.address, detail: wordsOf(error) });
      }
    }
  }
  return asked;
}

async function ask(
  parts: AskParts,
  listId: number,
  { address, sha256, since }: Asked,
  now: number,
): Promise<boolean> {
  const list = await listOf(parts.database.q, listId, parts.defaults);
  if (!list) return false;
  const question = await askOwners(parts, list, { address, sha256, now }, ({ issuer, how }) => ({
    event: 'a certificate still waits for your approval',
    words: `A certificate for ${address} (issued by ${issuer}) has waited since ${dayOf(since)}, and nobody who has the old key has confirmed it. Until you decide, mail to ${address} is encrypted to the old certificate, or waits. ${how}`,
  }));
  return question !== null && queueIf(parts, question.mails, question.isDue);
}

type Asked = Pick<BindingRow, 'address' | 'sha256' | 'since'>;

/**
 * The question to the owners of a list with `harvest.first: owner`, asked once, about the certificate that a member uses
 * elsewhere and that came by mail alone; null if he uses none such, or they were asked. One that cannot be made is logged:
 * it keeps no copy.
 */
export async function askAboutUnapproved(
  parts: NoticeParts,
  list: ListContext,
  member: string,
): Promise<DueMails | null> {
  const row = (await bindingsOf(parts.database.q, member)).find(
    (one) => one.purpose === 'enc' && one.state === 'in-use' && one.source === 'harvested',
  );
  if (!row) return null;
  const { address, sha256, since } = row;
  try {
    return await askOwners(parts, list, { address, sha256, now: parts.clock.now() }, ({ issuer, how }) => ({
      event: 'a certificate waits for your approval',
      words: `The certificate of ${address} (issued by ${issuer}) came by mail alone, on ${dayOf(since)}, and this list asks for your word before it is used (harvest.first). Until you decide, encrypted mail to ${address} waits. ${how}`,
    }));
  } catch (error) {
    parts.log.error('owners-not-asked', { address, detail: wordsOf(error) });
    return null;
  }
}

async function askOwners(
  parts: NoticeParts,
  list: ListContext,
  { address, sha256, now }: { readonly address: string; readonly sha256: string; readonly now: number },
  sentences: (d: { issuer: string; how: string }) => { readonly event: string; readonly words: string },
): Promise<DueMails | null> {
  const { q } = parts.database;
  const kind = `waiting ${sha256.slice(0, 32)}`;
  const about = { listId: list.id, member: address, kind, now, everyMs: Number.POSITIVE_INFINITY };
  const certificate = await findCertificate(q, sha256);
  if (!certificate || !(await noticeIsDue(q, about))) return null;
  const which = `${shellWord(address)} ${sha256.slice(0, 16)}`;
  const how = `Ask by another way than mail, then: reseal cert approve ${which}, or: reseal cert refuse ${which}`;
  const { event, words } = sentences({ issuer: certificate.issuer, how });
  const mails = await noticesTo(parts, list, await addressesOf(q, list.id, 'owner'), {
    template: 'owner-alert',
    variables: { event, reason: 'waiting', reason_text: words, details: [] },
  });
  return { mails, isDue: (tx) => noticeDue(tx, about) };
}
