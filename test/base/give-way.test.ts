import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { openGiveWay } from '../../src/base/give-way.ts';

/** Keeps the event loop busy for so long. */
function work(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

/** How long a call waits. */
async function waited(giveWay: () => Promise<void>): Promise<number> {
  const since = performance.now();
  await giveWay();
  return performance.now() - since;
}

/** Whether it was let go before the event loop turned. */
async function atOnce(giveWay: () => Promise<void>): Promise<boolean> {
  let isLetGo = false;
  void giveWay().then(() => {
    isLetGo = true;
  });
  for (let n = 0; n < 5; n++) await Promise.resolve();
  return isLetGo;
}

describe('work that gives way', () => {
  it('does not wait while the event loop is idle', async () => {
    const giveWay = openGiveWay();
    for (let n = 0; n < 3; n++) {
      await pause(60);
      expect(await atOnce(giveWay)).toBe(true);
    }
  });

  it('waits while the event loop is busy', async () => {
    const giveWay = openGiveWay();
    work(30);
    expect(await waited(giveWay)).toBeGreaterThan(35);
  });

  it('has its part of the time however busy the event loop is', async () => {
    const giveWay = openGiveWay();
    let isDone = false;
    const others = () => {
      work(2);
      if (!isDone) setImmediate(others);
    };
    others();
    for (let n = 0; n < 5; n++) {
      expect(await waited(giveWay)).toBeLessThan(1000);
      work(11);
    }
    isDone = true;
  });

  it('is let go together with all other that waits, and with what comes right after', async () => {
    const giveWay = openGiveWay();
    work(30);
    const order: string[] = [];
    const all = ['a', 'b', 'c'].map(async (name) => {
      await giveWay();
      order.push(name);
    });
    await all[0];
    setImmediate(() => order.push('the next turn'));
    await Promise.all(all);
    expect(await atOnce(giveWay)).toBe(true);
    expect(order).toEqual(['a', 'b', 'c']);
  });
});
