import { createHash, type Hash } from 'node:crypto';
import { type Ber, bytesOf, expect, oidOf, tag } from './ber.ts';
import { derNull, derOid, derSequence } from './der.ts';

/** Which cryptography a list accepts. */
export interface Floor {
  /** Least RSA modulus in bits. */
  readonly rsaBits: number;
  /** Weakest digest. */
  readonly digest: DigestName;
  /** Least strength of a content cipher in bits: 112 lets 3DES in. */
  readonly cipherBits: number;
  /** Nothing is called weak; for tests and old archives. */
  readonly allowWeak: boolean;
}

/** RFC 8551 6, RFC 8550 4.3. */
export const defaultFloor: Floor = { rsaBits: 2048, digest: 'sha256', cipherBits: 128, allowWeak: false };

/** EC keys below this are weak whatever the floor: 224 bits match RSA-2048 (RFC 5480 4). */
export const leastCurveBits = 224;
/** RULES 8. */
export const mostRsaBits = 8192;

/** An AlgorithmIdentifier (RFC 5280 4.1.1.2) as read. */
export interface AlgorithmIdentifier {
  readonly oid: string;
  /** Null if absent; an ASN.1 NULL is a node. */
  readonly parameters: Ber | null;
  /** The whole element as received. */
  readonly der: Buffer;
}

/** Reads an AlgorithmIdentifier; `ber-malformed` if it is none. */
export function readAlgorithm(node: Ber | undefined): AlgorithmIdentifier {
  const sequence = expect(node, tag.sequence, 'an algorithm identifier');
  const parameters = sequence.children[1] ?? null;
  return { oid: oidOf(sequence.children[0]), parameters, der: bytesOf(sequence) };
}

/** Writes an AlgorithmIdentifier, without parameters unless given. */
export function derAlgorithm(oid: string, ...parameters: readonly Uint8Array[]): Buffer {
  return derSequence(derOid(oid), ...parameters);
}

interface Digest {
  readonly oid: string;
  /** Octets. */
  readonly length: number;
  /** Bits of work to find a collision: half the length, less where it is broken. */
  readonly bits: number;
}

const nistHash = '2.16.840.1.101.3.4.2';
/** Digests by the name that node:crypto uses (RFC 8017 B.1, RFC 5754 2, RFC 8702 3.1). */
const digests = {
  md5: { oid: '1.2.840.113549.2.5', length: 16, bits: 18 },
  sha1: { oid: '1.3.14.3.2.26', length: 20, bits: 61 },
  sha224: { oid: `${nistHash}.4`, length: 28, bits: 112 },
  sha256: { oid: `${nistHash}.1`, length: 32, bits: 128 },
  sha384: { oid: `${nistHash}.2`, length: 48, bits: 192 },
  sha512: { oid: `${nistHash}.3`, length: 64, bits: 256 },
  'sha3-224': { oid: `${nistHash}.7`, length: 28, bits: 112 },
  'sha3-256': { oid: `${nistHash}.8`, length: 32, bits: 128 },
  'sha3-384': { oid: `${nistHash}.9`, length: 48, bits: 192 },
  'sha3-512': { oid: `${nistHash}.10`, length: 64, bits: 256 },
  // RFC 8419 3.1, RFC 8702 3.1: in CMS always with 512 bits of output.
  shake256: { oid: `${nistHash}.12`, length: 64, bits: 256 },
} as const satisfies Record<string, Digest>;

export type DigestName = keyof typeof digests;

export const digestNames = Object.keys(digests) as readonly DigestName[];
const digestByOid = new Map<string, DigestName>(digestNames.map((name) => [digests[name].oid, name]));
// Some senders name the signature algorithm where the digest belongs.
for (const [oid, name] of [
  ['1.2.840.113549.1.1.4', 'md5'],
  ['1.2.840.113549.1.1.5', 'sha1'],
  ['1.2.840.113549.1.1.11', 'sha256'],
  ['1.2.840.113549.1.1.12', 'sha384'],
  ['1.2.840.113549.1.1.13', 'sha512'],
  // RFC 8419 3.1: id-shake256-len, used with 512 bits.
  [`${nistHash}.18`, 'shake256'],
] as const)
  digestByOid.set(oid, name);

