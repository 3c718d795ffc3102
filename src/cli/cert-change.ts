import type { Command } from 'commander';
import { mirrorAddress } from '../flow/certificates/mirror.ts';
import { purposeWords } from '../flow/certificates/purposes.ts';
import { releaseCopies } from '../flow/certificates/release.ts';
import { useFor } from '../flow/certificates/use-certificate.ts';
import { bindingsOf, setBindingState } from '../store/bindings.ts';
import { findCertificate } from '../store/certificates.ts';
import type { Queries } from '../store/database.ts';
import { record } from '../store/ledger.ts';
import { touch } from '../store/meta.ts';
import type { BindingRow, Purpose } from '../store/schema.ts';
import { addressOf, oneOf } from './arguments.ts';
import { fingerprintOf } from './cert-name.ts';
import { cliFault } from './faults.ts';
import { counted, shortSha } from './output.ts';
import { onSite, type Session } from './site-command.ts';

/** `cert remove|approve|refuse`: an operator's word about the certificates of one address. */
export function addCertChange(cert: Command): void {
  cert
    .command('remove <address>')
    .description(
      'use no certificate for an address any more; another one from his mail then waits for `cert approve`',
    )
    .option('--purpose <purpose>', 'sign or enc only')
    .action(onSite<[string, { purpose?: string }]>(remove));
  cert
    .command('approve <address> <sha256>')
    .description('take a certificate into use that waits (its first digits are enough)')
    .action(onSite<[string, string]>(approve));
  cert
    .command('refuse <address> <sha256>')
    .description('never take this certificate for this address')
    .action(onSite<[string, string]>(refuse));
}

async function remove(session: Session, text: string, options: { purpose?: string }): Promise<void> {
  const { site, database, output, now, who } = session;
  const address = addressOf(text);
  const purpose: Purpose | null =
    options.purpose === undefined ? null : oneOf<Purpose>('--purpose', options.purpose, ['sign', 'enc']);
  const fits = (row: BindingRow) => row.state === 'in-use' && (purpose === null || row.purpose === purpose);
  const removed = await database.write(async (tx) => {
    const rows = (await bindingsOf(tx, address)).filter(fits);
    if (rows.length === 0) throw cliFault('certificate-none', { address, purpose });
    // Kept: the address stays known, so the next certificate needs a word (RULES 15).
    await endBindings(tx, rows, { state: 'removed', now, who });
    return rows.map(({ purpose, sha256 }) => ({ purpose, sha256 }));
  });
  await mirrorAddress(database.q, site.certificates, address);
  output.result({ address, removed }, [
    ...removed.map(
      (one) => `${address}: ${shortSha(one.sha256)} is not used any more for ${purposeWords(one.purpose)}`,
    ),
    'Another one from his mail waits for `reseal cert approve`; `reseal cert import` brings one at once.',
  ]);
}

async function approve(session: Session, text: string, name: string): Promise<void> {
  const { site, database, output, now, who } = session;
  const address = addressOf(text);
  const { approved, released } = await database.write(async (tx) => {
    const states = ['pending', 'refused', 'removed', 'superseded', 'replaced'];
    const rows = waiting(await bindingsOf(tx, address), { address, name, states });
    for (const { purpose, sha256, source: before } of rows) {
      const certificate = await findCertificate(tx, sha256);
      if (!certificate) throw cliFault('certificate-unknown', { name });
      const source = before === 'harvested' ? 'approved' : before;
      await useFor(tx, { address, purpose, certificate, source, now, by: `approved by ${who}` });
    }
    const isReading = rows.some((row) => row.purpose === 'enc');
    const released = isReading
      ? await releaseCopies(tx, address, { now, expiresAt: now + site['queue.lifetime'] })
      : 0;
    await touch(tx);
    return { approved: rows, released };
  });
  await mirrorAddress(database.q, site.certificates, address);
  output.result(
    { address, approved: approved.map(({ purpose, sha256 }) => ({ purpose, sha256 })), released },
    [
      ...approved.map(
        (one) => `${address}: ${shortSha(one.sha256)} is in use for ${purposeWords(one.purpose)}`,
      ),
      ...(released > 0 ? [`${counted(released, 'waiting copy', 'waiting copies')} released`] : []),
    ],
  );
}

async function refuse(session: Session, text: string, name: string): Promise<void> {
  const { site, database, output, now, who } = session;
  const address = addressOf(text);
  const refused = await database.write(async (tx) => {
    const rows = waiting(await bindingsOf(tx, address), { address, name, states: ['pending'] });
    await endBindings(tx, rows, { state: 'refused', now, who });
    return rows.map(({ purpose, sha256 }) => ({ purpose, sha256 }));
  });
  await mirrorAddress(database.q, site.certificates, address);
  output.result(
    { address, refused },
    refused.map((one) => `${address}: ${shortSha(one.sha256)} is refused for ${purposeWords(one.purpose)}`),
  );
}

/** Takes bindings out of use, each with its ledger line, and lets the daemon know. */
async function endBindings(
  tx: Queries,
  rows: readonly BindingRow[],
  d: { state: 'removed' | 'refused'; now: number; who: string },
): Promise<void> {
  for (const row of rows) {
    const by = `${d.state} by ${d.who}`;
    await setBindingState(tx, row, d.state, { at: d.now, by });
    await record(tx, {
      at: d.now,
      member: row.address,
      event: `certificate-${d.state}`,
      detail: by,
      data: { sha256: row.sha256, purpose: row.purpose },
    });
  }
  await touch(tx);
}

/**
 * The bindings of the one certificate that is meant: in one of these states, or in use and vouched for by nobody (a list
 * with `harvest.first: owner` waits for a word about it). Fault 'certificate-not-waiting'.
 */
function waiting(
  rows: readonly BindingRow[],
  d: { readonly address: string; readonly name: string; readonly states: readonly string[] },
): BindingRow[] {
  const { address, name, states } = d;
  const prefix = fingerprintOf(name);
  const found = rows.filter(
    ({ sha256, state, source }) =>
      sha256.startsWith(prefix) && (states.includes(state) || (state === 'in-use' && source === 'harvested')),
  );
  if (new Set(found.map((row) => row.sha256)).size === 1) return found;
  const state = found.length > 1 ? null : rows.find((row) => row.sha256.startsWith(prefix))?.state;
  throw cliFault('certificate-not-waiting', {
    name,
    address,
    several: found.length > 1,
    state: state ?? null,
  });
}
