import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises';
import { type Database, isPassingTrouble, type Queries } from '../../store/database.ts';

/** Writes outcomes of many connections in few transactions (group commit). */
export interface Acknowledgements<T> {
  /** Announces a `commit` that may come any moment: a group waits a little for it, until what is returned is called. */
  expect(): () => void;
  /** Resolves when `entry` is durable; several that wait together share one transaction. */
  commit(entry: T): Promise<void>;
}

/** What is done while outcomes cannot be written. */
export interface Patience {
  readonly pauseMs: number;
  /** So many outcomes wait for no others: there are no more connections that could bring one. */
  readonly enough: number;
  /** Told of each failed try. */
  troubled(error: unknown): void;
  /** Whether to give up: reseal stops. */
  isOver(): boolean;
}

interface Waiting<T> {
  readonly entry: T;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * How long an outcome waits for others: little beside what a relay takes, much beside what our side of a copy takes; where
 * the disk is slow as long as the last commit took, so that waiting at most doubles what it costs and groups grow.
 */
const gatherMs = { least: 2, most: 20 };

/** While the disk has one group, the next one gathers and is committed: its fdatasync follows at once. */
const groupsAtATime = 2;

/**
 * One writer for all connections. Outcomes are waited for, until none is expected any more, enough have come, or
 * `gatherMs` are over. If a group fails, each of its members is tried alone: one bad row must not keep the others' outcomes from
 * the disk.
 */
export function acknowledgeInGroups<T>(
  database: Database,
  write: (tx: Queries, entries: readonly T[]) => Promise<void>,
  patience: Patience,
): Acknowledgements<T> {
  let waiting: Waiting<T>[] = [];
  let expected = 0;
  let groups = 0;
  /** The next group is about to be taken. */
  let isDue = false;
  let timer: NodeJS.Timeout | null = null;
  let commitMs = 0;

  /** What the relay took must not go out again: a full disk is waited for, and nothing more is sent meanwhile. */
  const persist = async (entries: readonly T[]): Promise<void> => {
    for (;;) {
      try {
        return await database.write((tx) => write(tx, entries));
      } catch (error) {
        if (patience.isOver() || !isPassingTrouble(error)) throw error;
        patience.troubled(error);
        await pause(patience.pauseMs);
      }
    }
  };

  const flush = async (): Promise<void> => {
    if (isDue || groups >= groupsAtATime) return;
    isDue = true;
    if (timer) clearTimeout(timer);
    timer = null;
    // Of outcomes that came in one turn of the event loop the first would else be written alone.
    await nextTurn();
    isDue = false;
    groups++;
    const group = waiting;
    waiting = [];
    const begun = performance.now();
    try {
      await persist(group.map((one) => one.entry));
      commitMs = performance.now() - begun;
      for (const one of group) one.resolve();
    } catch {
      for (const one of group) await persist([one.entry]).then(one.resolve, one.reject);
    }
    groups--;
    gather();
  };

  const gather = (): void => {
    if (waiting.length === 0 || isDue || groups >= groupsAtATime) return;
    if (expected === 0 || waiting.length >= patience.enough) void flush();
    else {
      const wait = Math.min(Math.max(commitMs, gatherMs.least), gatherMs.most);
      timer ??= setTimeout(() => void flush(), wait);
    }
  };

  return {
    expect: () => {
      let isExpected = true;
      expected++;
      return () => {
        if (isExpected) expected--;
        isExpected = false;
      };
    },
    commit: (entry) =>
      new Promise((resolve, reject) => {
        waiting.push({ entry, resolve, reject });
        gather();
      }),
  };
}
