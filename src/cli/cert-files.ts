import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isFault } from '../base/errors.ts';
import {
  type BlockReason,
  certificatesInFile,
  mostFileOctets,
} from '../flow/certificates/certificate-files.ts';
import { type ImportCandidate, isAuthority } from '../flow/certificates/judge-import.ts';
import { type Certificate, parseCertificate } from '../pki/certificate.ts';
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

/** A file that was given, or found in a folder that was. */
export interface ListedFile {
  readonly path: string;
  /** Its name in the folder that was given; null for a file that was given itself. */
  readonly name: string | null;
  /** What came by standard input, which can be read but once. */
  readonly bytes: Buffer | null;
}

export type FoundInFile =
  | { readonly candidate: ImportCandidate; readonly problem: null }
  | { readonly candidate: null; readonly problem: FileProblem };

/** The files that are meant by paths of files and folders (`-`: standard input), and what is wrong with a path. */
export async function listFiles(
  paths: readonly string[],
): Promise<{ readonly files: readonly ListedFile[]; readonly problems: FileProblem[] }> {
  const files: ListedFile[] = [];
  const problems: FileProblem[] = [];
  for (const path of paths) {
    const names = await filesOfFolder(path);
    const bytes = path === '-' ? await readInput(path, mostFileOctets) : null;
    if (names === null) files.push({ path, name: null, bytes });
    else if (names.length === 0)
      problems.push({
        file: path,
        reason: 'no-certificate',
        why: 'it holds no files; folders in it are not looked into',
      });
    else for (const name of names) files.push({ path: join(path, name), name, bytes });
  }
  return { files, problems };
}

/** The certificates of files one by one, and what is wrong with the others. Faults 'file-missing', 'file-unreadable'. */
export async function* certificatesOf(files: readonly ListedFile[]): AsyncGenerator<FoundInFile> {
  for (const { path, name, bytes } of files) {
    const shown = path === '-' ? 'standard input' : path;
    const at = (where: string) => (where === '' ? shown : `${shown}, ${where}`);
    let content: Buffer;
    try {
      content = bytes ?? (await readInput(path, mostFileOctets));
    } catch (error) {
      // One file of a folder that cannot be read keeps no other from being read.
      if (name === null || !isFault(error)) throw error;
      yield { candidate: null, problem: { file: shown, reason: 'file', why: error.message } };
      continue;
    }
    for (const found of certificatesInFile(content)) {
      const { certificate, where } = found;
      if (certificate === null) {
        const { reason, why } = found;
        yield { candidate: null, problem: { file: at(where), reason, why } };
      } else {
        const named = name === null ? null : namedBy(name, certificate);
        yield { candidate: { certificate, where: at(where), named }, problem: null };
      }
    }
  }
}

/** What must be known of an import before its first certificate is judged. */
export interface Survey {
  readonly certificates: number;
  /** Certificates of people, and whether all of them are the same one. */
  readonly people: number;
  readonly isOne: boolean;
  /** Authorities' certificates: any of them may stand above any other certificate. */
  readonly authorities: readonly Certificate[];
}

/** More authorities than these are nobody's chain. */
const mostAuthorities = 5_000;

/**
 * Reads all files once and keeps the authorities only: an import of 100,000 certificates is never in memory. `pin` is
 * the address that the import is pinned to.
 */
export async function survey(
  files: readonly ListedFile[],
  pin: string | null,
  terminal: Parameters<typeof progressOn>[0],
): Promise<Survey> {
  const authorities = new Map<string, Certificate>();
  const progress = progressOn(terminal, 'files', files.length);
  let [certificates, people, isOne] = [0, 0, true];
  let person: string | null = null;
  for (const [index, file] of files.entries()) {
    progress.step(index);
    for await (const { candidate } of certificatesOf([file])) {
      if (candidate === null) continue;
      const { certificate } = candidate;
      certificates++;
      if (!isAuthority(certificate, pin)) {
        people++;
        person ??= certificate.sha256;
        isOne &&= person === certificate.sha256;
      } else if (authorities.size < mostAuthorities && !authorities.has(certificate.sha256)) {
        // A copy: the certificate would keep all of its file.
        authorities.set(certificate.sha256, parseCertificate(Buffer.from(certificate.der)));
      }
    }
  }
  progress.end();
  return { certificates, people, isOne, authorities: [...authorities.values()] };
}

/** The files of a folder (not those of its folders), by name, without hidden ones and Sympa's markers; null for a file. */
async function filesOfFolder(path: string): Promise<string[] | null> {
  if (path === '-' || !(await stat(path).catch(() => null))?.isDirectory()) return null;
  const entries = await readdir(path, { withFileTypes: true });
  const names: string[] = [];
  for (const entry of entries) {
    if (isPassedOver(entry.name)) continue;
    // A pipe would be read for ever; a link that leads nowhere is told of where it is read.
    const info = entry.isSymbolicLink() ? await stat(join(path, entry.name)).catch(() => null) : entry;
    if (info === null || info.isFile()) names.push(entry.name);
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
