import { access, constants } from 'node:fs/promises';
import { join } from 'node:path';
import {
  brandReceived,
  type ClearBytes,
  type ComposedBytes,
  type ReceivedBytes,
  type SealedBytes,
} from '../base/bytes.ts';
import { errnoOf, isFault, wordsOf } from '../base/errors.ts';
import { ensureFolder, syncFolder } from '../base/files.ts';
import { type Envelope, parseEnvelopeLine } from '../mime/envelope.ts';
import { storeFault } from './faults.ts';
import { gathered } from './gathered.ts';
import { groupCommit } from './group-commit.ts';
import { RecentFiles } from './recent-files.ts';
import { type FileLayer, lastWritten, type NewFile, realFiles } from './spool-files.ts';
import { checkedId, isSpoolId } from './spool-id.ts';

export { newId } from './spool-id.ts';

/**
 * Messages as files: an envelope line, then the bytes as they came. A message is in one folder at a time; each step
 * is a rename, so a crash finds it before the step or after it, and every step may be repeated.
 */
export interface Spool {
  /**
   * Writes a message to `tmp/` and fsyncs it; gives the octets of the message without the envelope line. If the
   * stream or the disk fails nothing is left, and the stream's error is thrown, or the Fault 'spool-full'.
   */
  receive(
    id: string,
    envelopeLine: Buffer,
    chunks: AsyncIterable<Buffer> | Iterable<Buffer>,
  ): Promise<{ readonly size: number }>;
  /** tmp → incoming; durable when resolved: only now may 250 be said. Fails with nothing left in incoming. */
  commit(id: string): Promise<void>;
  /**
   * The same by another process than the daemon: until it is durable the message has its name in tmp as well, by which the
   * daemon knows that it may still be taken back.
   */
  handIn(id: string): Promise<void>;
  /** Removes a message that was not taken in, durably: from tmp or incoming. */
  discard(id: string): Promise<void>;
  /** incoming → messages, after the message's row was committed. Fault 'spool-missing' if it is in neither. */
  settle(id: string): Promise<void>;
  /** Writes mail that reseal composed straight to messages; durable when resolved. */
  place(id: string, envelopeLine: Buffer, bytes: ComposedBytes | SealedBytes | ClearBytes): Promise<void>;
  /** A message from whichever folder it is in. Faults: 'spool-missing', 'envelope-malformed'. */
  read(id: string): Promise<SpooledMessage>;
  /** → quarantine, with its reason beside it in `<id>.reason`. */
  quarantine(id: string, reason: string): Promise<void>;
  /** quarantine → messages, after a person has looked. */
  restore(id: string): Promise<void>;
  /** Removes a message from messages or quarantine, durably. */
  remove(id: string): Promise<void>;
  /**
   * Ids in incoming, oldest first: at start, what was answered with 250 but not taken in. Without those whose `commit`
   * (here) or `handIn` (anywhere) goes on: it may still fail, and a message that was taken in meanwhile would have a row
   * and no file.
   */
  incoming(): Promise<string[]>;
  /** Ids in messages, oldest first. */
  messages(): Promise<string[]>;
  /** Ids in quarantine, oldest first, each with its reason. */
  quarantined(): Promise<{ readonly id: string; readonly reason: string }[]>;
  /** At start: removes what was never answered with 250; with `before`, only files last written before then. */
  cleanTmp(before?: number): Promise<void>;
}

export interface SpooledMessage {
  readonly envelope: Envelope;
  readonly receivedAt: number;
  readonly bytes: ReceivedBytes;
}

type Folder = 'tmp' | 'incoming' | 'messages' | 'quarantine';

