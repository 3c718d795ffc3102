import type { Command } from 'commander';
import { dayOf } from '../base/day.ts';
import { everyList } from '../flow/lists/list-context.ts';
import { parseCertificate } from '../pki/certificate.ts';
import { toPem } from '../pki/pem.ts';
import {
  bindingPages,
  bindingsOf,
  bindingsOfCertificate,
  historyOf,
  unapprovedOf,
} from '../store/bindings.ts';
import { type CertificateRow, certificatesAfter, findCertificate, inUse } from '../store/certificates.ts';
import type { Queries } from '../store/database.ts';
import type { BindingChange, BindingRow, Purpose } from '../store/schema.ts';
import { addressOf, oneOf } from './arguments.ts';
import { addCertChange } from './cert-change.ts';
import { addCertImport } from './cert-import.ts';
import { fingerprintOf } from './cert-name.ts';
import { listProblems } from './cert-problems.ts';
import { addCertVerify } from './cert-verify.ts';
import { cliFault } from './faults.ts';
import { instant, shortSha, table } from './output.ts';
import { onSite, type Session } from './site-command.ts';

const purposes = ['sign', 'enc'] as const;

/** `cert import|list|show|export|verify|remove|pending|approve|refuse`. */
export function addCert(program: Command): void {
  const cert = program.command('cert').description('look at and decide about certificates of members');
  addCertImport(cert);
  cert
    .command('list')
    .description('which certificate is in use for whom, and which wait or were replaced')
    .option('--address <address>', 'of this address only')
    .option(
      '--problems',
      'what cannot be used, ends within 30 days or waits for approval: why, and what to do',
    )
    .action(
      onSite<[{ address?: string; problems?: true }]>((session, { address, problems }) =>
        problems ? listProblems(session, address) : listBindings(session, address),
      ),
    );
  cert
    .command('pending')
    .description('certificates that wait for `cert approve`')
    .action(onSite<[]>(listPending));
  cert
    .command('show <sha256|address>')
    .description('all that is known of certificates: by fingerprint (its beginning is enough) or by address')
    .action(onSite<[string]>(show));
  cert
    .command('export <address>')
    .description('the certificate that is in use for an address, in PEM')
    .option('--purpose <purpose>', 'sign or enc', 'enc')
    .action(onSite<[string, { purpose: string }]>(exportPem));
  addCertVerify(cert);
  addCertChange(cert);
}

async function listBindings(session: Session, text: string | undefined): Promise<void> {
  const { q } = session.database;
  const rows = text === undefined ? await everyBinding(q, null) : await bindingsOf(q, addressOf(text));
  await showBindings(session, rows, 'No certificates are known.');
}

/** What waits everywhere, and what is in use though lists with `harvest.first: owner` wait for a word about it. */
async function listPending(session: Session): Promise<void> {
  const { database, site, output } = session;
  const rows = await everyBinding(database.q, 'pending');
  const lists = await everyList(database.q, site.defaults, (list, words) =>
    output.note(`${list} is left out: ${words}`),
  );
  const unapproved = new Map<string, BindingRow>();
  for (const list of lists.filter(({ policy }) => policy['harvest.first'] !== 'verified'))
    for (const row of await unapprovedOf(database.q, list.id)) unapproved.set(row.address, row);
  await showBindings(session, [...rows, ...unapproved.values()], 'No certificate waits for approval.');
}

async function showBindings(
  { database, output, now }: Session,
  rows: readonly BindingRow[],
  none: string,
): Promise<void> {
  const value = [];
  for (const row of rows) {
    const certificate = await findCertificate(database.q, row.sha256);
    if (certificate) value.push({ ...bindingValue(row), ...shortValue(certificate, now) });
  }
  // One line for a certificate that serves both purposes alike.
  const shown = new Map<string, { one: (typeof value)[number]; purposes: string[] }>();
  for (const one of value) {
    const use = `${one.address} ${one.sha256} ${one.state} ${one.source}`;
    shown.set(use, { one, purposes: [...(shown.get(use)?.purposes ?? []), one.purpose] });
  }
  output.result(
    value,
    table(
      ['ADDRESS', 'FOR', 'STATE', 'SOURCE', 'UNTIL', 'SHA-256', 'SUBJECT'],
      [...shown.values()].map(({ one, purposes }) => [
        one.address,
        purposes.join(', '),
        one.refused ? 'refused' : one.state,
        one.source,
        one.expired ? 'EXPIRED' : one.notAfter.slice(0, 10),
        shortSha(one.sha256),
        one.subject,
      ]),
      none,
    ),
  );
}

