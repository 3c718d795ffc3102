import type { Command } from 'commander';
import { composeHere } from '../app/compose-here.ts';
import { openLookUps } from '../app/open-look-ups.ts';
import { openRevocation } from '../app/open-revocation.ts';
import { dayMs } from '../base/day.ts';
import { takeCare } from '../flow/care.ts';
import { keepHouse } from '../flow/housekeeping.ts';
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
  const { database, site, output } = session;
  const { defaults, node, retention: retentionMs } = site;
  const own = { compose: composeHere(session), lifetimeMs: site['queue.lifetime'] };
  const shared = { ...session, ...own, defaults, node, retentionMs };
  const findRecipients = openLookUps(session, openRevocation(site, session)).recipients(
    () => null,
    // What a report says changes nothing; the daemon does.
    async () => {},
  );
  await takeCare({ ...shared, findRecipients, wakeDelivery: () => {} });
  await keepHouse({ ...shared, quarantineMs: site['quarantine.days'] * dayMs });
  // The mails that this made are the daemon's to send.
  await database.write((tx) => touch(tx));
  output.result({ done: true }, ['Done.']);
}
