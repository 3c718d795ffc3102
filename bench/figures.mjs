// Small arithmetic and words for figures.
import { performance } from 'node:perf_hooks';

export const kB = 1000;
export const MB = 1000 * kB;

/** The middle one of some numbers (the mean of the two in the middle). */
export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Milliseconds that `work` took. */
export async function timed(work) {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** The median of `times` runs of `work`, ms. */
export async function medianTime(times, work) {
  const found = [];
  for (let run = 0; run < times; run++) found.push(await timed(() => work(run)));
  return median(found);
}

/** Three significant digits, no exponent: 0.0123, 4.56, 789, 12300. */
export function digits(value) {
  if (!Number.isFinite(value)) return '-';
  if (Math.abs(value) >= 100) return String(Math.round(value));
  return String(Number(value.toPrecision(3)));
}

export const sizeName = (octets) => (octets >= MB ? `${octets / MB} MB` : `${octets / kB} kB`);
