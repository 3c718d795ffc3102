import { startApp } from '../app/start-app.ts';
import { systemClock } from '../base/clock.ts';
import { faultsOf, wordsOf } from '../base/errors.ts';
import { openLog } from '../base/log.ts';
import type { Site } from '../config/site.ts';

export const daemonFault = faultsOf({
  'inspector-refused': (d: { option: string }) =>
    `reseal does not run under ${d.option}: a debugger or a heap dump would show the content of messages. Set RESEAL_DEBUG=unsafe on a machine without real mail`,
});

/** Options of Node under which plaintext and keys could be read from outside or written to a file (RULES 21). */
const unsafe = /^--(inspect|heapsnapshot|heap-prof|report-|diagnostic-dir|abort-on-uncaught)/;

/**
 * Runs the daemon until SIGTERM or SIGINT, then stops in good order; a second signal ends it at once, which loses
 * nothing (a copy in flight may be sent again). SIGHUP reads keys and authorities again. Resolves with the exit code.
 */
export async function serve(site: Site, d: { execArgv: readonly string[]; debug: boolean }): Promise<number> {
  refuseInspection(d);
  process.umask(0o077);
  // Node's default opens the inspector on this signal.
  process.on('SIGUSR1', () => undefined);
  const log = openLog(site['log.level']);
  const script = new URL('../smime/worker.js', import.meta.url);
  const app = await startApp(site, { clock: systemClock, log, script });

  process.on('SIGHUP', () => {
    log.event('reload');
    app.reload().catch((error: unknown) => log.error('reload-failed', { detail: wordsOf(error) }));
  });
  const signal = new Promise<string>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => resolve(name));
  });
  log.event('ready', { listen: app.listening, pid: process.pid });

  const name = await signal;
  log.event('stopping', { signal: name });
  for (const again of ['SIGTERM', 'SIGINT'] as const) process.once(again, () => process.exit(1));
  await app.stop();
  log.event('stopped');
  return 0;
}

function refuseInspection(d: { execArgv: readonly string[]; debug: boolean }): void {
  // Node takes `_` for `-` in the names of its options.
  const option = d.execArgv.find((argument) => unsafe.test(argument.replaceAll('_', '-')));
  if (option && !d.debug) throw daemonFault('inspector-refused', { option });
}
