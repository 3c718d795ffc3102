import { randomBytes } from 'node:crypto';
import type { Command } from 'commander';
import { openComposer } from '../app/open-composer.ts';
import { openLookUps } from '../app/open-look-ups.ts';
import { openRevocation } from '../app/open-revocation.ts';
import { takeCare } from '../flow/care.ts';
import { keepHouse } from '../flow/housekeeping.ts';
import { startWorkers } from '../smime/workers.ts';
import { touch } from '../store/meta.ts';
import { onSite, type Session } from './site-command.ts';

/** `housekeeping`: what the daemon does each hour, once and now. */
export function addHousekeeping(program: Command): void {
  program
    .command('housekeeping')
    .description(
      'end what waited too long, forget what is over, send warnings and reports that are due; done each hour by itself',
    )
    .action(onSite<[]>(keep));
}

async function keep(session: Session): Promise<void> {
  const { database, spool, keyring, clock, log, site, output } = session;
  const script = new URL('../smime/worker.js', import.meta.url);
  const workers = startWorkers({ count: 1, timeoutMs: site['open.timeout'], script });
  try {
    const { defaults, node, retention: retentionMs } = site;
    const shared = { database, spool, keyring, clock, log, defaults, node, retentionMs };
    await takeCare({
      ...shared,
      compose: openComposer(session, { workers, unique: () => randomBytes(12).toString('hex') }),
      findRecipients: openLookUps(session, openRevocation(site, session)).recipients(() => null),
      lifetimeMs: site['queue.lifetime'],
      wakeDelivery: () => {},
    });
    await keepHouse({ ...shared, quarantineMs: site['quarantine.days'] * 86_400_000 });
    // The mails that this made are the daemon's to send.
    await database.write((tx) => touch(tx));
  } finally {
    await workers.close();
  }
  output.result({ done: true }, ['Done.']);
}
