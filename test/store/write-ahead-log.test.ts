import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { WriteAheadLog } from '../../src/store/write-ahead-log.ts';

/** A log whose fdatasyncs end when they are told to. */
function slowLog() {
  const waiting: { resolve: () => void; reject: (error: Error) => void }[] = [];
  let closed = false;
  const log = new WriteAheadLog('/spool/reseal.db', {
    datasync: () => new Promise<void>((resolve, reject) => waiting.push({ resolve, reject })),
    close: async () => {
      closed = true;
    },
  });
  /** The end of this turn of the event loop, at which a sync begins. */
  const turn = async () => {
    for (let n = 0; n < 3; n++) await nextTurn();
  };
  return { log, waiting, turn, isClosed: () => closed };
}

describe('the write-ahead log', () => {
  it('is durable when an fdatasync that began after the question is done', async () => {
    const { log, waiting, turn } = slowLog();
    const done: string[] = [];
    const first = log.durable().then(() => done.push('first'));
    await turn();
    // Committed while the first one runs: it may have been passed over.
    const second = log.durable().then(() => done.push('second'));
    waiting[0]?.resolve();
    await first;
    await turn();
    expect(done).toEqual(['first']);
    expect(waiting).toHaveLength(2);
    waiting[1]?.resolve();
    await second;
  });

  it('is asked once by all who commit while it is busy', async () => {
    const { log, waiting, turn } = slowLog();
    const first = [log.durable(), log.durable()];
    await turn();
    expect(waiting).toHaveLength(1);
    const others = Array.from({ length: 20 }, () => log.durable());
    waiting[0]?.resolve();
    await Promise.all(first);
    await turn();
    expect(waiting).toHaveLength(2);
    waiting[1]?.resolve();
    await Promise.all(others);
    expect(waiting).toHaveLength(2);
  });

  it('believes no fdatasync after one that failed', async () => {
    const { log, waiting, turn } = slowLog();
    const asked = log.durable();
    await turn();
    waiting[0]?.reject(new Error('EIO: i/o error, fdatasync'));
    await expect(asked).rejects.toMatchObject({ code: 'database-not-durable' });
    await expect(log.durable()).rejects.toThrow(/EIO.*start reseal again/);
    expect(waiting).toHaveLength(1);
  });

  it('closes when what is going on is done', async () => {
    const { log, waiting, turn, isClosed } = slowLog();
    const asked = log.durable();
    const closing = log.close();
    await turn();
    expect(isClosed()).toBe(false);
    waiting[0]?.resolve();
    await asked;
    await turn();
    waiting[1]?.resolve();
    await closing;
    expect(isClosed()).toBe(true);
  });
});
