import { setTimeout as pause } from 'node:timers/promises';
import type SQLite from 'better-sqlite3';
import {
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely';
import { isFault } from '../base/errors.ts';
import { storeFault } from './faults.ts';
import { Mutex } from './mutex.ts';
import type { WriteAheadLog } from './write-ahead-log.ts';

/** The result code of a failed SQLite call (`SQLITE_BUSY`, `SQLITE_FULL`, …), or null for any other error. */
export function sqliteCodeOf(error: unknown): string | null {
  if (!(error instanceof Error) || !('code' in error)) return null;
  return typeof error.code === 'string' && error.code.startsWith('SQLITE_') ? error.code : null;
}

/** Trouble of the disk or of other processes: the same write may succeed later, unchanged. */
export function isPassingTrouble(error: unknown): boolean {
  if (isFault(error)) return error.code === 'database-full' || error.code === 'database-busy';
  return /^SQLITE_(FULL|BUSY|LOCKED|IOERR|READONLY|CANTOPEN)/.test(sqliteCodeOf(error) ?? '');
}

/**
 * Runs `attempt` until no other process holds the lock it needs: 5 ms, then twice that, at most 100 ms between
 * two tries. After `patienceMs` in all it throws the Fault 'database-busy'. SQLite's own busy_timeout sleeps
 * inside the call and stops every socket of the daemon meanwhile; waiting belongs here.
 */
export async function patiently<T>(
  attempt: () => T,
  d: { path: string; patienceMs: number; wait?: (ms: number) => Promise<void> },
): Promise<T> {
  const wait = d.wait ?? (async (ms: number) => void (await pause(ms)));
  let waited = 0;
  for (let delay = 5; ; delay = Math.min(2 * delay, 100)) {
    try {
      return attempt();
    } catch (error) {
      if (!sqliteCodeOf(error)?.startsWith('SQLITE_BUSY')) throw error;
      if (waited >= d.patienceMs) {
        throw storeFault(
          'database-busy',
          { path: d.path, seconds: Math.round(waited / 1000) },
          { cause: error },
        );
      }
    }
    await wait(delay);
    waited += delay;
  }
}

/** Compiled statements kept; chunked inserts make a few texts of different length each. */
const statementsKept = 300;

interface DialectOptions {
  readonly patienceMs: number;
  readonly log: WriteAheadLog;
  /** Told when the database turns out to be damaged. */
  readonly lost: (why: Error) => void;
}

class Connection implements DatabaseConnection {
  readonly #handle: SQLite.Database;
  readonly #log: WriteAheadLog;
  readonly #patienceMs: number;
  readonly #lost: (why: Error) => void;
  readonly #statements = new Map<string, SQLite.Statement<unknown[]>>();
  readonly mutex: Mutex;
  #committed: Promise<void> = Promise.resolve();
  #wroteAlone = false;

  constructor(handle: SQLite.Database, d: DialectOptions) {
    const { log, patienceMs, lost } = d;
    this.#handle = handle;
    this.#log = log;
    this.#patienceMs = patienceMs;
    this.#lost = lost;
    const path = handle.name;
    this.mutex = new Mutex(patienceMs * 4, () => storeFault('transaction-nested', { path }));
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const statement = this.#prepare(query.sql);
    const result = await this.#run<QueryResult<R>>(() => {
      if (statement.reader) return { rows: statement.all(...query.parameters) as R[] };
      const { changes, lastInsertRowid } = statement.run(...query.parameters);
      return { rows: [], numAffectedRows: BigInt(changes), insertId: BigInt(lastInsertRowid) };
    });
    // Alone it was a transaction of its own.
    if (!statement.readonly && !this.#handle.inTransaction) this.#wroteAlone = true;
    return result;
  }

  /**
   * Lets the next one have the connection; resolves when what was written outside a transaction is durable, if it has to
   * be. To wait for the disk before that would keep all others from reading.
   */
  async release(d: { durably: boolean }): Promise<void> {
    const isDue = this.#wroteAlone && d.durably;
    this.#wroteAlone = false;
    this.mutex.unlock();
    if (isDue) await this.#log.durable();
  }

  streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    // An open cursor would keep the only connection for as long as its reader likes: page with LIMIT instead.
    throw new TypeError('streaming is not offered: read in chunks');
  }

  /** BEGIN IMMEDIATE, ROLLBACK, or a COMMIT that need not be durable. */
  async control(sql: string): Promise<void> {
    await this.#run(() => void this.#prepare(sql).run());
  }

  /** COMMIT, with its fdatasync begun: `close` would else come before it. */
  async commit(): Promise<void> {
    await this.control('commit');
    this.#committed = this.#log.durable();
    this.#committed.catch(() => undefined);
  }

  /** Resolves when all that was committed is durable. */
  committed(): Promise<void> {
    return this.#committed;
  }

  /** SQLite rolls back by itself after some errors (SQLITE_FULL); a second ROLLBACK would hide the first error. */
  async rollback(): Promise<void> {
    if (this.#handle.inTransaction) await this.control('rollback');
  }

  get open(): boolean {
    return this.#handle.open;
  }

  get path(): string {
    return this.#handle.name;
  }

  close(): void {
    this.#statements.clear();
    this.#handle.close();
  }

  #prepare(sql: string): SQLite.Statement<unknown[]> {
    const known = this.#statements.get(sql);
    if (known) return known;
    const statement = this.#handle.prepare<unknown[]>(sql);
    if (this.#statements.size >= statementsKept) {
      const oldest = this.#statements.keys().next().value;
      if (oldest !== undefined) this.#statements.delete(oldest);
    }
    this.#statements.set(sql, statement);
    return statement;
  }

  async #run<T>(attempt: () => T): Promise<T> {
    try {
      return await patiently(attempt, {
        path: this.path,
        patienceMs: this.#patienceMs,
        wait: (ms) => this.#wait(ms),
      });
    } catch (error) {
      const code = sqliteCodeOf(error);
      if (code === 'SQLITE_FULL') throw storeFault('database-full', { path: this.path }, { cause: error });
      if (code?.startsWith('SQLITE_CORRUPT') || code === 'SQLITE_NOTADB') {
        const fault = storeFault('database-corrupt', { path: this.path, words: code }, { cause: error });
        this.#lost(fault);
        throw fault;
      }
      throw error;
    }
  }

  /** While another process writes, our own readers need not wait: WAL lets them read on. */
  async #wait(ms: number): Promise<void> {
    if (this.#handle.inTransaction) return void (await pause(ms));
    this.mutex.unlock();
    await pause(ms);
    await this.mutex.lock();
  }
}

