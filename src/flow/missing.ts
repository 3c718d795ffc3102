import type { Clock } from '../base/clock.ts';
import { dayMs, dayOf } from '../base/day.ts';
import { Fault } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Database, Queries } from '../store/database.ts';
import { deliveriesFor } from '../store/deliveries.ts';
import { lastAbout } from '../store/ledger.ts';
import type { MessageRow } from '../store/messages.ts';
import { noticeDue, noticeIsDue } from '../store/notices.ts';
import { finish, hold } from '../store/outcomes.ts';
import type { DeliveryRow } from '../store/schema.ts';
import type { ListContext } from './list-context.ts';
import { type LocalMailParts, type SpooledMail, spoolLocalMail } from './local-mail.ts';
import type { MemberCertificate } from './member-certificate.ts';
import type { Compose } from './notify.ts';
import { sentenceFor } from './verdict-record.ts';

export interface MissingParts extends LocalMailParts {
  readonly database: Database;
  readonly compose: Compose;
  readonly clock: Clock;
  readonly log: Log;
}

/** What is to be written about one copy, and what after that. */
export interface Settlement {
  apply(tx: Queries): Promise<void>;
  cleanUp(): Promise<void>;
}

/**
 * What happens to a copy whose member has no usable certificate (`missing.action`): it is held or dropped, and he is
 * told, at most once in `missing.notice-every`. `apply` writes row, ledger line and notice in one transaction;
 * `cleanUp` follows when it is committed.
 */
export async function settleMissing(
  parts: MissingParts,
  d: {
    readonly list: ListContext;
    readonly message: MessageRow;
    readonly row: DeliveryRow;
    readonly certificate: MemberCertificate & { readonly usable: false };
    readonly language: string;
  },
): Promise<Settlement> {
  const { list, row } = d;
  const action = list.policy['missing.action'];
  const at = parts.clock.now();
  // A hold began with the post; released and held again it does not start anew.
  const expiresAt = row.createdAt + list.policy['missing.hold-days'] * dayMs;
  const { reason, detail } = d.certificate;
  const about = {
    listId: list.id,
    member: row.member,
    kind: 'missing',
    now: at,
    everyMs: list.policy['missing.notice-every'],
  };
  const tells =
    action !== 'drop' && row.member !== list.address && (await noticeIsDue(parts.database.q, about));
  const mail = tells ? await noticeOrNone(parts, d, at, expiresAt) : null;
  let told = false;
  return {
    async apply(tx) {
      told = mail !== null && (await noticeDue(tx, about));
      if (action === 'hold')
        await hold(tx, [{ id: row.id, reason, detail, expiresAt, ...(told ? { notifiedAt: at } : {}) }], at);
      else await finish(tx, [{ id: row.id, state: 'dropped', reason, detail }], at);
      if (told) await mail?.queue(tx);
    },
    async cleanUp() {
      const { id } = d.message;
      parts.log.event(action === 'hold' ? 'copy-held' : 'copy-dropped', {
        id,
        list: list.address,
        member: row.member,
        reason,
      });
      // Another batch told him meanwhile.
      if (mail && !told) await parts.spool.remove(mail.id);
    },
  };
}

/** A notice that cannot be made (a broken template) must not keep the other members' copies back: the next post tries again. */
async function noticeOrNone(
  parts: MissingParts,
  d: Parameters<typeof settleMissing>[1],
  at: number,
  expiresAt: number,
): Promise<SpooledMail | null> {
  try {
    return await spoolNotice(parts, d, at, expiresAt);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const { code, message: detail } = error;
    parts.log.error('notice-failed', { list: d.list.address, member: d.row.member, code, detail });
    return null;
  }
}

/**
 * The cause as the member reads it. Where nothing is known for him because what he sent was not taken, that is the
 * cause. In general words only: names in that certificate are whatever its maker wrote, and the list signs the notice.
 */
async function whyMissing(
  parts: MissingParts,
  list: ListContext,
  member: string,
  certificate: MemberCertificate & { readonly usable: false },
): Promise<string> {
  if (certificate.reason !== 'no-certificate') return certificate.detail;
  const about = { list: list.address, member, event: 'certificate-not-taken' } as const;
  const last = await lastAbout(parts.database.q, about);
  if (!last?.reason) return certificate.detail;
  const day = dayOf(last.at);
  return `${certificate.detail}; what you sent on ${day} was not taken: ${sentenceFor(last.reason, null)}`;
}

async function spoolNotice(
  parts: MissingParts,
  d: Parameters<typeof settleMissing>[1],
  at: number,
  expiresAt: number,
): Promise<SpooledMail> {
  const { list, message, row, certificate } = d;
  const waiting = await deliveriesFor(parts.database.q, {
    member: row.member,
    state: 'held',
    listId: list.id,
    limit: 1000,
  });
  const mail = await parts.compose(
    list,
    {
      template: 'x509-user-cert-missing',
      to: row.member,
      language: d.language,
      kind: 'auto-generated',
      replyTo: 'sendcert',
      inReplyTo: null,
      variables: {
        user: { email: row.member, lang: d.language },
        mail: { sender: message.fromAddress ?? '', subject: message.subject ?? '' },
        reason: certificate.reason,
        reason_text: await whyMissing(parts, list, row.member, certificate),
        waiting: list.policy['missing.action'] === 'hold' ? waiting.length + 1 : 0,
        expires: dayOf(expiresAt),
      },
    },
    at,
  );
  return spoolLocalMail(parts, list, mail, at);
}
