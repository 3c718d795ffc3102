import { describe, expect, it } from 'vitest';
import { Plaintext } from '../../src/base/bytes.ts';
import { openCache } from '../../src/flow/post/open-cache.ts';
import { minute, stoppedClock } from './parts.ts';

function cacheOf(octets: number) {
  const clock = stoppedClock();
  return { clock, cache: openCache({ octets, ageMs: minute, clock }) };
}
const entity = (size: number) => new Plaintext(Buffer.alloc(size, 0x61));
const isWiped = (plaintext: Plaintext): boolean => {
  try {
    return plaintext.expose().every((octet) => octet === 0);
  } catch {
    return true;
  }
};

describe('the cache of opened messages', () => {
  it('gives back what was put for a posting, and nothing for another', () => {
    const { cache } = cacheOf(100);
    const one = entity(10);
    cache.put(1, one);
    expect(cache.get(1)).toBe(one);
    expect(cache.get(2)).toBeNull();
  });

  it('wipes the oldest when it is full', () => {
    const { cache } = cacheOf(100);
    const made = [1, 2, 3, 4].map((posting) => {
      const one = entity(40);
      cache.put(posting, one);
      return one;
    });
    expect([1, 2, 3, 4].map((posting) => cache.get(posting) !== null)).toEqual([false, false, true, true]);
    expect(made.map(isWiped)).toEqual([true, true, false, false]);
  });

  it('keeps the newest even if it alone is larger, until the next', () => {
    const { cache } = cacheOf(100);
    const big = entity(1000);
    cache.put(1, entity(10));
    cache.put(2, big);
    expect([cache.get(1), cache.get(2)]).toEqual([null, big]);
    cache.put(3, entity(10));
    expect([cache.get(2), isWiped(big)]).toEqual([null, true]);
  });

  it('wipes what is too old, and only that', () => {
    const { cache, clock } = cacheOf(100);
    const [old, young] = [entity(1), entity(1)];
    cache.put(1, old);
    clock.pass(minute - 1);
    cache.put(2, young);
    cache.sweep();
    expect(cache.get(1)).toBe(old);
    clock.pass(1);
    cache.sweep();
    expect([cache.get(1), isWiped(old), cache.get(2), isWiped(young)]).toEqual([null, true, young, false]);
  });

  it('wipes what is replaced, dropped and cleared, and the wiped says so to whoever still holds it', () => {
    const { cache } = cacheOf(100);
    const [first, second, third] = [entity(1), entity(1), entity(1)];
    cache.put(1, first);
    cache.put(1, second);
    cache.put(2, third);
    cache.drop(1);
    cache.drop(1);
    cache.clear();
    expect([first, second, third].map(isWiped)).toEqual([true, true, true]);
    // Better an error than zeros sealed in place of the message.
    expect(() => third.expose()).toThrow('wiped');
    expect([cache.get(1), cache.get(2)]).toEqual([null, null]);
  });

  it('counts what left it: the room comes back', () => {
    const { cache } = cacheOf(100);
    for (let i = 0; i < 50; i++) {
      cache.put(i, entity(90));
      cache.drop(i);
    }
    const [one, two] = [entity(50), entity(50)];
    cache.put(1, one);
    cache.put(2, two);
    expect([cache.get(1), cache.get(2)]).toEqual([one, two]);
  });
});
