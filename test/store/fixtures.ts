import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { Envelope } from '../../src/mime/envelope.ts';
import type { CertificateRow } from '../../src/store/certificates.ts';
import { type Database, type OpenOptions, openDatabase } from '../../src/store/database.ts';
import { insertDeliveries, type NewDelivery, pendingDelivery } from '../../src/store/deliveries.ts';
import { createList } from '../../src/store/lists.ts';
import { insertMessages, type NewMessage } from '../../src/store/messages.ts';
import { postingsOf } from '../../src/store/postings.ts';
import type { PostingKind } from '../../src/store/schema.ts';
import { tempFolder } from '../kit/tmp.ts';

/** An arbitrary instant; times in these tests are offsets from it. */
export const t0 = Date.UTC(2026, 0, 5, 12);
export const minute = 60_000;
export const day = 24 * 60 * minute;

export const databasePath = (): string => join(tempFolder(), 'reseal.db');

/** A real database file in a folder of its own, closed when the test is over. */
export async function openTest(path = databasePath(), options: OpenOptions = {}): Promise<Database> {
  const database = await openDatabase(path, options);
  onTestFinished(() => database.close().catch(() => undefined));
  return database;
}

export const envelope: Envelope = {
  from: 'alice@example.org',
  to: ['council@lists.example.org'],
  smtpUtf8: false,
  body8bit: true,
  requireTls: false,
  client: 'mail.example.org [192.0.2.1]',
  helo: 'mail.example.org',
  protocol: 'ESMTPS',
};

export const listNamed = (database: Database, name = 'council') =>
  createList(database.q, {
    address: `${name}@lists.example.org`,
    profile: null,
    settings: {},
    createdAt: t0,
  });

export function message(id: string, change: Partial<NewMessage> = {}): NewMessage {
  return {
    id,
    origin: 'smtp',
    envelope,
    receivedAt: t0,
    size: 1000,
    messageId: `<${id}@example.org>`,
    subject: 'Agenda',
    fromAddress: 'alice@example.org',
    bodySha256: sha256(id),
    node: 'node-a',
    ...change,
  };
}

/** A message with one posting for the list; gives the posting's id. */
export async function post(
  database: Database,
  listId: number,
  id: string,
  change: Partial<NewMessage> = {},
  kind: PostingKind = 'post',
): Promise<number> {
  await database.write((tx) =>
    insertMessages(tx, [{ message: message(id, change), postings: [{ listId, kind }] }]),
  );
  const posting = (await postingsOf(database.q, id))[0];
  if (!posting) throw new Error(`message ${id} has no posting`);
  return posting.id;
}

export const memberName = (n: number): string => `m${String(n).padStart(5, '0')}@example.org`;

export function copy(postingId: number, member: string, change: Partial<NewDelivery> = {}): NewDelivery {
  return { ...pendingDelivery(postingId, member, { at: t0, lifetimeMs: 5 * day }), ...change };
}

/** `count` pending copies of a posting. */
export async function copies(
  database: Database,
  postingId: number,
  count: number,
  change: Partial<NewDelivery> = {},
): Promise<void> {
  const rows = Array.from({ length: count }, (_, n) => copy(postingId, memberName(n), change));
  await database.write((tx) => insertDeliveries(tx, rows));
}

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** The row of a certificate; nothing in the store looks into its DER. */
export function certificate(name: string, change: Partial<CertificateRow> = {}): CertificateRow {
  return {
    sha256: sha256(name),
    der: Buffer.from(`der of ${name}`),
    spkiSha256: sha256(`key of ${name}`),
    subject: `CN=${name}`,
    issuer: 'CN=Test CA',
    issuerDer: Buffer.from('issuer'),
    serialDer: Buffer.from(`serial of ${name}`),
    subjectKeyId: Buffer.from(`key id of ${name}`),
    notBefore: t0 - 30 * day,
    notAfter: t0 + 365 * day,
    addresses: [`${name}@example.org`],
    keyType: 'rsa',
    maySign: true,
    mayEncrypt: true,
    publicKey: Buffer.from(`public key of ${name}`),
    keyForm: 'pkcs1',
    source: 'harvested',
    state: 'good',
    firstSeen: t0,
    signingTime: t0,
    ...change,
  };
}
