import type { Clock } from '../base/clock.ts';
import { dayMs, dayOf } from '../base/day.ts';
import { wordsOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { waitingSince } from '../store/bindings.ts';
import { findCertificate } from '../store/certificates.ts';
import type { Database } from '../store/database.ts';
import { listsOfAddress } from '../store/members.ts';
import { noticeDue, noticeIsDue } from '../store/notices.ts';
import { forgetTokens } from '../store/tokens.ts';
import { listOf, type SiteDefaults } from './list-context.ts';
import type { LocalMailParts } from './local-mail.ts';
import type { Compose } from './notify.ts';
import { addressesOf, noticesTo } from './report-mails.ts';

export interface AskParts extends LocalMailParts {
  readonly database: Database;
  readonly compose: Compose;
  readonly clock: Clock;
  readonly log: Log;
  readonly defaults: SiteDefaults;
  readonly wakeDelivery: () => void;
}

const waitDays = 7;
const most = 500;

/**
 * Asks the owners about each certificate that has waited for seven days: once, and nothing comes of it by itself (RULES
 * 15). Forgets tokens that are too old to be answered.
 */
export async function askAboutWaiting(parts: AskParts): Promise<void> {
  const { database, clock, log } = parts;
  const now = clock.now();
  await forgetTokens(database.q, now);
  const rows = await waitingSince(database.q, { before: now - waitDays * dayMs, limit: most });
  const waiting = new Map(rows.map((row) => [`${row.address} ${row.sha256}`, row]));
  for (const row of waiting.values()) {
    for (const { listId } of await listsOfAddress(database.q, row.address)) {
      try {
        await ask(parts, listId, row, now);
      } catch (error) {
        // A template that is broken, or one list, must not keep the others from being asked.
        log.error('owners-not-asked', { address: row.address, detail: wordsOf(error) });
      }
    }
  }
}

async function ask(
  parts: AskParts,
  listId: number,
  row: { readonly address: string; readonly sha256: string; readonly since: number },
  now: number,
): Promise<void> {
  const { q } = parts.database;
  const { address, sha256 } = row;
  const kind = `waiting ${sha256.slice(0, 32)}`;
  const about = { listId, member: address, kind, now, everyMs: Number.POSITIVE_INFINITY };
  const list = await listOf(q, listId, parts.defaults);
  const certificate = await findCertificate(q, sha256);
  if (!list || !certificate || !(await noticeIsDue(q, about))) return;
  const reasonText = `A certificate for ${address} (issued by ${certificate.issuer}) has waited since ${dayOf(row.since)}, and nobody who has the old key has confirmed it. Until you decide, mail to ${address} is encrypted to the old certificate, or waits. Ask by another way than mail, then: reseal cert approve ${address} ${sha256.slice(0, 16)}, or: reseal cert refuse ${address} ${sha256.slice(0, 16)}`;
  const event = 'a certificate still waits for your approval';
  const mails = await noticesTo(parts, list, await addressesOf(q, listId, 'owner'), {
    template: 'owner-alert',
    variables: { event, reason: 'waiting', reason_text: reasonText, details: [] },
  });
  const isDue = await parts.database.write(async (tx) => {
    const due = await noticeDue(tx, about);
    if (due) for (const mail of mails) await mail.queue(tx);
    return due;
  });
  if (!isDue) for (const mail of mails) await parts.spool.remove(mail.id);
  else parts.wakeDelivery();
}
