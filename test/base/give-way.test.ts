import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { openGiveWay } from '../../src/base/give-way.ts';

/** Keeps the event loop busy for so long. */
function work(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

/** Whether a call is let go before the event loop turns. */
async function isOpen(giveWay: () => Promise<void>): Promise<boolean> {
  let isLetGo = false;
  void giveWay().then(() => {
    isLetGo = true;
  });
  for (let n = 0; n < 5; n++) await Promise.resolve();
  return isLetGo;
}

/** On a busy machine so is the test. */
const patient = { waitMs: 40, openMs: 10, freeMs: 5000, oldMs: 5000 };

/** One since whose last call the event loop was busy. */
function inTheWay(): () => Promise<void> {
  const giveWay = openGiveWay(patient);
  work(12);
  return giveWay;
}

describe('work that gives way', () => {
  it('waits for nothing when it comes alone, whatever went before', async () => {
    const giveWay = openGiveWay();
    for (let n = 0; n < 3; n++) {
      work(60);
      expect(await isOpen(giveWay)).toBe(true);
    }
  });

  it('waits for nothing while the event loop has time', async () => {
    const giveWay = openGiveWay(patient);
    for (let n = 0; n < 3; n++) {
      await pause(150);
      expect(await isOpen(giveWay)).toBe(true);
    }
  });

  it('waits while the event loop is busy, together with all other', async () => {
    const giveWay = inTheWay();
    const since = performance.now();
    const order: string[] = [];
    const all = ['a', 'b', 'c'].map(async (name) => {
      await giveWay();
      order.push(name);
    });
    await all[0];
    expect(performance.now() - since).toBeGreaterThan(30);
    setImmediate(() => order.push('the next turn'));
    await Promise.all(all);
    expect(order).toEqual(['a', 'b', 'c']);
  });

  it('has its part of the time however busy the event loop is', async () => {
    const giveWay = inTheWay();
    let isDone = false;
    const others = () => {
      work(2);
      if (!isDone) setImmediate(others);
    };
    others();
    for (let n = 0; n < 5; n++) {
      const since = performance.now();
      await giveWay();
      expect(performance.now() - since).toBeLessThan(1000);
      work(12);
    }
    isDone = true;
  });

  it('has all of it when nobody else needed what it left them', async () => {
    const giveWay = inTheWay();
    await giveWay();
    for (let n = 0; n < 5; n++) {
      work(12);
      await nextTurn();
      expect(await isOpen(giveWay)).toBe(true);
    }
  });
});
