import { identifies } from '../../cms/identifier.ts';
import { type Certificate, mayServe, parseCertificate } from '../../pki/certificate.ts';
import { type PathResult, type TrustAnchors, validatePath } from '../../pki/path.ts';
import type { Reason } from '../../pki/reasons.ts';
import type { RevocationPolicy } from '../../pki/revocation.ts';
import type { AuthorSignature, SignerFacts } from '../../smime/author-signature.ts';
import type { CertificateSource, Purpose } from '../../store/schema.ts';
import type { ListContext } from '../lists/list-context.ts';

/** What becomes of one certificate for one purpose of one address, and why (RULES 15, 16). */
export interface Filing {
  readonly certificate: Certificate;
  readonly purpose: Purpose;
  /** `use` at once, `pending` until the change is confirmed, or not taken. */
  readonly action: 'use' | 'pending' | 'skip';
  /** Of one that no path makes valid: what its path lacks. */
  readonly reason: FilingReason | Reason;
  /** Who vouches for it. */
  readonly source: CertificateSource;
  /** Authorities between it and the anchor, as they came with it: they are needed to encrypt to it later. */
  readonly chain: readonly Certificate[];
}

export type FilingReason =
  | 'first'
  | 'same-key'
  | 'signed-by-old'
  | 'further'
  | 'already-known'
  | 'newer'
  | 'changed-key'
  | 'revoked-key'
  | 'refused-before'
  | 'owner-decides'
  | 'candidate'
  | 'older'
  | 'too-many'
  | 'future'
  | 'off';

/** The certificate now in use for one purpose, as far as the decision needs it. */
export interface InUse {
  readonly sha256: string;
  readonly spkiSha256: string;
  readonly notAfter: number;
  /** When the signature that brought it was made; 0 if unknown. */
  readonly signingTime: number;
  /** Who vouches for it. */
  readonly source: CertificateSource;
}

export interface HarvestFacts {
  readonly address: string;
  readonly signature: AuthorSignature;
  readonly inUse: Readonly<Record<Purpose, InUse | null>>;
  /** Whether any certificate was ever known for the address and purpose, expired ones too (RULES 15). */
  readonly known: Readonly<Record<Purpose, boolean>>;
  /** Certificates whose place one with another key took, by SHA-256, and when. */
  readonly replaced: Readonly<Record<Purpose, ReadonlyMap<string, number>>>;
  /** SHA-256 of those that an owner refused or removed. */
  readonly refused: Readonly<Record<Purpose, readonly string[]>>;
  /** SHA-256 of the certificates that wait for a person's word. */
  readonly waiting: Readonly<Record<Purpose, readonly string[]>>;
  readonly anchors: TrustAnchors;
  /** Authorities of the store and of the network, that may lead to an anchor. */
  readonly intermediates: readonly Certificate[];
  readonly revocation: RevocationPolicy;
  /** Keys (SHA-256 of the SPKI) of which a certificate was revoked. */
  readonly revokedKeys: ReadonlySet<string>;
  readonly receivedAt: number;
}

/** How far ahead of the receipt a signature may say that it was made. */
export const mostAheadMs = 3_600_000;
/** Certificates that may wait for one address and purpose: an attacker could bring one with each mail. */
const mostWaiting = 5;

/**
 * The signature to harvest from. Where the author signed with his old key and with a new one, the new one brings the
 * news, and the old one vouches for it (RULES 15).
 */
export function signatureWithNews(signature: AuthorSignature, inUse: HarvestFacts['inUse']): AuthorSignature {
  const isNew = (one: SignerFacts) => read(one).sha256 !== inUse.sign?.sha256;
  const news = isNew(signature) ? undefined : signature.others.find((one) => one.trusted && isNew(one));
  if (!news) return signature;
  const { trusted: _, ...facts } = news;
  const rest = signature.others.filter((one) => one !== news);
  return { ...signature, ...facts, others: [{ ...signature, trusted: true }, ...rest] };
}

const read = ({ certificate }: SignerFacts): Certificate => parseCertificate(Buffer.from(certificate));

/**
 * Which certificates of a verified signature are taken for the author's address. `signature` is the one that made
 * the verdict `signed`: certificates of anything less are not looked at. Pure.
 */
export function filingsFor(list: ListContext, facts: HarvestFacts): Filing[] {
  const signer = read(facts.signature);
  const filings: Filing[] = [];
  if (mayServe(signer, 'sign')) filings.push(file(list, facts, signer, 'sign'));
  return [...filings, ...readingFilings(list, facts, signer)];
}

