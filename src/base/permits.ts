import { fairTurns } from './fair-turns.ts';

/** Lets at most `count` pieces of work go on at a time; the others wait, in the order of asking. */
export function permits(count: number): <T>(work: () => Promise<T>) => Promise<T> {
  const turns = fairTurns(count);
  return (work) => turns.take(0, work);
}
