import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import SQLite from 'better-sqlite3';
import type { DeliveryState, MessageState, PostingState } from '../../src/store/schema.ts';
import type { Post } from './posts.ts';
import { copyName, type TortureRelay } from './relay.ts';

interface CopyRow {
  readonly postingId: number;
  readonly member: string;
  readonly state: DeliveryState;
  readonly reason: string | null;
  readonly finished: number;
  readonly messageId: string;
}

interface MessageRow {
  readonly id: string;
  readonly state: MessageState;
  readonly size: number;
  readonly removedAt: number | null;
}

export interface PostingRow {
  readonly id: number;
  readonly messageId: string;
  readonly state: PostingState;
  readonly reason: string | null;
}

interface LedgerRow {
  readonly postingId: number;
  readonly member: string;
  readonly event: string;
}

/** The database of a site at one moment. */
export interface Books {
  readonly copies: readonly CopyRow[];
  readonly messages: ReadonlyMap<string, MessageRow>;
  readonly postings: readonly PostingRow[];
  readonly ledger: readonly LedgerRow[];
  readonly problems: readonly string[];
}

/** What may have gone out twice: copies whose answer nobody lived to write down, and how often that was so. */
export type Doubts = Map<string, number>;

const endings = new Set(['delivered', 'failed', 'expired', 'cancelled', 'dropped']);

/**
 * Reads a copy of the database, as the next start would find it: the daemon's own files stay as the crash left them.
 * `whole` has SQLite look at every index too.
 */
