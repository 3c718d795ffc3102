import type { SignerReport } from '../cms/verify.ts';
import type { Floor } from '../pki/algorithms.ts';
import type { Certificate } from '../pki/certificate.ts';
import { type PathResult, type TrustAnchors, validatePath } from '../pki/path.ts';
import type { Reason } from '../pki/reasons.ts';
import type { RevocationPolicy } from '../pki/revocation.ts';
import type { SignedLayer, SignerFlaw, SignerVerdict } from './layers.ts';
import type { CheckedSignature } from './peel.ts';

/** One certificate that the owner trusts for one address without its CA (RULES 3). */
export interface Pin {
  readonly sha256: string;
  readonly address: string;
}

export interface TrustRequest {
  readonly anchors: TrustAnchors;
  readonly known: readonly Certificate[];
  readonly pins: readonly Pin[];
  /** The instant that validity is judged at: when the spool received the message (RULES 18). */
  readonly at: number;
  readonly floor: Floor;
  readonly revocation: RevocationPolicy;
}

/** A signer with everything known about it: report for people, and what the verdict needs. */
export interface JudgedSigner {
  readonly report: SignerReport;
  /** The certificate that counts: of those that verify the signature the first trusted one. */
  readonly certificate: Certificate | null;
  readonly verdict: SignerVerdict;
  /** How the path of that certificate went; null if none was looked for. */
  readonly path: PathResult | null;
  /** Trusted by a pin alone: no authority vouches for the addresses in the certificate. */
  readonly pinned: boolean;
}

/** Path validation for every signer of one layer (RFC 8550 4.2, RFC 5280 6). */
export function judgeSigners(layer: CheckedSignature, trust: TrustRequest): JudgedSigner[] {
  // RFC 8550 2.1, 4.1: lists that came with the message are evidence too. `pki` believes none that it has not verified.
  const { mode, evidence } = trust.revocation;
  const crls = [...evidence.crls, ...layer.crls];
  const ocsp = [...evidence.ocsp, ...layer.ocsp];
  const here = { ...trust, revocation: { mode, evidence: { crls, ocsp } } };
  return layer.signers.map((report) => ({ report, ...judgeSigner(report, layer.bag, here) }));
}

/** The layer as it is reported, without keys and raw bytes. */
export function reportLayer(layer: CheckedSignature, signers: readonly JudgedSigner[]): SignedLayer {
  return {
    kind: 'signed',
    form: layer.form,
    signers: signers.map((signer) => signer.verdict),
    reasons: layer.reasons,
  };
}

/** Certificates tried for one signature: each may cost a whole path (RULES 7). */
const mostTried = 4;

function judgeSigner(
  report: SignerReport,
  bag: readonly Certificate[],
  trust: TrustRequest,
): Omit<JudgedSigner, 'report'> {
  const { digest, algorithm, intact, signingTime } = report;
  const base = { digest, algorithm, intact, signingTime };
  // Trust of a certificate whose signature is broken says nothing, and would cost the attacker's choice of paths.
  if (!report.certificate || !intact) {
    const verdict = {
      ...base,
      ...namesOf(report.certificate),
      trusted: false,
      reasons: report.reasons,
      flaws: [],
      remarks: [],
      missingIssuer: null,
    };
    return { certificate: report.certificate, verdict, path: null, pinned: false };
  }
  // Several certificates may fit: anybody can put another one around the same key into the bag, before the right one.
  const tried = report.certificates.slice(0, mostTried).map((certificate) => ({
    certificate,
    ...judgeCertificate(certificate, bag, trust),
  }));
  const best = tried.find((one) => one.trusted) ?? tried[0];
  const certificate = best?.certificate ?? report.certificate;
  const trusted = best?.trusted === true && !report.weak;
  const path = best?.path ?? null;
  const pinned = best?.pinned === true;
  const verdict = {
    ...base,
    ...namesOf(certificate),
    trusted,
    reasons: [...new Set<Reason>([...report.reasons, ...(pinned ? [] : (path?.reasons ?? []))])],
    flaws: pinned || path === null ? [] : flawsOf(path, certificate),
    remarks: path?.remarks ?? [],
    missingIssuer: pinned ? null : (path?.missingIssuer ?? null),
  };
  return { certificate, verdict, path, pinned };
}

function judgeCertificate(certificate: Certificate, bag: readonly Certificate[], trust: TrustRequest) {
  const { anchors, at, floor, revocation } = trust;
  const intermediates = [...bag, ...trust.known];
  const path = validatePath(certificate, { anchors, intermediates, at, purpose: 'sign', floor, revocation });
  const inTime = certificate.notBefore <= at && at <= certificate.notAfter;
  // The owner stands in for the authority, but not against its word that the key was lost.
  const mayStand = !path.valid && inTime && !path.reasons.includes('revoked');
  const pinned = mayStand && trust.pins.some((pin) => pin.sha256 === certificate.sha256);
  return { path, pinned, trusted: path.valid || pinned };
}

function flawsOf({ flaws }: PathResult, own: Certificate): SignerFlaw[] {
  return flaws.map(({ reason, certificate: { subject, issuer, sha256 } }) => ({
    reason,
    subject,
    issuer,
    isOwn: sha256 === own.sha256,
  }));
}

function namesOf(certificate: Certificate | null) {
  return {
    subject: certificate?.subject ?? null,
    issuer: certificate?.issuer ?? null,
    certificate: certificate?.sha256 ?? null,
    addresses: certificate?.addresses ?? [],
  };
}
