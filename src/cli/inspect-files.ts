import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, faultsOf, wordsOf } from '../base/errors.ts';
import type { Certificate } from '../pki/certificate.ts';
import { crlsFromPem } from '../pki/crl.ts';
import { certificatesFromPem } from '../pki/pem.ts';

/** What `inspect` and `cert verify` refuse before they judge: all of it wrong usage, exit code 2. */
export const inspectFault = faultsOf({
  'usage-file': (d: { path: string; why: string }) => `${d.path} cannot be read: ${d.why}`,
  'usage-file-size': (d: { path: string; most: number }) =>
    `${d.path} is larger than ${d.most} octets, which is the most that is read of such a file`,
  'usage-no-certificate': (d: { path: string; why: string }) =>
    `${d.path} is no file of certificates: ${d.why}`,
  'usage-no-crl': (d: { path: string; why: string }) => `${d.path} is no file of revocation lists: ${d.why}`,
  'usage-folder': (d: { path: string; most: number }) =>
    `${d.path} holds more than ${d.most} files, which is the most that is read of a folder of certificates`,
  'usage-key-pairs': (d: { keys: number; certificates: number }) =>
    `${d.keys} --key and ${d.certificates} --cert do not make pairs: give each --key FILE its --cert FILE, in the same order (the same file twice if it holds both)`,
  'usage-key': (d: { why: string }) => d.why,
  'usage-instant': (d: { found: string }) =>
    `--at cannot be "${d.found.slice(0, 100)}": expected a day or an instant such as 2026-01-31 or 2026-01-31T12:00:00Z`,
});

/** What these commands read at most (RULES 8). Octets, but for `files`. */
export const inspectLimits = {
  /** A message, as it is in its file. */
  message: 150 * 1024 * 1024,
  /** A file of certificates, revocation lists or a key. */
  file: 50 * 1024 * 1024,
  /** Files in the folder of `--certs`. */
  files: 50_000,
} as const;

const errnoWords: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  ENOTDIR: 'there is no such file',
  EISDIR: 'it is a folder',
  EACCES: 'the permission is missing',
  ELOOP: 'its links lead in a circle',
};

const whyOf = (error: unknown): string => {
  const errno = errnoOf(error);
  return errno === null ? wordsOf(error) : (errnoWords[errno] ?? errno);
};

/** A file's content, or standard input for `-`, up to `most` octets. Faults 'usage-file', 'usage-file-size'. */
export async function readFileOf(path: string, most: number = inspectLimits.file): Promise<Buffer> {
  const input = path === '-' ? process.stdin : createReadStream(path);
  const pieces: Buffer[] = [];
  let size = 0;
  try {
    for await (const piece of input as AsyncIterable<Buffer>) {
      size += piece.length;
      if (size > most) break;
      pieces.push(piece);
    }
  } catch (error) {
    throw inspectFault('usage-file', { path, why: whyOf(error) });
  }
  if (size > most)
    throw inspectFault('usage-file-size', { path: path === '-' ? 'standard input' : path, most });
  return Buffer.concat(pieces);
}

/**
 * A message from its file in its form on the wire. Files on Unix often have bare LF line ends, which no signature is
 * over (RFC 8551 3.1.1): where the first line ends so, all get their CR back; else every octet stays as it is.
 * A first line `From …` of a mailbox file goes. Faults of `readFileOf`.
 */
export async function readMessage(path: string): Promise<Buffer> {
  const message = withoutMailboxLine(await readFileOf(path, inspectLimits.message));
  const first = message.indexOf(0x0a);
  return first < 0 || message[first - 1] === 0x0d ? message : withCrlf(message);
}

function withoutMailboxLine(message: Buffer): Buffer {
  if (message.toString('latin1', 0, 5) !== 'From ') return message;
  const end = message.indexOf(0x0a);
  return end < 0 ? message : message.subarray(end + 1);
}

