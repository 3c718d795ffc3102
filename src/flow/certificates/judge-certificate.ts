import { dayOf } from '../../base/day.ts';
import type { Floor } from '../../pki/algorithms.ts';
import { type Certificate, mayServe } from '../../pki/certificate.ts';
import type { PathResult } from '../../pki/path.ts';
import { type Reason, sentenceOf } from '../../pki/reasons.ts';
import { keyWeakness } from '../../pki/signatures.ts';
import type { ListPolicy } from '../../policy/settings.ts';
import type { CertificateSource } from '../../store/schema.ts';

/** Why a person's certificate cannot be used: the same for a copy, an import and what an owner is told of it. */
export type CertificateReason =
  | 'expired'
  | 'not-yet-valid'
  | 'wrong-usage'
  | 'weak-key'
  | 'revoked'
  | 'not-checked'
  | 'not-trusted'
  | 'pending';

export interface CertificateObjection {
  readonly reason: CertificateReason;
  /** In words, without a full stop; names the certificate that is at fault, the person's or an authority's. */
  readonly why: string;
}

/** What of a certificate is judged beside its path. */
export type Judged = Pick<
  Certificate,
  | 'subject'
  | 'issuer'
  | 'notBefore'
  | 'notAfter'
  | 'keyType'
  | 'keyUsage'
  | 'extendedKeyUsage'
  | 'rsaBits'
  | 'curve'
>;

/**
 * What speaks against a certificate on a list: first what it says itself, then its path, then that nobody's word was given
 * where the list asks for one before it encrypts. `path` is asked only if it comes to that.
 */
export async function objectionOn(
  list: { readonly floor: Floor; readonly policy: Pick<ListPolicy, 'harvest.first'> },
  certificate: Judged,
  d: {
    readonly at: number;
    readonly purpose: 'sign' | 'encrypt';
    /** Who vouches for it. */
    readonly source: CertificateSource;
    readonly path: () => Promise<PathResult>;
  },
): Promise<CertificateObjection | null> {
  const { at, purpose, source } = d;
  const itself = objectionToItself(certificate, { at, purpose, floor: list.floor });
  if (itself) return itself;
  const path = objectionToPath(await d.path(), { isPinned: source === 'pinned' });
  if (path || purpose === 'sign') return path;
  return objectionToVoucher(certificate, { policy: list.policy, source });
}

/** What speaks against a certificate whoever vouches for it (RFC 8550 4); null if nothing. `at` in ms. */
export function objectionToItself(
  certificate: Judged,
  d: { readonly at: number; readonly purpose: 'sign' | 'encrypt'; readonly floor: Floor },
): CertificateObjection | null {
  const { at, purpose, floor } = d;
  const dated = objectionToDates(certificate, at);
  if (dated) return dated;
  const { subject, issuer } = certificate;
  if (!mayServe(certificate, purpose)) {
    const use = purpose === 'encrypt' ? 'to be encrypted to' : 'to sign';
    const whose = `the certificate of ${subject} (issued by ${issuer})`;
    return { reason: 'wrong-usage', why: `the key usage of ${whose} does not allow its key ${use}` };
  }
  if (keyWeakness(certificate, floor).length === 0) return null;
  return { reason: 'weak-key', why: sentenceOf('weak-key', { subject, issuer }) };
}

/** Of what speaks against it by itself, its dates. */
export function objectionToDates(certificate: Judged, at: number): CertificateObjection | null {
  const { notAfter, notBefore } = certificate;
  const no = (reason: 'expired' | 'not-yet-valid', day: number): CertificateObjection => ({
    reason,
    why: `${sentenceOf(reason, certificate)} (${dayOf(day)})`,
  });
  if (at > notAfter) return no('expired', notAfter);
  return at < notBefore ? no('not-yet-valid', notBefore) : null;
}

/** All is right but that nobody knows whether it was revoked (`revocation: hard`): that is ours to mend, not the person's. */
const open: ReadonlySet<Reason> = new Set(['crl-missing', 'crl-expired', 'crl-invalid']);

/**
 * Where a list asks for a person's word about first certificates, one that came by mail alone waits for it, though it came
 * through another list, or before its holder was a member here (RULES 15).
 */
function objectionToVoucher(
  { subject }: Pick<Certificate, 'subject'>,
  d: { readonly policy: Pick<ListPolicy, 'harvest.first'>; readonly source: CertificateSource },
): CertificateObjection | null {
  if (d.source !== 'harvested' || d.policy['harvest.first'] === 'verified') return null;
  const why = `the certificate of ${subject} came by mail alone, and waits until an owner approves it (harvest.first)`;
  return { reason: 'pending', why };
}

/**
 * What its path says against a certificate (RFC 5280 6); null if nothing. A pin stands in for the authority, but not against
 * its word that the key was lost.
 */
function objectionToPath(
  { valid, reasons, flaws, missingIssuer }: PathResult,
  { isPinned }: { readonly isPinned: boolean },
): CertificateObjection | null {
  const isRevoked = reasons.includes('revoked');
  if (!isRevoked && (valid || isPinned)) return null;
  const told = isRevoked ? (['revoked'] as const) : reasons;
  const words = told.flatMap((reason) => {
    const about = flaws.filter((flaw) => flaw.reason === reason);
    return about.length === 0
      ? [sentenceOf(reason, { issuer: missingIssuer })]
      : about.map(({ certificate }) => sentenceOf(reason, certificate));
  });
  const why = [...new Set(words)].join('; ') || 'it is not trusted';
  if (isRevoked) return { reason: 'revoked', why };
  const isOpen = reasons.length > 0 && reasons.every((reason) => open.has(reason));
  return { reason: isOpen ? 'not-checked' : 'not-trusted', why };
}
