/** `2026-09-01`, in UTC: the day alone, as notices and commands name validities. `ms` since the epoch. */
export function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** A day in ms. */
export const dayMs = 86_400_000;