/** The digest of an object identifier, or null if unknown. */
export const digestOf = (oid: string): DigestName | null => digestByOid.get(oid) ?? null;
export const digestOid = (name: DigestName): string => digests[name].oid;
/** Octets of output. */
export const digestLength = (name: DigestName): number => digests[name].length;
/** Bits of work to find a collision. */
export const digestBits = (name: DigestName): number => digests[name].bits;

/** A hash object for `update` and `digest`. */
export function createDigest(name: DigestName): Hash {
  return name === 'shake256' ? createHash(name, { outputLength: digests[name].length }) : createHash(name);
}

/** AlgorithmIdentifier of a digest, parameters absent (RFC 5754 2). */
export const derDigest = (name: DigestName): Buffer => derAlgorithm(digests[name].oid);

export interface Cipher {
  readonly oid: string;
  /** Octets of the content encryption key. */
  readonly keyLength: number;
  /** Octets of the IV or nonce that we write. */
  readonly ivLength: number;
  readonly bits: number;
  readonly authenticated: boolean;
}

const aes = '2.16.840.1.101.3.4.1';
const cbc = { ivLength: 16, authenticated: false };
const gcm = { ivLength: 12, authenticated: true };
/** Content ciphers by the name that node:crypto, the ledger and JSON use (RFC 3565 4.1, RFC 5084 3.2, RFC 3370 5.1). */
const ciphers = {
  'aes-128-cbc': { oid: `${aes}.2`, keyLength: 16, bits: 128, ...cbc },
  'aes-192-cbc': { oid: `${aes}.22`, keyLength: 24, bits: 192, ...cbc },
  'aes-256-cbc': { oid: `${aes}.42`, keyLength: 32, bits: 256, ...cbc },
  'aes-128-gcm': { oid: `${aes}.6`, keyLength: 16, bits: 128, ...gcm },
  'aes-192-gcm': { oid: `${aes}.26`, keyLength: 24, bits: 192, ...gcm },
  'aes-256-gcm': { oid: `${aes}.46`, keyLength: 32, bits: 256, ...gcm },
  'des-ede3-cbc': {
    oid: '1.2.840.113549.3.7',
    keyLength: 24,
    ivLength: 8,
    bits: 112,
    authenticated: false,
  },
} as const satisfies Record<string, Cipher>;

export type ContentCipher = keyof typeof ciphers;

export const contentCiphers = Object.keys(ciphers) as readonly ContentCipher[];
const cipherByOid = new Map<string, ContentCipher>(contentCiphers.map((name) => [ciphers[name].oid, name]));

const ccm = { ivLength: 12, authenticated: true };
const rc2 = { oid: '1.2.840.113549.3.2', ivLength: 8, authenticated: false };
/** Ciphers that reseal opens and never writes (RFC 5084 3.1, RFC 8103 2, RFC 3370 5.2), by node:crypto's names. */
const foreignCiphers = {
  'aes-128-ccm': { oid: `${aes}.7`, keyLength: 16, bits: 128, ...ccm },
  'aes-192-ccm': { oid: `${aes}.27`, keyLength: 24, bits: 192, ...ccm },
  'aes-256-ccm': { oid: `${aes}.47`, keyLength: 32, bits: 256, ...ccm },
  'chacha20-poly1305': { oid: '1.2.840.113549.1.9.16.3.18', keyLength: 32, bits: 256, ...ccm },
  // One identifier for all three, told apart by their parameters; related keys break even the longest (RFC 8551 B).
  'rc2-cbc': { ...rc2, keyLength: 16, bits: 64 },
  'rc2-64-cbc': { ...rc2, keyLength: 8, bits: 64 },
  'rc2-40-cbc': { ...rc2, keyLength: 5, bits: 40 },
} as const satisfies Record<string, Cipher>;

