import type { Command } from 'commander';
import { dayOf } from '../base/day.ts';
import { passphraseOf, readSecret } from '../config/secrets.ts';
import { certificatesInFile } from '../flow/certificates/certificate-files.ts';
import { type Imported, importKeys } from '../flow/lists/key-import.ts';
import { asksForPassphrase, type KeyMaterial, readKeyMaterial } from '../pki/key-material.ts';
import { record } from '../store/ledger.ts';
import { touch } from '../store/meta.ts';
import { readInput } from './arguments.ts';
import { cliFault } from './faults.ts';
import { askPassphrase } from './inspect-passphrase.ts';
import { toldWords } from './key-change.ts';
import { announceFrom, pairsOf } from './key-pair.ts';
import { instant, shortSha } from './output.ts';
import { onSite, type Session } from './site-command.ts';

interface ImportOptions {
  readonly cert?: string;
  readonly chain?: string;
  readonly passphraseFile?: string;
  readonly retired?: true;
  readonly announce: boolean;
}

/** `key import`: certificates of an authority, or key pairs from elsewhere. */
export function addKeyImport(key: Command): void {
  key
    .command('import <address> <file>')
    .description(
      'take a certificate that an authority made of a request, or a key pair; - reads standard input',
    )
    .option('--cert <file>', "the key's certificate, if it is in a file of its own")
    .option('--chain <file>', 'certificates of the authorities, to be sent along with signatures')
    .option('--passphrase-file <file>', 'the passphrase of the file; else it is asked on the terminal')
    .option('--retired', 'take the pairs only to open mail with, whatever their certificates say')
    .option('--no-announce', 'do not tell the members of a new key')
    .addHelpText(
      'after',
      `
The file may be PEM (a certificate with its chain, a key, or both), PKCS#12 (.p12, .pfx), PKCS#7 (.p7b) or DER:
  reseal key import team@lists.example certificate.pem
  reseal key import team@lists.example team.p12`,
    )
    .action(onSite<[string, string, ImportOptions]>(importFile));
}

async function importFile(
  session: Session,
  name: string,
  file: string,
  options: ImportOptions,
): Promise<void> {
  const { site, folderOf, output, now } = session;
  const before = await pairsOf(session, name);
  const { address } = before;
  const material = await readMaterial(file, options);
  const more = [options.cert, options.chain].filter((path) => path !== undefined);
  const others = await Promise.all(more.map(async (path) => materialIn(await readFileOf(path), null, path)));
  const passphrase = await passphraseOf(site, address);
  const imported = await importKeys({
    folder: folderOf(address),
    address,
    passphrase,
    material: joined([material, ...others]),
    retired: options.retired === true,
    now,
  });
  if (imported.isChange) await recordImport(session, address, imported);
  for (const warning of imported.warnings) output.note(`warning: ${warning}`);
  // The first pair of a list is no news to anybody.
  const isNews = imported.isNewKey && (before.signing !== null || before.encryption !== null);
  const announced = isNews
    ? await announceFrom(session, before, {
        detail: 'imported key pair put in place of the one before',
        compromised: false,
        announce: options.announce,
      })
    : null;
  output.result({ list: address, ...resultOf(imported), told: announced?.told ?? 0 }, [
    ...wordsOf(address, imported),
    ...(announced ? [toldWords(announced.told)] : []),
  ]);
}

/** What the file holds, each certificate once. */
function joined(all: readonly KeyMaterial[]): KeyMaterial {
  const certificates = new Map(
    all.flatMap((one) => one.certificates.map((own) => [own.sha256, own] as const)),
  );
  return {
    keys: all.flatMap((one) => one.keys),
    certificates: [...certificates.values()],
    problems: all.flatMap((one) => one.problems),
  };
}

/** The file's content; its passphrase is asked for where it is needed and not given. */
async function readMaterial(path: string, options: ImportOptions): Promise<KeyMaterial> {
  const given = options.passphraseFile === undefined ? null : await readSecret(options.passphraseFile);
  const file = await readFileOf(path);
  try {
    return materialIn(file, given, path);
  } catch (error) {
    if (given !== null || !asksForPassphrase(error)) throw error;
    const asked = await askPassphrase(`Passphrase of ${path}: `);
    if (asked === null) throw error;
    try {
      return materialIn(file, asked, path);
    } finally {
      asked.fill(0);
    }
  } finally {
    given?.fill(0);
    file.fill(0);
  }
}

/** Pairs of many years with their chains are far smaller. */
const mostOctets = 4 * 1024 ** 2;

async function readFileOf(path: string): Promise<Buffer> {
  const file = await readInput(path, mostOctets);
  if (file.length <= mostOctets) return file;
  throw cliFault('file-unreadable', { path, why: `it has more than ${mostOctets / 1024 ** 2} MB` });
}

/** What the file holds; authorities send a certificate with its chain as PKCS #7, too. */
function materialIn(file: Buffer, passphrase: Buffer | null, path: string): KeyMaterial {
  const material = readKeyMaterial(file, passphrase, path);
  if (material.certificates.length > 0) return material;
  const certificates = [...certificatesInFile(file)].flatMap((one) => one.certificate ?? []);
  return certificates.length > 0 ? { keys: material.keys, certificates, problems: [] } : material;
}

async function recordImport(
  { database, now, who }: Session,
  list: string,
  { pairs }: Imported,
): Promise<void> {
  await database.write(async (tx) => {
    for (const { certificate } of pairs) {
      const detail = `certificate of ${certificate.subject}, issued by ${certificate.issuer}, imported by ${who}`;
      const data = { sha256: certificate.sha256 };
      await record(tx, { at: now, list, event: 'list-certificate', detail, data });
    }
    await touch(tx, 'keys');
  });
}

/** The first pair is what most commands bring; all of them are in `pairs`. */
function resultOf({ pairs, retired, warnings }: Imported) {
  const all = pairs.map(({ certificate, path }) => ({
    sha256: certificate.sha256,
    subject: certificate.subject,
    issuer: certificate.issuer,
    notAfter: instant(certificate.notAfter),
    path,
  }));
  return { ...all[0], pairs: all, keptAs: retired[0] ?? null, retired, warnings };
}

function wordsOf(address: string, { pairs, retired, isChange }: Imported): string[] {
  if (!isChange)
    return pairs.map(
      ({ certificate, path }) =>
        `The certificate ${shortSha(certificate.sha256)} of ${certificate.subject} is in use already: nothing was changed (${path}).`,
    );
  return [
    ...pairs.map(
      ({ certificate, path }) =>
        `${address} now has the certificate ${shortSha(certificate.sha256)} of ${certificate.subject}, issued by ${certificate.issuer}, until ${dayOf(certificate.notAfter)}: ${path}`,
    ),
    ...retired.map((path) => `The one before still opens mail that was encrypted to it: ${path}`),
  ];
}
