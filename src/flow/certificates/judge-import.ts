import { type Certificate, mayServe } from '../../pki/certificate.ts';
import { type TrustAnchors, validatePath } from '../../pki/path.ts';
import type { RevocationPolicy } from '../../pki/revocation.ts';
import { inUse } from '../../store/certificates.ts';
import type { Database } from '../../store/database.ts';
import type { CertificateUse } from '../../store/directory.ts';
import type { Purpose } from '../../store/schema.ts';
import type { Keyring } from '../lists/keyring.ts';
import type { ListContext } from '../lists/list-context.ts';
import type { FindIntermediates } from '../revocation/intermediates.ts';
import type { RevocationBook } from '../revocation/revocation-book.ts';
import { type ImportOrder, refusedBefore, standing } from './import-order.ts';
import {
  type CertificateObjection,
  type CertificateReason,
  objectionOn,
  objectionToDates,
} from './judge-certificate.ts';
import { purposesServed } from './purposes.ts';

/** A certificate to import, and where it comes from. */
export interface ImportCandidate {
  readonly certificate: Certificate;
  /** File and block, for people. */
  readonly where: string;
  /** What the name of its file in a certificate directory says; null elsewhere. */
  readonly named: { readonly address: string; readonly use: CertificateUse } | null;
}

export type ImportReason =
  | CertificateReason
  | 'authority'
  | 'no-address'
  | 'other-address'
  | 'many-addresses'
  | 'refused-before';

interface Objection {
  readonly reason: ImportReason;
  /** In words. */
  readonly why: string;
}

/** A certificate in use that gives way to one with another key. */
export interface Replaced {
  readonly address: string;
  readonly purpose: Purpose;
  readonly sha256: string;
}

/** What an operator's import made, or would make, of one certificate. */
export interface ImportVerdict {
  readonly certificate: Certificate;
  readonly where: string;
  readonly outcome: 'imported' | 'known' | 'refused';
  /** The addresses that it is bound to. */
  readonly addresses: readonly string[];
  readonly purposes: readonly Purpose[];
  /** What it takes the place of though that has another key. */
  readonly replaces: readonly Replaced[];
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
 * Makes the judgement of an import: address, validity, usage, strength, revocation as far as it is known here, and a
 * path to an anchor of some list (`brought`, the authorities of the same import, may lead there).
 */
export async function judgeImportsOf(
  parts: ImportParts,
  order: ImportOrder,
  brought: readonly Certificate[],
): Promise<JudgeImport> {
  const authorities = new Map<string, Certificate[]>();
  for (const certificate of brought) {
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
    const purposes = purposesServed(certificate, named?.use ?? 'both');
    const base = { certificate, where, addresses, purposes };
    const stored = await parts.intermediates(certificate);
    const plain = objectionTo(certificate, order, { addresses, purposes, named });
    const vouched = plain
      ? { objection: plain, chain: [] }
      : await vouchedFor(certificate, order, trust, stored);
    const found = vouched.objection;
    const word = found ? null : await refusedBefore(q, certificate, order, addresses);
    const objection = word === null ? found : { reason: 'refused-before' as const, why: word };
    if (objection) return { ...base, objection, chain: [], replaces: [], outcome: 'refused' };
    const { chain } = vouched;
    let isNews = false;
    const replaces: Replaced[] = [];
    for (const address of addresses)
      for (const purpose of purposes) {
        const place = await standing(q, { certificate, address, purpose, order });
        isNews ||= place !== 'known';
        const current = place === 'take' ? await inUse(q, address, purpose) : null;
        if (current && current.spkiSha256 !== certificate.spkiSha256)
          replaces.push({ address, purpose, sha256: current.sha256 });
      }
    return { ...base, objection: null, chain, replaces, outcome: isNews ? 'imported' : 'known' };
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

/**
 * Whether a certificate is no person's. What programs make of a self-signed one (`openssl req -x509`) calls itself an
 * authority's: pinned to an address that it names, it is a person's.
 */
export function isAuthority(certificate: Certificate, pin: string | null): boolean {
  const { isCa, issuerName, subjectName, addresses } = certificate;
  return isCa && !(pin !== null && issuerName === subjectName && addresses.includes(pin));
}

/** A person has a few. */
const mostAddresses = 100;

const pinHint = '(--pin ADDRESS binds it all the same)';

function objectionTo(
  certificate: Certificate,
  order: ImportOrder,
  d: {
    readonly addresses: readonly string[];
    readonly purposes: readonly Purpose[];
    readonly named: ImportCandidate['named'];
  },
): Objection | null {
  const { named } = d;
  const no = (reason: ImportReason, why: string): Objection => ({ reason, why });
  if (isAuthority(certificate, order.pin))
    return no(
      'authority',
      certificate.addresses.length > 0 && certificate.issuerName === certificate.subjectName
        ? `it says that it is an authority's; if it is the person's own, self-signed, --pin ${certificate.addresses[0]} binds it`
        : "it is an authority's: trusted authorities belong in trust.cafile or trust.capath",
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
  if (d.addresses.length > mostAddresses)
    return no(
      'many-addresses',
      `it names ${d.addresses.length} addresses, more than ${mostAddresses} (--address ADDRESS takes it for one of them)`,
    );
  const dated = objectionToDates(certificate, order.now);
  if (dated) return dated;
  if (d.purposes.length === 0)
    return no(
      'wrong-usage',
      named === null || named.use === 'both'
        ? 'its key usage allows neither signing nor encrypting mail'
        : 'its key usage does not allow what the name of its file says',
    );
  return null;
}

/** Whether some list's authorities vouch for it, or a pin, and the authorities between. */
async function vouchedFor(
  certificate: Certificate,
  { now: at, pin }: ImportOrder,
  trust: Trust,
  stored: readonly Certificate[],
): Promise<{ readonly objection: Objection | null; readonly chain: readonly Certificate[] }> {
  const refuse = (objection: Objection) => ({ objection, chain: [] });
  const no = (why: string) => refuse({ reason: 'not-trusted', why });
  const { lists } = trust;
  if (pin === null && lists.length === 0)
    return no('there is no list yet whose authorities could vouch for it: make one first, or --pin ADDRESS');
  if (pin === null && lists.every(({ anchors }) => anchors.certificates.length === 0))
    return no('no authority is trusted here yet: set trust.cafile or trust.capath, or --pin ADDRESS');
  const source = pin === null ? 'imported' : 'pinned';
  const purpose = mayServe(certificate, 'encrypt') ? 'encrypt' : 'sign';
  const intermediates = [...authoritiesAbove(certificate, trust), ...stored];
  const objections: CertificateObjection[] = [];
  for (const { list, anchors, revocation } of lists) {
    const { floor } = list;
    const result = validatePath(certificate, { anchors, intermediates, at, purpose, floor, revocation });
    const asked = { at, purpose, source, path: async () => result } as const;
    const objection = await objectionOn(list, certificate, asked);
    // What one list takes is taken: each looks again when it encrypts. Of what only the pin vouches for the others are asked, too.
    if (!objection && result.valid) return { objection: null, chain: result.path.slice(1, -1) };
    if (objection?.reason === 'revoked') return refuse(objection);
    if (objection) objections.push(objection);
  }
  if (objections.length < lists.length || lists.length === 0) return { objection: null, chain: [] };
  if (objections.every((one) => one.reason === 'weak-key'))
    return refuse({ reason: 'weak-key', why: 'its key is weaker than every list accepts (minimum.rsa)' });
  const words = [...new Set(objections.map((one) => one.why))].join('; or ');
  return no(`no list trusts it: ${words} ${pinHint}`);
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
