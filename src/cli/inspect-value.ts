import { type Certificate, parseCertificate } from '../pki/certificate.ts';
import type { Reason } from '../pki/reasons.ts';
import type { Layer, SignerVerdict } from '../smime/layers.ts';
import type { OpenReport } from '../smime/open.ts';
import type { Verdict } from '../smime/verdict.ts';
import { instant, instantOrNull } from './output.ts';

/**
 * What `reseal inspect --json` prints: stable, each field in docs/inspect.md (RULES 22). A field may be added under
 * schema 1; none changes its meaning or goes.
 */
export interface Inspection {
  readonly schema: 1;
  readonly verdict: Verdict;
  readonly author: string | null;
  readonly from: readonly string[];
  readonly subject: string | null;
  readonly encrypted: boolean;
  readonly content_sha256: string | null;
  readonly certificates: readonly InspectedCertificate[];
  readonly layers: readonly InspectedLayer[];
  readonly reasons: readonly Reason[];
  readonly protected: {
    readonly form: string;
    readonly from: string | null;
    readonly subject: string | null;
    readonly to: readonly string[] | null;
  } | null;
}

/** A certificate that came with the message; nothing in it is verified. */
export interface InspectedCertificate {
  readonly subject: string;
  readonly issuer: string;
  readonly serial: string;
  readonly sha256: string;
  readonly addresses: readonly string[];
  readonly not_before: string;
  readonly not_after: string;
  readonly key: string;
  readonly usage: readonly string[] | null;
}

export type InspectedLayer =
  | {
      readonly kind: 'encrypted';
      readonly form: 'enveloped' | 'auth-enveloped';
      readonly cipher: string | null;
      readonly key_transport: string | null;
      readonly key_agreement: string | null;
      readonly kdf: string | null;
      readonly recipients: number;
      readonly opened: boolean;
      readonly reason: Reason | null;
    }
  | {
      readonly kind: 'signed';
      readonly form: 'detached' | 'opaque';
      readonly signers: readonly InspectedSigner[];
    }
  | {
      readonly kind: 'compressed';
      readonly algorithm: string | null;
      readonly opened: boolean;
      readonly reason: Reason | null;
    };

export interface InspectedSigner {
  readonly subject: string | null;
  readonly addresses: readonly string[];
  readonly digest: string;
  readonly algorithm: string;
  readonly intact: boolean;
  readonly trusted: boolean;
  readonly signing_time: string | null;
  readonly reasons: readonly Reason[];
}

/** The stable value of a report. */
export function inspectionOf(report: OpenReport): Inspection {
  const { verdict, author, from, subject, encrypted, contentSha256, certificates, layers, reasons } = report;
  const header = report.protected;
  return {
    schema: 1,
    verdict,
    author,
    from,
    subject,
    encrypted,
    content_sha256: contentSha256,
    certificates: certificates.map((der) => certificateValue(parseCertificate(Buffer.from(der)))),
    layers: layers.map(layerValue),
    reasons: codesOf(reasons),
    protected: header && {
      form: header.form,
      from: header.from,
      subject: header.subject,
      to: header.to,
    },
  };
}

function certificateValue(certificate: Certificate): InspectedCertificate {
  const { subject, issuer, serial, sha256, addresses, notBefore, notAfter, keyUsage } = certificate;
  return {
    subject,
    issuer,
    serial,
    sha256,
    addresses,
    not_before: instant(notBefore),
    not_after: instant(notAfter),
    key: keyOf(certificate),
    usage: keyUsage && [...keyUsage],
  };
}

/** NIST's names (FIPS 186-5), as `key generate` takes them; other curves have OpenSSL's. */
const curveNames: Readonly<Record<string, string>> = {
  prime256v1: 'p-256',
  secp384r1: 'p-384',
  secp521r1: 'p-521',
};

/** `rsa-2048`, `p-256`, `brainpoolP256r1`, `ed25519`; `ec` for a curve that is not known. */
export function keyOf({
  keyType,
  rsaBits,
  curve,
}: Pick<Certificate, 'keyType' | 'rsaBits' | 'curve'>): string {
  if (rsaBits !== null) return `${keyType}-${rsaBits}`;
  return curve === null ? keyType : (curveNames[curve] ?? curve);
}

function layerValue(layer: Layer): InspectedLayer {
  if (layer.kind === 'signed')
    return { kind: 'signed', form: layer.form, signers: layer.signers.map(signerValue) };
  if (layer.kind === 'compressed') {
    const { algorithm, opened, reason } = layer;
    return { kind: 'compressed', algorithm, opened, reason };
  }
  const { form, cipher, keyTransport, keyAgreement, kdf, recipients, opened, reason } = layer;
  return {
    kind: 'encrypted',
    form,
    cipher,
    key_transport: keyTransport,
    key_agreement: keyAgreement,
    kdf,
    recipients,
    opened,
    reason,
  };
}

function signerValue(signer: SignerVerdict): InspectedSigner {
  const { subject, addresses, digest, algorithm, intact, trusted, signingTime, reasons } = signer;
  return {
    subject,
    addresses,
    digest,
    algorithm,
    intact,
    trusted,
    signing_time: instantOrNull(signingTime),
    reasons: codesOf(reasons),
  };
}

/** What is weak is `weak` too, whichever stage found it (RULES 5). */
function codesOf(reasons: readonly Reason[]): readonly Reason[] {
  const isWeak = reasons.some((reason) => reason.startsWith('weak-'));
  return isWeak && !reasons.includes('weak') ? ['weak', ...reasons] : reasons;
}
