import type { Command } from 'commander';
import { day, duration } from '../policy/kinds.ts';
import { findLedger } from '../store/ledger.ts';
import { listsOfAddress } from '../store/members.ts';
import { addressOf, listNamed, wholeNumber } from './arguments.ts';
import { cliFault } from './faults.ts';
import { followLedger, untilInterrupted } from './log-follow.ts';
import { lineValue, logLines } from './log-lines.ts';
import { messageIdsNamed } from './message-name.ts';
import { namesRelays } from './named-relays.ts';
import { instant } from './output.ts';
import { onSite, type Session } from './site-command.ts';

interface LogOptions {
  readonly list?: string;
  readonly member?: string;
  readonly since?: string;
  readonly message?: string;
  readonly limit: string;
  readonly follow?: true;
}

/** `log`: the ledger, oldest first, one line each. */
export function addLog(program: Command): void {
  program
    .command('log')
    .description('list what happened in the last day, or to one message, oldest first')
    .option('--list <list>', 'on this list')
    .option('--member <address>', 'to this member')
    .option('--since <time>', '3d, 12h, 30m, or a date such as 2026-01-31 (UTC)')
    .option('--message <id>', 'to this message: its Message-ID or its id in the spool')
    .option('--limit <number>', 'at most so many lines, the newest', '1000')
    .option('--follow', 'print new lines as they come, until Ctrl-C; with --since those since then first')
    .addHelpText(
      'after',
      `
Examples:
  reseal log --since 7d --member bob@example.org
  reseal log --list team --since 2026-01-31
  reseal log --follow --list team --json    (one JSON value in each line)`,
    )
    .action(onSite<[LogOptions]>(log));
}

async function log(session: Session, options: LogOptions): Promise<void> {
  const { database, output, now, site } = session;
  const { q } = database;
  const limit = wholeNumber('--limit', options.limit, 1, 1_000_000);
  const messageIds = options.message === undefined ? null : await messageIdsNamed(session, options.message);
  const list = options.list === undefined ? null : await keptName(session, options.list);
  const filter = {
    ...(list === null ? {} : { list }),
    ...(options.member === undefined ? {} : { member: addressOf(options.member) }),
    ...(messageIds ? { messageIds } : {}),
  };
  if (filter.member !== undefined) await noteStranger(session, filter.member);
  if (options.follow) {
    const from = options.since === undefined ? null : startOf(options.since, now);
    const { signal, done } = untilInterrupted();
    return followLedger(session, { filter, from, limit, signal }).finally(done);
  }
  const since = options.since ?? (messageIds ? null : '1d');
  const from = since === null ? {} : { from: startOf(since, now) };
  const rows = await findLedger(q, { ...filter, ...from, limit: limit + 1 });
  const shown = rows.slice(-limit);
  const about = options.since || messageIds ? '' : ' in the last day; --since 7d looks further back';
  const { width, terminal } = output;
  const view = {
    width,
    terminal,
    ofMessage: messageIds !== null,
    ofMember: filter.member !== undefined,
    namesRelays: namesRelays(site),
  };
  output.result(shown.map(lineValue), logLines(shown, view, `The ledger has nothing of that${about}.`));
  if (rows.length > limit)
    output.note(`only the newest ${limit} lines are shown: narrow it down, or set --limit`);
  if (since !== null && startOf(since, now) < now - site.retention)
    output.note('lines older than `retention` are forgotten');
}

/** Perhaps the address is mistyped: nothing else would tell. */
async function noteStranger({ database: { q }, output }: Session, member: string): Promise<void> {
  const known = (await listsOfAddress(q, member)).length + (await findLedger(q, { member, limit: 1 })).length;
  if (known === 0)
    output.note(
      `${member} is on no list, and the ledger has nothing of this address: \`reseal member list LIST\` shows who is`,
    );
}

/** A list that was removed stays in the ledger under its address. */
async function keptName({ database }: Session, text: string): Promise<string> {
  const address = text.includes('@') ? addressOf(text) : null;
  const known = address === null ? [] : await findLedger(database.q, { list: address, limit: 1 });
  return known[0]?.list ?? (await listNamed(database.q, text)).address;
}

/** When `--since` begins, in ms: so long ago, or an instant. Fault 'usage-value'. */
export function startOf(text: string, now: number): number {
  const ago = duration(1000, 36_500 * day).schema.safeParse(text);
  if (ago.success) return now - ago.data;
  const at = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?Z)?$/.test(text) ? Date.parse(text) : Number.NaN;
  const refuse = (expected: string) => cliFault('usage-value', { what: '--since', found: text, expected });
  // Date.parse takes a day that its month does not have for one of the next month.
  if (Number.isNaN(at) || !instant(at).startsWith(text.slice(0, 10)))
    throw refuse('so long ago (3d, 12h, 30m) or a date such as 2026-01-31');
  if (at > now) throw refuse(`a time that is over: it is ${instant(now)} now`);
  return at;
}
