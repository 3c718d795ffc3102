import { dayMs } from '../../base/day.ts';

/** Days before the end of a certificate on which those concerned are told, once each; 0: it is over. */
const stages = [0, 1, 7, 30] as const;

/** How long before its end a certificate counts as ending soon. */
export const longestWarningMs = 30 * dayMs;

/** The latest stage that a certificate has reached, or null; of one that a long stop of the daemon skipped nothing is said. */
export function stageOf(notAfter: number, now: number): (typeof stages)[number] | null {
  return stages.find((days) => now >= notAfter - days * dayMs) ?? null;
}
