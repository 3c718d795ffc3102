import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { afterOpening } from '../../src/policy/opening.ts';
import { nextAttempt } from '../../src/policy/retry.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

describe('nextAttempt', () => {
  const early = { createdAt: 0, now: hour, lifetimeMs: 5 * day };

  it.each([
    [1, 5],
    [2, 10],
    [3, 20],
    [4, 40],
    [5, 80],
    [6, 160],
    [7, 240],
    [8, 240],
    [2000, 240],
    [0, 5],
  ])('after attempt %i: %i minutes, give or take a tenth', (attempts, minutes) => {
    const wait = (jitter: number) => nextAttempt({ ...early, attempts, jitter });
    expect(wait(0.5)).toEqual({ at: hour + minutes * minute });
    expect(wait(0)).toEqual({ at: hour + minutes * minute * 0.9 });
    expect(wait(1)).toEqual({ at: hour + minutes * minute * 1.1 });
  });

  it.each([
    ['the last try falls on the end', 5 * day - minute, { at: 5 * day }],
    ['at the end it is given up', 5 * day, { giveUp: true }],
    ['and after the end', 6 * day, { giveUp: true }],
  ])('%s', (_, now, expected) => {
    expect(nextAttempt({ attempts: 9, createdAt: 0, now, lifetimeMs: 5 * day, jitter: 0.5 })).toEqual(
      expected,
    );
  });

  it('tries 36 times in five days and then ends', () => {
    let now = 0;
    let attempts = 0;
    for (;;) {
      attempts++;
      const next = nextAttempt({ attempts, createdAt: 0, now, lifetimeMs: 5 * day, jitter: 0.5 });
      if ('giveUp' in next) break;
      expect(next.at).toBeGreaterThan(now);
      now = next.at;
    }
    expect(now).toBe(5 * day);
    expect(attempts).toBe(36);
  });

  it('always moves on, never beyond the lifetime', () => {
    const facts = fc.record({
      attempts: fc.nat(10_000),
      createdAt: fc.nat(2 ** 40),
      age: fc.nat(10 * day),
      jitter: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(facts, ({ attempts, createdAt, age, jitter }) => {
        const next = nextAttempt({ attempts, createdAt, now: createdAt + age, lifetimeMs: 5 * day, jitter });
        if ('giveUp' in next) return age >= 5 * day;
        return next.at > createdAt + age && next.at <= createdAt + 5 * day;
      }),
    );
  });
});

describe('afterOpening', () => {
  const now = 1_000_000;
  it.each([
    ['broken', 1, 0, { next: 'retry', at: now + 10_000 }],
    ['broken', 2, 0, { next: 'quarantine' }],
    ['broken', 7, 0, { next: 'quarantine' }],
    ['interrupted', 1, 1, { next: 'retry', at: now }],
    // The third start.
    ['interrupted', 2, 2, { next: 'park', at: now + hour }],
    ['interrupted', 3, 3, { next: 'park', at: now + hour }],
    ['interrupted', 1, 4, { next: 'park', at: now + hour }],
  ] as const)('%s, opened %i times, %i crashes', (cause, opens, crashes, expected) => {
    expect(afterOpening({ cause, opens, crashes, now })).toEqual(expected);
  });
});
