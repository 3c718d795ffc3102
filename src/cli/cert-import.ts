import type { Command } from 'commander';
import { openRevocation } from '../app/open-revocation.ts';
import { dayOf } from '../base/day.ts';
import { importCertificates } from '../flow/certificates/import-certificates.ts';
import type { ImportOrder } from '../flow/certificates/import-order.ts';
import {
  type ImportCandidate,
  type ImportVerdict,
  type JudgeImport,
  judgeImportsOf,
  type Replaced,
} from '../flow/certificates/judge-import.ts';
import { purposeWords } from '../flow/certificates/purposes.ts';
import { everyList } from '../flow/lists/list-context.ts';
import { findIntermediatesWith } from '../flow/revocation/intermediates.ts';
import type { Purpose } from '../store/schema.ts';
import { addressOf } from './arguments.ts';
import {
  certificatesOf,
  type FileProblem,
  type FoundInFile,
  listFiles,
  type Survey,
  survey,
} from './cert-files.ts';
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
  readonly purposes: readonly Purpose[];
  readonly notAfter: string;
  readonly released: number;
  /** What it took the place of though that has another key. */
  readonly replaces: readonly Replaced[];
}

/** Certificates that share a transaction and the fsyncs of their files. */
const atOnce = 100;

async function importAll(session: Session, paths: readonly string[], options: ImportOptions): Promise<void> {
  const { site, database, output } = session;
  const order = orderOf(session, options);
  const isDry = options.dryRun === true;
  const { files, problems } = await listFiles(paths.length > 0 ? paths : ['-']);
  const found = await survey(files, order.pin, process.stderr);
  const judge = await judgementFor(session, order, found);
  const parts = { database, folder: site.certificates, lifetimeMs: site['queue.lifetime'] };
  const progress = progressOn(process.stderr, 'certificates', found.certificates);
  const told: Told[] = [];
  for await (const chunk of inChunks(certificatesOf(files), problems)) {
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
  output.result({ dryRun: isDry, certificates: told, problems, summary }, sentencesOf(told, summary, isDry));
}

/** Candidates by the hundred, each once; what is no candidate goes to `problems`. */
async function* inChunks(
  found: AsyncIterable<FoundInFile>,
  problems: FileProblem[],
): AsyncGenerator<ImportCandidate[]> {
  const seen = new Set<string>();
  let chunk: ImportCandidate[] = [];
  for await (const { candidate, problem } of found) {
    if (problem) problems.push(problem);
    if (candidate === null) continue;
    const { certificate, named } = candidate;
    const key = [certificate.sha256, named?.address ?? '', named?.use ?? ''].join(' ');
    if (seen.has(key)) continue;
    seen.add(key);
    chunk.push(candidate);
    if (chunk.length < atOnce) continue;
    yield chunk;
    chunk = [];
  }
  if (chunk.length > 0) yield chunk;
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

async function judgementFor(session: Session, order: ImportOrder, found: Survey): Promise<JudgeImport> {
  const { site, database, keyring, clock } = session;
  const lists = await everyList(database.q, site.defaults, () => undefined);
  const intermediates = findIntermediatesWith({ q: database.q, clock });
  const parts = { database, keyring, lists, intermediates, revocation: openRevocation(site, session) };
  // A pin is one person's word about one certificate: a bundle pinned to one address would be a slip.
  if (order.pin !== null && !found.isOne) {
    throw cliFault('usage-value', {
      what: '--pin',
      found: counted(found.people, 'certificate'),
      expected: 'one certificate',
    });
  }
  return judgeImportsOf(parts, order, found.authorities);
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
    replaces: verdict.replaces,
  };
}

function* sentencesOf(told: readonly Told[], summary: Summary, dryRun: boolean): Generator<string> {
  for (const one of told) yield sentenceOf(one, dryRun);
  if (told.length > 1) yield summaryOf(summary, dryRun);
}

function sentenceOf(one: Told, dryRun: boolean): string {
  const what = `${shortSha(one.sha256)} ${one.subject}`;
  if (one.outcome === 'refused') return `refused   ${what}: ${one.why} [${one.where}]`;
  const uses = purposeWords(...one.purposes);
  const rest = `${what}: ${uses} for ${one.addresses.join(', ')}, until ${dayOf(Date.parse(one.notAfter))}`;
  if (one.outcome === 'known') return `known     ${rest}`;
  const copies =
    one.released > 0 ? `; ${counted(one.released, 'waiting copy', 'waiting copies')} released` : '';
  const others = new Map(one.replaces.map(({ address, sha256 }) => [sha256, address]));
  const place = [...others].map(([sha256, address]) => `${shortSha(sha256)} of ${address}`).join(', ');
  const instead = place === '' ? '' : `; in the place of ${place}, which has another key`;
  return `${dryRun ? 'would be imported' : 'imported '} ${rest}${instead}${copies}`;
}

interface Summary {
  readonly imported: number;
  readonly known: number;
  readonly refused: number;
  readonly authorities: number;
  readonly problems: number;
}

function summaryOf(d: Summary, dryRun: boolean): string {
  const parts = [
    `${d.imported} ${dryRun ? 'would be imported' : 'imported'}`,
    `${d.known} already known`,
    `${d.refused} refused`,
    ...(d.authorities > 0 ? [`${counted(d.authorities, 'authority', 'authorities')} left out`] : []),
    ...(d.problems > 0 ? [counted(d.problems, 'problem')] : []),
  ];
  return `In all: ${parts.join(', ')}${dryRun ? '; nothing was changed' : ''}.`;
}
