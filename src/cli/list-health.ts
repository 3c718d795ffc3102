import type { Command } from 'commander';
import { openLookUps } from '../app/open-look-ups.ts';
import { openKnownRevocation } from '../app/open-revocation.ts';
import { dayOf } from '../base/day.ts';
import type { FindRecipients } from '../flow/certificates/member-certificate.ts';
import { contextOf } from '../flow/lists/list-context.ts';
import {
  healthOf,
  type KeyHealth,
  type ListHealth,
  type MemberHealth,
} from '../flow/operator/list-health.ts';
import { listNamed } from './arguments.ts';
import { folded, instant, shortSha, table } from './output.ts';
import { onSite, type Session } from './site-command.ts';

/** `list health`. */
export function addListHealth(list: Command): void {
  list
    .command('health <list>')
    .description('who could receive an encrypted post now, who not and why, and until when its keys last')
    .action(onSite<[string]>(showHealth));
}

/** The look-up of a command that only looks: no network, and no other certificate comes in use. */
export function findWithoutChange(session: Session): FindRecipients {
  return openLookUps(session, openKnownRevocation(session)).recipients(
    () => null,
    async () => {},
  );
}

async function showHealth(session: Session, name: string): Promise<void> {
  const { database, site, keyring, output, now } = session;
  const row = await listNamed(database.q, name);
  const list = contextOf(row, site.defaults);
  const parts = { q: database.q, keyring, findRecipients: findWithoutChange(session) };
  const health = await healthOf(parts, list, now);
  const value = {
    list: list.address,
    state: row.state,
    counts: health.counts,
    members: health.members.map(memberValue),
    keys: health.keys.map((key) => ({
      ...key,
      notAfter: instant(key.notAfter),
      expired: now > key.notAfter,
    })),
    problems: health.problems,
  };
  output.result(value, output.json ? [] : healthLines(row, health, { now, width: output.width }));
}

function memberValue({ member, certificate, found }: MemberHealth) {
  return {
    address: member.address,
    state: member.state,
    ready: found.usable,
    certificate: certificate?.sha256 ?? null,
    notAfter: certificate && instant(certificate.notAfter),
    cipher: found.usable ? found.choice.cipher : null,
    keyTransport: found.usable ? found.choice.keyTransport : null,
    reason: found.usable ? null : found.reason,
    detail: found.usable ? null : found.detail,
  };
}

/** A screen has room for so many of each kind. */
const mostShown = 10;

function healthLines(
  { address, state }: { readonly address: string; readonly state: string },
  { members, keys, problems, counts }: ListHealth,
  { now, width }: { readonly now: number; readonly width: number },
): string[] {
  const missing = members.filter((one) => one.member.state === 'active' && !one.found.usable);
  const others = members.filter((one) => one.member.state !== 'active' || one.found.usable);
  const say = (first: string, text: string) => folded(text, { width, first, rest: '            ' });
  return [
    `${address} (${state})`,
    ...say('members:    ', `${counts.active} active, ${counts.suspended} suspended`),
    ...say('encrypted:  ', `${counts.ready} could receive a post now, ${counts.missing} could not`),
    ...(missing.length > mostShown ? say('            ', byReason(missing)) : []),
    ...keys.flatMap((key) => say('key:        ', keyWords(key, now))),
    ...(keys.length === 0 ? ['key:        none that can be used'] : []),
    ...problems.flatMap((problem) => say('problem:    ', problem)),
    ...missing
      .slice(0, mostShown)
      .flatMap(({ member, found }) =>
        say(
          'missing:    ',
          `${member.address}: ${found.usable ? '' : withoutName(found.detail, member.address)}`,
        ),
      ),
    ...more('missing:    ', missing.length),
    ...(others.length > 0 ? ['', ...memberTable(others.slice(0, mostShown))] : []),
    ...more('', others.length),
  ];
}

/** How many of those who could not have which reason: many cannot be looked through. */
function byReason(missing: readonly MemberHealth[]): string {
  const counts = new Map<string, number>();
  for (const { found } of missing)
    if (!found.usable) counts.set(found.reason, (counts.get(found.reason) ?? 0) + 1);
  const sorted = [...counts].sort(([, a], [, b]) => b - a);
  return sorted.map(([reason, count]) => `${reason} ${count}`).join(', ');
}

/** The sentence where the address stands before it. */
const withoutName = (detail: string, address: string): string => detail.replace(` for ${address}`, '');

function keyWords({ suffix, uses, notAfter, sha256, problems }: KeyHealth, now: number): string {
  const until = now > notAfter ? 'EXPIRED' : 'valid until';
  const words = `cert.pem${suffix} (${uses.join(', ')}), ${until} ${dayOf(notAfter)}, ${shortSha(sha256)}`;
  return [words, ...problems].join('; ');
}

function memberTable(members: readonly MemberHealth[]): string[] {
  const rows = members.map(({ member, certificate, found }) => [
    member.address,
    member.state,
    certificate ? dayOf(certificate.notAfter) : '-',
    found.usable ? found.choice.cipher : '-',
    found.usable ? found.choice.keyTransport : '-',
    certificate ? shortSha(certificate.sha256) : '-',
    found.usable ? '-' : withoutName(found.detail, member.address),
  ]);
  return table(['MEMBER', 'STATE', 'UNTIL', 'CIPHER', 'KEY TRANSPORT', 'SHA-256', 'WHY NOT'], rows, '');
}

const more = (first: string, count: number): string[] =>
  count > mostShown ? [`${first}and ${count - mostShown} more: --json names all`] : [];
