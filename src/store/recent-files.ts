/** What one file may have, and all that are kept: a message on its way through the intake is read three times and more. */
const limits = { file: 64 * 1024, all: 16 * 1024 ** 2 };

/**
 * Small files that were written lately, as they are on the disk. Reading one there is four ways to the thread pool and
 * back, and more while its folder is not known; of a message of 10 kB that is most of what its intake costs.
 */
export class RecentFiles {
  /** In the order of coming. */
  readonly #files = new Map<string, Buffer>();
  #octets = 0;

  /** Keeps a copy of `bytes`, and forgets the oldest for it. A large one is not kept. */
  put(id: string, bytes: Buffer): void {
    this.forget(id);
    if (bytes.length > limits.file) return;
    this.#files.set(id, Buffer.from(bytes));
    this.#octets += bytes.length;
    for (const oldest of this.#files.keys()) {
      if (this.#octets <= limits.all) break;
      this.forget(oldest);
    }
  }

  /** A copy, or null if it has to be read. */
  get(id: string): Buffer | null {
    const bytes = this.#files.get(id);
    return bytes ? Buffer.from(bytes) : null;
  }

  forget(id: string): void {
    this.#octets -= this.#files.get(id)?.length ?? 0;
    this.#files.delete(id);
  }
}
