import { setTimeout as wait } from 'node:timers/promises';
import type { Site } from '../config/site.ts';
import { findLedger, type LedgerQuery, type LedgerRow, newestLedgerId } from '../store/ledger.ts';
import { detailOf, lineValue } from './log-lines.ts';
import { namesRelays } from './named-relays.ts';
import { secondOf } from './output.ts';
import type { Session } from './site-command.ts';

const pollMs = 1000;
/** Lines that one look may bring: far more than a second can write. */
const mostAtOnce = 1_000_000;

/** Which lines `log` is asked for, but for the time. */
export type LogFilter = Pick<LedgerQuery, 'list' | 'member' | 'messageIds'>;

/**
 * Prints ledger lines as they are written, until `signal`; those since `from` (ms) first, null for new ones only. Looks
 * by id, not by time: a line may tell of something that began before.
 */
export async function followLedger(
  {
    database: { q },
    output,
    site,
  }: Pick<Session, 'database' | 'output'> & { readonly site: Pick<Site, 'relays'> },
  d: {
    readonly filter: LogFilter;
    readonly from: number | null;
    /** Of the lines since `from` only so many, the newest. */
    readonly limit: number;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const print = (rows: readonly LedgerRow[]) => {
    for (const row of rows) output.item(lineValue(row), lineOf(row, namesRelays(site)));
  };
  let seen = await newestLedgerId(q);
  if (d.from !== null) {
    const past = await findLedger(q, { ...d.filter, from: d.from, limit: d.limit });
    print(past.filter((row) => row.id <= seen));
  }
  while (!d.signal.aborted) {
    // The newest id costs nothing, and most of the time there is no other.
    const newest = await newestLedgerId(q);
    if (newest > seen) {
      const rows = await findLedger(q, { ...d.filter, afterId: seen, limit: mostAtOnce });
      print([...rows].sort((a, b) => a.id - b.id));
      // Some may have come since `newest` was asked for.
      seen = rows.reduce((most, row) => Math.max(most, row.id), newest);
    }
    await wait(pollMs, undefined, { signal: d.signal }).catch(() => {});
  }
}

/** The signal that ends with Ctrl-C or a service manager's word; `done` takes the handlers away again. */
export function untilInterrupted(): { readonly signal: AbortSignal; done(): void } {
  const controller = new AbortController();
  const stop = () => controller.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  return {
    signal: controller.signal,
    done: () => void process.off('SIGINT', stop).off('SIGTERM', stop),
  };
}

const eventWidth = 16;

function lineOf(row: LedgerRow, withRelay: boolean): string {
  const who = [row.messageId, row.list, row.member].map((one) => one ?? '-');
  return [secondOf(row.at), row.event.padEnd(eventWidth), ...who, detailOf(row, withRelay)]
    .join('  ')
    .trimEnd();
}
