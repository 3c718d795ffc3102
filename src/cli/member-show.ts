import type { Command } from 'commander';
import { dayMs, dayOf } from '../base/day.ts';
import { contextOf } from '../flow/lists/list-context.ts';
import { bounceScore } from '../policy/bounces.ts';
import { inUse } from '../store/certificates.ts';
import { deliveriesFor } from '../store/deliveries.ts';
import { bouncesSince, findMember } from '../store/members.ts';
import { bouncesOf } from '../store/refusals.ts';
import { addressOf, listNamed } from './arguments.ts';
import { cliFault } from './faults.ts';
import { counted, instant, minuteOf, printable } from './output.ts';
import { onSite, type Session } from './site-command.ts';

/** Refusals that are shown; JSON has them all. */
const mostShown = 5;
const mostCounted = 10_000;

/** `member show`. */
export function addMemberShow(member: Command): void {
  member
    .command('show <list> <address>')
    .description('all about one membership: settings, certificate, copies that wait, and refused copies')
    .action(onSite<[string, string]>(show));
}

async function show(session: Session, name: string, text: string): Promise<void> {
  const { database, site, output, now } = session;
  const { q } = database;
  const address = addressOf(text);
  const row = await listNamed(q, name);
  const member = await findMember(q, row.id, address);
  if (!member) throw cliFault('member-unknown', { list: row.address, address });
  const { policy } = contextOf(row, site.defaults);
  const days = policy['bounce.days'];
  const since = Math.max(bouncesSince(member), now - days * dayMs);
  const bounces = await bouncesOf(q, { listId: row.id, address, since });
  const score = bounceScore(policy, bounces, now);
  const certificate = await inUse(q, address, 'enc');
  const waiting = async (state: 'held' | 'deferred') =>
    (await deliveriesFor(q, { member: address, state, listId: row.id, limit: mostCounted })).length;
  const value = {
    list: row.address,
    address,
    name: member.name,
    state: member.state,
    suspendedBy: member.suspendedBy,
    since: instant(member.since),
    settings: member.settings,
    certificate: certificate && { sha256: certificate.sha256, notAfter: instant(certificate.notAfter) },
    held: await waiting('held'),
    deferred: await waiting('deferred'),
    bounces: {
      score,
      threshold: policy['bounce.threshold'],
      days,
      action: policy['bounce.action'],
      refused: bounces.map(({ at, code, reply }) => ({ at: instant(at), code, reply })),
    },
  };
  const settings = Object.entries(member.settings).map(([key, set]) => `${key}=${String(set)}`);
  output.result(value, [
    `${address}${member.name === '' ? '' : ` (${printable(member.name)})`}: ${member.state}${member.suspendedBy ? ' by bounce.action' : ''}, member of ${row.address} since ${dayOf(member.since)}`,
    `  settings     ${settings.join(' ') || "the list's"}`,
    `  certificate  ${certificate ? `${now > certificate.notAfter ? 'EXPIRED' : 'until'} ${dayOf(certificate.notAfter)}` : 'none'}`,
    `  copies       ${value.held} held, ${value.deferred} deferred`,
    `  bounces      score ${score} of ${policy['bounce.threshold']}: refused on ${counted(score, 'day')} of the last ${days}`,
    ...value.bounces.refused
      .slice(0, mostShown)
      .map((one) => `               ${minuteOf(Date.parse(one.at))}  ${one.code} ${printable(one.reply)}`),
    ...(bounces.length > mostShown ? [`               and ${bounces.length - mostShown} more`] : []),
  ]);
}
