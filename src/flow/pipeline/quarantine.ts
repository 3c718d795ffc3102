import { dayOf } from '../../base/day.ts';
import type { Database } from '../../store/database.ts';
import { record } from '../../store/ledger.ts';
import { listById } from '../../store/lists.ts';
import { findMessage, type MessageRow, messagesIn, setMessageState } from '../../store/messages.ts';
import { postingsOf, setPostingState } from '../../store/postings.ts';
import type { Spool } from '../../store/spool.ts';
import type { FlowParts } from '../decision/posting-work.ts';
import { mailVariables, tellRole } from '../decision/report-mails.ts';
import { listOf } from '../lists/list-context.ts';
import type { SpooledMail } from '../mail/local-mail.ts';
import { tryNotice } from '../mail/notices-to.ts';
import { tryReadOuter } from './intake.ts';
import { quarantinedAt } from './retention.ts';

const atOnce = 10_000;

/**
 * Puts a message aside that broke its opening twice: its state, its ledger line and the notices to the owners of its
 * lists and the postmaster in one transaction, then its file. Repeated after a crash it moves the file.
 */
export async function quarantine(
  parts: FlowParts,
  message: MessageRow,
  d: { reason: string; detail: string },
): Promise<void> {
  const { reason, detail } = d;
  const at = parts.clock.now();
  const mails = await tellOwners(parts, message, d);
  await parts.database.write(async (tx) => {
    await setMessageState(tx, message.id, { state: 'quarantine', reason, detail, nextAt: null });
    await record(tx, { at, messageId: message.id, event: 'quarantined', reason, detail });
    for (const mail of mails) await mail.queue(tx);
  });
  await parts.spool.quarantine(message.id, detail);
  parts.log.warn('quarantined', { id: message.id, reason, detail });
  parts.wakeDelivery();
}

async function tellOwners(
  parts: FlowParts,
  message: MessageRow,
  d: { reason: string; detail: string },
): Promise<SpooledMail[]> {
  const { q } = parts.database;
  const spooled = await parts.spool.read(message.id);
  const outer = tryReadOuter(spooled.bytes);
  const mails: SpooledMail[] = [];
  let toldPostmaster = false;
  for (const posting of await postingsOf(q, message.id)) {
    const list = await listOf(q, posting.listId, parts.defaults);
    if (!list || posting.state !== 'new') continue;
    const work = { posting, list, message, spooled, outer };
    const expires = dayOf(parts.clock.now() + parts.quarantineMs);
    const variables = { mail: mailVariables(work), reason: d.reason, reason_text: d.detail, expires };
    // What is wrong may be what composing needs as well: the message is put aside all the same.
    await tryNotice(parts, { id: message.id }, async () => {
      const notice = { template: 'quarantine', variables };
      mails.push(...(await tellRole(parts, work, 'owner', notice)));
      if (!toldPostmaster) mails.push(...(await tellRole(parts, work, 'postmaster', notice)));
      toldPostmaster = true;
    });
  }
  return mails;
}

/**
 * Gives up what stayed in quarantine for `keptMs`: postings that were never decided are dropped, each with a ledger
 * line; files that no row knows go at once, others with the clean-up after. Gives the number of messages.
 */
export async function endQuarantine(
  parts: { readonly database: Database; readonly spool: Spool },
  d: { readonly now: number; readonly keptMs: number },
): Promise<number> {
  const { database, spool } = parts;
  const isOver = async (id: string): Promise<boolean> =>
    (await quarantinedAt(database.q, id)) + d.keptMs <= d.now;
  const reason = 'quarantine-expired';
  const detail = 'nobody took it out of quarantine in time (quarantine.days)';
  const base = { at: d.now, event: 'expired', reason, detail } as const;
  let ended = 0;
  for (const { id } of await messagesIn(database.q, ['quarantine'], atOnce)) {
    if (!(await isOver(id))) continue;
    await database.write(async (tx) => {
      for (const posting of (await postingsOf(tx, id)).filter((one) => one.state === 'new')) {
        const list = await listById(tx, posting.listId);
        await setPostingState(tx, posting.id, 'dropped', reason);
        await record(tx, { ...base, messageId: id, postingId: posting.id, list: list?.address ?? null });
      }
      await setMessageState(tx, id, { state: 'done', reason, detail, nextAt: null });
    });
    ended++;
  }
  for (const { id } of await spool.quarantined()) {
    if ((await findMessage(database.q, id)) || !(await isOver(id))) continue;
    await database.write((tx) => record(tx, { ...base, messageId: id }));
    await spool.remove(id);
    ended++;
  }
  return ended;
}
