import { type Ber, bytesOf, contentOf, expect, tag } from '../pki/ber.ts';
import { sameName } from '../pki/name.ts';

/** How CMS names a certificate (RFC 5652 5.3, 6.2.1, 10.2.4). */
export type CertificateId =
  | {
      readonly kind: 'issuer-serial';
      /** The issuer's Name, DER. */
      readonly issuerDer: Buffer;
      /** Content octets of the serial number. */
      readonly serialDer: Buffer;
    }
  | {
      readonly kind: 'key-id';
      /** The value of the certificate's subjectKeyIdentifier extension. */
      readonly keyId: Buffer;
    };

/** What of a certificate an identifier is compared with. */
export interface Identified {
  readonly issuerDer: Uint8Array;
  readonly serialDer: Uint8Array;
  readonly subjectKeyId: Uint8Array | null;
}

/** Reads an IssuerAndSerialNumber, whose own tag may be an IMPLICIT one; `ber-malformed` if it is none. */
export function readIssuerSerial(node: Ber): CertificateId {
  const issuer = expect(node.children[0], tag.sequence, 'the name of an issuer');
  const serial = expect(node.children[1], tag.integer, 'a serial number');
  return { kind: 'issuer-serial', issuerDer: bytesOf(issuer), serialDer: contentOf(serial) };
}

/** Whether `id` names this certificate. More than one may be named, by accident or on purpose: try each. */
export function identifies(id: CertificateId, certificate: Identified): boolean {
  if (id.kind === 'key-id')
    return certificate.subjectKeyId !== null && same(id.keyId, certificate.subjectKeyId);
  if (!same(id.serialDer, certificate.serialDer)) return false;
  // Some senders write the name again with other string types: RFC 5280 7.1 calls it the same name.
  return sameName(id.issuerDer, Buffer.from(certificate.issuerDer));
}

// Not a.equals(b): what passed postMessage is a Uint8Array, which has no such method.
const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;
