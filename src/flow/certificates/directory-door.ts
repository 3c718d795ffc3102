import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { wordsOf } from '../../base/errors.ts';
import { removeIfPresent } from '../../base/files.ts';
import type { Log } from '../../base/log.ts';
import type { Certificate } from '../../pki/certificate.ts';
import { certificatesFromPem } from '../../pki/pem.ts';
import { bindingsOf } from '../../store/bindings.ts';
import { inUse } from '../../store/certificates.ts';
import { chunksOf } from '../../store/chunks.ts';
import type { Database } from '../../store/database.ts';
import {
  certificateFileName,
  type DirectoryEntry,
  readCertificateName,
  scanDirectory,
} from '../../store/directory.ts';
import {
  changedAddresses,
  countFileStamps,
  type FileStamp,
  fileStamps,
  noteChange,
  saveFileStamps,
} from '../../store/directory-files.ts';
import { readMeta, writeMeta } from '../../store/meta.ts';
import type { Purpose } from '../../store/schema.ts';
import { addressOf, comparison, type Read, readAll } from './directory-reading.ts';
import { mirrorAddress, mirrorAddresses } from './mirror.ts';
import { purposesServed } from './purposes.ts';
import { keepBrought, useAndRelease } from './use-certificate.ts';

export interface DoorParts {
  readonly database: Database;
  /** The certificate directory. */
  readonly folder: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly lifetimeMs: number;
  readonly wakeDelivery: () => void;
}

/** The certificate directory as a door for hands: files that people put there are taken over. */
export interface DirectoryDoor {
  /** Looks for new and changed files; never rejects. `whole`: also where the folder's own time says that nothing changed. */
  look(whole?: boolean): Promise<void>;
  /** Ends the look under way, after the file it is at. */
  stop(): Promise<void>;
  /** What is wrong with the file of an address, in words, or null. */
  problemOf(address: string): string | null;
}

/** A file whose time is that near may change once more without showing it: file systems count in ticks. */
const tickMs = 2_000;
const page = 500;
/** Where the folder's own time is kept: as long as it is that, no file came or went, and a start need not look. */
const folderTimeKey = 'directory.time';

/**
 * Opens the door. A file is looked at when its name, time or size is not as it was; what was right is remembered in the
 * database. One that holds a certificate which is not in use for its address is imported as `by hand` and takes over at
 * once: who may write here may decide. One that is older than its certificate's binding, or than the one in use, is our
 * own mirror, which a crash kept from being renewed. Afterwards the files of the address are what the database says. A
 * file that is taken away comes back: use `cert remove`.
 */
