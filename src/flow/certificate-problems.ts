import { dayOf } from '../base/day.ts';
import { type Certificate, mayServe, parseCertificate } from '../pki/certificate.ts';
import { validatePath } from '../pki/path.ts';
import { sentenceOf } from '../pki/reasons.ts';
import { keyWeakness } from '../pki/signatures.ts';
import { allBindings } from '../store/bindings.ts';
import { type CertificateRow, findCertificate } from '../store/certificates.ts';
import type { Queries } from '../store/database.ts';
import { listsOfAddress } from '../store/members.ts';
import type { BindingRow, Purpose } from '../store/schema.ts';
import { longestWarningMs } from './expiry-care.ts';
import type { FindIntermediates } from './intermediates.ts';
import type { Keyring } from './keyring.ts';
import type { ListContext } from './list-context.ts';
import { remedyForCertificate } from './remedies.ts';
import type { RevocationBook } from './revocation-book.ts';

/** Why a person should look at a certificate that is in use, or wants to be. */
export type ProblemReason =
  | 'expired'
  | 'ending'
  | 'not-yet-valid'
  | 'refused'
  | 'wrong-usage'
  | 'weak-key'
  | 'revoked'
  | 'not-trusted'
  | 'not-checked'
  | 'pending';

/** One certificate of one address, and what is wrong with it. */
export interface CertificateProblem {
  readonly address: string;
  readonly purpose: Purpose;
  readonly certificate: CertificateRow;
  readonly reason: ProblemReason;
  /** In words, without a full stop. */
  readonly why: string;
  /** What to do, in words. */
  readonly remedy: string;
}

export interface ProblemParts {
  readonly q: Queries;
  readonly keyring: Pick<Keyring, 'anchorsOf'>;
  readonly revocation: Pick<RevocationBook, 'policyOf' | 'answersAbout'>;
  readonly intermediates: FindIntermediates;
  readonly lists: readonly ListContext[];
  /** Whether evidence that is missing here may be fetched when mail is encrypted. */
  readonly mayFetch: boolean;
  readonly now: number;
}

interface Found {
  readonly reason: ProblemReason;
  readonly why: string;
}

const page = 500;

/**
 * Certificates in use that cannot be used, or end within 30 days, and changes that wait for a word; by address, or of
 * one address. A certificate is good if one of the lists that its address is a member of (any list, for an address of
 * none) would take it. Uses what is known here and sends nothing.
 */
export async function certificateProblems(
  parts: ProblemParts,
  address: string | null,
): Promise<CertificateProblem[]> {
  const problems: CertificateProblem[] = [];
  for (const row of await bindingsToJudge(parts.q, address)) {
    const certificate = await findCertificate(parts.q, row.sha256);
    if (!certificate) continue;
    const found = row.state === 'pending' ? pending(row) : await judge(parts, row, certificate);
    if (!found) continue;
    const { address, purpose } = row;
    const remedy = remedyForCertificate(found.reason, row);
    problems.push({ address, purpose, certificate, ...found, remedy });
  }
  return problems;
}

async function bindingsToJudge(q: Queries, address: string | null): Promise<BindingRow[]> {
  const rows: BindingRow[] = [];
  for (let after: BindingRow | null = null; ; after = rows.at(-1) ?? null) {
    const more: BindingRow[] = await allBindings(q, { after, limit: page });
    rows.push(...more);
    if (more.length < page) break;
  }
  const states = ['in-use', 'pending'];
  return rows.filter((row) => states.includes(row.state) && (address === null || row.address === address));
}

function pending({ address, since }: BindingRow): Found {
  return {
    reason: 'pending',
    why: `it waits since ${dayOf(since)} for a decision whether ${address} uses it`,
  };
}

async function judge(parts: ProblemParts, row: BindingRow, stored: CertificateRow): Promise<Found | null> {
  const { now } = parts;
  const certificate = parseCertificate(stored.der);
  const { notAfter, notBefore } = certificate;
  if (stored.state === 'refused')
    return { reason: 'refused', why: 'it was refused for good, so it is not used' };
  if (now > notAfter) return { reason: 'expired', why: `it expired on ${dayOf(notAfter)}` };
  if (now < notBefore) return { reason: 'not-yet-valid', why: `it is not valid before ${dayOf(notBefore)}` };
  if (!mayServe(certificate, purposeOf(row))) {
    const use = row.purpose === 'enc' ? 'to be encrypted to' : 'to sign';
    return { reason: 'wrong-usage', why: `its key usage does not allow its key ${use}` };
  }
  const lists = await listsFor(parts, row.address);
  if (lists.length > 0 && lists.every(({ floor }) => keyWeakness(certificate, floor).length > 0))
    return { reason: 'weak-key', why: `its key is weaker than ${accepting(lists)} (minimum.rsa)` };
  const untrusted = await trouble(parts, row, certificate, lists);
  if (untrusted) return untrusted;
  if (notAfter - now > longestWarningMs) return null;
  return { reason: 'ending', why: `it ends on ${dayOf(notAfter)}` };
}

/** What the lists say against its path; null if one takes it and none knows it to be revoked. */
async function trouble(
  parts: ProblemParts,
  row: BindingRow,
  certificate: Certificate,
  lists: readonly ListContext[],
): Promise<Found | null> {
  const intermediates = await parts.intermediates(certificate);
  const obtained = await parts.revocation.answersAbout([certificate.sha256]);
  let best: Found | null = null;
  let isTaken = row.source === 'pinned';
  for (const list of lists) {
    const { mode, evidence } = await parts.revocation.policyOf(list, obtained);
    // What could be fetched when it is needed is no trouble yet.
    const revocation = { mode: mode === 'hard' && parts.mayFetch ? ('soft' as const) : mode, evidence };
    const anchors = await parts.keyring.anchorsOf(list);
    const request = { anchors, intermediates, at: parts.now, floor: list.floor, revocation };
    const result = validatePath(certificate, { ...request, purpose: purposeOf(row) });
    // A pin stands in for the authority, but not against its word that the key was lost.
    if (result.reasons.includes('revoked'))
      return { reason: 'revoked', why: `it was revoked, says ${certificate.issuer}` };
    isTaken ||= result.valid;
    if (isTaken) continue;
    const data = { subject: certificate.subject, issuer: result.missingIssuer };
    const why = result.reasons.map((reason) => sentenceOf(reason, data)).join('; ');
    const isOpen = result.reasons.every((reason) => reason.startsWith('crl-'));
    if (best === null || isOpen) best = { reason: isOpen ? 'not-checked' : 'not-trusted', why };
  }
  return isTaken ? null : best;
}

async function listsFor({ q, lists }: ProblemParts, address: string): Promise<readonly ListContext[]> {
  const ids = new Set((await listsOfAddress(q, address)).map((one) => one.listId));
  const own = lists.filter((list) => ids.has(list.id));
  return own.length > 0 ? own : lists;
}

function accepting(lists: readonly ListContext[]): string {
  const [only, ...more] = lists;
  return only && more.length === 0 ? `${only.address} accepts` : 'every list of this address accepts';
}

function purposeOf({ purpose }: BindingRow): 'sign' | 'encrypt' {
  return purpose === 'enc' ? 'encrypt' : 'sign';
}
