import { day } from './kinds.ts';
import type { ListPolicy } from './settings.ts';

/** A refused copy, as far as its score needs it. */
export interface Bounce {
  readonly at: number;
}

/**
 * A member's bounce score: on how many days of the last `bounce.days` copies for him were refused. However many posts a list has
 * in a day, a mailbox that is full for an afternoon counts once.
 */
export function bounceScore(
  policy: Pick<ListPolicy, 'bounce.days'>,
  bounces: readonly Bounce[],
  now: number,
): number {
  const from = now - policy['bounce.days'] * day;
  return new Set(bounces.filter(({ at }) => at >= from).map(({ at }) => Math.floor(at / day))).size;
}