function withCrlf(message: Buffer): Buffer {
  let bare = 0;
  for (let at = message.indexOf(0x0a); at >= 0; at = message.indexOf(0x0a, at + 1))
    if (message[at - 1] !== 0x0d) bare++;
  const out = Buffer.allocUnsafeSlow(message.length + bare);
  let from = 0;
  let to = 0;
  for (let at = message.indexOf(0x0a); at >= 0; at = message.indexOf(0x0a, at + 1)) {
    if (message[at - 1] === 0x0d) continue;
    to += message.copy(out, to, from, at);
    out[to++] = 0x0d;
    from = at;
  }
  message.copy(out, to, from);
  return out;
}

/** Certificates of files, and a sentence for each that could not be read. */
export interface ReadCertificates {
  readonly certificates: readonly Certificate[];
  readonly problems: readonly string[];
}

/**
 * The certificates of PEM bundles or DER files, in order. A file without one that can be read is refused: who names it
 * counts on it. Faults of `readFileOf`, 'usage-no-certificate'.
 */
export async function readCertificates(paths: readonly string[]): Promise<ReadCertificates> {
  const certificates: Certificate[] = [];
  const problems: string[] = [];
  for (const path of paths) {
    const found = certificatesFromPem(await readFileOf(path));
    if (found.certificates.length === 0)
      throw inspectFault('usage-no-certificate', { path, why: found.problems.join('; ') });
    certificates.push(...found.certificates);
    problems.push(...found.problems.map((problem) => `${path}: ${problem}`));
  }
  return { certificates, problems };
}

/**
 * The certificates of a folder: PEM or DER files of any name, as in a Sympa directory; what is something else is left
 * out and counted in `problems`. Hidden files and folders inside are not read. Faults of `readFileOf`, 'usage-folder'.
 */
export async function readCertificateFolder(folder: string): Promise<ReadCertificates> {
  let names: string[];
  try {
    names = (await readdir(folder)).filter((name) => !name.startsWith('.')).sort();
  } catch (error) {
    const why = errnoOf(error) === 'ENOTDIR' ? 'it is no folder' : whyOf(error);
    throw inspectFault('usage-file', { path: folder, why });
  }
  if (names.length > inspectLimits.files)
    throw inspectFault('usage-folder', { path: folder, most: inspectLimits.files });
  const certificates = new Map<string, Certificate>();
  let others = 0;
  for (const name of names) {
    const path = join(folder, name);
    if (!(await stat(path).catch(() => null))?.isFile()) continue;
    const found = certificatesFromPem(await readFileOf(path));
    for (const certificate of found.certificates) certificates.set(certificate.sha256, certificate);
    if (found.certificates.length === 0) others++;
  }
  const problems =
    others > 0 ? [`${others} of the files in ${folder} hold no certificate and are left out`] : [];
  return { certificates: [...certificates.values()], problems };
}

/** The revocation lists of PEM or DER files, as DER. Faults of `readFileOf`, 'usage-no-crl'. */
export async function readCrls(
  paths: readonly string[],
): Promise<{ crls: readonly Uint8Array[]; problems: readonly string[] }> {
  const crls: Uint8Array[] = [];
  const problems: string[] = [];
  for (const path of paths) {
    const found = crlsFromPem(await readFileOf(path));
    if (found.crls.length === 0) throw inspectFault('usage-no-crl', { path, why: found.problems.join('; ') });
    crls.push(...found.crls.map((crl) => crl.der));
    problems.push(...found.problems.map((problem) => `${path}: ${problem}`));
  }
  return { crls, problems };
}

const written = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d(?:\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?)?$/i;

/** An instant as a person writes it (ISO 8601), in ms; without a zone it is UTC, a day is its begin. Fault 'usage-instant'. */
export function instantOf(text: string): number {
  const [, day, minutes = '00:00', seconds = ':00', zone = 'Z'] = written.exec(text.trim()) ?? [];
  const isDay = day !== undefined && isOnCalendar(day);
  const ms = isDay ? Date.parse(`${day}T${minutes}${seconds}${zone.toUpperCase()}`) : Number.NaN;
  if (Number.isNaN(ms)) throw inspectFault('usage-instant', { found: text });
  return ms;
}

/** V8 takes 2026-02-30 for 2 March. */
function isOnCalendar(day: string): boolean {
  const ms = Date.parse(`${day}T00:00:00Z`);
  return !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(day);
}
