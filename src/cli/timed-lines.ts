import { folded } from './output.ts';

/** What one line of the ledger tells a reader. */
interface TimedLine {
  /** What it has in common with those around it: the day, perhaps the message. */
  readonly head: string;
  readonly at: string;
  readonly event: string;
  readonly words: string;
}

/** Lines of the ledger to be read: the head wherever it changes, below it time, event, and words folded to `width` columns. */
export function timedLines(all: readonly TimedLine[], width: number): string[] {
  const longest = all.reduce((most, one) => Math.max(most, one.event.length), 0);
  return all.flatMap(({ head, at, event, words }, index) => [
    ...(head === all[index - 1]?.head ? [] : [head]),
    ...folded(words, { width, first: `  ${at}  ${event.padEnd(longest)}  ` }),
  ]);
}
