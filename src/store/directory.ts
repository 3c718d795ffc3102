import { statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ensureFolder, readIfPresent, removeIfPresent, replaceFile } from '../base/files.ts';
import { chunksOf } from './chunks.ts';
import type { FileStamp } from './directory-files.ts';
import { storeFault } from './faults.ts';
import { escapeName, escapeOldName, unescapeName } from './file-name.ts';

// The certificate directory: one PEM file per address and use, named as Sympa names them, so that one directory can
// serve both programs. It is a mirror of the database and a door for hands.

export type CertificateUse = 'both' | 'sign' | 'enc';

export interface DirectoryEntry extends FileStamp {
  /** The address by Sympa's naming since 6.2.63b.1 where the name can be that, else by the older one. */
  readonly address: string;
  /** Another address that the name may mean by the older naming; the certificate tells. Null mostly. */
  readonly otherAddress: string | null;
  readonly use: CertificateUse;
}

/** Octets of a file name that every file system takes, and room for the suffix. */
const nameOctets = 250;

const suffixes: Readonly<Record<CertificateUse, string>> = { both: '', sign: '@sign', enc: '@enc' };

/** A certificate as it stands in the directory. */
export interface MirrorFile {
  readonly use: CertificateUse;
  readonly pem: string;
  /**
   * Since when the address uses it, ms: the file gets that time, so that one which is behind the database is known
   * from one that a person wrote.
   */
  readonly since: number;
}

/**
 * Makes the files of an address what is given: writes those that differ, removes its other uses and files under the
 * older naming. Durable after `syncFolder`, so that many can share it. Gives what the files look like now. Fault:
 * 'certificate-name'.
 */
export async function writeCertificates(
  folder: string,
  address: string,
  files: readonly MirrorFile[],
): Promise<FileStamp[]> {
  const name = escapeName(address);
  if (!address.includes('@') || name.startsWith('.') || name.length > nameOctets) {
    throw storeFault('certificate-name', { address });
  }
  if (files.length > 0) await ensureFolder(folder);
  const stamps: FileStamp[] = [];
  for (const { use, pem, since } of files) {
    const file = name + suffixes[use];
    const path = join(folder, file);
    const found = await readIfPresent(path);
    const time = found && statSync(path, { throwIfNoEntry: false })?.mtimeMs;
    const isRight = found?.toString('latin1') === pem && Math.abs((time ?? 0) - since) < 1;
    if (!isRight) await replaceFile(path, pem, { mode: 0o644, at: since });
    const info = statSync(path, { throwIfNoEntry: false });
    if (info) stamps.push(stampOf(file, info));
  }
  const kept = files.map(({ use }) => use);
  for (const path of filesOf(folder, address, kept)) await removeIfPresent(path);
  return stamps;
}

const stampOf = (file: string, info: { readonly mtimeMs: number; readonly size: number }): FileStamp => ({
  file,
  mtime: Math.floor(info.mtimeMs),
  size: info.size,
});

/** Where an address may have files by either naming, but those for the uses that are kept, under the new one. */
function filesOf(folder: string, address: string, kept: readonly CertificateUse[]): string[] {
  const name = escapeName(address);
  const old = escapeOldName(address);
  // What reads as a name of the new generation may be somebody else's: `a_21@…` is `a!@…`.
  const hasOld = old !== name && unescapeName(old)?.address === address;
  const uses = Object.entries(suffixes) as [CertificateUse, string][];
  return uses.flatMap(([use, suffix]) => [
    ...(kept.includes(use) ? [] : [join(folder, name + suffix)]),
    ...(hasOld ? [join(folder, old + suffix)] : []),
  ]);
}

/** The name of an address's file for one use, as `writeCertificates` writes it. */
export function certificateFileName(address: string, use: CertificateUse): string {
  return escapeName(address) + suffixes[use];
}

/** What a directory holds. */
export interface DirectoryScan {
  /** Names of its files for addresses. */
  readonly files: ReadonlySet<string>;
  /** Those that are not known as they are, by name. */
  readonly news: readonly DirectoryEntry[];
}

/**
 * What the directory holds; nothing if there is none. Passed over: names that begin with a dot, Sympa's `*.soon_expired`
 * markers, what is no file. What `isKnown` says it knows is only named: of 100,000 files most are as they were. `unread`
 * is told each name that gives no address.
 */
export async function scanDirectory(
  folder: string,
  d: { isKnown?: (stamp: FileStamp) => boolean; unread?: (file: string) => void } = {},
): Promise<DirectoryScan> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const files = new Set<string>();
  const news: DirectoryEntry[] = [];
  for (const some of chunksOf(names.sort())) {
    for (const file of some) {
      // Not awaited one by one: that takes ten times as long, and there may be 100,000.
      const info = statSync(join(folder, file), { throwIfNoEntry: false });
      if (!info?.isFile() || isPassedOver(file)) continue;
      const stamp = stampOf(file, info);
      const read = d.isKnown?.(stamp) === true ? 'known' : readCertificateName(file);
      if (read === null) d.unread?.(file);
      else files.add(file);
      if (read !== null && read !== 'known') news.push({ ...stamp, ...read });
    }
    await nextTurn();
  }
  return { files, news };
}

/** Hidden files and Sympa's empty markers. */
export function isPassedOver(file: string): boolean {
  return file.startsWith('.') || file.endsWith('.soon_expired');
}

/** What a file's name says by Sympa's naming: whose certificate, and for which use. Null if it is no address. */
export function readCertificateName(
  file: string,
): Pick<DirectoryEntry, 'address' | 'otherAddress' | 'use'> | null {
  const { name, use } = splitUse(file);
  const read = unescapeName(name);
  return read && { ...read, use };
}

/** `alice@example.org@sign` is a use of alice@example.org; `alice@sign` is an address. */
function splitUse(file: string): { name: string; use: CertificateUse } {
  const match = /^(.+@.+)@(sign|enc)$/.exec(file);
  const [, name, use] = match ?? [];
  return name !== undefined && (use === 'sign' || use === 'enc')
    ? { name, use }
    : { name: file, use: 'both' };
}