/** Every cipher that reseal may open. */
export type OpeningCipher = ContentCipher | keyof typeof foreignCiphers;

const everyCipher: Readonly<Record<OpeningCipher, Cipher>> = { ...ciphers, ...foreignCiphers };
export const openingCiphers = Object.keys(everyCipher) as readonly OpeningCipher[];

/** Ciphers that are named in reports only. */
const unknownCiphers: ReadonlyMap<string, string> = new Map([
  ['1.3.14.3.2.7', 'des-cbc'],
  ['1.2.392.200011.61.1.1.1.2', 'camellia-128-cbc'],
  ['1.2.392.200011.61.1.1.1.4', 'camellia-256-cbc'],
]);

/** The cipher of an object identifier that reseal both opens and writes, or null. */
export const contentCipherOf = (oid: string): ContentCipher | null => cipherByOid.get(oid) ?? null;
/** The cipher of an object identifier that reseal may open, or null; for RC2, whose parameters say which, `rc2-cbc`. */
export const openingCipherOf = (oid: string): OpeningCipher | null =>
  openingCiphers.find((name) => everyCipher[name].oid === oid) ?? null;
/** Object identifier and lengths of a cipher. */
export const cipherOf = (name: OpeningCipher): Cipher => everyCipher[name];
/** A cipher's name for reports: also ones that are not supported, else the object identifier. */
export const cipherNameOf = (oid: string): string => openingCipherOf(oid) ?? unknownCiphers.get(oid) ?? oid;

/** Strength in bits; 112 for 3DES. */
export function strengthOf(cipher: OpeningCipher): number {
  return everyCipher[cipher].bits;
}

/** Key wraps by the name that node:crypto uses: AES (RFC 3565 2.3.2), and 3DES, never written (RFC 3217 3). */
const wraps = {
  'id-aes128-wrap': { oid: `${aes}.5`, keyLength: 16 },
  'id-aes192-wrap': { oid: `${aes}.25`, keyLength: 24 },
  'id-aes256-wrap': { oid: `${aes}.45`, keyLength: 32 },
  'des3-wrap': { oid: '1.2.840.113549.1.9.16.3.6', keyLength: 24 },
} as const;

export type KeyWrap = keyof typeof wraps;

const wrapNames = Object.keys(wraps) as readonly KeyWrap[];
/** The key wrap of an object identifier, or null. */
export const keyWrapOf = (oid: string): KeyWrap | null => wrapNames.find((n) => wraps[n].oid === oid) ?? null;
export const keyWrapOid = (name: KeyWrap): string => wraps[name].oid;
/** Octets of the key encryption key. */
export const keyWrapLength = (name: KeyWrap): number => wraps[name].keyLength;
/** The wrap whose key has this many octets; RULES 11: the size of the content key. */
export const keyWrapFor = (octets: number): KeyWrap =>
  wrapNames.find((n) => wraps[n].keyLength === octets) ?? 'id-aes256-wrap';

/** A one-pass Diffie-Hellman scheme (RFC 5753 7.1.4; RFC 8418 2.2 for HKDF). */
export interface AgreementScheme {
  readonly oid: string;
  readonly kdf: 'x963' | 'hkdf';
  readonly digest: DigestName;
  /** Cofactor Diffie-Hellman: the same as the standard one where the cofactor is 1, as on every curve below. */
  readonly cofactor: boolean;
}

