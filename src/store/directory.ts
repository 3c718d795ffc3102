import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureFolder, removeIfPresent, syncFolder, writeDurably } from '../base/files.ts';
import { storeFault } from './faults.ts';
import { escapeName, escapeOldName, unescapeName } from './file-name.ts';

// The certificate directory: one PEM file per address and use, named as Sympa names them, so that one directory can
// serve both programs. It is a mirror of the database and a door for hands.

export type CertificateUse = 'both' | 'sign' | 'enc';

export interface DirectoryEntry {
  /** The name of the file in the directory. */
  readonly file: string;
  /** The address by Sympa's naming since 6.2.63b.1 where the name can be that, else by the older one. */
  readonly address: string;
  /** Another address that the name may mean by the older naming; the certificate tells. Null mostly. */
  readonly otherAddress: string | null;
  readonly use: CertificateUse;
  /** Milliseconds since the epoch. */
  readonly mtime: number;
  readonly size: number;
}

/** Octets of a file name that every file system takes, and room for the suffix. */
const nameOctets = 250;

const suffixes: Readonly<Record<CertificateUse, string>> = { both: '', sign: '@sign', enc: '@enc' };

/**
 * Puts the certificate that an address uses into the directory, durably, in place of the one before. As in Sympa,
 * one for both uses removes the files of the single uses, one for a single use removes the file for both; files of
 * the same address under the older naming go as well. Fault: 'certificate-name'.
 */
export async function writeCertificate(
  folder: string,
  address: string,
  use: CertificateUse,
  pem: string,
): Promise<void> {
  const name = escapeName(address);
  if (!address.includes('@') || name.startsWith('.') || name.length > nameOctets) {
    throw storeFault('certificate-name', { address });
  }
  await ensureFolder(folder);
  await writeDurably(join(folder, name + suffixes[use]), pem, 0o644);
  const replaced: CertificateUse[] = use === 'both' ? ['sign', 'enc'] : ['both'];
  for (const other of replaced) await removeIfPresent(join(folder, name + suffixes[other]));
  const old = escapeOldName(address);
  // What reads as a name of the new generation may be somebody else's: `a_21@…` is `a!@…`.
  if (old !== name && unescapeName(old)?.address === address) {
    for (const other of [use, ...replaced]) await removeIfPresent(join(folder, old + suffixes[other]));
  }
  await syncFolder(folder);
}

/** Removes the files of an address, all uses, both namings. */
export async function removeCertificates(folder: string, address: string): Promise<void> {
  const old = escapeOldName(address);
  const names = unescapeName(old)?.address === address ? [escapeName(address), old] : [escapeName(address)];
  for (const name of names) {
    for (const suffix of Object.values(suffixes)) await removeIfPresent(join(folder, name + suffix));
  }
  await syncFolder(folder);
}

/**
 * What the directory holds, by name; [] if there is none. Passed over: names that begin with a dot, Sympa's
 * `*.soon_expired` markers, what is no file. `unread` is told each name that gives no address.
 */
export async function scanDirectory(
  folder: string,
  unread: (file: string) => void = () => undefined,
): Promise<DirectoryEntry[]> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const entries: DirectoryEntry[] = [];
  for (const file of names.sort()) {
    if (file.startsWith('.') || file.endsWith('.soon_expired')) continue;
    const { name, use } = splitUse(file);
    const read = unescapeName(name);
    // A file that goes while we look is not in the directory.
    const info = await stat(join(folder, file)).catch(() => null);
    if (!info?.isFile()) continue;
    if (read === null) unread(file);
    else entries.push({ file, ...read, use, mtime: Math.floor(info.mtimeMs), size: info.size });
  }
  return entries;
}

/** `alice@example.org@sign` is a use of alice@example.org; `alice@sign` is an address. */
function splitUse(file: string): { name: string; use: CertificateUse } {
  const match = /^(.+@.+)@(sign|enc)$/.exec(file);
  const [, name, use] = match ?? [];
  return name !== undefined && (use === 'sign' || use === 'enc')
    ? { name, use }
    : { name: file, use: 'both' };
}
