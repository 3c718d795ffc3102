import type { Command } from 'commander';
import { dayOf } from '../base/day.ts';
import { keyTransports } from '../flow/certificates/member-certificate.ts';
import { contentCiphers, strengthOf } from '../pki/algorithms.ts';
import { inUseMany } from '../store/certificates.ts';
import { record } from '../store/ledger.ts';
import {
  addMembers,
  findMember,
  type MemberRow,
  memberPages,
  removeMember,
  setMember,
} from '../store/members.ts';
import { touch } from '../store/meta.ts';
import { cancelFor, releaseHeld } from '../store/outcomes.ts';
import { addressOf, listNamed, oneOf } from './arguments.ts';
import { cliFault } from './faults.ts';
import { addMemberImport } from './member-import.ts';
import { addMemberShow } from './member-show.ts';
import { counted, instant, table } from './output.ts';
import { onSite, type Session } from './site-command.ts';

/** What may be pinned; triple DES is for reading only. */
const sendCiphers = contentCiphers.filter((cipher) => strengthOf(cipher) >= 128);

/** `member add|remove|list|show|set|import`. */
export function addMember(program: Command): void {
  const member = program.command('member').description('say who gets the posts of a list');
  member
    .command('add <list> <address...>')
    .description('make addresses members')
    .option('--name <name>', 'the name of the member (with one address)')
    .action(onSite<[string, string[], { name?: string }]>(add));
  member
    .command('remove <list> <address...>')
    .description('end memberships; copies that wait for them are cancelled')
    .action(onSite<[string, string[]]>(remove));
  member
    .command('list <list>')
    .description('name all members, and until when their certificates hold')
    .action(onSite<[string]>(list));
  addMemberShow(member);
  member
    .command('set <list> <address>')
    .description('change a membership')
    .option('--name <name>', 'the name of the member')
    .option(
      '--cipher <cipher>',
      `always encrypt to him with this: ${sendCiphers.join(', ')}; default: as his mail program says`,
    )
    .option(
      '--key-transport <way>',
      `always send him the key this way: ${keyTransports.join(', ')}; default: as his mail program says`,
    )
    .option('--lang <tag>', "the language of his notices; default: the list's")
    .option('--suspend', 'he gets no posts until --resume')
    .option('--resume', 'he gets posts again, and what was refused before counts no more')
    .action(onSite<[string, string, SetOptions]>(set));
  addMemberImport(member);
}

async function add(
  session: Session,
  name: string,
  texts: readonly string[],
  options: { name?: string },
): Promise<void> {
  const { database, output, now, who } = session;
  const addresses = [...new Set(texts.map(addressOf))];
  if (options.name !== undefined && addresses.length > 1) {
    throw cliFault('usage-value', {
      what: '--name',
      found: options.name,
      expected: 'one address only beside it',
    });
  }
  const row = await listNamed(database.q, name);
  const { added, already } = await database.write(async (tx) => {
    const added: string[] = [];
    for (const address of addresses) {
      const count = await addMembers(tx, row.id, [{ address, name: options.name ?? '', since: now }]);
      if (count > 0) added.push(address);
    }
    const event = 'member-added';
    await record(
      tx,
      added.map((member) => ({ at: now, list: row.address, member, event, detail: `added by ${who}` })),
    );
    await touch(tx);
    return { added, already: addresses.filter((address) => !added.includes(address)) };
  });
  output.result({ list: row.address, added, already }, [
    ...added.map((address) => `${address} is now a member of ${row.address}`),
    ...already.map((address) => `${address} was a member already`),
  ]);
}

async function remove(session: Session, name: string, texts: readonly string[]): Promise<void> {
  const { database, output, now, who } = session;
  const addresses = [...new Set(texts.map(addressOf))];
  const row = await listNamed(database.q, name);
  const cancelled = await database.write(async (tx) => {
    let count = 0;
    for (const member of addresses) {
      if (!(await removeMember(tx, row.id, member))) {
        throw cliFault('member-unknown', { list: row.address, address: member });
      }
      const at = now;
      count += await cancelFor(tx, {
        listId: row.id,
        member,
        at,
        reason: 'not-a-member',
        detail: `${who} removed the member`,
      });
      await record(tx, {
        at,
        list: row.address,
        member,
        event: 'member-removed',
        detail: `removed by ${who}`,
      });
    }
    await touch(tx);
    return count;
  });
  output.result({ list: row.address, removed: addresses, cancelled }, [
    ...addresses.map((address) => `${address} is no longer a member of ${row.address}`),
    ...(cancelled > 0 ? [`${counted(cancelled, 'waiting copy', 'waiting copies')} cancelled`] : []),
  ]);
}

