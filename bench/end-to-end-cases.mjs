// Which posts the end-to-end part sends, how often, and what is aimed at.
import { kB, MB, sizeName } from './figures.mjs';

const part = 'End to end: signed and encrypted post, from 250 to the last acknowledgement of smtp-sink';
const costly = 'End to end, members with keys that cost more';
const kinds = ['RSA-2048', 'P-256', 'RSA-4096', 'P-384', 'P-521'];
/** Those that aims are for. */
const usual = kinds.slice(0, 2);

/** All cases, or those that take a few seconds each. */
export function casesOf(quick) {
  const runs = quick ? 3 : 5;
  const rsa = (members, size, more = {}) => caseOf(members, size, 'RSA-2048', { runs, ...more });
  if (quick)
    return [
      ...[10, 100, 1000].map((members) => rsa(members, 10 * kB)),
      ...[10, 100].map((members) => rsa(members, MB)),
      caseOf(100, 10 * kB, 'P-256', { runs }),
    ];
  return [
    ...[10, 100, 1000].map((members) => rsa(members, 10 * kB)),
    rsa(10_000, 10 * kB, { runs: 3 }),
    ...[10, 100].map((members) => rsa(members, MB)),
    rsa(1000, MB, { runs: 2 }),
    rsa(100, 10 * MB, { runs: 2 }),
    // For its memory; how fast, the one before tells.
    rsa(1000, 10 * MB, { runs: 1, yardstick: false }),
    ...[100, 1000].map((members) => caseOf(members, 10 * kB, 'P-256', { runs })),
    caseOf(100, MB, 'P-256', { runs }),
    ...kinds.slice(2).map((kind) => caseOf(1000, 10 * kB, kind, { runs: 2 })),
  ];
}

/** `1000x10kB` or `100x1MB/P-384` as a case; null if it is neither. */
export function caseFrom(text) {
  const [, members, amount, unit, kind] = /^(\d+)x(\d+)(kB|MB)(?:\/(.+))?$/.exec(text) ?? [];
  if (Number(members) < 1 || !members || (kind !== undefined && !kinds.includes(kind))) return null;
  return caseOf(Number(members), Number(amount) * (unit === 'MB' ? MB : kB), kind ?? kinds[0]);
}

function caseOf(members, size, kind, { runs = 3, yardstick = true } = {}) {
  const key = kind === kinds[0] ? '' : `, ${kind}`;
  const what = `${members} members, ${sizeName(size)}${key}`;
  const aims = usual.includes(kind) ? aimsOf(members, size) : {};
  return { what, part: usual.includes(kind) ? part : costly, members, size, kind, runs, yardstick, aims };
}

/** Share of smtp-source's rate, CPU ms per copy, ms to the first copy, MB at most. */
function aimsOf(members, size) {
  if (size === 10 * kB)
    return { rate: 0.8, cpu: 0.5, first: 100, ...(members === 10_000 ? { memory: 150 } : {}) };
  if (size === MB) return { rate: 1, cpu: 5 };
  return members === 1000 && size === 10 * MB ? { memory: 250 } : {};
}
