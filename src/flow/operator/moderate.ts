import { faultsOf } from '../../base/errors.ts';
import { mayLeaveClear } from '../../policy/clear.ts';
import type { Database, Queries } from '../../store/database.ts';
import { record } from '../../store/ledger.ts';
import type { LedgerEvent } from '../../store/ledger-events.ts';
import { touch } from '../../store/meta.ts';
import { findPosting, type PostingRow, releasePosting } from '../../store/postings.ts';
import type { PostingState } from '../../store/schema.ts';
import type { Spool } from '../../store/spool.ts';
import { type ListContext, listOf, type SiteDefaults } from '../lists/list-context.ts';
import { cameEncrypted } from '../post/verdict-record.ts';

const stateWords: Partial<Record<string, string>> = {
  new: 'not decided yet',
  'fanning-out': 'being distributed already',
  distributing: 'being distributed already',
  done: 'distributed already',
  quarantine: 'in quarantine',
};

export const moderateFault = faultsOf({
  'posting-not-held': (d: { id: number; state: PostingState | 'answered already' }) =>
    `the posting ${d.id} does not wait for a moderator: it is ${stateWords[d.state] ?? d.state}`,
  'posting-unknown': (d: { id: number }) => `there is no posting ${d.id}: see \`reseal queue list --held\``,
  'posting-list-closed': (d: { list: string }) =>
    `${d.list} is closed: open it with \`reseal list open ${d.list}\`, or refuse the posting`,
});

export interface ModerateParts {
  readonly database: Database;
  readonly spool: Pick<Spool, 'read'>;
  readonly defaults: SiteDefaults;
}

/** A moderator's answer to one posting. */
export interface Answered {
  readonly posting: number;
  readonly messageId: string;
  readonly list: string;
  readonly state: 'fanning-out' | 'refused' | 'dropped';
}

/**
 * Lets a posting go that waits for a moderator. The list must be open now and the message still in the spool; the
 * verdict stays as it was recorded (RULES 18), but a post that the list's policy no longer lets leave in clear is sealed.
 * Faults: 'posting-unknown', 'posting-not-held', 'posting-list-closed', 'spool-missing'.
 */
export async function releaseHeldPosting(
  parts: ModerateParts,
  d: { readonly id: number; readonly who: string; readonly now: number },
): Promise<Answered> {
  const { posting, list } = await heldPosting(parts.database.q, parts.defaults, d.id);
  if (!list.open) throw moderateFault('posting-list-closed', { list: list.address });
  await parts.spool.read(posting.messageId);
  const prepared = sealedIfNowRequired(posting, list);
  return answer(parts, posting, list, {
    state: 'fanning-out',
    event: 'released',
    reason: posting.reason,
    detail: `released by ${d.who}`,
    now: d.now,
    ...(prepared ? { prepared } : {}),
  });
}

/** Ends a posting that waits for a moderator: refused, or dropped without a word. The sender is not told. */
export async function refuseHeldPosting(
  parts: Pick<ModerateParts, 'database' | 'defaults'>,
  d: {
    readonly id: number;
    readonly who: string;
    readonly now: number;
    readonly state?: 'refused' | 'dropped';
  },
): Promise<Answered> {
  const { posting, list } = await heldPosting(parts.database.q, parts.defaults, d.id);
  const state = d.state ?? 'refused';
  const detail = `${state} by ${d.who}`;
  return answer(parts, posting, list, { state, event: state, reason: 'by-moderator', detail, now: d.now });
}

async function heldPosting(
  q: Queries,
  defaults: SiteDefaults,
  id: number,
): Promise<{ posting: PostingRow; list: ListContext }> {
  const posting = await findPosting(q, id);
  const list = posting && (await listOf(q, posting.listId, defaults));
  if (!posting || !list) throw moderateFault('posting-unknown', { id });
  if (posting.state !== 'held') throw moderateFault('posting-not-held', { id, state: posting.state });
  return { posting, list };
}

/** What was prepared when it was held may say "clear"; if that is not allowed any more, the same with "sealed". */
function sealedIfNowRequired(posting: PostingRow, list: ListContext): PostingRow['prepared'] {
  const { prepared } = posting;
  if (prepared === null || (prepared.mode !== 'clear' && prepared.mode !== 'when-possible')) return null;
  const permit = mayLeaveClear(list.policy, { receivedEncrypted: cameEncrypted(posting) });
  return permit === null ? { ...prepared, mode: 'sealed' } : null;
}

async function answer(
  parts: Pick<ModerateParts, 'database'>,
  posting: PostingRow,
  list: ListContext,
  d: {
    state: Answered['state'];
    event: LedgerEvent;
    reason: string | null;
    detail: string;
    now: number;
    prepared?: PostingRow['prepared'];
  },
): Promise<Answered> {
  const { id, messageId } = posting;
  await parts.database.write(async (tx) => {
    const prepared = d.prepared === undefined ? {} : { prepared: d.prepared };
    // Asked again in the transaction: two moderators may answer at once.
    if (!(await releasePosting(tx, id, { state: d.state, reason: d.reason, ...prepared }))) {
      throw moderateFault('posting-not-held', { id, state: 'answered already' });
    }
    const { event, reason, detail } = d;
    await record(tx, { at: d.now, messageId, postingId: id, list: list.address, event, reason, detail });
    await touch(tx);
  });
  return { posting: id, messageId, list: list.address, state: d.state };
}