async function list({ database, output, now }: Session, name: string): Promise<void> {
  const row = await listNamed(database.q, name);
  const members: MemberRow[] = [];
  for await (const page of memberPages(database.q, row.id)) members.push(...page);
  const certificates = await inUseMany(
    database.q,
    members.map((one) => one.address),
    'enc',
  );
  const value = members.map(({ address, name: called, state, since, settings }) => {
    const certificate = certificates.get(address);
    const known = certificate && {
      sha256: certificate.sha256,
      notAfter: instant(certificate.notAfter),
      expired: now > certificate.notAfter,
    };
    return { address, name: called, state, since: instant(since), settings, certificate: known ?? null };
  });
  const wordsOf = (one: (typeof value)[number]) => {
    if (!one.certificate) return 'none';
    return `${one.certificate.expired ? 'EXPIRED' : 'until'} ${one.certificate.notAfter.slice(0, 10)}`;
  };
  output.result(
    value,
    table(
      ['MEMBER', 'NAME', 'STATE', 'SINCE', 'CERTIFICATE', 'SETTINGS'],
      value.map((one) => [
        one.address,
        one.name || '-',
        one.state,
        dayOf(Date.parse(one.since)),
        wordsOf(one),
        Object.entries(one.settings)
          .map(([key, set]) => `${key}=${String(set)}`)
          .join(' ') || '-',
      ]),
      `${row.address} has no members yet: \`reseal member add ${row.address} ADDRESS\` adds one.`,
    ),
  );
}

interface SetOptions {
  readonly name?: string;
  readonly cipher?: string;
  readonly keyTransport?: string;
  readonly lang?: string;
  readonly suspend?: true;
  readonly resume?: true;
}

async function set(session: Session, name: string, text: string, options: SetOptions): Promise<void> {
  const { site, database, output, now, who } = session;
  const address = addressOf(text);
  const changes = changesOf(options);
  if (Object.keys(options).length === 0) throw cliFault('usage-missing', { what: 'an option: see --help' });
  if (options.suspend && options.resume) {
    throw cliFault('usage-value', { what: '--suspend', found: '--resume', expected: 'one of the two' });
  }
  const row = await listNamed(database.q, name);
  const state: MemberRow['state'] | undefined = options.suspend
    ? 'suspended'
    : options.resume
      ? 'active'
      : undefined;
  const member = await database.write(async (tx) => {
    const before = await findMember(tx, row.id, address);
    if (!before) throw cliFault('member-unknown', { list: row.address, address });
    const settings = Object.fromEntries(
      Object.entries({ ...before.settings, ...changes }).filter(([, value]) => value !== null),
    );
    const change = {
      settings,
      ...(options.name === undefined ? {} : { name: options.name }),
      ...(state ? { state } : {}),
      // He is given another chance: what was refused until now counts no more, also if it is heard of later.
      ...(options.resume ? { bouncesFrom: now } : {}),
    };
    await setMember(tx, { listId: row.id, address }, change);
    // What he reads may be just what these copies waited for; if not, they wait on.
    const reasons = ['weak-cipher', 'unusable'];
    const expiresAt = now + site['queue.lifetime'];
    const why = 'settings of the member changed';
    await releaseHeld(tx, { member: address, listId: row.id, reasons, now, expiresAt, why });
    const words = Object.entries(options).map(([key, value]) => (value === true ? key : `${key} ${value}`));
    await record(tx, {
      at: now,
      list: row.address,
      member: address,
      event: 'member-changed',
      detail: `${who}: ${words.join(', ')}`,
    });
    await touch(tx);
    return { ...before, ...change };
  });
  const { name: called, state: stands, settings } = member;
  output.result({ list: row.address, address, name: called, state: stands, settings }, [
    `${address} (${stands}): ${
      Object.entries(settings)
        .map(([key, value]) => `${key}=${String(value)}`)
        .join(' ') || 'no settings of his own'
    }`,
  ]);
}

/** What is to be set in the row; null takes a setting away. */
function changesOf(options: SetOptions): Record<string, string | null> {
  const changes: Record<string, string | null> = {};
  const { cipher, keyTransport, lang } = options;
  if (cipher !== undefined)
    changes.cipher = cipher === 'default' ? null : oneOf('--cipher', cipher, sendCiphers);
  if (keyTransport !== undefined) {
    changes.keyTransport =
      keyTransport === 'default' ? null : oneOf('--key-transport', keyTransport, keyTransports);
  }
  if (lang !== undefined) {
    if (lang !== 'default' && !/^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$/.test(lang)) {
      throw cliFault('usage-value', {
        what: '--lang',
        found: lang,
        expected: 'a language tag such as en or pt-BR',
      });
    }
    changes.lang = lang === 'default' ? null : lang;
  }
  return changes;
}
