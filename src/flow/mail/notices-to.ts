import type { Clock } from '../../base/clock.ts';
import { Fault, wordsOf } from '../../base/errors.ts';
import type { Log, LogFields } from '../../base/log.ts';
import type { Database, Queries } from '../../store/database.ts';
import { holdersOf } from '../../store/lists.ts';
import type { ListContext } from '../lists/list-context.ts';
import { type LocalMailParts, type SpooledMail, spoolLocalMail } from './local-mail.ts';
import type { Compose, ComposedMail, Notice } from './notify.ts';

/** What it takes to write, queue and note a notice. */
export interface NoticeParts extends LocalMailParts {
  readonly database: Database;
  readonly compose: Compose;
  readonly clock: Clock;
  readonly log: Log;
}

/** The same notice to each address, from the list, composed and spooled. */
export async function noticesTo(
  parts: Omit<NoticeParts, 'database' | 'log'>,
  list: ListContext,
  addresses: readonly string[],
  notice: Omit<Notice, 'to' | 'kind' | 'inReplyTo' | 'language' | 'replyTo'>,
): Promise<SpooledMail[]> {
  const now = parts.clock.now();
  const composed: ComposedMail[] = [];
  for (const to of addresses) {
    const language = list.policy.language;
    const whole: Notice = {
      ...notice,
      to,
      language,
      kind: 'auto-generated',
      replyTo: 'owner',
      inReplyTo: null,
    };
    composed.push(await parts.compose(list, whole, now));
  }
  // All or none: what cannot be composed must not leave files of the others behind at each try.
  const mails: SpooledMail[] = [];
  for (const mail of composed) mails.push(await spoolLocalMail(parts, list, mail, now));
  return mails;
}

/**
 * What `work` gives, or null where a notice cannot be written (a broken template, a locked key): that is logged, and keeps
 * nothing else from going on. What is no Fault is thrown.
 */
export async function tryNotice<T>(
  { log }: { readonly log: Log },
  about: LogFields,
  work: () => Promise<T>,
): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    log.error('notice-failed', { ...about, code: error.code, detail: wordsOf(error) });
    return null;
  }
}

/** The addresses that hold a role; a list without moderators is moderated by its owners. */
export async function addressesOf(
  q: Queries,
  listId: number,
  role: 'owner' | 'moderator',
): Promise<string[]> {
  const holders = await holdersOf(q, listId, role);
  const found = holders.length > 0 || role === 'owner' ? holders : await holdersOf(q, listId, 'owner');
  return [...new Set(found.map((holder) => holder.address))];
}