export function readBooks(root: string, scratch: string, whole: boolean): Books {
  const folder = mkdtempSync(join(scratch, 'books-'));
  try {
    for (const ending of ['', '-wal']) {
      const file = join(root, `spool/reseal.db${ending}`);
      if (existsSync(file)) copyFileSync(file, join(folder, `reseal.db${ending}`));
    }
    const database = new SQLite(join(folder, 'reseal.db'));
    try {
      const check = database.pragma(whole ? 'integrity_check' : 'quick_check', { simple: true });
      const problems = check === 'ok' ? [] : [`the database is damaged: ${String(check)}`];
      const messages = database
        .prepare('SELECT id, state, size, removed_at AS removedAt FROM messages')
        .all() as MessageRow[];
      return {
        copies: database
          .prepare(
            `SELECT d.posting_id AS postingId, d.member, d.state, d.reason, d.finished_at IS NOT NULL AS finished,
               m.message_id AS messageId
             FROM deliveries AS d JOIN postings AS p ON p.id = d.posting_id JOIN messages AS m ON m.id = p.message_id`,
          )
          .all() as CopyRow[],
        messages: new Map(messages.map((one) => [one.id, one])),
        postings: database
          .prepare('SELECT id, message_id AS messageId, state, reason FROM postings')
          .all() as PostingRow[],
        ledger: database
          .prepare(
            'SELECT posting_id AS postingId, member, event FROM ledger WHERE posting_id IS NOT NULL AND member IS NOT NULL ORDER BY id',
          )
          .all() as LedgerRow[],
        problems,
      };
    } finally {
      database.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Holds the books against what the relay took, while the daemon is dead. Notes new doubts (copies in flight that the
 * relay had already); gives how many transactions they came in, and what should not be. `wasCut`: the daemon ended by itself
 * and cut its connections; what was in flight then is given back.
 */
export function compareCopies(
  books: Books,
  relay: TortureRelay,
  doubts: Doubts,
  wasCut: boolean,
): { fresh: number; problems: string[] } {
  const problems: string[] = [];
  const known = new Set<string>();
  const fresh = new Set<number>();
  for (const { messageId, member, state, reason } of books.copies) {
    const name = copyName(messageId, member);
    if (known.has(name)) problems.push(`two rows for ${name}`);
    known.add(name);
    const said = state === 'delivered' ? 1 : 0;
    const excess = relay.count(messageId, member) - said - (doubts.get(name) ?? 0);
    if (excess === 0) continue;
    if (excess > 0 && (state === 'in-flight' || (wasCut && state === 'pending'))) {
      doubts.set(name, (doubts.get(name) ?? 0) + excess);
      fresh.add(relay.transactionOf(messageId, member));
    } else if (excess > 0) problems.push(`${name} was taken ${excess} times more than "${state}" says`);
    // A doubt may end without a second sending: refused or given up then.
    else if (state === 'delivered')
      problems.push(`LOST: ${name} is "delivered" (${reason}) and was not taken`);
  }
  for (const name of relay.taken.keys()) if (!known.has(name)) problems.push(`the relay has ${name}: no row`);
  return { fresh: fresh.size, problems };
}

/** Whether the ledger says of each copy what its row says. */
export function compareLedger({ copies, ledger }: Books): string[] {
  const told = new Map<string, string[]>();
  for (const { postingId, member, event } of ledger) {
    const name = `${postingId} ${member}`;
    told.set(name, [...(told.get(name) ?? []), event]);
  }
  return copies.flatMap(({ postingId, member, state, finished }) => {
    const events = told.get(`${postingId} ${member}`) ?? [];
    const ended = events.filter((event) => endings.has(event));
    const agrees = finished
      ? ended.length === 1 && ended[0] === state
      : ended.length === 0 && (state !== 'held' || events.findLast((one) => one !== 'retry') === 'held');
    return agrees
      ? []
      : [
          `posting ${postingId}, ${member}: the row says "${state}", the ledger ${events.join(', ') || 'nothing'}`,
        ];
  });
}

/** Whether what was answered with 250 is there, and every file is whole. */
export function compareSpool(books: Books, root: string, posts: readonly Post[]): string[] {
  const problems: string[] = [];
  const folder = (name: string) => join(root, 'spool', name);
  const files = new Map<string, string>();
  for (const name of ['incoming', 'messages', 'quarantine'])
    for (const file of readdirSync(folder(name)))
      if (!file.includes('.')) {
        if (files.has(file)) problems.push(`${file} is in two folders`);
        files.set(file, join(folder(name), file));
      }
  for (const post of posts)
    for (const id of post.accepted)
      if (!books.messages.has(id) && !files.has(id))
        problems.push(`LOST: ${id} (${post.kind}, ${post.messageId}) was answered with 250 and is nowhere`);
  const open = new Set(books.copies.filter((one) => !one.finished).map((one) => one.postingId));
  const needed = new Set(books.postings.filter((one) => open.has(one.id)).map((one) => one.messageId));
  for (const { id, state, removedAt } of books.messages.values()) {
    const isNeeded = removedAt === null && (state !== 'done' || needed.has(id));
    if (isNeeded && !files.has(id)) problems.push(`LOST: the file of ${id} ("${state}") is gone`);
  }
  const byStart = new Map(posts.map((post) => [post.messageId, post]));
  for (const [id, path] of files) {
    const file = readFileSync(path);
    const row = books.messages.get(id);
    const bytes = file.subarray(file.indexOf('\n') + 1);
    if (row && bytes.length !== row.size)
      problems.push(`${id} is half-written: ${bytes.length} octets of ${row.size}`);
    const messageId = /^Message-ID: *(.*?)\r?$/im.exec(bytes.toString('latin1'))?.[1] ?? '';
    const post = byStart.get(messageId);
    if (post && !bytes.subarray(-post.data.length).equals(post.data))
      problems.push(`${id} is not as it was sent`);
    // What reseal writes itself is placed before its row; the next start removes it.
    const isOwn = /\blocal\b/.test(file.toString('latin1', 0, file.indexOf('\n')));
    if (!row && !post && !isOwn) problems.push(`${id} in ${path} is nobody's`);
  }
  return problems;
}

/** What became of the posts, when all is over. */
export interface Result {
  /** (message, member) pairs by the state that they ended in. */
  readonly pairs: ReadonlyMap<string, number>;
  readonly problems: readonly string[];
}

/** Whether each member of each accepted post has his copy, or there is a word why not. `mayMiss`: he has no certificate. */
export function settle(books: Books, posts: readonly Post[], mayMiss: (member: string) => boolean): Result {
  const rows = new Map(books.copies.map((one) => [copyName(one.messageId, one.member), one]));
  const droppedByHand = new Set(
    books.postings.flatMap(({ messageId, reason }) => (reason === 'by-operator' ? [messageId] : [])),
  );
  const pairs = new Map<string, number>();
  const problems: string[] = [];
  for (const post of posts) {
    const isKnown = post.accepted.length > 0;
    if (isKnown && post.accepted.every((id) => droppedByHand.has(id))) {
      pairs.set('dropped by an operator', (pairs.get('dropped by an operator') ?? 0) + post.members.length);
      continue;
    }
    const found = post.members.filter((member) => rows.has(copyName(post.messageId, member)));
    // Without a 250 it may be there or not, but never by halves.
    if (!isKnown && found.length === 0) continue;
    for (const member of post.members) {
      const row = rows.get(copyName(post.messageId, member));
      const state = row?.state ?? 'nothing';
      pairs.set(state, (pairs.get(state) ?? 0) + 1);
      const isRight =
        state === 'delivered' ||
        (state === 'failed' && row?.reason === '5.1.1') ||
        (state === 'held' && post.kind === 'secret' && mayMiss(member));
      if (!isRight)
        problems.push(`LOST: ${post.messageId} (${post.kind}) for ${member}: "${state}" (${row?.reason})`);
    }
  }
  return { pairs, problems };
}
