import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openDatabase, type Queries } from '../../src/store/database.ts';
import { addRole, createList } from '../../src/store/lists.ts';
import { addMembers } from '../../src/store/members.ts';
import { bindCertificate } from '../e2e/world.ts';
import { type Identity, makeCa, type TestCa } from '../kit/pki.ts';

/** A list, and who is on it now. */
export interface TortureList {
  readonly id: number;
  readonly address: string;
  readonly identity: Identity;
  readonly members: string[];
}

/** A site on disk for a daemon that will be killed again and again. */
export interface TortureSite {
  readonly root: string;
  readonly ca: TestCa;
  /** Encrypted posts: members with certificates, members without, one whom the relay refuses. */
  readonly closed: TortureList;
  /** Posts in clear. */
  readonly open: TortureList;
  /** In clear, with more members than one step of the fan-out takes. */
  readonly wide: TortureList;
  /** Posts wait for a moderator. */
  readonly guarded: TortureList;
  /**
   * Members come and go, keys and settings are changed: what is posted here is held against the relay as everything is,
   * but nobody is promised a copy.
   */
  readonly side: TortureList;
  /** What cannot be opened goes to its members as it is. */
  readonly intact: TortureList;
  /** Who posts; members of `closed` and `open`. */
  readonly authors: readonly Identity[];
  /** Everybody who can read encrypted copies, by address. */
  readonly readers: ReadonlyMap<string, Identity>;
  /** Adds a member to `closed` whose certificate nobody has. */
  joinWithout(name: string): Promise<Identity>;
  /** Makes a certificate the one in use. */
  bindNow(identity: Identity): Promise<void>;
  /** Adds a member to `side`; his certificate is in use if he `isKnown`. */
  joinSide(identity: Identity, isKnown: boolean): Promise<void>;
  onDatabase<T>(work: (q: Queries) => Promise<T>): Promise<T>;
}

const wideMembers = 520;

/** Makes the site; nothing runs yet. `connections` is what the relay may get. */
export async function makeSite(
  root: string,
  d: { relayPort: number; connections: number },
): Promise<TortureSite> {
  const ca = await makeCa('Torture Root');
  mkdirSync(join(root, 'etc'), { recursive: true });
  mkdirSync(join(root, 'spool'), { mode: 0o700 });
  writeFileSync(
    join(root, 'etc/reseal.yaml'),
    [
      'hostname: lists.example',
      'listen: { protocol: smtp, port: 0 }',
      `relay: { port: ${d.relayPort}, tls: none, timeout: 5s, connections: ${d.connections} }`,
      `trust.cafile: ${ca.certPath}`,
      'shutdown.grace: 5s',
      '',
    ].join('\n'),
  );
  const onDatabase: TortureSite['onDatabase'] = async (work) => {
    const database = await openDatabase(join(root, 'spool/reseal.db'), { check: false });
    try {
      return await database.write(work);
    } finally {
      await database.close();
    }
  };
  const add = (name: string, members: readonly string[], settings: Readonly<Record<string, string>> = {}) =>
    addList(root, ca, onDatabase, { name, members, settings });
  const person = (name: string) => ca.issue({ name, address: `${name}@example.org`, key: 'p256' });
  const authors = await Promise.all(['alice', 'bob', 'carol'].map(person));
  const others = await Promise.all(['dan', 'eve', 'frank', 'grace', 'heidi', 'refused'].map(person));
  const known = [...authors, ...others];
  await onDatabase(async (q) => {
    for (const one of known) await bindCertificate(q, one);
  });
  const addresses = known.map((one) => one.address);
  const bare = ['bare1@example.org', 'bare2@example.org'];
  const numbered = (count: number, name: string) =>
    Array.from({ length: count }, (_, n) => `${name}${n}@example.net`);
  const closed = await add('closed', [...addresses, ...bare]);
  const joinList = (list: TortureList, address: string) =>
    onDatabase((q) => addMembers(q, list.id, [{ address, name: '', since: 0, settings: {} }]));
  const guarding = { 'accept.from': 'moderators', 'accept.others': 'moderate', 'send.sign': 'always' };
  const counting = {
    'bounce.threshold': '1',
    'report.author': 'yes',
    'accept.signature': 'required',
    'report.failures': 'daily',
  };
  const side = await add('side', [...addresses, ...numbered(3, 'side')], counting);
  return {
    root,
    ca,
    closed,
    open: await add('open', [...addresses, ...numbered(10, 'reader')]),
    wide: await add('wide', [authors[0]?.address ?? '', ...numbered(wideMembers, 'wide')]),
    guarded: await add('guarded', addresses, guarding),
    side,
    intact: await add('intact', addresses, { 'unopened.action': 'members', 'harvest.first': 'owner' }),
    authors,
    readers: new Map(known.map((one) => [one.address, one])),
    onDatabase,
    bindNow: (identity) => onDatabase((q) => bindCertificate(q, identity)),
    async joinSide(identity, isKnown) {
      await joinList(side, identity.address);
      if (isKnown) await onDatabase((q) => bindCertificate(q, identity));
    },
    async joinWithout(name) {
      const identity = await person(name);
      await joinList(closed, identity.address);
      closed.members.push(identity.address);
      return identity;
    },
  };
}

async function addList(
  root: string,
  ca: TestCa,
  onDatabase: TortureSite['onDatabase'],
  {
    name,
    members,
    settings,
  }: { name: string; members: readonly string[]; settings: Readonly<Record<string, string>> },
): Promise<TortureList> {
  const address = `${name}@lists.example`;
  const identity = await ca.issue({ name, address, key: 'rsa' });
  const folder = join(root, 'etc/lists', address);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(join(folder, 'cert.pem'), identity.certPem, { mode: 0o600 });
  writeFileSync(join(folder, 'private_key'), readFileSync(identity.keyPath), { mode: 0o600 });
  const id = await onDatabase(async (q) => {
    const row = await createList(q, { address, profile: null, settings, createdAt: 0 });
    await addRole(q, { listId: row.id, address: `${name}.owner@example.org`, role: 'owner', name: '' });
    await addMembers(
      q,
      row.id,
      members.map((one) => ({ address: one, name: '', since: 0, settings: {} })),
    );
    return row.id;
  });
  return { id, address, identity, members: [...members] };
}
