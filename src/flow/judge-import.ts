import { dayOf } from '../base/day.ts';
import { type Certificate, mayServe } from '../pki/certificate.ts';
import { type TrustAnchors, validatePath } from '../pki/path.ts';
import { type Reason, sentenceOf } from '../pki/reasons.ts';
import type { RevocationPolicy } from '../pki/revocation.ts';
import { keyWeakness } from '../pki/signatures.ts';
import type { Database } from '../store/database.ts';
import type { CertificateUse } from '../store/directory.ts';
import type { Purpose } from '../store/schema.ts';
import { type ImportOrder, refusedBefore, standing } from './import-order.ts';
import type { FindIntermediates } from './intermediates.ts';
import type { Keyring } from './keyring.ts';
import type { ListContext } from './list-context.ts';
import type { RevocationBook } from './revocation-book.ts';

/** A certificate to import, and where it comes from. */
export interface ImportCandidate {
  readonly certificate: Certificate;
  /** File and block, for people. */
  readonly where: string;
  /** What the name of its file in a certificate directory says; null elsewhere. */
  readonly named: { readonly address: string; readonly use: CertificateUse } | null;
}

export type ImportReason =
  | 'authority'
  | 'no-address'
  | 'other-address'
  | 'expired'
  | 'not-yet-valid'
  | 'wrong-usage'
  | 'weak-key'
  | 'not-trusted'
  | 'revoked'
  | 'refused-before';

interface Objection {
  readonly reason: ImportReason;
  /** In words. */
  readonly why: string;
}

/** What an operator's import made, or would make, of one certificate. */
export interface ImportVerdict {
  readonly certificate: Certificate;
  readonly where: string;
  readonly outcome: 'imported' | 'known' | 'refused';
  /** The addresses that it is bound to. */
  readonly addresses: readonly string[];
  readonly purposes: readonly Purpose[];
  /** Why it was refused; null if it was not. */
  readonly objection: Objection | null;
  /** Authorities of the same import between it and an anchor: needed to encrypt to it later. */
  readonly chain: readonly Certificate[];
}

export interface ImportParts {
  readonly database: Database;
  readonly keyring: Pick<Keyring, 'anchorsOf'>;
  readonly revocation: Pick<RevocationBook, 'policyOf'>;
  readonly intermediates: FindIntermediates;
  readonly lists: readonly ListContext[];
}

interface Trust {
  readonly lists: readonly {
    readonly list: ListContext;
    readonly anchors: TrustAnchors;
    readonly revocation: RevocationPolicy;
  }[];
  /** Authorities of the import and of the store, by their subject. */
  readonly authorities: ReadonlyMap<string, readonly Certificate[]>;
}

/** Judges certificates, each on its own; writes nothing. */
export type JudgeImport = (candidate: ImportCandidate) => Promise<ImportVerdict>;

/**
 * The candidates in the order to import them: each once, oldest first, so that of several for one address the newest
 * comes into use.
 */
export function inImportOrder(candidates: readonly ImportCandidate[]): ImportCandidate[] {
  const key = ({ certificate, named }: ImportCandidate) =>
    [certificate.sha256, named?.address ?? '', named?.use ?? ''].join(' ');
  const unique = [...new Map([...candidates].reverse().map((one) => [key(one), one])).values()].reverse();
  return unique.sort((a, b) => a.certificate.notBefore - b.certificate.notBefore);
}

/**
 * Makes the judgement of an import: address, validity, usage, strength, revocation as far as it is known here, and a
 * path to an anchor of some list (authorities among `candidates` may lead there).
 */
export async function judgeImportsOf(
  parts: ImportParts,
  order: ImportOrder,
  candidates: readonly ImportCandidate[],
): Promise<JudgeImport> {
  const authorities = new Map<string, Certificate[]>();
  for (const { certificate } of candidates) {
    if (!certificate.isCa) continue;
    const same = authorities.get(certificate.subjectName);
    if (same) same.push(certificate);
    else authorities.set(certificate.subjectName, [certificate]);
  }
  const lists = await Promise.all(
    parts.lists.map(async (list) => {
      const { mode, evidence } = await parts.revocation.policyOf(list);
      // What is not known is looked for, and insisted on, when mail is to be encrypted.
      const revocation = { mode: mode === 'off' ? mode : ('soft' as const), evidence };
      return { list, anchors: await parts.keyring.anchorsOf(list), revocation };
    }),
  );
  const trust: Trust = { lists, authorities };
  const { q } = parts.database;
  return async ({ certificate, where, named }) => {
    const addresses = addressesFor(certificate, order, named);
    const purposes = purposesOf(certificate, named?.use ?? 'both');
    const base = { certificate, where, addresses, purposes };
    const stored = await parts.intermediates(certificate);
    const plain = objectionTo(certificate, order, { addresses, purposes, named, trust });
    const vouched = plain ? { objection: plain, chain: [] } : vouchedFor(certificate, order, trust, stored);
    const found = vouched.objection;
    const word = found ? null : await refusedBefore(q, certificate, order, addresses);
    const objection = word === null ? found : { reason: 'refused-before' as const, why: word };
    if (objection) return { ...base, objection, chain: [], outcome: 'refused' };
    const { chain } = vouched;
    let isNews = false;
    for (const address of addresses)
      for (const purpose of purposes)
        isNews ||= (await standing(q, { certificate, address, purpose, order })) !== 'known';
    return { ...base, objection: null, chain, outcome: isNews ? 'imported' : 'known' };
  };
}

