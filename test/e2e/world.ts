import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { bind } from '../../src/store/bindings.ts';
import { certificateRow } from '../../src/store/certificate-row.ts';
import { upsertCertificate } from '../../src/store/certificates.ts';
import { openDatabase, type Queries } from '../../src/store/database.ts';
import { addRole, createList } from '../../src/store/lists.ts';
import { addMembers } from '../../src/store/members.ts';
import type { DeliveryRow } from '../../src/store/schema.ts';
import { type Daemon, type DaemonOptions, type LogLine, startDaemon } from '../kit/daemon.ts';
import { type CertificateOptions, type Identity, type KeyKind, makeCa, type TestCa } from '../kit/pki.ts';
import { type Sink, type SinkMessage, type SinkOptions, startSink } from '../kit/sink.ts';
import { headerOf } from '../kit/smime-mime.ts';
import { type SendResult, sendMail } from '../kit/smtp-send.ts';
import { tempFolder } from '../kit/tmp.ts';
import { traces } from './traces.ts';

/** Stands in every text that is posted encrypted, and nowhere else: it must never be on a disk or in a log. */
export const secret = 'the-owl-flies-at-midnight-9c41';

export interface ListOptions {
  readonly name?: string;
  readonly key?: KeyKind;
  /** The key of another list, with a certificate of its own. */
  readonly keyFrom?: Identity;
  /** Another list's very key and certificate. */
  readonly identity?: Identity;
  readonly settings?: Readonly<Record<string, string>>;
  readonly profile?: string;
  readonly members?: readonly Identity[];
  /** Members whose certificate is not known. */
  readonly bare?: readonly string[];
}

/** A list of the world: rows in the database and a key in its folder, made while the daemon runs. */
export interface List {
  readonly id: number;
  readonly address: string;
  readonly owner: string;
  readonly identity: Identity;
  readonly keyFolder: string;
  /** `team@…` → `team-owner@…`. */
  at(ending: string): string;
}

export interface Sent extends SendResult {
  /** The spool id, '' unless accepted. */
  readonly id: string;
}

/** A site on disk, a running daemon and a relay that catches what leaves: everything is real. */
export interface World {
  readonly root: string;
  readonly ca: TestCa;
  readonly sink: Sink;
  daemon: Daemon;
  /** Runs something on the site's database, beside the daemon. */
  onDatabase<T>(work: (q: Queries) => Promise<T>): Promise<T>;
  list(o?: ListOptions): Promise<List>;
  /** Somebody at example.org with a certificate of the CA; EC unless asked for, which is quick to make. */
  person(name: string, o?: Omit<CertificateOptions, 'name'>): Promise<Identity>;
  join(list: List, member: Identity | string, settings?: Readonly<Record<string, string>>): Promise<void>;
  /** Sends by SMTP; the envelope sender is From unless given. */
  send(data: Buffer, to: string | readonly string[], from?: string): Promise<Sent>;
  /** The decision on a message that was accepted, from the log. */
  fate(sent: Pick<Sent, 'id'>, n?: number): Promise<LogLine>;
  /** Sends and waits for the decision; fails unless the answer is 250. */
  post(data: Buffer, to: string | readonly string[], from?: string): Promise<LogLine & { id: string }>;
  /** The relay's messages to somebody, once there are n. */
  mailTo(address: string, n?: number): Promise<readonly SinkMessage[]>;
  /** The one copy of a message for one member. */
  copyFor(member: Pick<Identity, 'address'>, data: Buffer): Promise<SinkMessage>;
  deliveries(id: string): Promise<DeliveryRow[]>;
  /** Waits until there are deliveries of a message and they are as `condition` says, and gives them. */
  untilDeliveries(id: string, condition: (rows: readonly DeliveryRow[]) => boolean): Promise<DeliveryRow[]>;
  /**
   * Events and reasons of the ledger about a message: `authorized`, `delivered alice@example.org`. Without the lines
   * about single signatures and layers.
   */
  ledger(id: string): Promise<string[]>;
  /** Files and log lines that hold `secret`. */
  leaks(): string[];
  restart(options?: DaemonOptions): Promise<void>;
  stop(): Promise<void>;
}

