import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, Fault, faultsOf } from '../../base/errors.ts';
import { type Crl, crlsFromPem, parseCrl } from '../../pki/crl.ts';
import type { TrustSource } from '../../policy/trust.ts';

export const crlFilesFault = faultsOf({
  'crl-unreadable': (d: { path: string; errno: string }) =>
    `the revocation lists in ${d.path} cannot be read (${d.errno}): check trust.crlfile and trust.crlpath, and that the user that runs reseal may read them`,
});

/** One revocation list of a file; its octets are shared between threads. */
export interface FileCrl extends Crl {
  readonly path: string;
}

export interface CrlFiles {
  readonly crls: readonly FileCrl[];
  /** What could not be read, a sentence each. */
  readonly problems: readonly string[];
  /** The file or folder itself cannot be read: nothing may be believed for want of a list. */
  readonly fault: Fault | null;
}

/** What a folder of revocation lists holds besides certificates and notes; c_rehash names are `1a2b3c4d.r0`. */
const crlName = /\.(pem|crl|der)$|^[0-9a-f]{8}\.r\d+$/i;

/** Reads `trust.crlfile` and `trust.crlpath`. Of a folder only files named as lists are read, and a broken one is left out, aloud. */
export async function readCrlFiles(source: Pick<TrustSource, 'crlfile' | 'crlpath'>): Promise<CrlFiles> {
  const found = new Map<string, FileCrl>();
  const problems: string[] = [];
  const take = (path: string, text: Buffer): void => {
    const { crls, problems: ofFile } = crlsFromPem(text);
    for (const crl of crls) found.set(crl.sha256, { ...parseCrl(sharedCopy(crl.der)), path });
    for (const problem of ofFile) problems.push(`${path}: ${problem}`);
  };
  try {
    if (source.crlfile !== null)
      take(source.crlfile, await orFault(source.crlfile, readFile(source.crlfile)));
    for (const path of source.crlpath === null ? [] : await filesIn(source.crlpath)) {
      try {
        take(path, await readFile(path));
      } catch (error) {
        // A link of c_rehash that leads nowhere takes away one list only.
        problems.push(`${path}: it cannot be read (${errnoOf(error) ?? 'unknown error'})`);
      }
    }
    return { crls: [...found.values()], problems, fault: null };
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return { crls: [...found.values()], problems, fault: error };
  }
}

/** Lists that are out of date and that no other file of the same authority and scope replaces. */
export function outdatedIn(crls: readonly FileCrl[], now: number): FileCrl[] {
  const holds = ({ nextUpdate }: Crl): boolean => nextUpdate !== null && nextUpdate >= now;
  const scopeOf = (crl: Crl): string => `${crl.issuerName} ${crl.scopeDer?.toString('hex')} ${crl.isDelta}`;
  const current = new Set(crls.filter(holds).map(scopeOf));
  return crls.filter((crl) => !current.has(scopeOf(crl)));
}

/** What to do about a list that is out of date. */
export const outdatedRemedy =
  'get the newest one from the authority, put it in its place, and let `systemctl reload reseal` (SIGHUP) read it';

async function filesIn(folder: string): Promise<string[]> {
  const names = await orFault(folder, readdir(folder));
  return names
    .filter((name) => crlName.test(name))
    .sort()
    .map((name) => join(folder, name));
}

async function orFault<T>(path: string, reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (error) {
    throw crlFilesFault(
      'crl-unreadable',
      { path, errno: errnoOf(error) ?? 'unknown error' },
      { cause: error },
    );
  }
}

/** A copy in memory that threads share: a list of megabytes goes to a worker with each message, and is not copied for it. */
export function sharedCopy(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(new SharedArrayBuffer(bytes.length));
  copy.set(bytes);
  return copy;
}
