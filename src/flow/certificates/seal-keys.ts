import { type Certificate, parseCertificate } from '../../pki/certificate.ts';
import type { SealKey } from '../../smime/jobs.ts';
import type { FindSealKeys } from '../../smime/workers.ts';
import { type CertificateRow, findCertificates } from '../../store/certificates.ts';
import type { Queries } from '../../store/database.ts';

/** Gives workers what they need of stored certificates. */
export function sealKeysFrom(q: Queries): FindSealKeys {
  return async (sha256s) =>
    (await findCertificates(q, sha256s)).map((row) => sealKeyOf(row, parseCertificate(row.der)));
}

/** A stored certificate as sealing needs it. */
export function sealKeyOf(
  { sha256, issuerDer, serialDer, publicKey, keyForm }: CertificateRow,
  { keyType, curve }: Certificate,
): SealKey {
  return { sha256, issuerDer, serialDer, publicKey: { form: keyForm, der: publicKey }, keyType, curve };
}
