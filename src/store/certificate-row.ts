import { type Certificate, mayServe, publicKeyOf } from '../pki/certificate.ts';
import type { CertificateRow } from './certificates.ts';
import type { CertificateSource } from './schema.ts';

/** A certificate as the store keeps it. */
export function certificateRow(
  certificate: Certificate,
  d: { source: CertificateSource; at: number; signingTime: number | null },
): CertificateRow {
  const keyForm = certificate.keyType === 'rsa' ? 'pkcs1' : 'spki';
  const publicKey =
    keyForm === 'pkcs1'
      ? publicKeyOf(certificate).export({ type: 'pkcs1', format: 'der' })
      : certificate.spkiDer;
  return {
    sha256: certificate.sha256,
    der: certificate.der,
    spkiSha256: certificate.spkiSha256,
    subject: certificate.subject,
    issuer: certificate.issuer,
    issuerDer: certificate.issuerDer,
    serialDer: certificate.serialDer,
    subjectKeyId: certificate.subjectKeyId,
    notBefore: certificate.notBefore,
    notAfter: certificate.notAfter,
    addresses: certificate.addresses,
    keyType: certificate.keyType,
    maySign: mayServe(certificate, 'sign'),
    mayEncrypt: mayServe(certificate, 'encrypt'),
    publicKey,
    keyForm,
    source: d.source,
    state: 'good',
    firstSeen: d.at,
    signingTime: d.signingTime,
  };
}
