import { dayMs, dayOf } from '../../base/day.ts';
import { newestLedgerId } from '../../store/ledger.ts';
import { readMeta, writeMeta } from '../../store/meta.ts';
import type { Variables } from '../../template/templates.ts';
import type { FindRecipients } from '../certificates/member-certificate.ts';
import type { Keyring } from '../lists/keyring.ts';
import type { ListContext } from '../lists/list-context.ts';
import { queueIf } from '../mail/local-mail.ts';
import { addressesOf, type NoticeParts, noticesTo, tryNotice } from '../mail/notices-to.ts';
import { endingSoon, expiredHolds, failuresOf, type Span, withoutCertificate } from './report-facts.ts';

export interface ReportParts extends NoticeParts {
  readonly findRecipients: FindRecipients;
  readonly keyring: Pick<Keyring, 'trustProblemOf'>;
}

const periods = { daily: dayMs, weekly: 7 * dayMs } as const;
type Period = keyof typeof periods;

/** Where the last report of a kind ended: its time, and the last ledger entry that it looked at. */
interface Mark {
  readonly at: number;
  readonly ledger: number;
}

/**
 * Sends the owners of a list the reports that are due (`report.failures`, `report.weekly`): one mail each per period,
 * none if there is nothing to say. Where a report ended is written with its mails, so nothing is told twice or left
 * out, however long reseal was down. Gives the number of mails.
 */
export async function reportToOwners(parts: ReportParts, list: ListContext): Promise<number> {
  let sent = 0;
  for (const period of ['daily', 'weekly'] as const) {
    const about = { list: list.address, period };
    sent += (await tryNotice(parts, about, () => reportIfDue(parts, list, period))) ?? 0;
  }
  return sent;
}

async function reportIfDue(parts: ReportParts, list: ListContext, period: Period): Promise<number> {
  const { database, clock } = parts;
  const { q } = database;
  const now = clock.now();
  const key = `report.${period}.${list.id}`;
  const kept = await readMeta(q, key);
  // A period begins when the list is first seen; what the ledger has from before belongs to it.
  if (kept === null)
    return database.write((tx) => writeMeta(tx, key, markOf({ at: now, ledger: 0 }))).then(() => 0);
  const last = parseMark(kept);
  const lengthMs = periods[period];
  if (now < last.at + lengthMs) return 0;
  const next = {
    at: now < last.at + 2 * lengthMs ? last.at + lengthMs : now,
    ledger: await newestLedgerId(q),
  };
  const variables = await contentOf(parts, list, period, { afterId: last.ledger, from: last.at });
  const owners = variables === null ? [] : await addressesOf(q, list.id, 'owner');
  const notice = {
    template: 'owner-report',
    variables: { period, from: dayOf(last.at), to: dayOf(now), ...variables },
  };
  const mails = await noticesTo(parts, list, owners, notice);
  const isMine = await queueIf(parts, mails, async (tx) => {
    // Another process may have been as quick.
    if ((await readMeta(tx, key)) !== kept) return false;
    await writeMeta(tx, key, markOf(next));
    return true;
  });
  return isMine ? mails.length : 0;
}

/** What the report says, or null if there is nothing to say, or the list wants none. */
async function contentOf(
  parts: ReportParts,
  list: ListContext,
  period: Period,
  span: Span,
): Promise<Variables | null> {
  const { q } = parts.database;
  if (period === 'daily') {
    if (list.policy['report.failures'] !== 'daily') return null;
    const failures = await failuresOf(q, list, span);
    return failures.length === 0 ? null : { failures };
  }
  if (list.policy['report.weekly'] === 'no') return null;
  const expired = await expiredHolds(q, list, span);
  // Authorities that cannot be read would make every certificate look bad.
  const canJudge = list.open && (await parts.keyring.trustProblemOf(list)) === null;
  const nobody = { lines: [], more: 0 };
  const missing = canJudge ? await withoutCertificate(q, list, parts.findRecipients) : nobody;
  const ending = list.open ? await endingSoon(q, list, parts.clock.now()) : nobody;
  const all = { expired, missing, ending };
  return Object.values(all).every((one) => one.lines.length === 0) ? null : { ...all };
}

const markOf = ({ at, ledger }: Mark): string => `${at} ${ledger}`;

function parseMark(text: string): Mark {
  const [at = 0, ledger = 0] = text.split(' ').map(Number);
  return { at, ledger };
}
