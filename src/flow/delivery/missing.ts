import { dayMs } from '../../base/day.ts';
import type { Queries } from '../../store/database.ts';
import type { ClaimedRow } from '../../store/deliveries.ts';
import type { MessageRow } from '../../store/messages.ts';
import { noticeDue, noticeIsDue } from '../../store/notices.ts';
import { finish, hold } from '../../store/outcomes.ts';
import { droppedSinceTold, markTold, waitingFor } from '../../store/waiting.ts';
import { type MemberCertificate, missingReasons } from '../certificates/member-certificate.ts';
import { askAboutUnapproved } from '../harvest/ask-owners.ts';
import type { ListContext } from '../lists/list-context.ts';
import { type SpooledMail, settleMails } from '../mail/local-mail.ts';
import type { NoticeParts } from '../mail/notices-to.ts';
import { missingNotice, spoolMissingNotice } from './missing-notice.ts';

/** What is to be written about one copy, and what after that. */
export interface Settlement {
  readonly row: ClaimedRow;
  apply(tx: Queries): Promise<void>;
  cleanUp(): Promise<void>;
}

/**
 * What happens to a copy whose member has no usable certificate (`missing.action`): it is held or dropped, and he is
 * told, at most once in `missing.notice-every`; the owners are asked where it waits for their word. Row, ledger line and
 * mails are one transaction.
 */
export async function settleMissing(
  parts: NoticeParts,
  d: {
    readonly list: ListContext;
    readonly message: MessageRow;
    readonly row: ClaimedRow;
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
    kind: missingNotice,
    now: at,
    everyMs: list.policy['missing.notice-every'],
  };
  const tells =
    action !== 'drop' && row.member !== list.address && (await noticeIsDue(parts.database.q, about));
  const mail = tells ? await notice(parts, d, expiresAt) : null;
  const isDue = async (tx: Queries): Promise<boolean> => {
    const due = await noticeDue(tx, about);
    if (due) await markTold(tx, { ...about, reasons: missingReasons, at });
    return due;
  };
  const question = reason === 'pending' ? await askAboutUnapproved(parts, list, row.member) : null;
  let ended = 0;
  const mails = [mail && { mails: [mail], isDue }, question].flatMap((one) =>
    // Neither is due if his certificate came meanwhile.
    one ? settleMails(parts, { ...one, isDue: async (tx) => ended > 0 && one.isDue(tx) }) : [],
  );
  return {
    row,
    async apply(tx) {
      ended =
        action === 'hold'
          ? await hold(tx, [{ id: row.id, reason, detail, expiresAt }], at)
          : await finish(tx, [{ id: row.id, state: 'dropped', reason, detail }], at);
      for (const one of mails) await one.apply(tx);
    },
    async cleanUp() {
      const { id } = d.message;
      const event = action === 'hold' ? 'copy-held' : 'copy-dropped';
      if (ended > 0) parts.log.event(event, { id, list: list.address, member: row.member, reason });
      for (const one of mails) await one.cleanUp();
    },
  };
}

async function notice(
  parts: NoticeParts,
  d: Parameters<typeof settleMissing>[1],
  expiresAt: number,
): Promise<SpooledMail | null> {
  const { list, message, row, certificate, language } = d;
  const { q } = parts.database;
  const about = { listId: list.id, member: row.member, reasons: missingReasons };
  const { reason, detail } = certificate;
  const of = { list, message, member: row.member, language, reason, detail };
  if (list.policy['missing.action'] === 'notify') {
    const [earlier] = await droppedSinceTold(q, { ...about, kind: missingNotice });
    return spoolMissingNotice(parts, { ...of, waiting: 0, dropped: (earlier?.count ?? 0) + 1, until: null });
  }
  const { count, until } = await waitingFor(q, about);
  const first = Math.min(until ?? expiresAt, expiresAt);
  return spoolMissingNotice(parts, { ...of, waiting: count + 1, dropped: 0, until: first });
}
