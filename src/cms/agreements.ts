import { type AgreementScheme, agreementSchemeOf, curveBits } from '../pki/algorithms.ts';
import type { KeyType } from '../pki/certificate.ts';

/**
 * The key agreement schemes that reseal writes, by the names of ledger and capabilities (RFC 5753 7.1.4, RFC 8418 2.2).
 * Those with SHA-1 and SHA-224 are read only.
 */
const schemes = {
  'ecdh-sha256kdf': '1.3.132.1.11.1',
  'ecdh-sha384kdf': '1.3.132.1.11.2',
  'ecdh-sha512kdf': '1.3.132.1.11.3',
  'ecdh-cofactor-sha256kdf': '1.3.132.1.14.1',
  'ecdh-cofactor-sha384kdf': '1.3.132.1.14.2',
  'ecdh-cofactor-sha512kdf': '1.3.132.1.14.3',
  'ecdh-hkdf-sha256': '1.2.840.113549.1.9.16.3.19',
  'ecdh-hkdf-sha384': '1.2.840.113549.1.9.16.3.20',
  'ecdh-hkdf-sha512': '1.2.840.113549.1.9.16.3.21',
} as const satisfies Record<string, string>;

export type AgreementName = keyof typeof schemes;

export const agreementNames = Object.keys(schemes) as readonly AgreementName[];

/** The object identifier of a scheme. */
export const agreementOid = (name: AgreementName): string => schemes[name];

/** The name of an object identifier, or null if reseal does not write this scheme. */
export const agreementNamed = (oid: string): AgreementName | null =>
  agreementNames.find((name) => schemes[name] === oid) ?? null;

/**
 * Whether a scheme is for keys of this type: X9.63 derivation for all, HKDF for X25519 and X448 only (RFC 8418 2.2),
 * cofactor Diffie-Hellman for the other curves only (RFC 8418 2: stdDH).
 */
export function agreementSuits(name: AgreementName, keyType: KeyType): boolean {
  const { kdf, cofactor } = schemeNamed(name);
  if (keyType === 'ec') return kdf === 'x963';
  return (keyType === 'x25519' || keyType === 'x448') && !cofactor;
}

export interface AgreementKey {
  readonly keyType: KeyType;
  readonly curve: string | null;
}

/**
 * The scheme of that name, or for `ecdh` the usual one of the key: X9.63 with SHA-256 up to P-256, SHA-384 above
 * (RULES 11); HKDF with SHA-256 for X25519 and SHA-512 for X448 (RFC 8418 2.2).
 */
export function schemeFor(
  transport: 'ecdh' | AgreementName,
  { keyType, curve }: AgreementKey,
): AgreementScheme {
  if (transport !== 'ecdh') return schemeNamed(transport);
  if (keyType === 'x25519') return schemeNamed('ecdh-hkdf-sha256');
  if (keyType === 'x448') return schemeNamed('ecdh-hkdf-sha512');
  const bits = curve === null ? 0 : (curveBits(curve) ?? 0);
  return schemeNamed(bits > 256 ? 'ecdh-sha384kdf' : 'ecdh-sha256kdf');
}

function schemeNamed(name: AgreementName): AgreementScheme {
  const found = agreementSchemeOf(schemes[name]);
  if (found === null) throw new Error(`no key agreement scheme ${name}`);
  return found;
}
