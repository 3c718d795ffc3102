import { link, open, readdir, readFile, rename, stat } from 'node:fs/promises';
import { errnoOf } from '../base/errors.ts';
import { removeIfPresent, syncFolder } from '../base/files.ts';

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

export const realFiles: FileLayer = {
  create: async (path) => {
    const handle = await open(path, 'wx', 0o600);
    return {
      // FileHandle.write may write a part only; writeFile goes on from the current position until all is out.
      write: (bytes) => handle.writeFile(bytes),
      sync: () => handle.sync(),
      close: () => handle.close(),
    };
  },
  rename,
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
