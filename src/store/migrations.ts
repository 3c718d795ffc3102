import type SQLite from 'better-sqlite3';
import { storeFault } from './faults.ts';

/** "resl" in the file's header: tells reseal's databases from any other program's. */
const applicationId = 0x7265736c;

/**
 * The schema's history: step n leads from schema n-1 to schema n. A step that was released is never edited, not
 * even its layout: databases that ran it do not run it again. Add another one at the end.
 */
const steps: readonly string[] = [
  /* 1 */ `
  CREATE TABLE lists (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, address TEXT NOT NULL UNIQUE, state TEXT NOT NULL, profile TEXT,
    settings TEXT NOT NULL, created_at INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE roles (
    list_id INTEGER NOT NULL REFERENCES lists ON DELETE CASCADE, address TEXT NOT NULL, role TEXT NOT NULL,
    name TEXT NOT NULL, PRIMARY KEY (list_id, address, role)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE members (
    list_id INTEGER NOT NULL REFERENCES lists ON DELETE CASCADE, address TEXT NOT NULL, name TEXT NOT NULL,
    state TEXT NOT NULL, since INTEGER NOT NULL, settings TEXT NOT NULL, suspended_by TEXT, bounces_from INTEGER,
    PRIMARY KEY (list_id, address)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX members_by_address ON members (address);

  CREATE TABLE messages (
    id TEXT PRIMARY KEY NOT NULL, origin TEXT NOT NULL, envelope TEXT NOT NULL, received_at INTEGER NOT NULL,
    size INTEGER NOT NULL, message_id TEXT, subject TEXT, from_address TEXT, body_sha256 TEXT NOT NULL,
    node TEXT NOT NULL, state TEXT NOT NULL, opens INTEGER NOT NULL, reason TEXT, detail TEXT, next_at INTEGER,
    removed_at INTEGER
  ) STRICT;
  CREATE INDEX messages_due ON messages (state, next_at);
  CREATE INDEX messages_by_header_id ON messages (message_id);
  CREATE INDEX messages_by_body ON messages (body_sha256, message_id);
  CREATE INDEX messages_in_spool ON messages (received_at) WHERE removed_at IS NULL;
  CREATE INDEX messages_removed ON messages (removed_at) WHERE removed_at IS NOT NULL;

  CREATE TABLE postings (
    id INTEGER PRIMARY KEY, message_id TEXT NOT NULL REFERENCES messages ON DELETE CASCADE,
    list_id INTEGER NOT NULL REFERENCES lists, kind TEXT NOT NULL, state TEXT NOT NULL, reason TEXT, verdict TEXT,
    prepared TEXT, cursor TEXT, decided_at INTEGER, retry_until INTEGER, retry_at INTEGER, author_told_at INTEGER,
    UNIQUE (message_id, list_id, kind)
  ) STRICT;
  CREATE INDEX postings_to_judge_again ON postings (state, retry_until) WHERE retry_until IS NOT NULL;
  CREATE INDEX postings_by_state ON postings (state);
  CREATE INDEX postings_by_list ON postings (list_id);

  CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY, posting_id INTEGER NOT NULL REFERENCES postings ON DELETE CASCADE, member TEXT NOT NULL,
    state TEXT NOT NULL, reason TEXT, detail TEXT, next_at INTEGER NOT NULL, attempts INTEGER NOT NULL, lease TEXT,
    certificate TEXT, cipher TEXT, key_transport TEXT, relay TEXT, reply TEXT, created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL, notified_at INTEGER, finished_at INTEGER, UNIQUE (posting_id, member),
    CHECK ((finished_at IS NULL) = (state IN ('pending', 'deferred', 'in-flight', 'held'))),
    CHECK ((lease IS NULL) = (state <> 'in-flight'))
  ) STRICT;
  -- The queue's indexes hold open rows only: they stay small however many finished rows retention keeps. Each copy that
  -- simply leaves is written three times, and each index that its state touches is written with it.
  CREATE INDEX deliveries_due ON deliveries (posting_id, next_at) WHERE state IN ('pending', 'deferred');
  CREATE INDEX deliveries_open ON deliveries (posting_id) WHERE finished_at IS NULL;
  CREATE INDEX deliveries_expiring ON deliveries (expires_at) WHERE state IN ('held', 'deferred');
  CREATE INDEX deliveries_in_flight ON deliveries (member) WHERE state = 'in-flight';
  CREATE INDEX deliveries_released ON deliveries (member) WHERE state = 'pending' AND reason IS NOT NULL;
  CREATE INDEX deliveries_of_members ON deliveries (member) WHERE state IN ('held', 'deferred', 'dropped');

  -- Copies that the relay refused for good, until they are too old to count. No reference to deliveries: those go sooner.
  CREATE TABLE refusals (
    delivery_id INTEGER PRIMARY KEY, posting_id INTEGER NOT NULL, list_id INTEGER NOT NULL REFERENCES lists ON DELETE CASCADE,
    address TEXT NOT NULL, at INTEGER NOT NULL, of_recipient INTEGER NOT NULL, code TEXT NOT NULL, reply TEXT NOT NULL,
    verdict TEXT
  ) STRICT;
  CREATE INDEX refusals_by_posting ON refusals (posting_id);
  CREATE INDEX refusals_to_judge ON refusals (posting_id) WHERE verdict IS NULL;
  CREATE INDEX refusals_by_member ON refusals (list_id, address, at);
  CREATE INDEX refusals_by_time ON refusals (at);

  CREATE TABLE ledger (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, message_id TEXT, posting_id INTEGER, list TEXT,
    member TEXT, event TEXT NOT NULL, reason TEXT, detail TEXT, data TEXT
  ) STRICT;
  CREATE INDEX ledger_by_message ON ledger (message_id);
  CREATE INDEX ledger_by_list ON ledger (list, at);
  CREATE INDEX ledger_by_member ON ledger (member, event) WHERE member IS NOT NULL;
  CREATE INDEX ledger_by_time ON ledger (at);
  CREATE TRIGGER ledger_is_append_only BEFORE UPDATE ON ledger BEGIN
    SELECT raise(ABORT, 'the ledger is append-only');
  END;
  -- Housekeeping moves 'ledger.keep-from' forward first and deletes what is older: the one deletion there is.
  CREATE TRIGGER ledger_keeps_its_rows BEFORE DELETE ON ledger
  WHEN old.at >= coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'ledger.keep-from'), 0) BEGIN
    SELECT raise(ABORT, 'the ledger keeps rows of this age');
  END;

  CREATE TABLE certificates (
    sha256 TEXT PRIMARY KEY NOT NULL, der BLOB NOT NULL, spki_sha256 TEXT NOT NULL, subject TEXT NOT NULL,
    issuer TEXT NOT NULL, issuer_der BLOB NOT NULL, serial_der BLOB NOT NULL, subject_key_id BLOB,
    not_before INTEGER NOT NULL, not_after INTEGER NOT NULL, addresses TEXT NOT NULL, key_type TEXT NOT NULL,
    may_sign INTEGER NOT NULL, may_encrypt INTEGER NOT NULL, public_key BLOB NOT NULL, key_form TEXT NOT NULL,
    source TEXT NOT NULL, state TEXT NOT NULL, first_seen INTEGER NOT NULL, signing_time INTEGER
  ) STRICT;
  CREATE INDEX certificates_by_key ON certificates (spki_sha256);
  CREATE INDEX certificates_by_subject ON certificates (subject);
  CREATE INDEX certificates_by_serial ON certificates (serial_der, issuer_der);
  CREATE INDEX certificates_by_key_id ON certificates (subject_key_id);
  CREATE INDEX certificates_by_end ON certificates (not_after);
  CREATE TABLE bindings (
    address TEXT NOT NULL, purpose TEXT NOT NULL, sha256 TEXT NOT NULL REFERENCES certificates, state TEXT NOT NULL,
    since INTEGER NOT NULL, source TEXT NOT NULL, signing_time INTEGER, PRIMARY KEY (address, purpose, sha256)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX bindings_by_state ON bindings (address, purpose, state);
  CREATE INDEX bindings_by_certificate ON bindings (sha256);
  CREATE INDEX bindings_waiting ON bindings (since) WHERE state = 'pending';
  CREATE INDEX bindings_pinned ON bindings (address) WHERE source = 'pinned';
  CREATE UNIQUE INDEX bindings_one_in_use ON bindings (address, purpose) WHERE state = 'in-use';
  CREATE TABLE binding_history (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, address TEXT NOT NULL, purpose TEXT NOT NULL, sha256 TEXT NOT NULL,
    state TEXT NOT NULL, source TEXT NOT NULL, by TEXT NOT NULL, message_id TEXT
  ) STRICT;
  CREATE INDEX binding_history_by_certificate ON binding_history (sha256, address);
  -- What of the certificate directory was looked at, so that a start need not read all of it again.
  CREATE TABLE directory_files (
    file TEXT PRIMARY KEY NOT NULL, mtime INTEGER NOT NULL, size INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  -- Addresses whose files are behind their bindings: written with the binding, gone when the files are durable.
  CREATE TABLE directory_changes (address TEXT PRIMARY KEY NOT NULL, version INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE tokens (
    token_sha256 TEXT NOT NULL, new_sha256 TEXT NOT NULL, old_sha256 TEXT NOT NULL, address TEXT NOT NULL,
    list_id INTEGER NOT NULL REFERENCES lists ON DELETE CASCADE, signer_spki TEXT NOT NULL,
    created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, used_at INTEGER, PRIMARY KEY (token_sha256, new_sha256)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX tokens_by_change ON tokens (address, new_sha256);
  CREATE TABLE capabilities (
    spki_sha256 TEXT PRIMARY KEY NOT NULL, signing_time INTEGER NOT NULL, der BLOB NOT NULL
  ) STRICT, WITHOUT ROWID;

  -- What was fetched, or came with mail, about revocation; each row the newest of its key.
  CREATE TABLE revocation (
    key TEXT PRIMARY KEY NOT NULL, kind TEXT NOT NULL, issuer TEXT NOT NULL, this_update INTEGER NOT NULL,
    next_update INTEGER, source TEXT NOT NULL, url TEXT, stored_at INTEGER NOT NULL, der BLOB NOT NULL
  ) STRICT;
  CREATE INDEX revocation_by_kind ON revocation (kind, stored_at);

  CREATE TABLE signatures (
    signature_sha256 TEXT NOT NULL, list_id INTEGER NOT NULL REFERENCES lists ON DELETE CASCADE,
    kind TEXT NOT NULL, seen_at INTEGER NOT NULL, message_id TEXT NOT NULL,
    PRIMARY KEY (signature_sha256, list_id, kind)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX signatures_by_time ON signatures (seen_at);
  CREATE TABLE notices (
    list_id INTEGER NOT NULL REFERENCES lists ON DELETE CASCADE, member TEXT NOT NULL, kind TEXT NOT NULL,
    last_at INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (list_id, member, kind)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX notices_by_member ON notices (member, kind);
  CREATE TABLE replies (
    address TEXT NOT NULL, kind TEXT NOT NULL, last_at INTEGER NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (address, kind)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE starts (boot TEXT PRIMARY KEY NOT NULL, at INTEGER NOT NULL, clean INTEGER NOT NULL) STRICT;
  `,
];

