import { describe, expect, it } from 'vitest';
import { fairTurns } from '../../src/base/fair-turns.ts';

/** Work that ends when it is told to; `begun` has the names in the order of their beginning. */
function works(count: number, ofOne?: number) {
  const turns = fairTurns(count, ofOne);
  const begun: string[] = [];
  const ends = new Map<string, (error?: Error) => void>();
  const ask = (key: number, name: string) =>
    turns.take(key, () => {
      begun.push(name);
      return new Promise<void>((resolve, reject) =>
        ends.set(name, (error) => (error ? reject(error) : resolve())),
      );
    });
  const end = async (name: string, error?: Error) => {
    ends.get(name)?.(error);
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { ask, begun, end };
}

describe('fair turns', () => {
  it('go round among those who wait, whoever asked for most', async () => {
    const { ask, begun, end } = works(2);
    const all = ['a1', 'a2', 'a3', 'a4', 'a5'].map((name) => ask(1, name));
    all.push(ask(2, 'b1'), ask(2, 'b2'), ask(3, 'c1'));
    expect(begun).toEqual(['a1', 'a2']);
    for (const name of ['a1', 'a2', 'a3', 'b1', 'c1', 'a4', 'b2', 'a5']) await end(name);
    await Promise.all(all);
    expect(begun).toEqual(['a1', 'a2', 'a3', 'b1', 'c1', 'a4', 'b2', 'a5']);
  });

  it('are kept for others: who has as many as one may have waits, also when places are free', async () => {
    const { ask, begun, end } = works(3, 2);
    const all = ['a1', 'a2', 'a3', 'a4'].map((name) => ask(1, name));
    all.push(ask(2, 'b1'));
    expect(begun).toEqual(['a1', 'a2', 'b1']);
    await end('b1');
    expect(begun).toHaveLength(3);
    for (const name of ['a1', 'a2', 'a3', 'a4']) await end(name);
    await Promise.all(all);
    expect(begun).toEqual(['a1', 'a2', 'b1', 'a3', 'a4']);
  });

  it('pass on when work fails, and are free when nobody waits', async () => {
    const { ask, begun, end } = works(1);
    const first = ask(1, 'first').catch((error: Error) => error.message);
    const second = ask(1, 'second');
    await end('first', new Error('broken'));
    expect(await first).toBe('broken');
    await end('second');
    await second;
    const third = ask(2, 'third');
    expect(begun).toEqual(['first', 'second', 'third']);
    await end('third');
    await third;
  });
});
