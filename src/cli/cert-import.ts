import type { Command } from 'commander';
import { openRevocation } from '../app/open-revocation.ts';
import { dayOf } from '../base/day.ts';
import { importCertificates } from '../flow/import-certificates.ts';
import type { ImportOrder } from '../flow/import-order.ts';
import { findIntermediatesWith } from '../flow/intermediates.ts';
import {
  type ImportCandidate,
  type ImportVerdict,
  inImportOrder,
  judgeImportsOf,
} from '../flow/judge-import.ts';
import { everyList } from '../flow/list-context.ts';
import { chunksOf } from '../store/chunks.ts';
import { addressOf } from './arguments.ts';
import { readCertificateFiles } from './cert-files.ts';
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
    .description(
      'take certificates (PEM, DER, PKCS #7, vCard, LDIF, a folder of them or of Sympa) into use; - or nothing reads standard input',
    )
    .option('--address <address>', 'only for this address, which the certificate must name')
    .option('--pin <address>', 'for this address, whatever the certificate names and whoever issued it')
    .option('--dry-run', 'only say what would be done')
    .action(onSite<[string[], ImportOptions]>(importAll));
}

interface Told {
  readonly sha256: string;
  readonly subject: string;
  /** File and block. */
  readonly where: string;
  readonly outcome: ImportVerdict['outcome'];
  readonly reason: string | null;
  readonly why: string | null;
  readonly addresses: readonly string[];
  readonly purposes: readonly string[];
  readonly notAfter: string;
  readonly released: number;
}

/** Certificates that share a transaction and the fsyncs of their files. */
const atOnce = 100;

async function importAll(session: Session, paths: readonly string[], options: ImportOptions): Promise<void> {
  const { site, database, output } = session;
  const order = orderOf(session, options);
  const isDry = options.dryRun === true;
  const read = await readCertificateFiles(paths.length > 0 ? paths : ['-'], process.stderr);
  const candidates = inImportOrder(read.candidates);
  const judge = await judgementFor(session, order, candidates);
  const parts = { database, folder: site.certificates, lifetimeMs: site['queue.lifetime'] };
  const progress = progressOn(process.stderr, 'certificates', candidates.length);
  const told: Told[] = [];
  const problems = [...read.problems];
  for (const chunk of chunksOf(candidates, atOnce)) {
    const verdicts: ImportVerdict[] = [];
    for (const candidate of chunk) verdicts.push(await judge(candidate));
    const taken = isDry ? [] : verdicts.filter((one) => one.outcome === 'imported');
    const done = taken.length > 0 ? await importCertificates(parts, taken, order) : null;
    for (const why of done?.unwritten ?? [])
      problems.push({ file: site.certificates, reason: 'unwritten', why });
    for (const verdict of verdicts)
      told.push(tell(verdict, done?.released.get(verdict.certificate.sha256) ?? 0));
    progress.step(told.length);
  }
  progress.end();
  for (const { file, why } of problems) output.note(`${file}: ${why}`);
  // Authorities that came along in a chain are no failure, but nothing else than authorities is one.
  const own = told.filter((one) => one.reason !== 'authority');
  if (problems.length > 0 || own.length === 0 || own.some((one) => one.outcome === 'refused'))
    process.exitCode = 1;
  const summary = {
    imported: told.filter((one) => one.outcome === 'imported').length,
    known: told.filter((one) => one.outcome === 'known').length,
    refused: own.filter((one) => one.outcome === 'refused').length,
    authorities: told.length - own.length,
    problems: problems.length,
  };
  output.result({ dryRun: isDry, certificates: told, problems, summary }, [
    ...told.map((one) => sentenceOf(one, isDry)),
    ...(told.length > 1 ? [summaryOf(summary, isDry)] : []),
  ]);
}

function orderOf({ who, now }: Session, options: ImportOptions): ImportOrder {
  const address = options.address === undefined ? null : addressOf(options.address);
  const pin = options.pin === undefined ? null : addressOf(options.pin);
  if (address !== null && pin !== null) {
    throw cliFault('usage-value', {
      what: '--pin',
      found: pin,
      expected: 'either --pin or --address, not both',
    });
  }
  return { address, pin, who, now };
}

async function judgementFor(session: Session, order: ImportOrder, candidates: readonly ImportCandidate[]) {
  const { site, database, keyring, clock } = session;
  const lists = await everyList(database.q, site.defaults, () => undefined);
  const intermediates = findIntermediatesWith({ q: database.q, clock });
  const parts = { database, keyring, lists, intermediates, revocation: openRevocation(site, session) };
  const people = candidates.filter(({ certificate }) => !certificate.isCa);
  // A pin is one person's word about one certificate: a bundle pinned to one address would be a slip.
  if (order.pin !== null && new Set(people.map(({ certificate }) => certificate.sha256)).size > 1) {
    throw cliFault('usage-value', {
      what: '--pin',
      found: counted(people.length, 'certificate'),
      expected: 'one certificate',
    });
  }
  return judgeImportsOf(parts, order, candidates);
}

function tell(verdict: ImportVerdict, released: number): Told {
  const { certificate, where, outcome, addresses, purposes, objection } = verdict;
  const { sha256, subject, notAfter } = certificate;
  return {
    sha256,
    subject,
    where,
    outcome,
    reason: objection?.reason ?? null,
    why: objection?.why ?? null,
    addresses: outcome === 'refused' ? [] : addresses,
    purposes,
    notAfter: instant(notAfter),
    released,
  };
}

function sentenceOf(one: Told, dryRun: boolean): string {
  const what = `${shortSha(one.sha256)} ${one.subject}`;
  if (one.outcome === 'refused') return `refused   ${what}: ${one.why} [${one.where}]`;
  const uses = one.purposes.map((purpose) => (purpose === 'sign' ? 'signing' : 'encryption')).join(' and ');
  const rest = `${what}: ${uses} for ${one.addresses.join(', ')}, until ${dayOf(Date.parse(one.notAfter))}`;
  if (one.outcome === 'known') return `known     ${rest}`;
  const copies =
    one.released > 0 ? `; ${counted(one.released, 'waiting copy', 'waiting copies')} released` : '';
  return `${dryRun ? 'would be imported' : 'imported '} ${rest}${copies}`;
}

function summaryOf(
  d: { imported: number; known: number; refused: number; authorities: number; problems: number },
  dryRun: boolean,
): string {
  const parts = [
    `${d.imported} ${dryRun ? 'would be imported' : 'imported'}`,
    `${d.known} already known`,
    `${d.refused} refused`,
    ...(d.authorities > 0 ? [`${counted(d.authorities, 'authority', 'authorities')} left out`] : []),
    ...(d.problems > 0 ? [counted(d.problems, 'problem')] : []),
  ];
  return `In all: ${parts.join(', ')}${dryRun ? '; nothing was changed' : ''}.`;
}
