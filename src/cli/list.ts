import type { Command } from 'commander';
import { dayOf } from '../base/day.ts';
import { contextOf } from '../flow/lists/list-context.ts';
import { toPem } from '../pki/pem.ts';
import { resolvePolicy } from '../policy/resolve.ts';
import { formatSetting, parseSettings, settingNames } from '../policy/settings.ts';
import { countByState } from '../store/deliveries.ts';
import { record } from '../store/ledger.ts';
import { allLists, type ListRow, rolesOf, setListState } from '../store/lists.ts';
import { countMembers } from '../store/members.ts';
import { touch } from '../store/meta.ts';
import { listNamed } from './arguments.ts';
import { cliFault } from './faults.ts';
import { addListCreate } from './list-create.ts';
import { addListHealth } from './list-health.ts';
import { addListSet } from './list-set.ts';
import { instant, table } from './output.ts';
import { onSite, type Session } from './site-command.ts';

/** `list create|show|health|set|open|close|list`. */
export function addList(program: Command): void {
  const list = program.command('list').description('make lists, set their policy');
  addListCreate(list);
  list
    .command('show <list>')
    .description('owners, members, keys, and each setting with where it comes from')
    .option('--cert', "only the list's certificate for encryption, in PEM")
    .action(
      onSite<[string, { cert?: true }]>(async (session, name, options) => {
        const row = await listNamed(session.database.q, name);
        await (options.cert ? showCertificate(session, row) : showList(session, row));
      }),
    );
  addListHealth(list);
  addListSet(list);
  list
    .command('close <list>')
    .description('refuse posts, and cancel copies that come up for delivery meanwhile')
    .action(onSite<[string]>((session, name) => setState(session, name, 'closed')));
  list
    .command('open <list>')
    .description('accept posts again')
    .action(onSite<[string]>((session, name) => setState(session, name, 'open')));
  list.command('list').description('name all lists').action(onSite<[]>(listLists));
}

async function showCertificate({ keyring, output, folderOf }: Session, row: ListRow): Promise<void> {
  const pair = await keyring.encryptionPair(row);
  if (!pair) throw cliFault('list-no-certificate', { list: row.address, folder: folderOf(row.address) });
  const { certificate } = pair;
  const pem = toPem(certificate.der);
  output.result(
    {
      list: row.address,
      subject: certificate.subject,
      sha256: certificate.sha256,
      notAfter: instant(certificate.notAfter),
      pem,
    },
    pem.trimEnd().split('\n'),
  );
}

async function showList({ database, site, keyring, output, now }: Session, row: ListRow): Promise<void> {
  const { q } = database;
  const { policy } = contextOf(row, site.defaults);
  const { origin } = resolvePolicy({ site: site.defaults, profile: row.profile, list: ownSettings(row) });
  const settings = settingNames.map((name) => ({
    name,
    value: formatSetting(name, policy[name]),
    origin: origin[name],
  }));
  const roles = await rolesOf(q, row.id);
  const members = {
    active: await countMembers(q, row.id, 'active'),
    suspended: await countMembers(q, row.id, 'suspended'),
  };
  const deliveries = await countByState(q, { listId: row.id, openOnly: true });
  const { pairs, problems } = await keyring.keysOf(row);
  const keys = pairs.map(({ certificate, suffix }) => ({
    suffix,
    subject: certificate.subject,
    issuer: certificate.issuer,
    sha256: certificate.sha256,
    notAfter: instant(certificate.notAfter),
    expired: now > certificate.notAfter,
  }));
  const problemTexts = problems.map((problem) => problem.message);
  const holders = (role: string) => roles.filter((one) => one.role === role).map((one) => one.address);
  const value = {
    address: row.address,
    state: row.state,
    profile: row.profile,
    created: instant(row.createdAt),
    owners: holders('owner'),
    moderators: holders('moderator'),
    members,
    deliveries,
    keys,
    keyProblems: problemTexts,
    settings: Object.fromEntries(settings.map(({ name, ...rest }) => [name, rest])),
  };
  output.result(value, [
    `${row.address} (${row.state}${row.profile ? `, profile ${row.profile}` : ''}), made on ${dayOf(row.createdAt)}`,
    `owners:     ${holders('owner').join(', ') || 'none'}`,
    `moderators: ${holders('moderator').join(', ') || 'none: the owners moderate'}`,
    `members:    ${members.active} active, ${members.suspended} suspended`,
    `on the way: ${
      Object.entries(deliveries)
        .map(([state, count]) => `${count} ${state}`)
        .join(', ') || 'nothing'
    }`,
    ...keys.flatMap(({ suffix, subject, sha256, expired, notAfter }) => [
      `key:        ${suffix ? `${suffix.slice(1)}, ` : ''}${subject}, ${expired ? 'EXPIRED' : 'valid until'} ${notAfter.slice(0, 10)}`,
      `            SHA-256 ${sha256}`,
    ]),
    ...(keys.length === 0 ? ['key:        none that can be used'] : []),
    ...problemTexts.map((problem) => `key problem: ${problem}`),
    '',
    ...table(
      ['SETTING', 'FROM', 'VALUE'],
      settings.map((one) => [one.name, one.origin, one.value]),
      '',
    ),
  ]);
}

/** The settings that the list sets itself, read. */
export function ownSettings(row: ListRow) {
  return parseSettings(textSettings(row));
}

/** The same as an owner wrote them. */
export function textSettings(row: ListRow): Record<string, string> {
  return Object.fromEntries(Object.entries(row.settings).map(([name, value]) => [name, String(value)]));
}

async function setState(session: Session, name: string, state: 'open' | 'closed'): Promise<void> {
  const { database, output, now, who } = session;
  const row = await listNamed(database.q, name);
  await database.write(async (tx) => {
    await setListState(tx, row.id, state);
    const detail = `${who} set the list ${state}`;
    await record(tx, { at: now, list: row.address, event: `list-${state}`, detail });
    await touch(tx);
  });
  output.result({ list: row.address, state }, [`${row.address} is ${state}`]);
}

async function listLists({ database, output }: Session): Promise<void> {
  const rows = await allLists(database.q);
  const lists = [];
  for (const row of rows) {
    lists.push({
      address: row.address,
      state: row.state,
      profile: row.profile,
      members: await countMembers(database.q, row.id),
    });
  }
  output.result(
    lists,
    table(
      ['LIST', 'STATE', 'PROFILE', 'MEMBERS'],
      lists.map((one) => [one.address, one.state, one.profile ?? '-', String(one.members)]),
      'There are no lists yet: `reseal list create ADDRESS` makes one.',
    ),
  );
}