function addressesFor(
  certificate: Certificate,
  { pin, address }: ImportOrder,
  named: ImportCandidate['named'],
): readonly string[] {
  if (pin !== null) return [pin];
  const wanted = address ?? named?.address ?? null;
  return wanted === null ? certificate.addresses : certificate.addresses.filter((one) => one === wanted);
}

function purposesOf(certificate: Certificate, use: CertificateUse): Purpose[] {
  const purposes: Purpose[] = [];
  if (use !== 'enc' && mayServe(certificate, 'sign')) purposes.push('sign');
  if (use !== 'sign' && mayServe(certificate, 'encrypt')) purposes.push('enc');
  return purposes;
}

const pinHint = '(--pin ADDRESS binds it all the same)';

function objectionTo(
  certificate: Certificate,
  order: ImportOrder,
  d: {
    readonly addresses: readonly string[];
    readonly purposes: readonly Purpose[];
    readonly named: ImportCandidate['named'];
    readonly trust: Trust;
  },
): Objection | null {
  const { trust, named } = d;
  const no = (reason: ImportReason, why: string): Objection => ({ reason, why });
  if (certificate.isCa)
    return no(
      'authority',
      "it is an authority's: trusted authorities belong in trust.cafile or trust.capath",
    );
  if (certificate.addresses.length === 0 && order.pin === null)
    return no('no-address', `it names no mail address ${pinHint}`);
  if (d.addresses.length === 0) {
    const names = certificate.addresses.join(', ');
    if (order.address !== null) return no('other-address', `it does not name ${order.address}, but ${names}`);
    return no(
      'other-address',
      `it does not name ${named?.address}, as its file is called, but ${names} (--pin ${named?.address} binds it all the same)`,
    );
  }
  if (order.now > certificate.notAfter) return no('expired', `it expired on ${dayOf(certificate.notAfter)}`);
  if (order.now < certificate.notBefore)
    return no('not-yet-valid', `it is not valid before ${dayOf(certificate.notBefore)}`);
  if (d.purposes.length === 0)
    return no(
      'wrong-usage',
      named === null || named.use === 'both'
        ? 'its key usage allows neither signing nor encrypting mail'
        : 'its key usage does not allow what the name of its file says',
    );
  // Strong enough for one list is enough: each list looks again when it encrypts.
  const floors = trust.lists.map(({ list }) => list.floor);
  if (floors.length > 0 && floors.every((floor) => keyWeakness(certificate, floor).length > 0))
    return no('weak-key', 'its key is weaker than every list accepts (minimum.rsa)');
  return null;
}

/** Whether some list's authorities vouch for it, or a pin, and the authorities between. */
function vouchedFor(
  certificate: Certificate,
  { now: at, pin }: ImportOrder,
  trust: Trust,
  stored: readonly Certificate[],
): { readonly objection: Objection | null; readonly chain: readonly Certificate[] } {
  const refuse = (objection: Objection) => ({ objection, chain: [] });
  const no = (why: string) => refuse({ reason: 'not-trusted', why });
  const { lists } = trust;
  if (pin === null && lists.length === 0)
    return no('there is no list yet whose authorities could vouch for it: make one first, or --pin ADDRESS');
  if (pin === null && lists.every(({ anchors }) => anchors.certificates.length === 0))
    return no('no authority is trusted here yet: set trust.cafile or trust.capath, or --pin ADDRESS');
  const purpose = mayServe(certificate, 'encrypt') ? 'encrypt' : 'sign';
  const intermediates = [...authoritiesAbove(certificate, trust), ...stored];
  let best: { reasons: readonly Reason[]; missingIssuer: string | null } | null = null;
  for (const { list, anchors, revocation } of lists) {
    const request = { anchors, intermediates, at, purpose, floor: list.floor, revocation } as const;
    const result = validatePath(certificate, request);
    if (result.valid) return { objection: null, chain: result.path.slice(1, -1) };
    // A pin stands in for the authority, but not against its word that the key was lost.
    if (result.reasons.includes('revoked')) {
      const why = sentenceOf('revoked', { subject: certificate.subject });
      return refuse({ reason: 'revoked', why: `${why}, says ${certificate.issuer}` });
    }
    if (best === null || result.reasons.length < best.reasons.length) best = result;
  }
  if (pin !== null) return { objection: null, chain: [] };
  const data = { subject: certificate.subject, issuer: best?.missingIssuer ?? null };
  const words = (best?.reasons ?? []).map((reason) => sentenceOf(reason, data));
  return no(`no list trusts it: ${words.join('; ')} ${pinHint}`);
}

/** Levels of authorities between a person and an anchor; real ones have one or two. */
const levels = 4;

/** Of all authorities of the import only those that may stand above: there may be thousands. */
function authoritiesAbove(certificate: Certificate, { authorities }: Trust): Certificate[] {
  const found = new Set<Certificate>();
  let names = new Set([certificate.issuerName]);
  for (let level = 0; level < levels && names.size > 0; level++) {
    const above = [...names].flatMap((name) => authorities.get(name) ?? []).filter((one) => !found.has(one));
    for (const one of above) found.add(one);
    names = new Set(above.map((one) => one.issuerName));
  }
  return [...found];
}
