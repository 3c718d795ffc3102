import { type Ber, bytesOf, contentOf, expect, isUniversal, octetsOf, oidOf, tag } from '../pki/ber.ts';
import { der, derSetOf } from '../pki/der.ts';

/** Attributes that reseal reads or writes (RFC 5652 11, RFC 8551 2.5, RFC 5035 3 and 4). */
export const attributeOid = {
  contentType: '1.2.840.113549.1.9.3',
  messageDigest: '1.2.840.113549.1.9.4',
  signingTime: '1.2.840.113549.1.9.5',
  capabilities: '1.2.840.113549.1.9.15',
  signingCertificate: '1.2.840.113549.1.9.16.2.12',
  signingCertificateV2: '1.2.840.113549.1.9.16.2.47',
  encryptionKeyPreference: '1.2.840.113549.1.9.16.2.11',
  algorithmProtection: '1.2.840.113549.1.9.52',
} as const;

/**
 * Attributes of which a signer has one at most, with one value (RFC 5652 11, RFC 8551 2.5, RFC 6211 2; RFC 2634 1.3.4
 * for those of ESS: receiptRequest, eSSSecurityLabel, mlExpansionHistory, contentHints, msgSigDigest,
 * contentIdentifier, equivalentLabels, contentReference).
 */
export const singularAttributes: readonly string[] = [
  ...Object.values(attributeOid),
  ...[1, 2, 3, 4, 5, 7, 9, 10].map((arc) => `1.2.840.113549.1.9.16.2.${arc}`),
];

/** One Attribute (RFC 5652 5.3). */
export interface Attribute {
  readonly oid: string;
  readonly values: readonly Ber[];
}

/** The attributes in a SET OF Attribute or an IMPLICIT one; `ber-malformed` if one is broken. */
export function readAttributes(node: Ber): Attribute[] {
  return node.children.map((child) => {
    const [type, values] = expect(child, tag.sequence, 'an attribute').children;
    return { oid: oidOf(type), values: expect(values, tag.set, 'the values of an attribute').children };
  });
}

/**
 * The one value of an attribute that must be there once with one value (RFC 5652 11, RFC 8551 2.5); null if it is not
 * there; 'duplicate' if there are several of it, or none or several values in it.
 */
export function onlyValue(attributes: readonly Attribute[], oid: string): Ber | 'duplicate' | null {
  const found = attributes.filter((attribute) => attribute.oid === oid);
  if (found.length === 0) return null;
  const value = found[0]?.values[0];
  return found.length === 1 && found[0]?.values.length === 1 && value !== undefined ? value : 'duplicate';
}

/**
 * The octets that a signature or a tag covers for attributes under an IMPLICIT tag: the DER encoding with the tag of
 * a SET (RFC 5652 5.4, RFC 5083 2.2). `received` is as they came, `der` encoded again; they differ only if the
 * sender did not write DER.
 */
export function attributesAsSet(node: Ber): { received: Buffer; der: Buffer } {
  const received = Buffer.from(bytesOf(node));
  received[0] = 0x31;
  return { received, der: derSetOf(...node.children.map(derOf)) };
}

/** An element in DER: definite minimal lengths, strings in one piece, sets in order (X.690 10, 11). */
function derOf(node: Ber): Buffer {
  const identifier = node.source[node.start] as number;
  // High tag numbers do not occur in attributes; what cannot be read is left as it is.
  if ((identifier & 0x1f) === 0x1f) return bytesOf(node);
  if (!node.constructed) return der(identifier, contentOf(node));
  if (isUniversal(node, tag.octetString)) return der(tag.octetString, octetsOf(node));
  const children = node.children.map(derOf);
  return isUniversal(node, tag.set) ? derSetOf(...children) : der(identifier, ...children);
}
