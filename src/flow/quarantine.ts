import { Fault, wordsOf } from '../base/errors.ts';
import { record } from '../store/ledger.ts';
import { type MessageRow, setMessageState } from '../store/messages.ts';
import { postingsOf } from '../store/postings.ts';
import { tryReadOuter } from './intake.ts';
import { listOf } from './list-context.ts';
import type { SpooledMail } from './local-mail.ts';
import type { FlowParts } from './posting-work.ts';
import { mailVariables, tellRole } from './report-mails.ts';

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
    const variables = { mail: mailVariables(work), reason: d.reason, reason_text: d.detail };
    try {
      const notice = { template: 'quarantine', variables };
      mails.push(...(await tellRole(parts, work, 'owner', notice)));
      if (!toldPostmaster) mails.push(...(await tellRole(parts, work, 'postmaster', notice)));
      toldPostmaster = true;
    } catch (error) {
      // What is wrong may be what composing needs as well: the message is put aside all the same.
      if (!(error instanceof Fault)) throw error;
      parts.log.error('notice-failed', { id: message.id, detail: wordsOf(error) });
    }
  }
  return mails;
}
