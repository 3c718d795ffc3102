import type { Command } from 'commander';
import type { Queries } from '../store/database.ts';
import { findMessage, type MessageRow, messagesIn } from '../store/messages.ts';
import { postingsOf } from '../store/postings.ts';
import { heldPostings, type QueuedDelivery, queuedDeliveries } from '../store/queue.ts';
import type { MessageState } from '../store/schema.ts';
import { listNamed, wholeNumber } from './arguments.ts';
import { instant, instantOrNull, table } from './output.ts';
import { onSite, type Session } from './site-command.ts';

interface Filters {
  readonly held?: true;
  readonly unopened?: true;
  readonly deferred?: true;
  readonly quarantine?: true;
  readonly list?: string;
  readonly limit: string;
}

/** `queue list`: held for a moderator, held for a certificate, unopened, deferred, quarantine; all, or those asked for. */
export function addQueueList(queue: Command): void {
  queue
    .command('list')
    .description('all that waits, or one kind of it')
    .option('--held', 'posts that wait for a moderator, and copies that wait for a certificate')
    .option('--unopened', 'messages that could not be opened')
    .option('--deferred', 'copies that the relay did not take yet')
    .option('--quarantine', 'messages that broke their opening, and files without a row')
    .option('--list <list>', 'of this list only')
    .option('--limit <number>', 'at most so many lines of each kind', '200')
    .action(onSite<[Filters]>(listQueue));
}

async function listQueue(session: Session, filters: Filters): Promise<void> {
  const { database, output } = session;
  const { q } = database;
  const limit = wholeNumber('--limit', filters.limit, 1, 1_000_000);
  const list = filters.list === undefined ? null : await listNamed(q, filters.list);
  const scope = { ...(list ? { listId: list.id } : {}), limit };
  const wants = (one: keyof Filters) =>
    Boolean(filters[one]) || !(filters.held || filters.unopened || filters.deferred || filters.quarantine);

  const value: Record<string, readonly object[]> = {};
  const lines: string[] = [];
  const section = (name: string, title: string, rows: readonly object[], shown: readonly string[]) => {
    value[name] = rows;
    if (rows.length > 0)
      lines.push(...(lines.length > 0 ? [''] : []), title, ...shown.map((line) => `  ${line}`));
  };

  if (wants('held')) {
    const held = await heldPostings(q, scope);
    const rows = held.map((one) => ({
      ...one,
      decidedAt: instantOrNull(one.decidedAt),
      receivedAt: instant(one.receivedAt),
    }));
    section(
      'held',
      'Waiting for a moderator (queue release ID, queue refuse ID):',
      rows,
      table(
        ['ID', 'MESSAGE', 'LIST', 'RECEIVED', 'FROM', 'REASON', 'SUBJECT'],
        rows.map((one) => [
          String(one.id),
          one.messageId,
          one.list,
          one.receivedAt,
          one.fromAddress ?? '-',
          one.reason ?? '-',
          one.subject ?? '-',
        ]),
        '',
      ),
    );
    const copies = await queuedDeliveries(q, { states: ['held'], ...scope });
    section(
      'waiting',
      'Copies waiting, for a certificate mostly (cert import, or a signed mail from the member):',
      copies.map(copyValue),
      copyTable(copies),
    );
  }
  if (wants('unopened'))
    await messages(
      session,
      section,
      'unopened',
      'Could not be opened (queue retry MESSAGE, queue drop MESSAGE):',
      ['unopened'],
      list?.id,
      limit,
    );
  if (wants('deferred')) {
    const copies = await queuedDeliveries(q, { states: ['deferred'], ...scope });
    section(
      'deferred',
      'Copies to be tried again (queue retry MESSAGE):',
      copies.map(copyValue),
      copyTable(copies),
    );
  }
  if (wants('quarantine')) {
    await messages(
      session,
      section,
      'quarantine',
      'In quarantine (queue retry MESSAGE, queue drop MESSAGE):',
      ['quarantine', 'parked'],
      list?.id,
      limit,
    );
    const ownerless = list ? [] : await withoutRow(session);
    section(
      'ownerless',
      'Files in quarantine that the database does not know (queue drop MESSAGE):',
      ownerless,
      ownerless.map((one) => `${one.messageId}  ${one.reason}`),
    );
  }
  output.result(value, lines.length > 0 ? lines : ['Nothing waits.']);
}

type Section = (name: string, title: string, rows: readonly object[], shown: readonly string[]) => void;

async function messages(
  { database }: Session,
  section: Section,
  name: string,
  title: string,
  states: readonly MessageState[],
  listId: number | undefined,
  limit: number,
): Promise<void> {
  const rows = [];
  for (const one of await messagesIn(database.q, states, limit)) {
    if (listId !== undefined && !(await isFor(database.q, one, listId))) continue;
    const { id: messageId, state, reason, detail, fromAddress, subject } = one;
    rows.push({
      messageId,
      state,
      receivedAt: instant(one.receivedAt),
      nextAt: instantOrNull(one.nextAt),
      reason,
      detail,
      fromAddress,
      subject,
    });
  }
  section(
    name,
    title,
    rows,
    table(
      ['MESSAGE', 'RECEIVED', 'NEXT TRY', 'FROM', 'SUBJECT', 'WHY'],
      rows.map((one) => [
        one.messageId,
        one.receivedAt,
        one.nextAt ?? '-',
        one.fromAddress ?? '-',
        one.subject ?? '-',
        one.detail ?? one.reason ?? '-',
      ]),
      '',
    ),
  );
}

async function isFor(q: Queries, message: MessageRow, listId: number): Promise<boolean> {
  return (await postingsOf(q, message.id)).some((posting) => posting.listId === listId);
}

async function withoutRow({ database, spool }: Session): Promise<{ messageId: string; reason: string }[]> {
  const found = [];
  for (const { id, reason } of await spool.quarantined()) {
    // A dropped message has its row, and its file until the next housekeeping.
    if (!(await findMessage(database.q, id))) found.push({ messageId: id, reason });
  }
  return found;
}

function copyValue(one: QueuedDelivery) {
  const { messageId, list, member, reason, detail, attempts, reply } = one;
  return {
    messageId,
    list,
    member,
    reason,
    detail,
    attempts,
    reply,
    nextAt: instant(one.nextAt),
    expiresAt: instant(one.expiresAt),
  };
}

function copyTable(copies: readonly QueuedDelivery[]): string[] {
  return table(
    ['MESSAGE', 'LIST', 'MEMBER', 'TRIES', 'UNTIL', 'WHY'],
    copies.map((one) => [
      one.messageId,
      one.list,
      one.member,
      String(one.attempts),
      instant(one.expiresAt),
      one.detail ?? one.reason ?? '-',
    ]),
    '',
  );
}
