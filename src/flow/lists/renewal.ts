import type { Certificate } from '../../pki/certificate.ts';

/** How to come by the next certificate. */
export function renewal(certificate: Certificate, address: string): string {
  return certificate.issuerDer.equals(certificate.subjectDer)
    ? `make a new one with \`reseal key rotate ${address}\``
    : `get a new one with \`reseal key csr ${address}\` and \`reseal key import ${address} FILE\``;
}
