import { join } from 'node:path';
import type { Command } from 'commander';
import { dayMs, dayOf } from '../base/day.ts';
import { type Retention, retentionOf } from '../flow/pipeline/retention.ts';
import type { Queries } from '../store/database.ts';
import { holderOf } from '../store/lock.ts';
import { findMessage, type MessageRow, messagesIn } from '../store/messages.ts';
import { postingsOf } from '../store/postings.ts';
import {
  heldPostings,
  type QueuedDelivery,
  queuedDeliveries,
  refusedPostings,
  sendingPostings,
} from '../store/queue.ts';
import type { MessageState } from '../store/schema.ts';
import { listNamed, wholeNumber } from './arguments.ts';
import { namesRelays } from './named-relays.ts';
import { counted, instant, instantOrNull, minuteOf, table } from './output.ts';
import { dayOrNone, inStore, listed, ofOneList, type Scope, type Section } from './queue-section.ts';
import { onSite, type Session } from './site-command.ts';

const kinds = ['held', 'unopened', 'deferred', 'sending', 'quarantine'] as const;
type Kind = (typeof kinds)[number];

type Filters = Partial<Record<Kind, true>> & { readonly list?: string; readonly limit: string };

/** `queue list`: what waits for somebody, what is on its way, what went wrong; all of it, or the kinds asked for. */
export function addQueueList(queue: Command): void {
  queue
    .command('list')
    .description('list what waits, for whom, and what is on its way')
    .option('--held', 'posts that wait for a moderator, copies that wait for a certificate')
    .option('--unopened', 'messages that could not be opened, or were refused as nobody vouches for them')
    .option('--deferred', 'copies that the relay did not take yet')
    .option('--sending', 'messages and copies that only wait for their turn')
    .option(
      '--quarantine',
      'messages that broke their opening or were in work when the daemon died, and files without a row',
    )
    .option('--list <list>', 'of this list only')
    .option('--limit <number>', 'at most so many lines of each kind', '200')
    .action(onSite<[Filters]>(listQueue));
}

async function listQueue(session: Session, filters: Filters): Promise<void> {
  const { database, output, site } = session;
  const limit = wholeNumber('--limit', filters.limit, 1, 1_000_000);
  const list = filters.list === undefined ? null : await listNamed(database.q, filters.list);
  const scope = { listId: list?.id, limit };
  const asked = kinds.filter((kind) => filters[kind]);
  const sections: Section[] = [];
  for (const kind of asked.length > 0 ? asked : kinds)
    sections.push(...(await sectionsOf[kind](session, scope)));

  const found = sections.filter((one) => one.rows.length > 0);
  const moves = found.some((one) => ['queued', 'sending', 'deferred'].includes(one.name));
  const isStopped = moves && holderOf(join(site.spool, 'lock')) === null;
  output.result(Object.fromEntries(sections.map((one) => [one.name, one.rows])), [
    ...found.flatMap(({ title, shown }, index) => [
      ...(index > 0 ? [''] : []),
      title,
      ...shown.map((line) => `  ${line}`),
    ]),
    ...(found.length === 0 ? [nothing(asked)] : []),
  ]);
  if (isStopped) output.note('the daemon does not run, so nothing of this moves: start `reseal serve`');
}

/** Said of all kinds only when all were looked at. */
function nothing(asked: readonly Kind[]): string {
  return asked.length === 0 ? 'Nothing waits.' : 'Nothing of that kind waits.';
}

const sectionsOf: Record<Kind, (session: Session, scope: Scope) => Promise<Section[]>> = {
  async held(session, scope) {
    const { q } = session.database;
    const retention = await retentionFor(session);
    const held = await heldPostings(q, inStore(scope));
    const copies = await queuedDeliveries(q, { states: ['held'], ...inStore(scope) });
    return [
      {
        name: 'held',
        title: `Waiting for a moderator${ofOneList(held)} (queue release ID, queue refuse ID):`,
        rows: held.map((one) => ({
          ...one,
          decidedAt: instantOrNull(one.decidedAt),
          until: instantOrNull(retention.ofHeld(one)),
          receivedAt: instant(one.receivedAt),
        })),
        shown: listed(held, {
          ID: (one) => String(one.id),
          RECEIVED: (one) => minuteOf(one.receivedAt),
          UNTIL: (one) => dayOrNone(retention.ofHeld(one)),
          REASON: (one) => one.reason ?? '-',
          FROM: (one) => one.fromAddress ?? '-',
          SUBJECT: (one) => one.subject ?? '-',
        }),
      },
      {
        name: 'waiting',
        title: `Copies that wait, mostly for a certificate${ofOneList(copies)} (cert import, or a signed mail from the member):`,
        rows: copies.map(copyValue),
        shown: listed(copies, {
          MESSAGE: (one) => one.messageId,
          MEMBER: (one) => one.member,
          UNTIL: (one) => dayOf(one.expiresAt),
          WHY: (one) => one.detail ?? one.reason ?? '-',
        }),
      },
    ];
  },
  unopened: async (session, scope) => [
    ...(await messages(session, scope, {
      name: 'unopened',
      title: 'Could not be opened (queue retry MESSAGE, queue drop MESSAGE):',
      states: ['unopened'],
    })),
    await refused(session, scope),
  ],
  async deferred({ database: { q }, site }, scope) {
    const copies = await queuedDeliveries(q, { states: ['deferred'], ...inStore(scope) });
    return [
      {
        name: 'deferred',
        title: `Copies that the relay did not take yet${ofOneList(copies)} (queue retry MESSAGE):`,
        rows: copies.map(copyValue),
        shown: listed(copies, {
          MESSAGE: (one) => one.messageId,
          MEMBER: (one) => one.member,
          TRIES: (one) => String(one.attempts),
          'NEXT TRY': (one) => minuteOf(one.nextAt),
          UNTIL: (one) => dayOf(one.expiresAt),
          ...(namesRelays(site) ? { RELAY: (one: QueuedDelivery) => one.relay ?? '-' } : {}),
          WHY: (one) => one.detail ?? one.reason ?? '-',
        }),
      },
    ];
  },
  async sending(session, scope) {
    const postings = await sendingPostings(session.database.q, inStore(scope));
    const copies = postings.reduce((sum, one) => sum + one.pending + one.inFlight, 0);
    const some = postings.length === scope.limit ? 'at least ' : '';
    return [
      ...(await messages(session, scope, {
        name: 'queued',
        title: 'Taken, and not decided yet (nothing to do):',
        states: ['queued'],
      })),
      {
        name: 'sending',
        title: `On their way, ${some}${counted(copies, 'copy', 'copies')}${ofOneList(postings)} (nothing to do):`,
        rows: postings.map((one) => ({ ...one, receivedAt: instant(one.receivedAt) })),
        shown: listed(postings, {
          MESSAGE: (one) => one.messageId,
          RECEIVED: (one) => minuteOf(one.receivedAt),
          PENDING: (one) => String(one.pending),
          'IN FLIGHT': (one) => String(one.inFlight),
          SUBJECT: (one) => (one.kind === 'local' ? 'a notice: ' : '') + (one.subject ?? '-'),
        }),
      },
    ];
  },
  async quarantine(session, scope) {
    const ownerless = scope.listId === undefined ? await withoutRow(session) : [];
    return [
      ...(await messages(session, scope, {
        name: 'quarantine',
        title: 'In quarantine, or put aside until NEXT TRY (queue retry MESSAGE, queue drop MESSAGE):',
        states: ['quarantine', 'parked'],
      })),
      {
        name: 'ownerless',
        title: 'Files in quarantine that the database does not know (queue drop MESSAGE):',
        rows: ownerless,
        shown: table(
          ['MESSAGE', 'UNTIL', 'WHY'],
          ownerless.map((one) => [one.messageId, dayOrNone(Date.parse(one.until)), one.reason]),
          '',
        ),
      },
    ];
  },
};