/** Makes the spool's folders (mode 0700) and gives its operations. Fault: 'spool-unwritable'. */
export async function openSpool(root: string, files: FileLayer = realFiles): Promise<Spool> {
  await makeFolders(root);
  const path = (folder: Folder, id: string) => join(root, folder, checkedId(id));
  const sync = {
    incoming: groupCommit(() => files.syncFolder(join(root, 'incoming'))),
    messages: groupCommit(() => files.syncFolder(join(root, 'messages'))),
    quarantine: groupCommit(() => files.syncFolder(join(root, 'quarantine'))),
  };
  const recent = new RecentFiles();
  /** Ids that `commit` has not answered yet. */
  const committing = new Set<string>();
  const reasonPath = (id: string) => `${path('quarantine', id)}.reason`;

  /** Moves if it is there, and tells. */
  const move = async (id: string, from: Folder, to: Folder): Promise<boolean> => {
    try {
      await files.rename(path(from, id), path(to, id));
      return true;
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return false;
      throw diskFault(root, error);
    }
  };
  const idsIn = async (folder: Folder) =>
    (await files.list(join(root, folder))).filter((name) => isSpoolId(name)).sort();
  const has = async (folder: Folder, id: string) => (await files.list(join(root, folder))).includes(id);

  /** After a rename into `folder`: makes it durable, or takes it back so that the caller can say that it failed. */
  const settleIn = async (folder: 'incoming' | 'messages', id: string) => {
    try {
      await sync[folder]();
    } catch (error) {
      recent.forget(id);
      await files.remove(path(folder, id)).catch(() => undefined);
      throw diskFault(root, error);
    }
  };

  const write = async (id: string, parts: AsyncIterable<Buffer>): Promise<void> => {
    const target = path('tmp', id);
    let file: NewFile | null = null;
    try {
      file = await files.create(target);
      let only: Buffer | null = null;
      let written = 0;
      for await (const part of gathered(parts)) {
        await file.write(part);
        only = written++ === 0 ? part : null;
      }
      await file.sync();
      const whole = file;
      file = null;
      await whole.close();
      if (only) recent.put(id, only);
    } catch (error) {
      await file?.close().catch(() => undefined);
      // EEXIST: the file is another message's.
      if (errnoOf(error) !== 'EEXIST') await files.remove(target).catch(() => undefined);
      throw diskFault(root, error);
    }
  };

  const writeReason = async (id: string, reason: string): Promise<void> => {
    await files.remove(reasonPath(id));
    const file = await files.create(reasonPath(id));
    try {
      await file.write(Buffer.from(`${reason.replace(/\s+/g, ' ').trim()}\n`));
      await file.sync();
    } finally {
      await file.close();
    }
  };

  return {
    receive: async (id, envelopeLine, chunks) => {
      let size = 0;
      await write(
        id,
        (async function* () {
          yield envelopeLine;
          for await (const chunk of chunks) {
            size += chunk.length;
            yield chunk;
          }
        })(),
      );
      return { size };
    },
    commit: async (id) => {
      committing.add(id);
      try {
        if (!(await move(id, 'tmp', 'incoming'))) throw storeFault('spool-missing', { id });
        await settleIn('incoming', id);
      } finally {
        committing.delete(id);
      }
    },
    handIn: async (id) => {
      try {
        await files.link(path('tmp', id), path('incoming', id));
      } catch (error) {
        throw errnoOf(error) === 'ENOENT' ? storeFault('spool-missing', { id }) : diskFault(root, error);
      }
      await settleIn('incoming', id);
      await files.remove(path('tmp', id));
    },
    discard: async (id) => {
      recent.forget(id);
      await files.remove(path('tmp', id));
      await files.remove(path('incoming', id));
      await sync.incoming();
    },
    settle: async (id) => {
      // No fsync: after a crash the file is under the one name or the other, and the row tells to repeat this.
      if (await move(id, 'incoming', 'messages')) return;
      if (!(await has('messages', id))) throw storeFault('spool-missing', { id });
    },
    place: async (id, envelopeLine, bytes) => {
      await write(
        id,
        (async function* () {
          yield envelopeLine;
          yield bytes;
        })(),
      );
      if (!(await move(id, 'tmp', 'messages'))) throw storeFault('spool-missing', { id });
      await settleIn('messages', id);
    },
    read: async (id) => {
      const known = recent.get(checkedId(id));
      if (known !== null) return messageIn(known);
      // messages twice: the file may be settled between the first look and the second.
      for (const folder of ['messages', 'incoming', 'messages', 'quarantine', 'tmp'] as const) {
        const file = await files.read(path(folder, id)).catch((error: unknown) => {
          if (errnoOf(error) === 'ENOENT') return null;
          throw error;
        });
        if (file !== null) return messageIn(file);
      }
      throw storeFault('spool-missing', { id });
    },
    quarantine: async (id, reason) => {
      recent.forget(id);
      await writeReason(id, reason).catch((error: unknown) => {
        // A full disk must not keep a poisonous message in the queue; its row has the reason too.
        if (!isFault(diskFault(root, error), 'spool-full')) throw error;
      });
      const moved = (await move(id, 'messages', 'quarantine')) || (await move(id, 'incoming', 'quarantine'));
      if (!moved && !(await has('quarantine', id))) {
        await files.remove(reasonPath(id));
        throw storeFault('spool-missing', { id });
      }
      await sync.quarantine();
    },
    restore: async (id) => {
      if (!(await move(id, 'quarantine', 'messages')) && !(await has('messages', id))) {
        throw storeFault('spool-missing', { id });
      }
      await sync.messages();
      await files.remove(reasonPath(id));
    },
    remove: async (id) => {
      recent.forget(id);
      await files.remove(path('messages', id));
      await files.remove(path('quarantine', id));
      await files.remove(reasonPath(id));
      await Promise.all([sync.messages(), sync.quarantine()]);
    },
    incoming: async () => {
      const ids = (await idsIn('incoming')).filter((id) => !committing.has(id));
      // Read after incoming: what is in neither by then is settled elsewhere.
      const unsure = new Set(ids.length > 0 ? await idsIn('tmp') : []);
      return ids.filter((id) => !unsure.has(id));
    },
    messages: () => idsIn('messages'),
    quarantined: async () => {
      const found = [];
      for (const id of await idsIn('quarantine')) {
        const text = await files.read(reasonPath(id)).catch(() => Buffer.from('no reason was written down'));
        found.push({ id, reason: text.toString('utf8').trim() });
      }
      return found;
    },
    cleanTmp: async (before) => {
      for (const id of await idsIn('tmp')) {
        const file = path('tmp', id);
        // `inject` may be writing its message while the daemon starts.
        if (before !== undefined && (await lastWritten(file)) >= before) continue;
        await files.remove(file);
      }
    },
  };
}

function messageIn(file: Buffer): SpooledMessage {
  const { envelope, receivedAt, bodyStart } = parseEnvelopeLine(file);
  return { envelope, receivedAt, bytes: brandReceived(file.subarray(bodyStart)) };
}

async function makeFolders(root: string): Promise<void> {
  try {
    for (const folder of ['tmp', 'incoming', 'messages', 'quarantine'])
      await ensureFolder(join(root, folder));
    await access(root, constants.R_OK | constants.W_OK | constants.X_OK);
    await syncFolder(root);
  } catch (error) {
    throw storeFault('spool-unwritable', { path: root, words: wordsOf(error) }, { cause: error });
  }
}

/** 'spool-full' for a full disk or quota, 'spool-unwritable' where writing is not allowed, any other error as it is. */
function diskFault(root: string, error: unknown): unknown {
  const code = errnoOf(error);
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return storeFault('spool-full', { path: root, words: code }, { cause: error });
  if (code === 'EROFS' || code === 'EACCES' || code === 'EPERM')
    return storeFault('spool-unwritable', { path: root, words: wordsOf(error) }, { cause: error });
  return error;
}
