import { isFault, wordsOf } from '../../base/errors.ts';
import { ensureFolder, syncFolder } from '../../base/files.ts';
import { toPem } from '../../pki/pem.ts';
import { bindingsOf } from '../../store/bindings.ts';
import { findCertificate } from '../../store/certificates.ts';
import type { Queries } from '../../store/database.ts';
import { type MirrorFile, writeCertificates } from '../../store/directory.ts';
import { changesOf, type FileStamp, saveFileStamps, settleChanges } from '../../store/directory-files.ts';
import type { Purpose } from '../../store/schema.ts';

/** Writes the directory's files for one address from the bindings now in use (Sympa's names). */
export async function mirrorAddress(q: Queries, folder: string, address: string): Promise<void> {
  await mirrorAddresses(q, folder, [address]);
}

/** Files written at once: their fsyncs go together. */
const atOnce = 16;

/**
 * The same for many addresses, durable together. With `failed`, what cannot be written (a name that no file may have)
 * is told there and does not stop the others. What a disk did not take stays noted as behind, for the next time.
 */
export async function mirrorAddresses(
  q: Queries,
  folder: string,
  addresses: readonly string[],
  failed?: (words: string) => void,
): Promise<void> {
  if (addresses.length > 0) await ensureFolder(folder);
  let rest: readonly string[] = [...new Set(addresses)];
  while (rest.length > 0) {
    const changes = await changesOf(q, rest);
    const { stamps, behind } = await writeAll(q, folder, rest, failed);
    for (const address of behind) changes.delete(address);
    await syncFolder(folder);
    // A start that finds them so need not read them.
    await saveFileStamps(q, { seen: stamps, gone: [] });
    await settleChanges(q, changes);
    // What another changed while these were written is written again: the last word is the database's.
    rest = [...(await changesOf(q, rest)).keys()].filter((address) => !behind.has(address));
  }
}

async function writeAll(
  q: Queries,
  folder: string,
  addresses: readonly string[],
  failed: ((words: string) => void) | undefined,
): Promise<{ stamps: FileStamp[]; behind: ReadonlySet<string> }> {
  const stamps: FileStamp[] = [];
  const behind = new Set<string>();
  let next = 0;
  const work = async (): Promise<void> => {
    for (let address = addresses[next++]; address !== undefined; address = addresses[next++]) {
      try {
        stamps.push(...(await writeCertificates(folder, address, await mirrorOf(q, address))));
      } catch (error) {
        // An address that no file can be named by has none, whoever brought its certificate: what follows goes on.
        const isForEver = isFault(error, 'certificate-name');
        if (!failed && !isForEver) throw error;
        if (!isForEver) behind.add(address);
        failed?.(wordsOf(error));
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return { stamps, behind };
}

async function mirrorOf(q: Queries, address: string): Promise<MirrorFile[]> {
  const bindings = (await bindingsOf(q, address)).filter((one) => one.state === 'in-use');
  const fileFor = async (purpose: Purpose) => {
    const binding = bindings.find((one) => one.purpose === purpose);
    const row = binding && (await findCertificate(q, binding.sha256));
    return row?.state === 'good' ? { use: purpose, pem: toPem(row.der), since: binding?.since ?? 0 } : null;
  };
  const sign = await fileFor('sign');
  const enc = await fileFor('enc');
  if (sign && sign.pem === enc?.pem)
    return [{ use: 'both', pem: sign.pem, since: Math.max(sign.since, enc.since) }];
  return [sign, enc].filter((one) => one !== null);
}
