import type { Queries } from '../../store/database.ts';
import { readMeta, writeMeta } from '../../store/meta.ts';

const lastLook = 'care.at';
const lastJump = 'care.jumped-to';
/** Two turns of the daemon: it looks each hour. */
const unseenMs = 2 * 3_600_000;
const steadyMs = 30 * 60_000;

/**
 * Notes this look at the clock. If the clock went on for more than two hours since the last look (it jumped, or nothing ran),
 * gives the time that it jumped to, until it has gone on from there for half an hour or was set back; else null.
 *
 * What ends or is forgotten by age is gone for good, and a signature that is forgotten may be replayed when the clock is
 * right again; a copy in flight, whose lease seems to be over, would be sent twice. Meanwhile nothing of it is done.
 */
export async function jumpOfClock(q: Queries, now: number): Promise<number | null> {
  const last = await readMeta(q, lastLook);
  await writeMeta(q, lastLook, String(now));
  if (last !== null && now - Number(last) > unseenMs) {
    await writeMeta(q, lastJump, String(now));
    return now;
  }
  const since = Number((await readMeta(q, lastJump)) ?? 0);
  return now >= since && now - since < steadyMs ? since : null;
}
