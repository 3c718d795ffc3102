import type { Command } from 'commander';
import { composeHere } from '../app/compose-here.ts';
import { openLookUps } from '../app/open-look-ups.ts';
import { openRevocation } from '../app/open-revocation.ts';
import { dayMs } from '../base/day.ts';
import { takeCare, wordsOfJump } from '../flow/care/care.ts';
import { careForEvidence } from '../flow/revocation/keep-evidence.ts';
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
  const revocation = openRevocation(site, session);
  const shared = {
    ...session,
    compose: composeHere(session),
    revocation,
    defaults: site.defaults,
    node: site.node,
    certificates: site.certificates,
    lifetimeMs: site['queue.lifetime'],
    postmaster: site.postmaster,
    serviceAddress: site['service.address'],
    retentionMs: site.retention,
    quarantineMs: site['quarantine.days'] * dayMs,
    // The mails and copies that this sets free are the daemon's to send.
    wakeDelivery: () => {},
  };
  const evidence = careForEvidence({ ...shared, mayFetch: site['fetch.hosts'].length > 0 });
  const findRecipients = openLookUps(session, revocation).recipients(
    () => null,
    // What a report says changes nothing; the daemon does.
    async () => {},
  );
  const { counts, failed, jumpedTo } = await takeCare({ ...shared, findRecipients, evidence });
  await database.write((tx) => touch(tx));
  const lines = [
    ...words.filter(([work]) => counts[work]).map(([work, what]) => `${what}: ${counts[work]}`),
    ...failed.map(({ work, detail }) => `Not done: ${work}: ${detail}`),
    ...(jumpedTo === null ? [] : [wordsOfJump(jumpedTo)]),
  ];
  output.result(
    { done: failed.length === 0, ...counts, failed },
    lines.length > 0 ? lines : ['Nothing was due.'],
  );
  if (failed.length > 0) process.exitCode = 1;
}

/** The work that a person wants to hear of. */
const words = [
  ['replaced', 'certificates that gave way to another'],
  ['released', 'copies released'],
  ['asked', 'questions to owners about certificates that wait'],
  ['waiting', 'notices to members for whom messages wait'],
  ['ending', 'warnings of certificates of members that end'],
  ['keys', 'mails about certificates of lists'],
  ['authors', 'summaries to authors'],
  ['reports', 'reports to owners'],
  ['expired', 'copies that waited in vain'],
  ['unmoderated', 'posts that no moderator answered'],
  ['quarantine', 'messages that stayed in quarantine'],
  ['removed', 'messages whose file is not needed any more'],
  ['evidence', 'revocation lists and answers fetched'],
] as const;