/**
 * The certificate that the author wants mail encrypted to: the one SMIMEEncryptionKeyPreference names (a signed
 * attribute, RFC 8551 2.5.3), else the signer's own if its key may serve, else one beside it in the bag, which nothing
 * vouches for: one of the same subject and issuer may fill a gap, any other waits for an owner (RULES 16). One that has
 * no valid path is named with what it lacks.
 */
function readingFilings(list: ListContext, facts: HarvestFacts, signer: Certificate): Filing[] {
  const isHis = (one: Certificate): boolean =>
    mayServe(one, 'encrypt') && one.addresses.includes(facts.address);
  const isValid = (one: Certificate): boolean => pathOf(list, facts, one, 'encrypt').valid;
  const bag = bagOf(facts).filter(isHis);
  const { preference } = facts.signature;
  // Anybody can put a forged one of the same name before it.
  const preferred = preference
    ? [...bag, signer].filter((one) => identifies(preference, one) && isHis(one))
    : [];
  const named = preferred.find(isValid);
  if (named) return [file(list, facts, named, 'enc')];
  const lacking = preferred.slice(0, 1).map((one) => unfit(list, facts, one));
  if (mayServe(signer, 'encrypt')) return [...lacking, file(list, facts, signer, 'enc')];
  const isKin = (one: Certificate): boolean =>
    one.subjectDer.equals(signer.subjectDer) && one.issuerDer.equals(signer.issuerDer);
  const kin = bag.find((one) => isKin(one) && isValid(one));
  if (kin) return [...lacking, facts.known.enc ? candidate(list, facts, kin) : file(list, facts, kin, 'enc')];
  // Programs send the one before along with the new one.
  const [latest, ...others] = [...bag].sort((a, b) => b.notBefore - a.notBefore);
  const beside = [latest, ...others].find((one) => one && isValid(one));
  if (beside) return [...lacking, candidate(list, facts, beside)];
  return lacking.length > 0 || !latest ? lacking : [unfit(list, facts, latest)];
}

/** One that no path makes valid is not taken, for what its path lacks; one that is in use, or not wanted at all, is that. */
function unfit(list: ListContext, facts: HarvestFacts, certificate: Certificate): Filing {
  const filed = file(list, facts, certificate, 'enc');
  const [reason = 'no-path'] = pathOf(list, facts, certificate, 'encrypt').reasons;
  return filed.action === 'skip' ? filed : { ...filed, action: 'skip', reason };
}

function pathOf(
  list: ListContext,
  facts: HarvestFacts,
  one: Certificate,
  purpose: 'encrypt' | 'any',
): PathResult {
  const { anchors, revocation, receivedAt: at } = facts;
  const intermediates = [...bagOf(facts), ...facts.intermediates];
  return validatePath(one, { anchors, intermediates, at, purpose, floor: list.floor, revocation });
}

function chainOf(list: ListContext, facts: HarvestFacts, one: Certificate): Certificate[] {
  const { valid, path } = pathOf(list, facts, one, 'any');
  return valid ? path.slice(1, -1) : [];
}

function bagOf({ signature }: HarvestFacts): Certificate[] {
  return signature.bag.map((der) => parseCertificate(Buffer.from(der)));
}

/** What nothing signed names is an owner's to decide. */
const candidate = (list: ListContext, facts: HarvestFacts, certificate: Certificate): Filing =>
  file(list, facts, certificate, 'enc', false);

function file(
  list: ListContext,
  facts: HarvestFacts,
  certificate: Certificate,
  purpose: Purpose,
  isNamed = true,
): Filing {
  const filed = (action: Filing['action'], reason: FilingReason): Filing => ({
    certificate,
    purpose,
    action,
    reason,
    source: voucherFor(facts, purpose, reason),
    chain: action === 'skip' ? [] : chainOf(list, facts, certificate),
  });
  const current = facts.inUse[purpose];
  const time = facts.signature.signingTime ?? 0;
  const isInUse = current?.sha256 === certificate.sha256;
  if (list.policy.harvest === 'off' && !isInUse) return filed('skip', 'off');
  if (time > facts.receivedAt + mostAheadMs) return filed('skip', 'future');
  if (isInUse) return filed('skip', 'already-known');
  if (current && time < current.signingTime) return filed('skip', 'older');
  // What an old mail says of a key was said before the key was changed.
  if (time <= (facts.replaced[purpose].get(certificate.sha256) ?? -1)) return filed('skip', 'older');
  const wait = (reason: FilingReason): Filing => {
    const waiting = facts.waiting[purpose];
    const isFull = waiting.length >= mostWaiting && !waiting.includes(certificate.sha256);
    return isFull ? filed('skip', 'too-many') : filed('pending', reason);
  };
  if (facts.refused[purpose].includes(certificate.sha256)) return wait('refused-before');
  const isFirstOff = !facts.known[purpose] && list.policy['harvest.first'] === 'off';
  if (!isNamed) return isFirstOff ? filed('skip', 'off') : wait('candidate');
  // A key that was lost is lost under every certificate.
  if (facts.revokedKeys.has(certificate.spkiSha256)) return wait('revoked-key');
  if (current?.spkiSha256 === certificate.spkiSha256)
    return endsSooner(certificate, current, facts) ? filed('skip', 'older') : filed('use', 'same-key');
  if (facts.known[purpose] || isOtherKey(facts, purpose)) {
    if (list.policy.harvest === 'verified') return filed('use', 'newer');
    return isNamedByOld(facts, certificate, purpose) ? filed('use', 'signed-by-old') : wait('changed-key');
  }
  if (isFirstOff) return filed('skip', 'off');
  return list.policy['harvest.first'] === 'owner' ? wait('owner-decides') : filed('use', 'first');
}