/** The schema this program works with. */
export const currentSchema = steps.length;

/**
 * Brings the database to `currentSchema` in one transaction: all steps it lacks, or none. A second process that
 * opens the same file waits and then finds nothing to do. Fault: 'database-newer'.
 */
export function migrate(handle: SQLite.Database, history: readonly string[] = steps): void {
  handle
    .transaction(() => {
      if (isEmpty(handle)) makeMeta(handle);
      const found = Number(handle.prepare("SELECT value FROM meta WHERE key = 'schema'").pluck().get());
      if (found > history.length) {
        throw storeFault('database-newer', { path: handle.name, found, known: history.length });
      }
      for (const step of history.slice(found)) handle.exec(step);
      handle.prepare("UPDATE meta SET value = ? WHERE key = 'schema'").run(String(history.length));
    })
    .immediate();
}

/** Throws 'database-foreign' for a file that some other program made; nothing is changed in it. */
export function refuseForeign(handle: SQLite.Database): void {
  if (isEmpty(handle) || handle.pragma('application_id', { simple: true }) === applicationId) return;
  throw storeFault('database-foreign', { path: handle.name });
}

function isEmpty(handle: SQLite.Database): boolean {
  return handle.prepare('SELECT count(*) FROM sqlite_schema').pluck().get() === 0;
}

function makeMeta(handle: SQLite.Database): void {
  handle.pragma(`application_id = ${applicationId}`);
  handle.exec(`CREATE TABLE meta (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
               INSERT INTO meta VALUES ('schema', '0'), ('changes', '0'), ('changes.keys', '0')`);
}
