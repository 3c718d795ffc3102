import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isFault } from '../base/errors.ts';
import { type BlockReason, certificatesInFile, mostFileOctets } from '../flow/certificate-files.ts';
import type { ImportCandidate } from '../flow/judge-import.ts';
import type { Certificate } from '../pki/certificate.ts';
import { isPassedOver, readCertificateName } from '../store/directory.ts';
import { readInput } from './arguments.ts';
import { progressOn } from './progress.ts';

/** What could not be taken from a file. */
export interface FileProblem {
  /** Its path, and the block in it. */
  readonly file: string;
  readonly reason: BlockReason | 'file' | 'unwritten';
  readonly why: string;
}

interface ListedFile {
  readonly path: string;
  /** Its name in the folder that was given; null for a file that was given itself. */
  readonly name: string | null;
}

/** The certificates of files and folders (`-`: standard input), and what is wrong with the others. */
export async function readCertificateFiles(
  paths: readonly string[],
  terminal: Parameters<typeof progressOn>[0],
): Promise<{ readonly candidates: readonly ImportCandidate[]; readonly problems: readonly FileProblem[] }> {
  const files: ListedFile[] = [];
  for (const path of paths) {
    const names = await filesOfFolder(path);
    if (names === null) files.push({ path, name: null });
    else for (const name of names) files.push({ path: join(path, name), name });
  }
  const candidates: ImportCandidate[] = [];
  const problems: FileProblem[] = [];
  const progress = progressOn(terminal, 'files', files.length);
  for (const [index, file] of files.entries()) {
    progress.step(index);
    const shown = file.path === '-' ? 'standard input' : file.path;
    try {
      readOne(file, shown, await readBounded(file.path), candidates, problems);
    } catch (error) {
      // One file of a folder that cannot be read keeps no other from being read.
      if (file.name === null || !isFault(error)) throw error;
      problems.push({ file: shown, reason: 'file', why: error.message });
    }
  }
  progress.end();
  return { candidates, problems };
}

function readOne(
  { name }: ListedFile,
  shown: string,
  bytes: Buffer,
  candidates: ImportCandidate[],
  problems: FileProblem[],
): void {
  const found = certificatesInFile(bytes);
  const isAlone = found.certificates.length + found.problems.length === 1;
  const at = (where: string) => (where === '' || isAlone ? shown : `${shown}, ${where}`);
  for (const { certificate, where } of found.certificates)
    candidates.push({
      certificate,
      where: at(where),
      named: name === null ? null : namedBy(name, certificate),
    });
  for (const { where, reason, why } of found.problems) problems.push({ file: at(where), reason, why });
}

/** Of a file that is too large no more than shows that it is. */
async function readBounded(path: string): Promise<Buffer> {
  const size = path === '-' ? 0 : ((await stat(path).catch(() => null))?.size ?? 0);
  return size > mostFileOctets ? Buffer.alloc(mostFileOctets + 1) : readInput(path, mostFileOctets);
}

/** The files of a folder (not those of its folders), by name, without hidden ones and Sympa's markers; null for a file. */
async function filesOfFolder(path: string): Promise<string[] | null> {
  if (path === '-' || !(await stat(path).catch(() => null))?.isDirectory()) return null;
  const entries = await readdir(path, { withFileTypes: true });
  const names: string[] = [];
  for (const entry of entries) {
    if (isPassedOver(entry.name)) continue;
    // A pipe would be read for ever.
    const info = entry.isSymbolicLink() ? await stat(join(path, entry.name)).catch(() => null) : entry;
    if (info?.isFile()) names.push(entry.name);
  }
  return names.sort();
}

/** Endings of files that hold certificates: such a name is no address, though it may look like one. */
const endings = /\.(pem|crt|cer|cert|der|p7b|p7c|p7m|p7s|vcf|vcard|ldif|ldf|txt|b64)$/i;

/**
 * Whose certificate it is by the name of its file in a Sympa directory, in either naming: where both readings are
 * addresses the certificate tells which is meant. A chain's authorities have no name.
 */
function namedBy(file: string, certificate: Certificate): ImportCandidate['named'] {
  if (endings.test(file) || certificate.isCa) return null;
  const read = readCertificateName(file);
  if (read === null) return null;
  const { address, otherAddress, use } = read;
  const isOther = otherAddress !== null && certificate.addresses.includes(otherAddress);
  return { address: isOther ? otherAddress : address, use };
}
