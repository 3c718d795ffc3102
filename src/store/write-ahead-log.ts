import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { wordsOf } from '../base/errors.ts';
import { syncFolder } from '../base/files.ts';
import { storeFault } from './faults.ts';
import { groupCommit } from './group-commit.ts';

/**
 * Makes commits durable without stopping the event loop. SQLite commits with `synchronous = NORMAL`: the transaction
 * stands in the write-ahead log and others see it, but it need not be on the disk yet; what a power cut leaves of the log is
 * whole transactions in their order (sqlite.org/pragma.html#pragma_synchronous). The fdatasync that FULL would wait
 * for inside the call is done here, in the thread pool, once for all transactions that ended since the last one began.
 */
export class WriteAheadLog {
  readonly #path: string;
  readonly #file: Pick<FileHandle, 'datasync' | 'close'>;
  readonly #synced = groupCommit(() => this.#sync());
  readonly #lost: (why: Error) => void;
  #failed: Error | null = null;

  /** `lost` is told when the disk did not take a commit. */
  constructor(
    path: string,
    file: Pick<FileHandle, 'datasync' | 'close'>,
    lost: (why: Error) => void = () => {},
  ) {
    this.#path = path;
    this.#file = file;
    this.#lost = lost;
  }

  /** Of the database at `path`, which is open in WAL mode: SQLite keeps one log as long as somebody has it open. */
  static async open(path: string, lost: (why: Error) => void): Promise<WriteAheadLog> {
    // Closing it drops no lock: SQLite has its locks on the database and on -shm.
    const file = await open(`${path}-wal`, 'r');
    await syncFolder(dirname(path));
    return new WriteAheadLog(path, file, lost);
  }

  /**
   * Resolves when all that is committed now is on the disk. Fault 'database-not-durable', for all later ones too: what the
   * kernel could not write it may have forgotten, and an fdatasync that succeeds after one that failed proves nothing.
   */
  durable(): Promise<void> {
    return this.#synced();
  }

  /** Waits for what is going on, with one more of its own. */
  async close(): Promise<void> {
    await this.durable().catch(() => undefined);
    await this.#file.close();
  }

  async #sync(): Promise<void> {
    if (this.#failed) throw this.#failed;
    try {
      await this.#file.datasync();
    } catch (error) {
      const words = wordsOf(error);
      this.#failed = storeFault('database-not-durable', { path: this.#path, words }, { cause: error });
      this.#lost(this.#failed);
      throw this.#failed;
    }
  }
}
