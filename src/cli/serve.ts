import type { Command } from 'commander';
import { loadSite } from '../config/site.ts';
import type { GlobalOptions } from './site-command.ts';

/** `serve`: the daemon. Its exit code is the daemon's own. */
export function addServe(program: Command): void {
  program
    .command('serve')
    .description('run the daemon until SIGTERM; SIGHUP reads keys and authorities anew')
    .action(async (_options: unknown, command: Command) => {
      const { root, config } = command.optsWithGlobals<GlobalOptions>();
      const site = await loadSite({ root, file: config, env: process.env });
      // Here and not above: no other command needs the servers, and each starts the sooner.
      const { serve } = await import('../daemon/serve.ts');
      const debug = process.env.RESEAL_DEBUG === 'unsafe';
      // Node does not count what it takes from NODE_OPTIONS among its arguments.
      const execArgv = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/\s+/)];
      process.exitCode = await serve(site, { execArgv, debug });
    });
}
