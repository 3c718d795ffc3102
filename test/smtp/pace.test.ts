import { describe, expect, it } from 'vitest';
import { makePace } from '../../src/smtp/pace.ts';

/** A pace and its clock. */
function paceOf(perMinute: number | null) {
  let now = 1000;
  return {
    pace: makePace(perMinute, () => now),
    pass: (ms: number) => {
      now += ms;
    },
  };
}

/** Sends all that may go now. */
function burst(pace: ReturnType<typeof makePace>): number {
  let count = 0;
  for (; pace.waitMs() === 0 && count < 1000; count++) pace.count(1);
  return count;
}

describe('a pace', () => {
  it.each([
    [60, 1],
    [600, 1],
    [6000, 10],
    [60_000, 100],
  ])(
    'of %d a minute lets at most %d go at once, and as many as it says in each minute',
    (perMinute, atOnce) => {
      const { pace, pass } = paceOf(perMinute);
      pass(3_600_000);
      expect(burst(pace)).toBe(atOnce);
      let sent = 0;
      for (let ms = 0; ms < 60_000; ms += 5) {
        pass(5);
        sent += burst(pace);
      }
      expect(sent).toBeLessThanOrEqual(perMinute);
      expect(sent).toBeGreaterThanOrEqual(perMinute * 0.99 - 1);
    },
  );

  it('says how long it is until the next', () => {
    const { pace, pass } = paceOf(60);
    pace.count(1);
    const wait = pace.waitMs();
    expect(wait).toBeGreaterThanOrEqual(1000);
    expect(wait).toBeLessThan(1010);
    pass(wait);
    expect(pace.waitMs()).toBe(0);
  });

  it('counts each recipient of a copy', () => {
    const { pace } = paceOf(60);
    pace.count(100);
    expect(pace.waitMs()).toBeGreaterThanOrEqual(100_000);
  });

  it('sends back what would wait too long, each to another time, and never the first in line', () => {
    const { pace } = paceOf(60);
    expect(pace.turnsAway(0, 100)).toBeNull();
    pace.count(1);
    expect(pace.turnsAway(0, 100)).toBeNull();
    expect(pace.turnsAway(1, 2000)).toBeNull();
    expect(pace.turnsAway(2, 2000)).toMatchObject({ kind: 'deferred', relayDown: false, afterMs: 3000 });
    expect(pace.turnsAway(2, 2000)).toMatchObject({ afterMs: 4000 });
  });

  it('without a limit lets all go', () => {
    const { pace } = paceOf(null);
    expect(burst(pace)).toBe(1000);
    expect(pace.turnsAway(1_000_000, 0)).toBeNull();
  });
});
