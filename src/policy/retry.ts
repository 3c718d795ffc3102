import { hour, minute } from './kinds.ts';

const first = 5 * minute;
const longest = 4 * hour;
const spread = 0.1;

/** No delivery is put off for longer, ms. */
export const longestDelayMs = longest * (1 + spread);

/**
 * When a delivery is tried again: 5 minutes after the first failure, then each time after twice as long, at most 4 hours,
 * all ±10 % so that members deferred together do not come back together; the last try falls on the end of the lifetime
 * (5 days by default), and after it the delivery is given up.
 *
 * `attempts` counts the attempts made, this one included; times in milliseconds; `jitter` is a random number from 0 to 1.
 */
export function nextAttempt(d: {
  readonly attempts: number;
  readonly createdAt: number;
  readonly now: number;
  readonly lifetimeMs: number;
  readonly jitter: number;
}): { readonly at: number } | { readonly giveUp: true } {
  const end = d.createdAt + d.lifetimeMs;
  if (d.now >= end) return { giveUp: true };
  // 2 ** attempts is a double and may become Infinity; min() takes care of it.
  const delay = Math.min(first * 2 ** Math.max(0, d.attempts - 1), longest);
  const jittered = Math.round(delay * (1 + spread * (2 * d.jitter - 1)));
  return { at: Math.min(d.now + jittered, end) };
}
