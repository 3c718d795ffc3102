import { open } from 'node:fs/promises';
import SQLite from 'better-sqlite3';
import { CamelCasePlugin, Kysely, sql } from 'kysely';
import { errnoOf, wordsOf } from '../base/errors.ts';
import { patiently, sqliteCodeOf, sqliteDialect } from './dialect.ts';
import { storeFault } from './faults.ts';
import { migrate, refuseForeign } from './migrations.ts';
import type { Schema } from './schema.ts';
import { WriteAheadLog } from './write-ahead-log.ts';

export { isPassingTrouble } from './dialect.ts';

/**
 * What every function of this folder takes first: the database, or the transaction it shall be part of. Functions
 * that get the same `tx` succeed or fail together.
 */
export type Queries = Kysely<Schema>;

export interface Database {
  /** For single statements; they wait while a transaction is open, for there is one connection. */
  readonly q: Queries;
  /**
   * As `q`, but a statement that writes is not waited for until it is on the disk: for what the death of the process must
   * not undo, and a power cut may. What is committed later is never durable without it.
   */
  readonly hasty: Queries;
  /**
   * Runs `work` in one transaction: all of it is durable when the promise resolves, or nothing happened. Inside,
   * await queries on `tx` and nothing else: whatever it waits for keeps every other writer out.
   */
  write<T>(work: (tx: Queries) => Promise<T>): Promise<T>;
  /**
   * As `write`, but what happened need not be on the disk yet: for steps of a way that ends in a `write`, or in a single
   * statement on `q`, before anybody outside learns of them.
   */
  hastily<T>(work: (tx: Queries) => Promise<T>): Promise<T>;
  /**
   * Resolves, if ever, when nothing more can be stored until the file is opened again: the disk did not take a commit
   * ('database-not-durable') or the file is damaged ('database-corrupt'). A daemon must end then, and not serve without a memory.
   */
  readonly lost: Promise<Error>;
  /** Waits for the open transaction, then closes. */
  close(): Promise<void>;
}

export interface OpenOptions {
  /** Whether the whole file is checked first (default). It reads all of it: commands that only look leave it out. */
  readonly check?: boolean;
  /** How long to wait for another process to let go of the lock: 30 s. */
  readonly patienceMs?: number;
}

/**
 * How long SQLite may sleep inside one call, and stop the event loop with it, before `patiently` waits outside.
 * Not 0: most locks of other processes are gone within a millisecond or two.
 */
const busyTimeoutMs = 10;

/**
 * Opens the database file, makes it (mode 0600) if there is none, and brings it to this program's schema.
 * Faults: 'database-newer', 'database-corrupt', 'database-foreign', 'database-unwritable', 'database-busy'.
 */
export async function openDatabase(path: string, options: OpenOptions = {}): Promise<Database> {
  const patienceMs = options.patienceMs ?? 30_000;
  await makeFile(path);
  const handle = await openHandle(path, { check: options.check ?? true, patienceMs });

  let lose: (why: Error) => void = () => {};
  const lost = new Promise<Error>((resolve) => {
    lose = resolve;
  });
  const log = await WriteAheadLog.open(path, lose);
  const { dialect, hasty, committed, close } = sqliteDialect(handle, { patienceMs, log, lost: lose });
  const plugins = [new CamelCasePlugin()];
  const q = new Kysely<Schema>({ dialect, plugins });
  // Kysely readies its driver at the first query; until then calls would not keep their order.
  await sql`select 1`.execute(q);
  const hastyQueries = new Kysely<Schema>({ dialect: hasty, plugins });
  return {
    q,
    hasty: hastyQueries,
    hastily: (work) => hastyQueries.transaction().execute(work),
    async write(work) {
      const result = await q.transaction().execute(work);
      // Not inside: others go on with the connection meanwhile, and share the fdatasync.
      await committed();
      return result;
    },
    lost,
    close,
  };
}

/** Throws 'transaction-required' unless `q` is the `tx` of a `write`: for changes that must not be seen by halves. */
export function requireTransaction(q: Queries, what: string): void {
  if (!q.isTransaction) throw storeFault('transaction-required', { what });
}

/**
 * SQLite makes its -wal and -shm files with the mode of the main file, so that one must be right from the start. A file
 * that is there is not opened: closing it would drop the locks that another connection of this process has on it.
 */
async function makeFile(path: string): Promise<void> {
  try {
    await (await open(path, 'wx', 0o600)).close();
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'EEXIST') return;
    throw storeFault('database-unwritable', { path, words: code ?? wordsOf(error) }, { cause: error });
  }
}

async function openHandle(path: string, d: { check: boolean; patienceMs: number }): Promise<SQLite.Database> {
  let handle: SQLite.Database | null = null;
  try {
    handle = new SQLite(path, { timeout: busyTimeoutMs });
    const opened = handle;
    await patiently(() => prepare(opened, d.check), { path, patienceMs: d.patienceMs });
    return opened;
  } catch (error) {
    handle?.close();
    const code = sqliteCodeOf(error);
    if (code === null) throw error;
    const words = `${code}: ${wordsOf(error)}`;
    // SHMSIZE: no room for the file beside it by which processes share the log (sqlite.org/rescode.html).
    if (code === 'SQLITE_FULL' || code === 'SQLITE_IOERR_SHMSIZE')
      throw storeFault('database-full', { path }, { cause: error });
    const unwritable = /^SQLITE_(CANTOPEN|READONLY|PERM|IOERR|AUTH)/.test(code);
    throw storeFault(
      unwritable ? 'database-unwritable' : 'database-corrupt',
      { path, words },
      { cause: error },
    );
  }
}

function prepare(handle: SQLite.Database, check: boolean): void {
  refuseForeign(handle);
  handle.pragma('journal_mode = WAL');
  // With this alone a power cut may forget what was answered with 250: `WriteAheadLog` does the rest of FULL.
  handle.pragma('synchronous = NORMAL');
  handle.pragma('foreign_keys = ON');
  // RULES 21: sorting and materialising never spill to a file.
  handle.pragma('temp_store = MEMORY');
  // SQLite's own default, not better-sqlite3's 16 MB, which the check below alone would fill: behind it is the kernel's
  // cache of the file, and 10,000 copies take no longer (npm run bench).
  handle.pragma('cache_size = -2000');
  if (check) {
    const result = handle.pragma('quick_check(1)', { simple: true });
    if (result !== 'ok') {
      throw storeFault('database-corrupt', { path: handle.name, words: wordsOf(result) });
    }
  }
  migrate(handle);
}
