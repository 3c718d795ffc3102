import type { Generated, Selectable } from 'kysely';
import type { LedgerEvent } from './ledger-events.ts';
import type { RefusalsTable } from './refusal-row.ts';

// Tables as Kysely sees them: columns are snake_case in SQL and camelCase here (CamelCasePlugin). Times are
// milliseconds since the epoch, columns that hold JSON are text, flags are 0 or 1. migrations.ts makes the tables.

/** What a JSON column may hold. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** 0 or 1: SQLite has no boolean. */
export type Flag = 0 | 1;

export type Role = 'owner' | 'moderator';
export type MessageState = 'queued' | 'done' | 'unopened' | 'quarantine' | 'parked';
export type PostingKind =
  | 'post'
  | 'sendcert'
  | 'request'
  | 'owner'
  | 'editor'
  | 'bounces'
  | 'service'
  | 'local';
export type PostingState =
  | 'new'
  | 'held'
  | 'fanning-out'
  | 'distributing'
  | 'done'
  | 'refused'
  | 'dropped'
  | 'quarantine';
export type OpenDeliveryState = 'pending' | 'deferred' | 'in-flight' | 'held';
export type FinalDeliveryState = 'delivered' | 'failed' | 'expired' | 'dropped' | 'cancelled';
export type DeliveryState = OpenDeliveryState | FinalDeliveryState;
/**
 * Who vouches: `harvested`: nobody but the mail that brought it; `approved`: an owner, for it or for one before it whose
 * holder had this one; the others are an operator's word.
 */
export type CertificateSource = 'harvested' | 'approved' | 'imported' | 'by hand' | 'pinned';
/**
 * `superseded`: another took its place, and it may take that again; `replaced`: one with another key took it, by a word or a
 * proof, and nothing but that brings it back (RULES 15); `removed`: an owner wants it used no more.
 */
export type BindingState = 'in-use' | 'pending' | 'superseded' | 'replaced' | 'removed' | 'refused';
/** What an address uses a certificate for: to sign (we verify with it) or to read (we encrypt to it). */
export type Purpose = 'sign' | 'enc';

export interface Schema {
  meta: { key: string; value: string };
  lists: ListsTable;
  roles: { listId: number; address: string; role: Role; name: string };
  members: MembersTable;
  messages: MessagesTable;
  postings: PostingsTable;
  deliveries: DeliveriesTable;
  refusals: RefusalsTable;
  ledger: LedgerTable;
  certificates: CertificatesTable;
  bindings: BindingsTable;
  bindingHistory: BindingHistoryTable;
  tokens: TokensTable;
  directoryChanges: { address: string; version: number };
  directoryFiles: { file: string; mtime: number; size: number };
  capabilities: { spkiSha256: string; signingTime: number; der: Buffer };
  revocation: RevocationTable;
  signatures: {
    signatureSha256: string;
    listId: number;
    kind: PostingKind;
    seenAt: number;
    messageId: string;
  };
  notices: { listId: number; member: string; kind: string; lastAt: number; count: number };
  replies: { address: string; kind: string; lastAt: number; count: number };
  starts: { boot: string; at: number; clean: Flag };
}

export interface ListsTable {
  id: Generated<number>;
  /** `service`: the address of reseal itself, which has a key pair and mail but no members. */
  kind: 'list' | 'service';
  address: string;
  state: 'open' | 'closed';
  profile: string | null;
  settings: string;
  createdAt: number;
}

export interface MembersTable {
  listId: number;
  address: string;
  name: string;
  state: 'active' | 'suspended';
  since: number;
  settings: string;
  suspendedBy: 'bounces' | null;
  bouncesFrom: number | null;
}

export interface MessagesTable {
  /** The spool id. */
  id: string;
  origin: 'smtp' | 'inject' | 'local';
  envelope: string;
  receivedAt: number;
  size: number;
  /** The Message-ID header field, of the outer header as the next two. */
  messageId: string | null;
  subject: string | null;
  fromAddress: string | null;
  bodySha256: string;
  node: string;
  state: MessageState;
  opens: number;
  reason: string | null;
  detail: string | null;
  nextAt: number | null;
  removedAt: number | null;
}