export function openDirectoryDoor(parts: DoorParts): DirectoryDoor {
  const { database, folder, log } = parts;
  const known = new Map<string, FileStamp>();
  /** How many files were noted in the database when that was read. */
  let noted: number | null = null;
  const problems = new Map<string, { readonly address: string; readonly detail: string }>();
  const nameless = new Set<string>();
  let folderTime: number | null = null;
  let savedTime: number | null = null;
  let looking: Promise<void> | null = null;
  let stopped = false;

  const unusable = (file: string, address: string, why: string): void => {
    const detail = `the file ${file} of the certificate directory is not used: ${why}`;
    if (problems.get(file)?.detail === detail) return;
    problems.set(file, { address, detail });
    log.warn('certificate-file-unusable', { file, address, detail });
  };

  const lookAt = async ({ entry, bytes }: Read): Promise<void> => {
    const { certificates, problems: words } = certificatesFromPem(bytes);
    const [certificate] = certificates;
    const address = addressOf(entry, certificate);
    const fault = certificate
      ? objection(entry, certificate)
      : `it holds no certificate (${words[0] ?? 'not PEM'})`;
    if (!certificate || fault !== null) return unusable(entry.file, address, fault ?? '');
    problems.delete(entry.file);
    await takeOver(parts, entry, address, certificates);
    // What it says is in the database now, and stands in the file of its usual name.
    await mirrorAddress(database.q, folder, address);
    if (entry.file !== certificateFileName(address, entry.use))
      await removeIfPresent(join(folder, entry.file));
  };

  /** Writes what somebody was kept from writing after he had changed a binding. */
  const catchUp = async (): Promise<void> => {
    let unwritten = 0;
    const failed = (detail: string) => {
      unwritten++;
      log.warn('certificate-file-unwritten', { detail });
    };
    // What a full disk does not take is found again each time, and waits for the next look.
    for (let count = page; count === page && unwritten < page; ) {
      const addresses = await changedAddresses(database.q, page);
      count = addresses.length;
      await mirrorAddresses(database.q, folder, addresses, failed);
    }
  };

  /** Takes over what is noted of files in the database. */
  const learn = async (): Promise<void> => {
    const all = await fileStamps(database.q);
    noted = all.length;
    for (const one of all) known.set(one.file, one);
  };

  const lookOnce = async (whole: boolean): Promise<void> => {
    const found = await stat(folder).catch(() => null);
    if (!found) return whole ? catchUp() : undefined;
    folderTime ??= Number((await readMeta(database.q, folderTimeKey)) ?? -1);
    if (!whole && found.mtimeMs === folderTime) return;
    folderTime = found.mtimeMs;
    // Commands write files too, and note them: what they wrote may be gone before it was ever looked at.
    if ((whole || noted === null) && noted !== (await countFileStamps(database.q))) await learn();
    const sure = parts.clock.now() - tickMs;
    const unread = (file: string) => {
      if (nameless.has(file)) return;
      nameless.add(file);
      log.warn('certificate-file-unusable', { file, detail: 'its name is not an address' });
    };
    const isKnown = (one: FileStamp) => isAsBefore(known.get(one.file), one);
    const scan = await scanDirectory(folder, { isKnown, unread });
    const { files } = scan;
    const gone = [...known.keys()].filter((file) => !files.has(file));
    let { news } = scan;
    if (news.length > page) {
      // A command may have written them all.
      await learn();
      news = news.filter((entry) => !isKnown(entry));
    }
    for (const chunk of chunksOf(news)) {
      const right: DirectoryEntry[] = [];
      const read = await readAll(folder, chunk, unusable);
      const isAsStored = await comparison(database.q, read);
      for (const one of read) {
        if (stopped) return;
        if (isAsStored(one)) {
          problems.delete(one.entry.file);
          right.push(one.entry);
        } else
          await lookAt(one).catch((error) => unusable(one.entry.file, one.entry.address, wordsOf(error)));
      }
      // What is to be looked at again is no file that looks like this.
      for (const { entry } of read) known.set(entry.file, { file: entry.file, mtime: -1, size: -1 });
      const seen = right
        .filter((entry) => entry.mtime < sure)
        .map(({ file, mtime, size }) => ({ file, mtime, size }));
      for (const stamp of seen) known.set(stamp.file, stamp);
      if (seen.length > 0) await database.write((tx) => saveFileStamps(tx, { seen, gone: [] }));
    }
    for (const file of [...problems.keys()]) if (!files.has(file)) problems.delete(file);
    if (whole) await catchUp();
    if (gone.length > 0) await putBack(gone);
    if (found.mtimeMs >= sure || news.length > 0 || savedTime === found.mtimeMs) return;
    savedTime = found.mtimeMs;
    await writeMeta(database.q, folderTimeKey, String(savedTime));
  };

  const putBack = async (gone: readonly string[]): Promise<void> => {
    for (const file of gone) known.delete(file);
    const left = gone.flatMap((file) => readCertificateName(file)?.address ?? []);
    await database.write(async (tx) => {
      await saveFileStamps(tx, { seen: [], gone });
      // Forgotten they are missed no more: who dies now must know that they are to be written.
      for (const address of left) await noteChange(tx, address);
    });
    await mirrorAddresses(database.q, folder, left);
  };

  return {
    look(whole = false) {
      looking ??= lookOnce(whole)
        .catch((error: unknown) => log.error('directory-failed', { detail: wordsOf(error) }))
        .finally(() => {
          looking = null;
        });
      return looking;
    },
    async stop() {
      stopped = true;
      await looking;
    },
    problemOf: (address) => [...problems.values()].find((one) => one.address === address)?.detail ?? null,
  };
}

const isAsBefore = (known: FileStamp | undefined, now: FileStamp): boolean =>
  known !== undefined && known.mtime === now.mtime && known.size === now.size;

function objection(entry: DirectoryEntry, certificate: Certificate): string | null {
  return purposesServed(certificate, entry.use).length > 0
    ? null
    : 'its key usage does not allow what the name of the file says';
}

async function takeOver(
  parts: DoorParts,
  entry: DirectoryEntry,
  address: string,
  [certificate, ...others]: readonly Certificate[],
): Promise<void> {
  if (!certificate) return;
  const now = parts.clock.now();
  const { sha256 } = certificate;
  const changed: Purpose[] = [];
  const bindings = await bindingsOf(parts.database.q, address);
  const isBehind = (purpose: Purpose): boolean => {
    const used = bindings.find((one) => one.purpose === purpose && one.state === 'in-use');
    const own = bindings.find((one) => one.purpose === purpose && one.sha256 === sha256);
    return own !== undefined && entry.mtime <= Math.max(own.since, used?.since ?? 0);
  };
  for (const purpose of purposesServed(certificate, entry.use)) {
    const current = await inUse(parts.database.q, address, purpose);
    if (current?.sha256 !== sha256 && !isBehind(purpose)) changed.push(purpose);
  }
  if (changed.length === 0) return;
  const by = `taken from the file ${entry.file} of the certificate directory`;
  const source = 'by hand';
  const { lifetimeMs } = parts;
  const released = await parts.database.write(async (tx) => {
    // Who may write here may also take back what `cert refuse` said of it. Its path needs the authorities below it in the file.
    const chain = others.filter((other) => other.isCa);
    await keepBrought(tx, { certificate, chain, source, now });
    return useAndRelease(tx, { address, purposes: changed, certificate, source, now, by, lifetimeMs });
  });
  parts.log.event('imported', { address, file: entry.file, released });
  if (released > 0) parts.wakeDelivery();
}
