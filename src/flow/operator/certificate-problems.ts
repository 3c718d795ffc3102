import { dayOf } from '../../base/day.ts';
import { defaultFloor, type Floor } from '../../pki/algorithms.ts';
import { type Certificate, parseCertificate } from '../../pki/certificate.ts';
import { validatePath } from '../../pki/path.ts';
import { bindingPages } from '../../store/bindings.ts';
import { type CertificateRow, findCertificate } from '../../store/certificates.ts';
import type { Queries } from '../../store/database.ts';
import { listsOfAddress } from '../../store/members.ts';
import type { BindingRow, Purpose } from '../../store/schema.ts';
import { longestWarningMs } from '../care/expiry-stages.ts';
import {
  type CertificateObjection,
  type CertificateReason,
  objectionOn,
  objectionToItself,
} from '../certificates/judge-certificate.ts';
import { keyUseFor } from '../certificates/purposes.ts';
import type { Keyring } from '../lists/keyring.ts';
import type { ListContext } from '../lists/list-context.ts';
import type { FindIntermediates } from '../revocation/intermediates.ts';
import type { RevocationBook } from '../revocation/revocation-book.ts';
import { remedyForCertificate } from './remedies.ts';

/** Why a person should look at a certificate that is in use, or wants to be. */
export type ProblemReason = CertificateReason | 'ending' | 'refused';

/** One certificate of one address, and what is wrong with it. */
export interface CertificateProblem extends Found {
  readonly address: string;
  readonly purpose: Purpose;
  readonly certificate: CertificateRow;
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
  /** In words, without a full stop. */
  readonly why: string;
  /** The lists that refuse it for this reason, while others take it; null if none would take it, or lists have no say. */
  readonly refusedBy: readonly string[] | null;
}

/**
 * Certificates in use that cannot be used, or end within 30 days, and changes that wait for a word; by address, or of
 * one address. A certificate is good if all lists that its address is a member of (one list, for an address of none) would
 * take it. Uses what is known here and sends nothing.
 */
export async function certificateProblems(
  parts: ProblemParts,
  address: string | null,
): Promise<CertificateProblem[]> {
  const problems: CertificateProblem[] = [];
  for (const row of await bindingsToJudge(parts.q, address)) {
    const certificate = await findCertificate(parts.q, row.sha256);
    if (!certificate) continue;
    const all = row.state === 'pending' ? [pending(row)] : await judge(parts, row, certificate);
    const { address, purpose } = row;
    for (const found of all)
      problems.push({
        address,
        purpose,
        certificate,
        ...found,
        remedy: remedyForCertificate(found.reason, row),
      });
  }
  return problems;
}

async function bindingsToJudge(q: Queries, address: string | null): Promise<BindingRow[]> {
  const states = ['in-use', 'pending'];
  const rows: BindingRow[] = [];
  for await (const page of bindingPages(q))
    rows.push(
      ...page.filter((row) => states.includes(row.state) && (address === null || row.address === address)),
    );
  return rows;
}

function pending({ address, since }: BindingRow): Found {
  return {
    reason: 'pending',
    why: `it has waited since ${dayOf(since)} for a decision whether ${address} uses it`,
    refusedBy: null,
  };
}

async function judge(parts: ProblemParts, row: BindingRow, stored: CertificateRow): Promise<Found[]> {
  if (stored.state === 'refused')
    return [{ reason: 'refused', why: 'it was refused for good, so it is not used', refusedBy: null }];
  const certificate = parseCertificate(stored.der);
  const { now: at } = parts;
  // What no list has a say in.
  const itself = objectionToItself(certificate, { at, purpose: keyUseFor[row.purpose], floor: anyStrength });
  if (itself) return [{ ...itself, refusedBy: null }];
  const refused = await refusals(parts, row, certificate);
  if (refused.length > 0) return refused;
  const { notAfter } = certificate;
  if (notAfter - at > longestWarningMs) return [];
  return [{ reason: 'ending', why: `it ends on ${dayOf(notAfter)}`, refusedBy: null }];
}

const anyStrength: Floor = { ...defaultFloor, allowWeak: true };

/** What lists say against it, once for those that say the same. */
async function refusals(parts: ProblemParts, row: BindingRow, certificate: Certificate): Promise<Found[]> {
  const { q, now: at } = parts;
  const ids = new Set((await listsOfAddress(q, row.address)).map((one) => one.listId));
  const own = parts.lists.filter((list) => ids.has(list.id));
  const lists = own.length > 0 ? own : parts.lists;
  const purpose = keyUseFor[row.purpose];
  const intermediates = await parts.intermediates(certificate);
  const obtained = await parts.revocation.answersAbout([certificate.sha256]);
  const found = new Map<string, CertificateObjection & { readonly refusedBy: string[] }>();
  let taken = 0;
  for (const list of lists) {
    const { floor } = list;
    const { mode, evidence } = await parts.revocation.policyOf(list, obtained);
    // What could be fetched when it is needed is no trouble yet.
    const revocation = { mode: mode === 'hard' && parts.mayFetch ? ('soft' as const) : mode, evidence };
    const anchors = await parts.keyring.anchorsOf(list);
    const path = async () =>
      validatePath(certificate, { anchors, intermediates, at, floor, revocation, purpose });
    const objection = await objectionOn(list, certificate, { at, purpose, source: row.source, path });
    const key = `${objection?.reason} ${objection?.why}`;
    const same = found.get(key);
    if (objection === null) taken++;
    else if (same) same.refusedBy.push(list.address);
    else found.set(key, { ...objection, refusedBy: [list.address] });
  }
  const all = [...found.values()];
  const isRevoked = all.some((one) => one.reason === 'revoked');
  if (own.length === 0 && taken > 0 && !isRevoked) return [];
  return all.map((one) => ({
    ...one,
    refusedBy: one.refusedBy.length === lists.length ? null : one.refusedBy,
  }));
}
