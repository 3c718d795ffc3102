import { hour, minute, second } from './kinds.ts';

/** Daemon deaths older than this are not counted against a message. */
export const crashWindowMs = 5 * minute;
/** One death may be chance, or somebody's `kill -9`; the start after so many, the third, parks. */
const enoughCrashes = 2;

/** What to do with a message whose opening did not come to an end, or that the daemon was at work on when it died. */
export type AfterOpening =
  | { readonly next: 'retry'; readonly at: number }
  | { readonly next: 'park'; readonly at: number }
  | { readonly next: 'quarantine' };

/**
 * What follows an opening that came to no end. `broken`: it broke its budget or its worker died; once may be chance and is
 * retried after 10 seconds, twice is quarantine. `interrupted`: the daemon died meanwhile, or while its copies were sealed
 * and sent, which is rarely the message's fault: retried at once, but the third start of the daemon within `crashWindowMs`
 * parks it for an hour.
 *
 * `opens` counts the openings begun, this one included; `crashes` the starts within the window that came to no good
 * end, before the one that asks; `now` and `at` are milliseconds. Openings that end with a reason (`Unopened`) do not come here.
 */
export function afterOpening(d: {
  readonly cause: 'broken' | 'interrupted';
  readonly opens: number;
  readonly crashes: number;
  readonly now: number;
}): AfterOpening {
  if (d.cause === 'broken') {
    return d.opens >= 2 ? { next: 'quarantine' } : { next: 'retry', at: d.now + 10 * second };
  }
  return d.crashes >= enoughCrashes ? { next: 'park', at: d.now + hour } : { next: 'retry', at: d.now };
}
