import type { Result } from './attempt.ts';
import type { Outcome } from './matrix.ts';

/** What is to be expected of a program of this version. */
export function expectedOf(outcome: Outcome, version: string): Outcome {
  if (outcome === 'works' || outcome.until === undefined) return outcome;
  return olderThan(version, outcome.until) ? outcome : 'works';
}

/** Null if the cell came out as the matrix says, else a sentence that tells what to do. */
export function complaint(outcome: Outcome, result: Result, who: string, version: string): string | null {
  const expected = expectedOf(outcome, version);
  if (expected === 'works')
    return result === 'works' ? null : `${who}, version ${version}, should work: ${result.because}`;
  if (result === 'works')
    return `${who}, version ${version}: it now can. Update test/interop/matrix.ts, then docs/interop.md`;
  if (expected.said.test(result.because)) return null;
  return `${who}, version ${version}, fails for another reason than "${expected.cannot}": ${result.because}`;
}

function olderThan(version: string, other: string): boolean {
  const [mine, theirs] = [version, other].map((text) =>
    text.split('.').map((part) => Number.parseInt(part, 10)),
  );
  for (const [index, part] of (theirs ?? []).entries()) {
    const difference = (mine?.[index] ?? 0) - part;
    if (difference !== 0) return difference < 0;
  }
  return false;
}
