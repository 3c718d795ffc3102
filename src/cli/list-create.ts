import type { Command } from 'commander';
import { passphraseOf } from '../config/secrets.ts';
import type { Site } from '../config/site.ts';
import { type ListKeyFiles, makeListKeys } from '../flow/lists/list-keys.ts';
import { checkListName, furtherAddress, listEndings } from '../policy/list-name.ts';
import { remarksOn } from '../policy/remarks.ts';
import { resolvePolicy } from '../policy/resolve.ts';
import { parseSettings } from '../policy/settings.ts';
import { storeFault } from '../store/faults.ts';
import { record } from '../store/ledger.ts';
import { addRole, createList, findList } from '../store/lists.ts';
import { touch } from '../store/meta.ts';
import type { Role } from '../store/schema.ts';
import { addressOf, assignments, collect } from './arguments.ts';
import { cliFault } from './faults.ts';
import {
  confirmPlan,
  type KeyOptions,
  keyOrder,
  keyResult,
  keyWords,
  withKeyOptions,
} from './key-generate.ts';
import { onSite, type Session } from './site-command.ts';

interface CreateOptions extends KeyOptions {
  readonly profile?: string;
  readonly owner?: readonly string[];
  readonly moderator?: readonly string[];
  readonly set?: readonly string[];
  readonly yes?: true;
}

/** `list create`: key, certificate or request, policy, owners; the row comes last. */
export function addListCreate(list: Command): void {
  withKeyOptions(
    list
      .command('create <address>')
      .description('make a list, its key, and a certificate or a request for one')
      .option('--profile <name>', 'settings to begin with: discussion, confidential or announce')
      .option('--owner <address>', 'an owner (may be repeated)', collect)
      .option('--moderator <address>', 'a moderator (may be repeated)', collect)
      .option('--set <name=value>', 'a setting of the list (may be repeated)', collect)
      .option('--yes', 'do not ask'),
  )
    .addHelpText(
      'after',
      `
Example:
  reseal list create team@lists.example --owner ada@example.org --profile confidential`,
    )
    .action(onSite<[string, CreateOptions]>(create));
}

async function create(session: Session, text: string, options: CreateOptions): Promise<void> {
  const { site, database, output, folderOf, now, who } = session;
  const address = checkListName(addressOf(text));
  if (address === site['service.address']) throw cliFault('usage-service', { address });
  const settings = assignments(options.set ?? [], site.root);
  const profile = options.profile ?? null;
  const warnings = checkPolicy(site, profile, settings);
  const order = keyOrder(options);
  const roles = [...holders('owner', options.owner), ...holders('moderator', options.moderator)];
  if (await findList(database.q, address)) throw storeFault('list-exists', { address });
  await confirmPlan(order.plan, options.yes === true);

  const passphrase = await passphraseOf(site, address);
  const keys = await makeListKeys({
    folder: folderOf(address),
    address,
    ...order,
    passphrase,
    now,
  });
  try {
    await database.write(async (tx) => {
      const row = await createList(tx, { address, profile, settings, createdAt: now });
      for (const role of roles) await addRole(tx, { ...role, listId: row.id, name: '' });
      await record(tx, { at: now, list: address, event: 'list-created', detail: `${who} made the list` });
      await touch(tx, 'keys');
    });
  } catch (error) {
    await keys.undo();
    throw error;
  }
  for (const warning of warnings) output.note(`warning: ${warning}`);
  if (!roles.some((role) => role.role === 'owner')) {
    output.note(
      `warning: nobody owns ${address}: set --add-owner, so that somebody is told of what goes wrong`,
    );
  }
  output.result({ list: address, profile, ...keyResult(keys), warnings }, [
    ...wordsAbout(address, keys),
    ...nextSteps(site, address),
  ]);
}

/** Refuses contradictions of the policy that the list would have; gives what is only risky. */
export function checkPolicy(site: Site, profile: string | null, settings: Record<string, string>): string[] {
  const { policy } = resolvePolicy({ site: site.defaults, profile, list: parseSettings(settings) });
  const remarks = remarksOn(policy);
  const grave = remarks.filter((remark) => remark.grave).map((remark) => remark.text);
  if (grave.length > 0) throw cliFault('usage-policy', { remarks: grave });
  return remarks.map((remark) => remark.text);
}

function holders(role: Role, texts: readonly string[] | undefined): { role: Role; address: string }[] {
  return (texts ?? []).map((text) => ({ role, address: addressOf(text) }));
}

function wordsAbout(address: string, keys: ListKeyFiles): string[] {
  const about = keys.certificate
    ? [
        `Members get it in answer to a signed mail to ${furtherAddress(address, 'sendcert')}, or to one that says`,
        `GET CERT to ${furtherAddress(address, 'request')}, or from you:`,
        `  reseal list show ${address} --cert`,
      ]
    : [];
  return [`The list ${address} is made.`, ...keyWords(address, keys), ...about];
}

/** What Postfix has to know: one line that sends the list's addresses here. */
function nextSteps(site: Site, address: string): string[] {
  const [local = '', domain = ''] = address.split('@');
  const escaped = (text: string) => text.replace(/[.+]/g, '\\$&');
  const pattern = `/^${escaped(local)}(-(${listEndings.join('|')}(\\+[^@]+)?))?@${escaped(domain)}$/`;
  return [
    `Postfix sends it here with this line in a regexp table that transport_maps names, and ${domain} in relay_domains:`,
    `  ${pattern}  ${transportOf(site)}`,
    'Then add members with `reseal member add`, and let `reseal check` have a look.',
  ];
}

function transportOf(site: Site): string {
  const [socket] = site.listen;
  if (!socket) return 'lmtp:[127.0.0.1]:8024';
  return 'path' in socket
    ? `${socket.protocol}:unix:${socket.path}`
    : `${socket.protocol}:[${socket.host}]:${socket.port}`;
}