export interface PostingsTable {
  id: Generated<number>;
  messageId: string;
  listId: number;
  kind: PostingKind;
  state: PostingState;
  reason: string | null;
  verdict: string | null;
  prepared: string | null;
  cursor: string | null;
  decidedAt: number | null;
  /** Until when a person may have its signature judged again; null if nothing would change the decision. */
  retryUntil: number | null;
  /** Since when it waits to be judged again, though it is decided; null if it does not. */
  retryAt: number | null;
  /** When the author was told how his post was delivered (`report.author`). */
  authorToldAt: number | null;
}

export interface DeliveriesTable {
  id: Generated<number>;
  postingId: number;
  member: string;
  state: DeliveryState;
  reason: string | null;
  detail: string | null;
  nextAt: number;
  attempts: number;
  lease: string | null;
  certificate: string | null;
  cipher: string | null;
  keyTransport: string | null;
  /** The name of the relay that answered last. */
  relay: string | null;
  reply: string | null;
  createdAt: number;
  expiresAt: number;
  notifiedAt: number | null;
  finishedAt: number | null;
}

export interface LedgerTable {
  id: Generated<number>;
  at: number;
  messageId: string | null;
  postingId: number | null;
  list: string | null;
  member: string | null;
  event: LedgerEvent;
  reason: string | null;
  detail: string | null;
  data: string | null;
}

export interface CertificatesTable {
  sha256: string;
  der: Buffer;
  spkiSha256: string;
  subject: string;
  issuer: string;
  issuerDer: Buffer;
  serialDer: Buffer;
  subjectKeyId: Buffer | null;
  notBefore: number;
  notAfter: number;
  addresses: string;
  keyType: string;
  maySign: Flag;
  mayEncrypt: Flag;
  publicKey: Buffer;
  keyForm: 'pkcs1' | 'spki';
  source: CertificateSource;
  state: 'good' | 'refused';
  firstSeen: number;
  signingTime: number | null;
}

export interface BindingsTable {
  address: string;
  purpose: Purpose;
  sha256: string;
  state: BindingState;
  since: number;
  source: CertificateSource;
  signingTime: number | null;
}

/** Every change of a binding, kept as long as the binding is: the ledger forgets. */
export interface BindingHistoryTable {
  id: Generated<number>;
  at: number;
  address: string;
  purpose: Purpose;
  sha256: string;
  state: BindingState;
  source: CertificateSource;
  /** By whom, in words. */
  by: string;
  /** Spool id of the message that brought it. */
  messageId: string | null;
}

/** A secret that was mailed to somebody, encrypted: who knows it can read with the old key (RULES 15). */
export interface TokensTable {
  /** SHA-256 of the token, hexadecimal; the token itself is not kept. */
  tokenSha256: string;
  /** The certificate that waits. */
  newSha256: string;
  /** The certificate that the token was encrypted to. */
  oldSha256: string;
  address: string;
  listId: number;
  /** The key that signed the mail which brought the change: the answer must be signed by it. */
  signerSpki: string;
  createdAt: number;
  expiresAt: number;
  usedAt: number | null;
}

export interface RevocationTable {
  /** What it speaks of: of all that says the same, only the newest is kept. */
  key: string;
  kind: 'crl' | 'ocsp';
  /** Who made it, as a name for people. */
  issuer: string;
  thisUpdate: number;
  nextUpdate: number | null;
  source: 'message' | 'fetched';
  /** Where it was fetched from, and is fetched again. */
  url: string | null;
  storedAt: number;
  der: Buffer;
}

/** One delivery as stored. */
export type DeliveryRow = Readonly<Selectable<DeliveriesTable>>;
/** One binding of a certificate to an address as stored. */
export type BindingRow = Readonly<Selectable<BindingsTable>>;
/** One change of a binding as stored. */
export type BindingChange = Readonly<Selectable<BindingHistoryTable>>;
/** One CRL or OCSP answer as stored. */
export type RevocationRow = Readonly<Selectable<RevocationTable>>;