const x963 = (oid: string, digest: DigestName, cofactor = false): AgreementScheme => ({
  oid,
  kdf: 'x963',
  digest,
  cofactor,
});
const hkdf = (oid: string, digest: DigestName): AgreementScheme => ({
  oid,
  kdf: 'hkdf',
  digest,
  cofactor: false,
});
export const agreementSchemes: readonly AgreementScheme[] = [
  x963('1.3.132.1.11.1', 'sha256'),
  x963('1.3.132.1.11.2', 'sha384'),
  x963('1.3.132.1.11.3', 'sha512'),
  x963('1.3.132.1.11.0', 'sha224'),
  x963('1.3.133.16.840.63.0.2', 'sha1'),
  x963('1.3.132.1.14.1', 'sha256', true),
  x963('1.3.132.1.14.2', 'sha384', true),
  x963('1.3.132.1.14.3', 'sha512', true),
  x963('1.3.132.1.14.0', 'sha224', true),
  x963('1.3.133.16.840.63.0.3', 'sha1', true),
  hkdf('1.2.840.113549.1.9.16.3.19', 'sha256'),
  hkdf('1.2.840.113549.1.9.16.3.20', 'sha384'),
  hkdf('1.2.840.113549.1.9.16.3.21', 'sha512'),
];

/** The scheme of an object identifier, or null. */
export const agreementSchemeOf = (oid: string): AgreementScheme | null =>
  agreementSchemes.find((scheme) => scheme.oid === oid) ?? null;

/** Named curves by OpenSSL's name (RFC 5480 2.1.1.1, RFC 5639 4.1). */
export const curves: ReadonlyMap<string, { readonly name: string; readonly bits: number }> = new Map([
  ['1.2.840.10045.3.1.1', { name: 'prime192v1', bits: 192 }],
  ['1.3.132.0.33', { name: 'secp224r1', bits: 224 }],
  ['1.2.840.10045.3.1.7', { name: 'prime256v1', bits: 256 }],
  ['1.3.132.0.10', { name: 'secp256k1', bits: 256 }],
  ['1.3.132.0.34', { name: 'secp384r1', bits: 384 }],
  ['1.3.132.0.35', { name: 'secp521r1', bits: 521 }],
  ['1.3.36.3.3.2.8.1.1.7', { name: 'brainpoolP256r1', bits: 256 }],
  ['1.3.36.3.3.2.8.1.1.8', { name: 'brainpoolP256t1', bits: 256 }],
  ['1.3.36.3.3.2.8.1.1.9', { name: 'brainpoolP320r1', bits: 320 }],
  ['1.3.36.3.3.2.8.1.1.10', { name: 'brainpoolP320t1', bits: 320 }],
  ['1.3.36.3.3.2.8.1.1.11', { name: 'brainpoolP384r1', bits: 384 }],
  ['1.3.36.3.3.2.8.1.1.12', { name: 'brainpoolP384t1', bits: 384 }],
  ['1.3.36.3.3.2.8.1.1.13', { name: 'brainpoolP512r1', bits: 512 }],
  ['1.3.36.3.3.2.8.1.1.14', { name: 'brainpoolP512t1', bits: 512 }],
]);

/** Field size of a curve in bits by OpenSSL's name, or null if unknown. */
export function curveBits(name: string): number | null {
  for (const curve of curves.values()) if (curve.name === name) return curve.bits;
  return null;
}

/** Public key algorithms (RFC 8017 A, RFC 4055 1.2, RFC 3279 2.3.2, RFC 5480 2.1.1, RFC 8410 3) and mask generation. */
export const keyOid = {
  rsa: '1.2.840.113549.1.1.1',
  rsaOaep: '1.2.840.113549.1.1.7',
  mgf1: '1.2.840.113549.1.1.8',
  pSpecified: '1.2.840.113549.1.1.9',
  rsaPss: '1.2.840.113549.1.1.10',
  dsa: '1.2.840.10040.4.1',
  ec: '1.2.840.10045.2.1',
  x25519: '1.3.101.110',
  x448: '1.3.101.111',
  ed25519: '1.3.101.112',
  ed448: '1.3.101.113',
} as const;

/** AlgorithmIdentifier of rsaEncryption: its parameters are NULL (RFC 3370 4.2.1). */
export const derRsaEncryption = (): Buffer => derAlgorithm(keyOid.rsa, derNull());
