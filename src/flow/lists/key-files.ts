import type { KeyObject } from 'node:crypto';
import { open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, faultsOf } from '../../base/errors.ts';
import { ensureFolder, readIfPresent, removeIfPresent, syncFolder, writeDurably } from '../../base/files.ts';
import type { Certificate } from '../../pki/certificate.ts';
import { type KeyUse, privateKeyPem } from '../../pki/issue.ts';
import { certificatesFromPem, toPem } from '../../pki/pem.ts';

export const keyFilesFault = faultsOf({
  'keys-not-writable': (d: { folder: string; why: string }) =>
    `the keys cannot be written to ${d.folder} (${d.why}): it must belong to reseal's user`,
});

/**
 * A list's folder: pairs of `cert.pem<suffix>` and `private_key<suffix>` as Sympa has them. With these suffixes a pair
 * signs or is encrypted to (`pairFor`); with every other it only opens.
 */
export const suffixOf: Readonly<Record<KeyUse, string>> = { both: '', sign: '.sign', encrypt: '.enc' };
const inUse: readonly string[] = Object.values(suffixOf);

/** Below it are keys whose certificate an authority still has to make: named as above, but no pairs yet. */
export const waitingFolder = (folder: string): string => join(folder, 'requested');
export const requestFile = 'request.csr';

const certificateName = (suffix: string): string => `cert.pem${suffix}`;
const keyName = (suffix: string): string => `private_key${suffix}`;
export const certificatePath = (folder: string, suffix: string): string =>
  join(folder, certificateName(suffix));
export const keyPath = (folder: string, suffix: string): string => join(folder, keyName(suffix));

/** The suffixes of the private keys in a folder, sorted; none if it is not there. */
export async function keySuffixes(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  return names
    .filter((name) => /^private_key(\.|$)/.test(name))
    .map((name) => name.slice('private_key'.length))
    .sort();
}

/** What a private key in use is for, by its suffix; a retired one for neither. */
export const useOf = (suffix: string): KeyUse | null =>
  (Object.keys(suffixOf) as KeyUse[]).find((use) => suffixOf[use] === suffix) ?? null;

/** A key pair on its way into the folder. */
export interface NewPair {
  readonly use: KeyUse;
  readonly key: KeyObject;
  /** The key's own first, then its chain. */
  readonly certificates: readonly [Certificate, ...Certificate[]];
}

/** Writes a pair's two files: the key first, as a certificate alone looks like a pair that lost its key. */
export async function writePair(
  folder: string,
  suffix: string,
  d: {
    readonly key: KeyObject;
    readonly certificates: readonly Certificate[];
    readonly passphrase: Buffer | null;
  },
): Promise<void> {
  await writeDurably(keyPath(folder, suffix), privateKeyPem(d.key, d.passphrase));
  await writeDurably(certificatePath(folder, suffix), d.certificates.map((one) => toPem(one.der)).join(''));
}

/** Whether the pair with this suffix has this certificate. */
export async function hasCertificate(
  folder: string,
  suffix: string,
  certificate: Certificate,
): Promise<boolean> {
  const pem = await readIfPresent(certificatePath(folder, suffix));
  return pem !== null && firstSha(pem) === certificate.sha256;
}

/**
 * Puts pairs into use: the new ones are written in the place of those they succeed, which stay, under another suffix, to
 * open with. Gives the suffixes of the retired. A crash in between leaves every key in at least one file.
 */
export async function replacePairs(
  folder: string,
  pairs: readonly NewPair[],
  d: { readonly passphrase: Buffer | null; readonly now: number },
): Promise<string[]> {
  return onFolder(folder, async () => {
    await ensureFolder(folder);
    const over = succeededBy(pairs.map((pair) => pair.use));
    const retired: string[] = [];
    for (const suffix of over) retired.push(...(await keepCopy(folder, suffix, d.now)));
    for (const { use, key, certificates } of pairs)
      await writePair(folder, suffixOf[use], { key, certificates, passphrase: d.passphrase });
    const written = pairs.map((pair) => suffixOf[pair.use]);
    for (const suffix of over) if (!written.includes(suffix)) await removePair(folder, suffix);
    return retired;
  });
}

/** A pair for both succeeds every pair, and so do two for each; one for signing leaves the plain one to be encrypted to. */
function succeededBy(uses: readonly KeyUse[]): readonly string[] {
  const isWhole = uses.includes('both') || (uses.includes('sign') && uses.includes('encrypt'));
  return isWhole ? inUse : uses.map((use) => suffixOf[use]);
}

