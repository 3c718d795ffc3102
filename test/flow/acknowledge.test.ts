import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Fault } from '../../src/base/errors.ts';
import { acknowledgeInGroups } from '../../src/flow/delivery/acknowledge.ts';
import type { Database, Queries } from '../../src/store/database.ts';

/** A database that only counts: the groups that were written, one transaction each. */
function recorder(
  refuse: (entries: readonly string[]) => boolean = () => false,
  disk: () => void | Promise<void> = () => {},
  enough = 100,
) {
  const groups: string[][] = [];
  const tx = {} as Queries;
  const patience = { pauseMs: 1000, enough, troubled: () => undefined, isOver: () => false };
  const database = { write: (work) => work(tx) } as Pick<Database, 'write'> as Database;
  const acknowledgements = acknowledgeInGroups<string>(
    database,
    async (_, entries) => {
      await disk();
      if (refuse(entries)) throw new Error('a bad row');
      groups.push([...entries]);
    },
    patience,
  );
  /** A copy that is answered when `answer` resolves, as `deliver` sends it. */
  const copy = async (name: string, answer: Promise<void>) => {
    const answered = acknowledgements.expect();
    await answer;
    answered();
    await acknowledgements.commit(name);
  };
  return { groups, copy };
}

const later = (turns: number): Promise<void> =>
  turns === 0 ? Promise.resolve() : new Promise((resolve) => setImmediate(() => resolve(later(turns - 1))));

describe('outcomes of several connections', () => {
  // How long an outcome waits is up to the test, not to how busy the machine is.
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
  afterEach(() => void vi.useRealTimers());

  it('share a transaction, though they come in different turns of the event loop', async () => {
    const { groups, copy } = recorder();
    await Promise.all([copy('a', later(1)), copy('b', later(3)), copy('c', later(5))]);
    expect(groups).toEqual([['a', 'b', 'c']]);
  });

  it('do not wait for a connection that is slow', async () => {
    const { groups, copy } = recorder();
    let answer = () => {};
    const slow = copy('slow', new Promise((resolve) => (answer = resolve)));
    const quick = copy('quick', later(1));
    await later(2);
    expect(groups).toEqual([]);
    vi.advanceTimersByTime(2);
    await quick;
    expect(groups).toEqual([['quick']]);
    answer();
    await slow;
    expect(groups).toEqual([['quick'], ['slow']]);
  });

  it('gather while the disk has others, and are committed before those are durable', async () => {
    const ends: (() => void)[] = [];
    const { groups, copy } = recorder(undefined, () => new Promise<void>((resolve) => ends.push(resolve)));
    const first = copy('a', later(1));
    await later(4);
    const others = Promise.all([copy('b', later(1)), copy('c', later(3))]);
    await later(8);
    const third = copy('d', later(1));
    await later(8);
    // Two at a time, no more.
    expect(ends).toHaveLength(2);
    ends[0]?.();
    await first;
    await later(4);
    for (const end of ends) end();
    await Promise.all([others, third]);
    expect(groups).toEqual([['a'], ['b', 'c'], ['d']]);
  });

  it('wait for no more when every connection has brought one', async () => {
    const { groups, copy } = recorder(undefined, undefined, 2);
    void copy('slow', new Promise(() => {}));
    await Promise.all([copy('a', later(1)), copy('b', later(1))]);
    expect(groups).toEqual([['a', 'b']]);
  });

  it('are written one by one when one of them cannot be: only its own connection hears of it', async () => {
    const { groups, copy } = recorder((entries) => entries.includes('bad'));
    const ended = await Promise.allSettled(['a', 'bad', 'b'].map((name) => copy(name, later(1))));
    expect(ended.map((one) => one.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(groups).toEqual([['a'], ['b']]);
  });

  it('wait while the disk is full: nobody is told that it is done, nor that it failed', async () => {
    let full = true;
    const { groups, copy } = recorder(
      () => false,
      () => {
        if (full) throw new Fault('database-full', 'no space is left', {});
      },
    );
    const written = copy('a', later(0));
    await later(4);
    expect(groups).toEqual([]);
    full = false;
    await vi.advanceTimersByTimeAsync(1000);
    await later(4);
    await written;
    expect(groups).toEqual([['a']]);
  });
});