/** What renews a certificate, or what its key names, has the word that was given for that; else nobody gave one. */
function voucherFor({ inUse }: HarvestFacts, purpose: Purpose, reason: FilingReason): CertificateSource {
  if (reason !== 'same-key' && reason !== 'signed-by-old') return 'harvested';
  const before = [inUse[purpose], reason === 'same-key' ? null : inUse.sign].filter((one) => one !== null);
  return before.every((one) => one.source !== 'harvested') ? 'approved' : 'harvested';
}

/** Two for one key: the one that holds longer stays, as long as it is valid. */
function endsSooner(certificate: Certificate, current: InUse, { receivedAt }: HarvestFacts): boolean {
  return certificate.notAfter < current.notAfter && receivedAt <= current.notAfter;
}

/**
 * RULES 15: a signature by the old key on the same mail that names the certificate (SMIMEEncryptionKeyPreference, or its
 * signer's own key). That it only stands beside one by the new key shows nothing: anybody can add his signature to
 * a mail that the old key's holder once signed for him.
 */
function isNamedByOld(
  { signature, inUse, revokedKeys }: HarvestFacts,
  certificate: Certificate,
  purpose: Purpose,
): boolean {
  const old = [inUse[purpose], inUse.sign].map((one) => one?.spkiSha256);
  return [signature, ...signature.others].some((one) => {
    const { spkiSha256 } = read(one);
    if (!old.includes(spkiSha256) || revokedKeys.has(spkiSha256)) return false;
    return one.preference ? identifies(one.preference, certificate) : spkiSha256 === certificate.spkiSha256;
  });
}

/**
 * What the certificates that were taken do for another address that they name: they fill a gap and replace nothing
 * (RULES 16). For purposes of which nothing was ever known for it; none where no authority vouches for the address.
 */
export function furtherFilings(
  list: ListContext,
  facts: HarvestFacts,
  d: { readonly filings: readonly Filing[]; readonly address: string; readonly gaps: readonly Purpose[] },
): Filing[] {
  if (list.policy.harvest === 'off' || list.policy['harvest.first'] === 'off') return [];
  const taken = d.filings.filter(
    ({ action, reason, purpose, certificate }) =>
      (action === 'use' || reason === 'already-known') &&
      d.gaps.includes(purpose) &&
      certificate.addresses.includes(d.address) &&
      pathOf(list, facts, certificate, 'any').valid,
  );
  const action = list.policy['harvest.first'] === 'owner' ? 'pending' : 'use';
  return taken.map((filing) => ({ ...filing, action, reason: 'further', source: 'harvested' }));
}

/**
 * Whether the address is known by another key than this mail's, though not for this purpose: a first certificate that the
 * mail brings is then a different key for a known address (RULES 15), for signing too: it would vouch for the next one.
 */
function isOtherKey({ known, inUse, signature }: HarvestFacts, purpose: Purpose): boolean {
  const other: Purpose = purpose === 'enc' ? 'sign' : 'enc';
  return known[other] && inUse[other]?.spkiSha256 !== read(signature).spkiSha256;
}

/** Whether the signer is nobody new to the address: nothing is known of it, or he signs with a key that it uses. */
export function isKnownSigner(
  { known, inUse }: Pick<HarvestFacts, 'known' | 'inUse'>,
  signature: SignerFacts,
): boolean {
  const { spkiSha256 } = read(signature);
  const isKnown = known.sign || known.enc;
  return !isKnown || [inUse.sign, inUse.enc].some((one) => one?.spkiSha256 === spkiSha256);
}
