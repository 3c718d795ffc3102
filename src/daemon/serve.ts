import { setTimeout as delay } from 'node:timers/promises';
import { startApp } from '../app/start-app.ts';
import { systemClock } from '../base/clock.ts';
import { faultsOf, isFault, wordsOf } from '../base/errors.ts';
import { openLog } from '../base/log.ts';
import type { Site } from '../config/site.ts';

export const daemonFault = faultsOf({
  'inspector-refused': (d: { option: string }) =>
    `reseal does not run under ${d.option}: a debugger or a heap dump would show the content of messages. Set RESEAL_DEBUG=unsafe on a machine without real mail`,
});

/** EX_IOERR of sysexits.h: a supervisor such as systemd starts it again, and the start says what is wrong if it still is. */
const brokenDisk = 74;
/** What hangs on a broken disk is not waited for: an end at any moment is safe. */
const lostMs = 4000;

/** Options of Node under which plaintext and keys could be read from outside or written to a file (RULES 21). */
const unsafe = /^--(inspect|heapsnapshot|heap-prof|report-|diagnostic-dir|abort-on-uncaught)/;

/**
 * Runs the daemon until SIGTERM or SIGINT, then stops in good order; a second signal ends it at once, which loses
 * nothing (a copy in flight may be sent again). SIGHUP reads keys and authorities again. Resolves with the exit code.
 * When the database is lost (the disk does not take its commits, or it is damaged) it ends the process with 74.
 */
export async function serve(site: Site, d: { execArgv: readonly string[]; debug: boolean }): Promise<number> {
  refuseInspection(d);
  process.umask(0o077);
  // Node's default opens the inspector on this signal.
  process.on('SIGUSR1', () => undefined);
  const log = openLog(site['log.level']);
  const script = new URL('../smime/worker.js', import.meta.url);
  const signal = firstSignal();
  const app = await startApp(site, { clock: systemClock, log, script });

  process.on('SIGHUP', () => {
    // Said when it is done: who waits for it in the log may rely on what he put there.
    app.reload().then(
      () => log.event('reload'),
      (error: unknown) => log.error('reload-failed', { detail: wordsOf(error) }),
    );
  });
  log.event('ready', { listen: app.listening, pid: process.pid });

  const cause = await Promise.race([signal, app.lost]);
  if (cause instanceof Error) {
    log.error('stopping', { code: isFault(cause) ? cause.code : null, detail: cause.message });
    // Who sends a message may end it: it is in the spool when he hears 250. Others hear 421; to relays nothing goes any more.
    await Promise.race([app.stop(lostMs / 2).catch(() => undefined), delay(lostMs)]);
    process.exit(brokenDisk);
  }
  log.event('stopping', { signal: cause });
  await app.stop();
  log.event('stopped');
  return 0;
}

/** The first signal to stop, also one that comes while reseal starts; the next one ends the process. */
function firstSignal(): Promise<string> {
  return new Promise((resolve) => {
    let isStopping = false;
    for (const name of ['SIGTERM', 'SIGINT'] as const)
      process.on(name, () => {
        if (isStopping) process.exit(1);
        isStopping = true;
        resolve(name);
      });
  });
}

function refuseInspection(d: { execArgv: readonly string[]; debug: boolean }): void {
  // Node takes `_` for `-` in the names of its options.
  const option = d.execArgv.find((argument) => unsafe.test(argument.replaceAll('_', '-')));
  if (option && !d.debug) throw daemonFault('inspector-refused', { option });
}
