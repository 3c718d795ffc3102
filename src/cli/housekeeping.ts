import type { Command } from 'commander';
import { keepHouse } from '../flow/housekeeping.ts';
import { onSite } from './site-command.ts';

/** `housekeeping`: what the daemon does each hour, once and now. */
export function addHousekeeping(program: Command): void {
  program
    .command('housekeeping')
    .description('end what waited too long, forget what is over; done each hour by itself')
    .action(
      onSite<[]>(async ({ database, spool, clock, log, site, output }) => {
        const { defaults, node, retention: retentionMs } = site;
        await keepHouse({ database, spool, clock, log, defaults, node, retentionMs });
        output.result({ done: true }, ['Done.']);
      }),
    );
}
