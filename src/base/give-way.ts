import { performance } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';

/** While the event loop is busy: so long is waited, and then so long may be begun what waited. */
const times = { pauseMs: 40, openMs: 10 };
/** The part of the time that an event loop is idle which has something to spare. */
const spare = 0.5;

/**
 * For work that may wait while somebody waits for an answer. The function that is given resolves at once if the event loop
 * was idle half of the time lately; else together with all other calls, 40 ms later at most. So the work has its part of
 * the main thread however busy it is, and does it in few pieces, which share their transactions and what they wait for.
 */
export function openGiveWay(): () => Promise<void> {
  let judgedAt = performance.now();
  let idleBefore = performance.nodeTiming.idleTime;
  let openUntil = 0;
  let waiting: Promise<void> | null = null;

  const isBusy = (now: number): boolean => {
    const idle = performance.nodeTiming.idleTime;
    const part = (idle - idleBefore) / (now - judgedAt);
    judgedAt = now;
    idleBefore = idle;
    return part < spare;
  };
  const open = (): void => {
    waiting = null;
    openUntil = performance.now() + times.openMs;
  };
  return async () => {
    const now = performance.now();
    if (now < openUntil) return;
    if (waiting === null && !isBusy(now)) return open();
    waiting ??= pause(times.pauseMs).then(open);
    await waiting;
  };
}