async function everyBinding(q: Queries, state: BindingRow['state'] | null): Promise<BindingRow[]> {
  const rows: BindingRow[] = [];
  for await (const page of bindingPages(q, state ? { state } : {})) rows.push(...page);
  return rows;
}

function bindingValue({ address, purpose, state, since, source }: BindingRow) {
  return { address, purpose, state, source, since: instant(since) };
}

function historyValue({ at, address, purpose, state, source, by, messageId }: BindingChange) {
  return { at: instant(at), address, purpose, state, source, by, message: messageId };
}

function shortValue(row: CertificateRow, now: number) {
  return {
    sha256: row.sha256,
    subject: row.subject,
    issuer: row.issuer,
    notAfter: instant(row.notAfter),
    expired: now > row.notAfter,
    refused: row.state === 'refused',
  };
}

async function show({ database, output, now }: Session, text: string): Promise<void> {
  const { q } = database;
  const rows = text.includes('@')
    ? await certificatesOf(q, addressOf(text))
    : [await certificateNamed(q, text)];
  if (rows.length === 0) throw cliFault('certificate-unknown', { name: text });
  const value = [];
  const lines: string[] = [];
  for (const row of rows) {
    const certificate = parseCertificate(row.der);
    const bindings = (await bindingsOfCertificate(q, row.sha256)).map(bindingValue);
    const history = (await historyOf(q, row.sha256)).map(historyValue);
    value.push({
      ...shortValue(row, now),
      serial: certificate.serial,
      notBefore: instant(row.notBefore),
      keyType: row.keyType,
      rsaBits: certificate.rsaBits,
      curve: certificate.curve,
      addresses: row.addresses,
      source: row.source,
      firstSeen: instant(row.firstSeen),
      bindings,
      history,
      pem: toPem(row.der),
    });
    lines.push(
      `SHA-256:  ${row.sha256}${row.state === 'refused' ? ' (refused)' : ''}`,
      `subject:  ${row.subject}`,
      `issuer:   ${row.issuer}`,
      `serial:   ${certificate.serial}`,
      `valid:    ${dayOf(row.notBefore)} to ${dayOf(row.notAfter)}${now > row.notAfter ? ' (EXPIRED)' : ''}`,
      `key:      ${row.keyType}${certificate.rsaBits ? ` ${certificate.rsaBits} bits` : ''}${certificate.curve ? ` ${certificate.curve}` : ''}`,
      `names:    ${row.addresses.join(', ') || 'no mail address'}`,
      `may:      ${[row.maySign ? 'sign' : '', row.mayEncrypt ? 'be encrypted to' : ''].filter(Boolean).join(', ') || 'nothing'}`,
      `came:     ${row.source}, ${instant(row.firstSeen)}`,
      ...bindings.map(
        (one) =>
          `use:      ${one.address} for ${one.purpose}: ${one.state} since ${one.since} (${one.source})`,
      ),
      ...history.map(
        (one) =>
          `history:  ${one.at} ${one.address} for ${one.purpose}: ${one.state}, ${one.by}${one.message === null ? '' : ` (message ${one.message})`}`,
      ),
      '',
    );
  }
  output.result(value, lines.slice(0, -1));
}

async function certificatesOf(q: Queries, address: string): Promise<CertificateRow[]> {
  const found = [...new Set((await bindingsOf(q, address)).map((one) => one.sha256))];
  const rows = await Promise.all(found.map((sha256) => findCertificate(q, sha256)));
  return rows.filter((row) => row !== null);
}

/** The certificate whose SHA-256 begins so; colons and capitals, as other programs print them, are understood. */
async function certificateNamed(q: Queries, text: string): Promise<CertificateRow> {
  const prefix = fingerprintOf(text);
  const whole = prefix.length === 64 ? await findCertificate(q, prefix) : null;
  if (whole) return whole;
  // By SHA-256 in order: the first at or after the prefix, and the next, which must begin otherwise.
  const found = prefix.length < 64 ? await certificatesAfter(q, prefix, 2) : [];
  const [row, next] = found.filter((one) => one.sha256.startsWith(prefix));
  if (!row || next)
    throw cliFault('certificate-unknown', { name: next ? `${text} alone (several begin so)` : text });
  return row;
}

async function exportPem(
  { database, output }: Session,
  text: string,
  options: { purpose: string },
): Promise<void> {
  const purpose: Purpose = oneOf('--purpose', options.purpose, purposes);
  const address = addressOf(text);
  const row = await inUse(database.q, address, purpose);
  if (!row) throw cliFault('certificate-none', { address, purpose });
  const pem = toPem(row.der);
  output.result({ address, purpose, sha256: row.sha256, pem }, pem.trimEnd().split('\n'));
}
