import { describe, expect, it } from 'vitest';
import { mostTogether, openArrivals } from '../../src/flow/pipeline/arrivals.ts';

/** Arrivals whose intake writes down its groups, and gives way until `go`. */
function gate() {
  let go: () => void = () => undefined;
  const groups: number[] = [];
  const arrivals = openArrivals(
    async (group) => {
      groups.push(group.length);
    },
    () =>
      new Promise((resolve) => {
        go = resolve;
      }),
  );
  return { arrivals, groups, go: () => go() };
}

describe('arrivals', () => {
  it('that come while the intake gives way are taken in together, and are known meanwhile', async () => {
    const { arrivals, groups, go } = gate();
    for (let n = 0; n < 3; n++) arrivals.add({ id: String(n), refused: [] });
    expect(groups).toEqual([]);
    expect(arrivals.has('2')).toBe(true);
    go();
    await arrivals.done();
    expect(groups).toEqual([3]);
    expect(arrivals.has('2')).toBe(false);
  });

  it('share a transaction with so many others and no more', async () => {
    const groups: number[] = [];
    const arrivals = openArrivals(
      async (group) => {
        groups.push(group.length);
      },
      () => Promise.resolve(),
    );
    for (let n = 0; n < mostTogether + 1; n++) arrivals.add({ id: String(n), refused: [] });
    await arrivals.done();
    expect(groups).toEqual([mostTogether, 1]);
  });
});
