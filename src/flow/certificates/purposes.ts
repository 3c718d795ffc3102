import { type Certificate, mayServe } from '../../pki/certificate.ts';
import type { CertificateUse } from '../../store/directory.ts';
import type { Purpose } from '../../store/schema.ts';

/** What a certificate's key usage must allow for a purpose. */
export const keyUseFor: Readonly<Record<Purpose, 'sign' | 'encrypt'>> = { sign: 'sign', enc: 'encrypt' };

/** The purposes that the name of a file in the certificate directory says. */
export function purposesOf(use: CertificateUse): Purpose[] {
  return use === 'both' ? ['sign', 'enc'] : [use];
}

/** Of these the ones that the certificate's key usage allows. */
export function purposesServed(
  certificate: Pick<Certificate, 'keyUsage' | 'extendedKeyUsage' | 'keyType'>,
  use: CertificateUse,
): Purpose[] {
  return purposesOf(use).filter((purpose) => mayServe(certificate, keyUseFor[purpose]));
}

/** What people call them: `signing and encryption`. */
export function purposeWords(...purposes: readonly Purpose[]): string {
  return purposes.map((purpose) => (purpose === 'sign' ? 'signing' : 'encryption')).join(' and ');
}
