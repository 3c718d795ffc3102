import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { dayOf } from '../base/day.ts';
import { type ImportVerdict, importCertificate, judgeImports } from '../flow/import-certificates.ts';
import { everyList } from '../flow/list-context.ts';
import type { Certificate } from '../pki/certificate.ts';
import { certificatesFromPem } from '../pki/pem.ts';
import { addressOf, readInput } from './arguments.ts';
import { cliFault } from './faults.ts';
import { counted, instant, shortSha } from './output.ts';
import { progressOn } from './progress.ts';
import { onSite, type Session } from './site-command.ts';

interface ImportOptions {
  readonly address?: string;
  readonly pin?: string;
  readonly dryRun?: true;
}

/** `cert import`: certificates of members by hand. Exit code 1 if one was refused or a file could not be read. */
export function addCertImport(cert: Command): void {
  cert
    .command('import [file|folder...]')
    .description('take certificates (PEM bundle or DER) into use; - or nothing reads standard input')
    .option('--address <address>', 'only for this address, which the certificate must name')
    .option('--pin <address>', 'for this address, whatever the certificate names and whoever issued it')
    .option('--dry-run', 'only say what would be done')
    .action(onSite<[string[], ImportOptions]>(importAll));
}

interface Told {
  readonly sha256: string;
  readonly subject: string;
  readonly outcome: ImportVerdict['outcome'];
  readonly addresses: readonly string[];
  readonly purposes: readonly string[];
  readonly notAfter: string;
  readonly why: string | null;
  readonly released: number;
}

async function importAll(session: Session, paths: readonly string[], options: ImportOptions): Promise<void> {
  const { site, database, keyring, output, now, who } = session;
  const address = options.address === undefined ? null : addressOf(options.address);
  const pin = options.pin === undefined ? null : addressOf(options.pin);
  if (address !== null && pin !== null) {
    throw cliFault('usage-value', {
      what: '--pin',
      found: pin,
      expected: 'either --pin or --address, not both',
    });
  }
  const { certificates, problems } = await readAll(paths.length > 0 ? paths : ['-']);
  const order = { certificates, address, pin, who, now };
  const lists = await everyList(database.q, site.defaults, () => undefined);
  const verdicts = await judgeImports({ database, keyring, lists }, order);
  const parts = { database, folder: site.certificates, lifetimeMs: site['queue.lifetime'] };
  const progress = progressOn(process.stderr, 'certificates', verdicts.length);
  const told: Told[] = [];
  for (const verdict of verdicts) {
    const taken = verdict.outcome === 'imported' && !options.dryRun;
    told.push(tell(verdict, taken ? await importCertificate(parts, verdict, order) : 0));
    progress.step(told.length);
  }
  progress.end();
  for (const problem of problems) output.note(problem);
  // Authorities that came along in a chain are no failure, but nothing else than authorities is one.
  const own = told.filter((_, index) => verdicts[index]?.certificate.isCa === false);
  if (problems.length > 0 || own.length === 0 || own.some((one) => one.outcome === 'refused'))
    process.exitCode = 1;
  output.result(
    { dryRun: options.dryRun === true, certificates: told, problems },
    told.map((one) => sentenceOf(one, options.dryRun === true)),
  );
}

function tell({ certificate, outcome, addresses, purposes, why }: ImportVerdict, released: number): Told {
  const { sha256, subject, notAfter } = certificate;
  return {
    sha256,
    subject,
    outcome,
    addresses: outcome === 'refused' ? [] : addresses,
    purposes,
    notAfter: instant(notAfter),
    why,
    released,
  };
}

function sentenceOf(one: Told, dryRun: boolean): string {
  const what = `${shortSha(one.sha256)} ${one.subject}`;
  if (one.outcome === 'refused') return `refused   ${what}: ${one.why}`;
  const uses = one.purposes.map((purpose) => (purpose === 'sign' ? 'signing' : 'encryption')).join(' and ');
  const rest = `${what}: ${uses} for ${one.addresses.join(', ')}, until ${dayOf(Date.parse(one.notAfter))}`;
  if (one.outcome === 'known') return `known     ${rest}`;
  const copies =
    one.released > 0 ? `; ${counted(one.released, 'waiting copy', 'waiting copies')} released` : '';
  return `${dryRun ? 'would be imported' : 'imported '} ${rest}${copies}`;
}

async function readAll(
  paths: readonly string[],
): Promise<{ certificates: Certificate[]; problems: string[] }> {
  const certificates: Certificate[] = [];
  const problems: string[] = [];
  for (const path of paths) {
    for (const file of await filesIn(path)) {
      const found = certificatesFromPem(await readInput(file));
      certificates.push(...found.certificates);
      const name = file === '-' ? 'standard input' : file;
      problems.push(...found.problems.map((problem) => `${name}: ${problem}`));
    }
  }
  return { certificates, problems };
}

/** A file is itself; a folder is its files (not those of its folders), by name, without hidden ones. */
async function filesIn(path: string): Promise<string[]> {
  if (path === '-' || !(await stat(path).catch(() => null))?.isDirectory()) return [path];
  const entries = await readdir(path, { withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory() && !entry.name.startsWith('.'))
    .map((entry) => join(path, entry.name))
    .sort();
}
