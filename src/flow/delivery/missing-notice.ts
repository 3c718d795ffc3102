import { dayOf } from '../../base/day.ts';
import { bindingsOf } from '../../store/bindings.ts';
import { inUse } from '../../store/certificates.ts';
import type { Queries } from '../../store/database.ts';
import { lastAbout } from '../../store/ledger.ts';
import type { MessageRow } from '../../store/messages.ts';
import type { BindingState } from '../../store/schema.ts';
import type { Variables } from '../../template/templates.ts';
import { whyNotTaken } from '../harvest/not-taken.ts';
import type { ListContext } from '../lists/list-context.ts';
import { type SpooledMail, spoolLocalMail } from '../mail/local-mail.ts';
import { type NoticeParts, tryNotice } from '../mail/notices-to.ts';

/** What a notice tells a member without a usable certificate, about all copies that concern him on one list. */
export interface MissingNotice {
  readonly list: ListContext;
  readonly member: string;
  readonly language: string;
  /** The newest of the messages. */
  readonly message: Pick<MessageRow, 'fromAddress' | 'subject'>;
  /** Why there is no usable certificate: code and sentence. */
  readonly reason: string;
  readonly detail: string;
  /** Copies that wait, and copies that were dropped since the last notice. */
  readonly waiting: number;
  readonly dropped: number;
  /** When the first of the waiting ones is given up. */
  readonly until: number | null;
}

/** The kind under which these notices are counted (`missing.notice-every`). */
export const missingNotice = 'missing';

/**
 * The notice, composed and spooled. Null if it cannot be made (a broken template): that must not keep the other
 * members' copies back, and the next post or housekeeping tries again.
 */
export async function spoolMissingNotice(parts: NoticeParts, d: MissingNotice): Promise<SpooledMail | null> {
  const { list, member, language, message } = d;
  const at = parts.clock.now();
  return tryNotice(parts, { list: list.address, member }, async () => {
    const variables = {
      user: { email: member, lang: language },
      mail: { sender: message.fromAddress ?? '', subject: message.subject ?? '' },
      reason: d.reason,
      ...(await causeOf(parts.database.q, d)),
      waiting: d.waiting,
      dropped: d.dropped,
      expires: d.until === null ? '' : dayOf(d.until),
    };
    const notice = {
      template: 'x509-user-cert-missing',
      to: member,
      language,
      kind: 'auto-generated',
      replyTo: 'sendcert',
      inReplyTo: null,
      variables,
    } as const;
    return spoolLocalMail(parts, list, await parts.compose(list, notice, at), at);
  });
}

/**
 * The cause as the member reads it: the certificate in use, as facts for a translation and as a sentence; and what came
 * meanwhile: `pending`, since when one waits for approval, whoever sent it: he shall not be asked for it again; or, where
 * nothing is known for him, `sent`, which was not taken. Of that in general words only: names in it are whatever its
 * maker wrote, and the list signs the notice.
 */
async function causeOf(q: Queries, d: MissingNotice): Promise<Variables> {
  const reading = (await bindingsOf(q, d.member)).filter((one) => one.purpose === 'enc');
  // It may be in use on other lists.
  const state = (one: BindingState) => reading.find((row) => row.state === one);
  const waits = state('pending') ?? (d.reason === 'pending' ? state('in-use') : undefined);
  const said = { reason_text: d.detail, pending: waits ? dayOf(waits.since) : '' };
  if (d.reason !== 'no-certificate') {
    // What can only sign is the cause too.
    const row = (await inUse(q, d.member, 'enc')) ?? (await inUse(q, d.member, 'sign'));
    const certificate = row && {
      subject: row.subject,
      issuer: row.issuer,
      from: dayOf(row.notBefore),
      until: dayOf(row.notAfter),
    };
    return { ...said, ...(certificate ? { certificate } : {}) };
  }
  if (waits) return said;
  const about = { list: d.list.address, member: d.member, event: 'certificate-not-taken' } as const;
  const last = await lastAbout(q, about);
  if (!last) return said;
  const { reason } = last;
  const sent = { day: dayOf(last.at), reason: reason ?? '', reason_text: whyNotTaken(reason, null) };
  return {
    ...said,
    reason_text: `${d.detail}; what you sent on ${sent.day} was not taken: ${sent.reason_text}`,
    sent,
  };
}
