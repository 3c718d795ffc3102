import { join } from 'node:path';
import { wordsOf } from '../../base/errors.ts';
import { readIfPresent } from '../../base/files.ts';
import type { Certificate } from '../../pki/certificate.ts';
import { toPem } from '../../pki/pem.ts';
import { inUseMany } from '../../store/certificates.ts';
import type { Queries } from '../../store/database.ts';
import { certificateFileName, type DirectoryEntry } from '../../store/directory.ts';
import { purposesOf } from './purposes.ts';

/** A file of the directory that was read. */
export interface Read {
  readonly entry: DirectoryEntry;
  readonly bytes: Buffer;
}

/** One file that cannot be read keeps no other from being looked at. */
export async function readAll(
  folder: string,
  entries: readonly DirectoryEntry[],
  unusable: (file: string, address: string, why: string) => void,
): Promise<Read[]> {
  const read = await Promise.all(
    entries.map(async (entry) => {
      try {
        if (entry.size > mostOctets) throw new Error(`it is larger than ${mostOctets} octets`);
        const bytes = await readIfPresent(join(folder, entry.file));
        return bytes && { entry, bytes };
      } catch (error) {
        unusable(entry.file, entry.address, wordsOf(error));
        return null;
      }
    }),
  );
  return read.filter((one) => one !== null);
}

/** A certificate with the authorities above it is far smaller. */
const mostOctets = 1_000_000;

/**
 * Whether a file holds exactly what the database has in use, under the name that we give it. Asked once for many: what
 * changes meanwhile is another look's.
 */
export async function comparison(q: Queries, read: readonly Read[]): Promise<(one: Read) => boolean> {
  const addresses = [...new Set(read.map(({ entry }) => entry.address))];
  const used = {
    sign: await inUseMany(q, addresses, 'sign'),
    enc: await inUseMany(q, addresses, 'enc'),
  };
  return ({ entry, bytes }) => {
    const { address, use, file } = entry;
    if (file !== certificateFileName(address, use)) return false;
    const text = bytes.toString('latin1').trim();
    return purposesOf(use).every((purpose) => {
      const row = used[purpose].get(address);
      return row !== undefined && toPem(row.der).trim() === text;
    });
  };
}

/** A name may be read in two ways (both generations of Sympa's escaping): the certificate tells which is meant. */
export function addressOf(
  entry: Pick<DirectoryEntry, 'address' | 'otherAddress'>,
  certificate: Certificate | undefined,
): string {
  const { address, otherAddress } = entry;
  return otherAddress !== null && certificate?.addresses.includes(otherAddress) ? otherAddress : address;
}
