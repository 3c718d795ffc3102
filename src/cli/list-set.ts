import type { Command } from 'commander';
import { siteTrust } from '../app/open-site.ts';
import type { Site } from '../config/site.ts';
import { contextOf } from '../flow/lists/list-context.ts';
import { checkRevocation } from '../flow/operator/check-revocation.ts';
import { checkTrust } from '../flow/operator/check-site.ts';
import { isSettingName, parseSetting } from '../policy/settings.ts';
import { trustOf } from '../policy/trust.ts';
import { record } from '../store/ledger.ts';
import { addRole, type ListRow, removeRole, setListSettings } from '../store/lists.ts';
import { touch } from '../store/meta.ts';
import type { Role } from '../store/schema.ts';
import { addressOf, assignments, collect, listNamed } from './arguments.ts';
import { cliFault } from './faults.ts';
import { checkPolicy } from './list-create.ts';
import { onSite, type Session } from './site-command.ts';

interface SetOptions {
  readonly unset?: readonly string[];
  readonly profile?: string;
  readonly addOwner?: readonly string[];
  readonly removeOwner?: readonly string[];
  readonly addModerator?: readonly string[];
  readonly removeModerator?: readonly string[];
}

/** `list set`: settings, profile, owners and moderators of a list, in one transaction. */
export function addListSet(list: Command): void {
  list
    .command('set <list> [name=value...]')
    .description('change settings, profile, owners and moderators')
    .option('--unset <name>', 'let the profile or the site decide again (may be repeated)', collect)
    .option('--profile <name>', 'discussion, confidential, announce, or none')
    .option('--add-owner <address>', 'make somebody an owner (may be repeated)', collect)
    .option('--remove-owner <address>', 'no owner any more (may be repeated)', collect)
    .option('--add-moderator <address>', 'make somebody a moderator (may be repeated)', collect)
    .option('--remove-moderator <address>', 'no moderator any more (may be repeated)', collect)
    .addHelpText(
      'after',
      `
Examples:
  reseal list set team accept.encryption=required accept.signature=required
  reseal list set team --unset accept.encryption --add-moderator bob@example.org`,
    )
    .action(onSite<[string, string[], SetOptions]>(change));
}

interface RoleChange {
  readonly role: Role;
  readonly address: string;
  readonly add: boolean;
}

async function change(
  session: Session,
  name: string,
  texts: readonly string[],
  options: SetOptions,
): Promise<void> {
  const { site, database, output, now, who } = session;
  const roles: RoleChange[] = [
    ...changesOf('owner', true, options.addOwner),
    ...changesOf('owner', false, options.removeOwner),
    ...changesOf('moderator', true, options.addModerator),
    ...changesOf('moderator', false, options.removeModerator),
  ];
  const set = assignments(texts, site.root);
  const unset = options.unset ?? [];
  if (roles.length + texts.length + unset.length === 0 && options.profile === undefined) {
    throw cliFault('usage-missing', { what: 'name=value, --unset, --profile or an owner or moderator' });
  }
  const row = await listNamed(database.q, name);
  // A name that was mistyped must not pass as one that was not set.
  for (const one of unset) if (!isSettingName(one)) parseSetting(one, '');
  const settings = Object.fromEntries(
    Object.entries({ ...row.settings, ...set }).flatMap(([key, value]) =>
      unset.includes(key) ? [] : [[key, String(value)]],
    ),
  );
  const profile =
    options.profile === undefined ? row.profile : options.profile === 'none' ? null : options.profile;
  const warnings = [
    ...checkPolicy(site, profile, settings),
    ...(await trustWarnings(site, { ...row, profile, settings }, now)),
  ];
  const words = [
    ...Object.entries(set).map(([key, value]) => `${key}=${value}`),
    ...unset.map((key) => `${key} unset`),
    ...(options.profile === undefined ? [] : [`profile ${profile ?? 'none'}`]),
    ...roles.map(({ role, address, add }) => `${role} ${address} ${add ? 'added' : 'removed'}`),
  ];
  await database.write(async (tx) => {
    await setListSettings(tx, row.id, { settings, profile });
    for (const { role, address, add } of roles) {
      if (add) await addRole(tx, { listId: row.id, address, role, name: '' });
      else if (!(await removeRole(tx, { listId: row.id, address, role }))) {
        throw cliFault('role-unknown', { list: row.address, address, role });
      }
    }
    await record(tx, {
      at: now,
      list: row.address,
      event: 'list-changed',
      detail: `${who}: ${words.join(', ')}`,
    });
    await touch(tx, 'keys');
  });
  for (const warning of warnings) output.note(`warning: ${warning}`);
  output.result({ list: row.address, profile, settings, changed: words, warnings }, [
    `${row.address}: ${words.join(', ')}`,
  ]);
}

/** What is wrong with the list's own authorities and revocation lists: said at once, not by the first post that fails. */
async function trustWarnings(site: Site, row: ListRow, now: number): Promise<string[]> {
  const { policy } = contextOf(row, site.defaults);
  const own = policy['trust.cafile'] !== null || policy['trust.capath'] !== null;
  const about = row.address;
  const found = [
    ...(own ? await checkTrust(trustOf(policy, siteTrust(site)), about, now) : []),
    ...(await checkRevocation(policy, {
      site: siteTrust(site),
      mayFetch: site['fetch.hosts'].length > 0,
      about,
      now,
    })),
  ];
  return found.filter((one) => one.level !== 'good').map((one) => one.text);
}

function changesOf(role: Role, add: boolean, texts: readonly string[] | undefined): RoleChange[] {
  return (texts ?? []).map((text) => ({ role, add, address: addressOf(text) }));
}