/** Takes a pair out of use: from now on it only opens. Gives its new suffix, or null if there is no such pair. */
export function retirePair(folder: string, suffix: string, now: number): Promise<string | null> {
  return onFolder(folder, async () => {
    const [retired = null] = await keepCopy(folder, suffix, now);
    if (retired !== null) await removePair(folder, suffix);
    return retired;
  });
}

/**
 * Puts another certificate of the same key beside it. The one before stays with a copy of the key, as mail names the
 * certificate that it is encrypted to. Gives the suffix of that pair, null if there was none.
 */
export function renewPair(
  folder: string,
  suffix: string,
  d: { readonly certificates: readonly Certificate[]; readonly now: number },
): Promise<string | null> {
  return onFolder(folder, async () => {
    const pem = d.certificates.map((one) => toPem(one.der)).join('');
    const path = certificatePath(folder, suffix);
    const before = await readIfPresent(path);
    const isNew = before !== null && firstSha(before) !== d.certificates[0]?.sha256;
    const [retired = null] = isNew ? await keepCopy(folder, suffix, d.now) : [];
    await writeDurably(path, pem);
    return retired;
  });
}

/** Copies a pair to a suffix that says since when it only opens; nothing if it is not there, or kept already. */
async function keepCopy(folder: string, suffix: string, now: number): Promise<string[]> {
  const certificate = await readIfPresent(certificatePath(folder, suffix));
  const key = await readIfPresent(keyPath(folder, suffix));
  if (certificate === null || key === null) return [];
  const kept = await keptAs(folder, suffix, certificate);
  const retired = kept ?? (await freeSuffix(folder, suffix, now));
  if (kept === null) {
    await writeDurably(keyPath(folder, retired), key);
    await writeDurably(certificatePath(folder, retired), certificate);
  }
  key.fill(0);
  return [retired];
}

/** The retired suffix that has this very certificate already: of a rotation that was interrupted. */
async function keptAs(folder: string, suffix: string, certificate: Buffer): Promise<string | null> {
  for (const other of await keySuffixes(folder)) {
    if (other === suffix || inUse.includes(other)) continue;
    const there = await readIfPresent(certificatePath(folder, other));
    if (there && firstSha(there) === firstSha(certificate)) return other;
  }
  return null;
}

const firstSha = (pem: Buffer): string => certificatesFromPem(pem).certificates[0]?.sha256 ?? pem.toString();

async function freeSuffix(folder: string, suffix: string, now: number): Promise<string> {
  const day = new Date(now).toISOString().slice(0, 10).replaceAll('-', '');
  const taken = new Set(await readdir(folder));
  for (let n = 1; ; n++) {
    const free = `${suffix}.retired-${day}${n === 1 ? '' : `-${n}`}`;
    if (!taken.has(certificateName(free)) && !taken.has(keyName(free))) return free;
  }
}

/** A pair with a suffix that nothing in use has: it only opens. Gives the suffix. */
export function addRetired(
  folder: string,
  d: NewPair & { readonly passphrase: Buffer | null; readonly now: number },
): Promise<string> {
  return onFolder(folder, async () => {
    await ensureFolder(folder);
    const suffix = await freeSuffix(folder, '', d.now);
    await writePair(folder, suffix, d);
    return suffix;
  });
}

/** Removes a pair for good: its key is overwritten first, as far as the file system does that in place. */
export function removePair(folder: string, suffix: string): Promise<void> {
  return onFolder(folder, async () => {
    await wipe(keyPath(folder, suffix));
    await removeIfPresent(certificatePath(folder, suffix));
    await syncFolder(folder);
  });
}

async function wipe(path: string): Promise<void> {
  const handle = await open(path, 'r+').catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  });
  if (handle === null) return;
  try {
    const { size } = await handle.stat();
    await handle.write(Buffer.alloc(size), 0, size, 0);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await removeIfPresent(path);
}

/** Puts a key whose certificate came into its place; the folder of waiting keys goes when it is empty. */
export async function leaveWaiting(folder: string, suffix: string): Promise<void> {
  const waiting = waitingFolder(folder);
  await wipe(keyPath(waiting, suffix));
  if ((await keySuffixes(waiting)).length === 0) await rm(waiting, { recursive: true, force: true });
}

/** Moves a whole folder of waiting keys into place, in one step. */
export async function placeWaiting(made: string, folder: string): Promise<void> {
  await rm(waitingFolder(folder), { recursive: true, force: true });
  await rename(made, waitingFolder(folder));
  await syncFolder(folder);
}

/** Failures of the file system as a sentence about the folder. Fault 'keys-not-writable'. */
export async function onFolder<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const why = errnoOf(error);
    throw why === null ? error : keyFilesFault('keys-not-writable', { folder, why }, { cause: error });
  }
}