export interface WorldOptions {
  readonly protocol?: 'smtp' | 'lmtp';
  /** The `listen:` line of etc/reseal.yaml, if not `protocol` alone. */
  readonly listen?: string;
  /** Lines of etc/reseal.yaml. */
  readonly yaml?: readonly string[];
  readonly daemon?: DaemonOptions;
  readonly sink?: SinkOptions;
  /** The `relay:` lines of etc/reseal.yaml, if not the sink alone. */
  readonly relay?: (sink: Sink) => readonly string[];
}

/** What the log says when a posting was decided. */
const decisions = [
  'authorized',
  'held',
  'refused',
  'dropped',
  'unopened',
  'malformed',
  'forwarded',
  'command',
  'certificate-received',
  'certificate-not-taken',
  'bounce',
  'quarantined',
];

/** Makes the site and starts the daemon; lists come later. */
export async function makeWorld(options: WorldOptions = {}): Promise<World> {
  const root = tempFolder();
  const ca = await makeCa();
  const sink = await startSink(options.sink ?? {});
  mkdirSync(join(root, 'etc'), { recursive: true });
  mkdirSync(join(root, 'spool'), { mode: 0o700 });
  writeFileSync(
    join(root, 'etc/reseal.yaml'),
    [
      'hostname: lists.example',
      options.listen ?? `listen: { protocol: ${options.protocol ?? 'smtp'}, port: 0 }`,
      ...(options.relay?.(sink) ?? [`relay: { port: ${sink.port}, tls: none }`]),
      `trust.cafile: ${ca.certPath}`,
      ...(options.yaml ?? []),
      '',
    ].join('\n'),
  );
  const onDatabase: World['onDatabase'] = async (work) => {
    const database = await openDatabase(join(root, 'spool/reseal.db'), { check: false });
    try {
      return await database.write(work);
    } finally {
      await database.close();
    }
  };
  const earlier: Daemon[] = [];
  let lists = 0;

  const world: World = {
    root,
    ca,
    sink,
    daemon: await startDaemon(root, options.daemon),
    onDatabase,
    async list(o = {}) {
      const name = o.name ?? `list-${++lists}`;
      const address = `${name}@lists.example`;
      const keyFolder = join(root, 'etc/lists', address);
      const { key, keyFrom } = o;
      const identity =
        o.identity ?? (await ca.issue({ name, address, ...(keyFrom ? { keyFrom } : { key: key ?? 'rsa' }) }));
      mkdirSync(keyFolder, { recursive: true, mode: 0o700 });
      writeFileSync(join(keyFolder, 'cert.pem'), identity.certPem, { mode: 0o600 });
      writeFileSync(join(keyFolder, 'private_key'), readFileSync(identity.keyPath), { mode: 0o600 });
      const owner = `${name}.owner@example.org`;
      const id = await onDatabase(async (q) => {
        const row = await createList(q, {
          address,
          profile: o.profile ?? null,
          settings: o.settings ?? {},
          createdAt: 0,
        });
        await addRole(q, { listId: row.id, address: owner, role: 'owner', name: '' });
        return row.id;
      });
      const at = (ending: string) => `${name}-${ending}@lists.example`;
      const list = { id, address, owner, identity, keyFolder, at };
      for (const member of [...(o.members ?? []), ...(o.bare ?? [])]) await world.join(list, member);
      return list;
    },
    person: (name, o = {}) => ca.issue({ name, address: `${name}@example.org`, key: 'p256', ...o }),
    join: (list, member, settings = {}) =>
      onDatabase(async (q) => {
        const address = typeof member === 'string' ? member : member.address;
        await addMembers(q, list.id, [{ address, name: '', since: 0, settings }]);
        if (typeof member !== 'string') await bindCertificate(q, member);
      }),
    async send(data, to, from = addressIn(headerOf(data, 'From') ?? '')) {
      const recipients = typeof to === 'string' ? [to] : to;
      const { daemon } = world;
      const lmtp = options.protocol === 'lmtp';
      const result = await sendMail({ port: daemon.port(), from, to: recipients, data, lmtp });
      return { ...result, id: /accepted as (\w+)/.exec(result.text)?.[1] ?? '' };
    },
    async fate({ id }, n = 1) {
      const found = () =>
        world.daemon.log.filter((line) => line.id === id && decisions.includes(line.event ?? ''));
      await world.daemon.logged(() => found().length >= n);
      const [line] = found().slice(n - 1);
      if (!line) throw new Error('no decision');
      return line;
    },
    async post(data, to, from) {
      const sent = await world.send(data, to, from);
      if (sent.code !== 250) throw new Error(`not accepted: ${sent.code} ${sent.text}`);
      return { ...(await world.fate(sent)), id: sent.id };
    },
    async mailTo(address, n = 1) {
      const found = () => sink.messages.filter((message) => message.to.includes(address));
      await sink.until(() => found().length >= n);
      return found();
    },
    async copyFor(member, data) {
      const id = headerOf(data, 'Message-ID');
      const found = () =>
        sink.messages.find(
          ({ to, bytes }) => to.includes(member.address) && headerOf(bytes, 'Message-ID') === id,
        );
      await sink.until(() => found() !== undefined);
      const copy = found();
      if (!copy) throw new Error('no copy');
      return copy;
    },
    deliveries: (id) =>
      onDatabase((q) =>
        q
          .selectFrom('deliveries as d')
          .innerJoin('postings as p', 'p.id', 'd.postingId')
          .selectAll('d')
          .where('p.messageId', '=', id)
          .orderBy('d.member')
          .execute(),
      ),
    async untilDeliveries(id, condition) {
      let rows: DeliveryRow[] = [];
      await until(async () => {
        rows = await world.deliveries(id);
        return rows.length > 0 && condition(rows);
      });
      return rows;
    },
    ledger: (id) =>
      onDatabase(async (q) => {
        const rows = await q
          .selectFrom('ledger')
          .selectAll()
          .where('messageId', '=', id)
          .where('event', 'not in', ['decryption', 'verification', 'signature', 'encryption'])
          .orderBy('id')
          .execute();
        return rows.map((row) => [row.event, row.reason, row.member].filter(Boolean).join(' '));
      }),
    leaks: () => traces(secret, root, [...earlier, world.daemon]),
    async restart(again) {
      earlier.push(world.daemon);
      world.daemon = await startDaemon(root, again ?? options.daemon);
    },
    async stop() {
      await world.daemon.stop();
      await sink.close();
    },
  };
  return world;
}

/** Makes a certificate the one that its owner signs and reads with. */
export async function bindCertificate(q: Queries, identity: Identity): Promise<void> {
  const certificate = parseCertificate(identity.certDer);
  await upsertCertificate(q, certificateRow(certificate, { source: 'imported', at: 0, signingTime: null }));
  const binding = {
    address: identity.address,
    sha256: certificate.sha256,
    state: 'in-use',
    since: 0,
    source: 'imported',
    signingTime: null,
  } as const;
  await bind(q, { ...binding, purpose: 'sign' });
  await bind(q, { ...binding, purpose: 'enc' });
}

/** Waits for what shows in rows or files only. */
export async function until(condition: () => boolean | Promise<boolean>, ms = 10_000): Promise<void> {
  const deadline = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not so within ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function addressIn(text: string): string {
  return /<([^<>]*)>$/.exec(text.trim())?.[1] ?? text.trim();
}
