import { performance } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';

const usual = {
  /** How long work waits while others keep the event loop busy. */
  waitMs: 40,
  /** After a wait, or a look that found nobody in need, work goes on for so long without another look. */
  openMs: 10,
  /** The same after a wait in which nobody needed the time. */
  freeMs: 200,
  /** What the event loop did since a look longer ago than this tells nothing of now. */
  oldMs: 30,
};
/** The part of the time that an event loop is idle which has something to spare. */
const spare = 0.5;

/**
 * For work that may wait while somebody waits for an answer. The function that is given resolves at once when it was not
 * called lately, or the event loop was idle half of the time since; else together with all other calls, after 40 ms at
 * most. So the work has its part of the main thread however busy it is, and does it in few pieces, which share their
 * transactions and what they wait for.
 */
export function openGiveWay(times: Readonly<typeof usual> = usual): () => Promise<void> {
  let lookedAt = performance.now();
  let idleBefore = performance.nodeTiming.idleTime;
  let openUntil = 0;
  let waiting: Promise<void> | null = null;

  const look = (): { readonly ms: number; readonly isBusy: boolean } => {
    const now = performance.now();
    const idle = performance.nodeTiming.idleTime;
    const seen = { ms: now - lookedAt, isBusy: idle - idleBefore < spare * (now - lookedAt) };
    lookedAt = now;
    idleBefore = idle;
    return seen;
  };
  const openFor = (ms: number): void => {
    openUntil = lookedAt + ms;
  };
  const giveWay = async (): Promise<void> => {
    await pause(times.waitMs);
    waiting = null;
    openFor(look().isBusy ? times.openMs : times.freeMs);
  };
  return async () => {
    if (performance.now() < openUntil) return;
    if (waiting === null) {
      const { ms, isBusy } = look();
      if (ms > times.oldMs || !isBusy) return openFor(times.openMs);
      waiting = giveWay();
    }
    await waiting;
  };
}
