import {
  closeSync,
  fsync as fsyncOf,
  openSync,
  renameSync,
  writeFile as writeFileOf,
  writeFileSync,
} from 'node:fs';
import { link, readdir, readFile, stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { errnoOf } from '../base/errors.ts';
import { removeIfPresent, syncFolder } from '../base/files.ts';

const fsync = promisify(fsyncOf);
const writeFile = promisify(writeFileOf);

/** A file that is being written. */
export interface NewFile {
  /** Appends all of it. */
  write(bytes: Buffer): Promise<void>;
  /** fsync(2): what was written survives a power cut, once its name does. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** The system calls that the spool is made of; tests put themselves between to see their order and to fail them. */
export interface FileLayer {
  /** Makes a file that did not exist, mode 0600. */
  create(path: string): Promise<NewFile>;
  rename(from: string, to: string): Promise<void>;
  /** A second name for a file. */
  link(from: string, to: string): Promise<void>;
  /** A file that is gone already is no error. */
  remove(path: string): Promise<void>;
  /** fsync(2) of a folder: renames and removals in it survive a power cut. */
  syncFolder(path: string): Promise<void>;
  read(path: string): Promise<Buffer>;
  list(path: string): Promise<string[]>;
}

/** What is written at once; more may have to wait until the kernel has written down what it holds. */
const atOnceOctets = 64 * 1024;

/**
 * What changes the kernel's memory only is called directly: it takes 15 µs, and the way to the thread pool and back, two
 * threads that have to be woken, takes five times that of a processor. Whatever waits for the disk goes there.
 */
export const realFiles: FileLayer = {
  create: async (path) => {
    const file = openSync(path, 'wx', 0o600);
    return {
      // Not write(2) itself, which may write a part only.
      write: async (bytes) => {
        if (bytes.length > atOnceOctets) await writeFile(file, bytes);
        else writeFileSync(file, bytes);
      },
      sync: () => fsync(file),
      close: async () => closeSync(file),
    };
  },
  rename: async (from, to) => renameSync(from, to),
  link,
  remove: removeIfPresent,
  syncFolder,
  read: (path) => readFile(path),
  list: (path) => readdir(path),
};

/** When a file was written last, ms; 0 if it is gone: `inject` may just have moved it on. */
export async function lastWritten(file: string): Promise<number> {
  try {
    return (await stat(file)).mtimeMs;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 0;
    throw error;
  }
}