async function refused({ database, now }: Session, scope: Scope): Promise<Section> {
  const rows = await refusedPostings(database.q, { ...inStore(scope), now });
  return {
    name: 'refused',
    title: `Refused, and kept as an authority may come that vouches for it${ofOneList(rows)} (queue retry MESSAGE):`,
    rows: rows.map((one) => ({
      ...one,
      receivedAt: instant(one.receivedAt),
      retryUntil: instantOrNull(one.retryUntil),
    })),
    shown: listed(rows, {
      MESSAGE: (one) => one.messageId,
      UNTIL: (one) => dayOrNone(one.retryUntil),
      REASON: (one) => one.reason ?? '-',
      FROM: (one) => one.fromAddress ?? '-',
    }),
  };
}

function retentionFor({ database, site }: Session): Promise<Retention> {
  const quarantineMs = site['quarantine.days'] * dayMs;
  return retentionOf(database.q, { defaults: site.defaults, quarantineMs });
}

async function untilOf(retention: Retention, message: MessageRow): Promise<number | null> {
  if (message.state === 'unopened') return retention.ofUnopened(message);
  return message.state === 'quarantine' ? retention.ofQuarantine(message.id) : null;
}

async function messages(
  session: Session,
  { listId, limit }: Scope,
  d: { name: string; title: string; states: readonly MessageState[] },
): Promise<Section[]> {
  const { database } = session;
  const retention = await retentionFor(session);
  const rows = [];
  for (const one of await messagesIn(database.q, d.states, limit)) {
    if (listId !== undefined && !(await isFor(database.q, one, listId))) continue;
    const { id: messageId, state, reason, detail, fromAddress, subject } = one;
    rows.push({
      messageId,
      state,
      receivedAt: instant(one.receivedAt),
      nextAt: instantOrNull(one.nextAt),
      until: instantOrNull(await untilOf(retention, one)),
      reason,
      detail,
      fromAddress,
      subject,
    });
  }
  const shown = rows.map((one) => [
    one.messageId,
    minuteOf(Date.parse(one.receivedAt)),
    one.nextAt ? minuteOf(Date.parse(one.nextAt)) : '-',
    one.until ? dayOf(Date.parse(one.until)) : '-',
    one.fromAddress ?? '-',
    one.subject ?? '-',
    one.detail ?? one.reason ?? '-',
  ]);
  const head = ['MESSAGE', 'RECEIVED', 'NEXT TRY', 'UNTIL', 'FROM', 'SUBJECT', 'WHY'];
  return [{ name: d.name, title: d.title, rows, shown: table(head, shown, '') }];
}

async function isFor(q: Queries, message: MessageRow, listId: number): Promise<boolean> {
  return (await postingsOf(q, message.id)).some((posting) => posting.listId === listId);
}

async function withoutRow(session: Session): Promise<{ messageId: string; until: string; reason: string }[]> {
  const { database, spool } = session;
  const retention = await retentionFor(session);
  const found = [];
  for (const { id, reason } of await spool.quarantined()) {
    // A dropped message has its row, and its file until the next housekeeping.
    if (await findMessage(database.q, id)) continue;
    found.push({ messageId: id, until: instant(await retention.ofQuarantine(id)), reason });
  }
  return found;
}

function copyValue(one: QueuedDelivery) {
  const { messageId, list, member, reason, detail, attempts, relay, reply } = one;
  return {
    messageId,
    list,
    member,
    reason,
    detail,
    attempts,
    relay,
    reply,
    nextAt: instant(one.nextAt),
    expiresAt: instant(one.expiresAt),
  };
}
