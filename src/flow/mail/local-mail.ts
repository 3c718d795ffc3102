import { type Envelope, formatEnvelopeLine } from '../../mime/envelope.ts';
import type { Database, Queries } from '../../store/database.ts';
import { insertDeliveries, pendingDelivery } from '../../store/deliveries.ts';
import { record } from '../../store/ledger.ts';
import { insertMessages } from '../../store/messages.ts';
import { postingsOf, setPostingState } from '../../store/postings.ts';
import { newId, type Spool } from '../../store/spool.ts';
import type { ListContext } from '../lists/list-context.ts';
import { encryptionLine, signatureLine } from '../post/crypto-lines.ts';
import type { ComposedMail } from './notify.ts';

export interface LocalMailParts {
  readonly spool: Spool;
  readonly node: string;
  /** How long the relay may refuse it before it is given up, ms. */
  readonly lifetimeMs: number;
}

/** A composed mail whose bytes are durable in `spool/messages` and whose rows are still to be written. */
export interface SpooledMail {
  readonly id: string;
  /** Adds message, posting and delivery: in the transaction of what caused the mail, so neither is without the other. */
  queue(tx: Queries): Promise<void>;
}

/**
 * Puts a mail that reseal composed into the spool. Its file comes before its row: after a crash in between there is
 * a file that nobody will send, which start-up removes.
 */
export async function spoolLocalMail(
  parts: LocalMailParts,
  list: ListContext,
  mail: ComposedMail,
  at: number,
): Promise<SpooledMail> {
  const id = newId(at);
  const envelope: Envelope = {
    from: mail.envelopeFrom,
    to: [mail.to],
    smtpUtf8: /[^\x20-\x7e]/.test(mail.to),
    body8bit: false,
    requireTls: mail.requireTls,
    client: 'local',
    helo: '',
    protocol: 'local',
  };
  await parts.spool.place(id, formatEnvelopeLine({ ...envelope, receivedAt: at }), mail.bytes);
  return {
    id,
    async queue(tx) {
      const message = {
        id,
        origin: 'local' as const,
        envelope,
        receivedAt: at,
        size: mail.bytes.length,
        messageId: mail.messageId,
        subject: mail.subject,
        fromAddress: list.address,
        bodySha256: '',
        node: parts.node,
        state: 'done' as const,
        nextAt: null,
      };
      await insertMessages(tx, [{ message, postings: [{ listId: list.id, kind: 'local' }] }]);
      const [posting] = await postingsOf(tx, id);
      if (!posting) throw new Error(`the posting of ${id} is missing in its own transaction`);
      await setPostingState(tx, posting.id, 'distributing');
      const { lifetimeMs } = parts;
      await insertDeliveries(tx, [pendingDelivery(posting.id, mail.to, { at, lifetimeMs })]);
      const about = { at, messageId: id, postingId: posting.id, list: list.address, member: mail.to };
      const { signedWith, sealedFor } = mail;
      if (signedWith !== null)
        await record(tx, signatureLine(about, { certificate: signedWith, what: 'a mail of its own' }));
      if (sealedFor !== null) await record(tx, encryptionLine(about, sealedFor));
    },
  };
}

/** Mails, and what to ask in the transaction that queues them: whether they are due, or another was as quick. */
export interface DueMails {
  readonly mails: readonly SpooledMail[];
  /** Writes down, too, that they went. */
  isDue(tx: Queries): Promise<boolean>;
}

/**
 * Queues mails in a transaction of somebody else's, if they are due: `apply`, which may be run again if that one failed.
 * `cleanUp` follows when it is committed: files of mails that were not queued go.
 */
export function settleMails({ spool }: { readonly spool: Spool }, { mails, isDue }: DueMails) {
  let isQueued = false;
  return {
    async apply(tx: Queries): Promise<boolean> {
      isQueued = await isDue(tx);
      if (isQueued) for (const mail of mails) await mail.queue(tx);
      return isQueued;
    },
    async cleanUp(): Promise<void> {
      if (!isQueued) for (const mail of mails) await spool.remove(mail.id);
    },
  };
}

/** Queues mails if they are due, in a transaction of their own. Gives whether they were queued. */
export async function queueIf(
  parts: { readonly database: Database; readonly spool: Spool },
  mails: readonly SpooledMail[],
  isDue: (tx: Queries) => Promise<boolean>,
): Promise<boolean> {
  const settlement = settleMails(parts, { mails, isDue });
  const isQueued = await parts.database.write(settlement.apply);
  await settlement.cleanUp();
  return isQueued;
}