/**
 * Kysely's view of one better-sqlite3 handle. It differs from Kysely's own SQLite dialect in three ways:
 * transactions begin IMMEDIATE (a deferred one that reads first fails with SQLITE_BUSY_SNAPSHOT once another
 * process has written), a lock held elsewhere is waited for without stopping the event loop, and statements stay
 * compiled. A statement outside a transaction is durable when its promise resolves; a transaction is when `committed` says
 * so. `close` waits for the open transaction; queries that come later get the Fault 'database-closed'.
 */
export function sqliteDialect(
  handle: SQLite.Database,
  d: DialectOptions,
): {
  dialect: Dialect;
  /** The same connection; nothing waits until it is durable. */
  hasty: Dialect;
  committed: () => Promise<void>;
  close: () => Promise<void>;
} {
  const connection = new Connection(handle, d);
  const close = async () => {
    await connection.mutex.lock();
    if (connection.open) await d.log.close();
    connection.close();
    connection.mutex.unlock();
  };
  const driver: Driver = {
    init: async () => undefined,
    acquireConnection: async () => {
      await connection.mutex.lock();
      if (connection.open) return connection;
      connection.mutex.unlock();
      throw storeFault('database-closed', { path: connection.path });
    },
    releaseConnection: () => connection.release({ durably: true }),
    beginTransaction: () => connection.control('begin immediate'),
    commitTransaction: () => connection.commit(),
    rollbackTransaction: () => connection.rollback(),
    destroy: close,
  };
  const dialectOf = (one: Driver): Dialect => ({
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => one,
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  });
  return {
    dialect: dialectOf(driver),
    hasty: dialectOf({
      ...driver,
      releaseConnection: () => connection.release({ durably: false }),
      commitTransaction: () => connection.control('commit'),
    }),
    committed: () => connection.committed(),
    close,
  };
}
