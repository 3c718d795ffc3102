import { constants, createVerify, type KeyObject, verify } from 'node:crypto';
import {
  type AlgorithmIdentifier,
  curveBits,
  type DigestName,
  digestBits,
  digestOf,
  digestOid,
  type Floor,
  keyOid,
  leastCurveBits,
  readAlgorithm,
} from './algorithms.ts';
import { type Ber, isContext, isUniversal, readBer, smallIntegerOf, tag } from './ber.ts';
import type { Certificate, KeyType } from './certificate.ts';
import { type PssParameters, verifyPss } from './pss.ts';
import type { Reason } from './reasons.ts';

/** How a signature is made: all that is needed to verify it, besides key and octets. */
export interface SignatureScheme {
  readonly family: 'rsa' | 'rsa-pss' | 'ecdsa' | 'dsa' | 'eddsa';
  /** Null for EdDSA, which hashes by itself. */
  readonly digest: DigestName | null;
  /** Octets; PSS only. */
  readonly saltLength: number | null;
  /** The digest inside MGF1; PSS only. */
  readonly mask: DigestName | null;
  /** For reports: `rsa-sha256`, `rsa-pss-sha256`, `ecdsa-sha384`, `ed25519`. */
  readonly name: string;
}

const rsa = (digest: DigestName): SignatureScheme => scheme('rsa', digest);
const ecdsa = (digest: DigestName): SignatureScheme => scheme('ecdsa', digest);
const dsa = (digest: DigestName): SignatureScheme => scheme('dsa', digest);

function scheme(family: Exclude<SignatureScheme['family'], 'eddsa'>, digest: DigestName): SignatureScheme {
  return { family, digest, saltLength: null, mask: null, name: `${family}-${digest}` };
}

const eddsa = (name: 'ed25519' | 'ed448'): SignatureScheme => ({
  family: 'eddsa',
  digest: null,
  saltLength: null,
  mask: null,
  name,
});

const nistSignature = '2.16.840.1.101.3.4.3';
const ansiEcdsa = '1.2.840.10045.4';
/** Signature algorithms that say all (RFC 4055 5, RFC 5758 3.2, RFC 8410 6; SHA-3 by NIST). */
const complete: ReadonlyMap<string, SignatureScheme> = new Map([
  ['1.2.840.113549.1.1.4', rsa('md5')],
  ['1.2.840.113549.1.1.5', rsa('sha1')],
  ['1.3.14.3.2.29', rsa('sha1')],
  ['1.2.840.113549.1.1.14', rsa('sha224')],
  ['1.2.840.113549.1.1.11', rsa('sha256')],
  ['1.2.840.113549.1.1.12', rsa('sha384')],
  ['1.2.840.113549.1.1.13', rsa('sha512')],
  [`${nistSignature}.13`, rsa('sha3-224')],
  [`${nistSignature}.14`, rsa('sha3-256')],
  [`${nistSignature}.15`, rsa('sha3-384')],
  [`${nistSignature}.16`, rsa('sha3-512')],
  [`${ansiEcdsa}.1`, ecdsa('sha1')],
  [`${ansiEcdsa}.3.1`, ecdsa('sha224')],
  [`${ansiEcdsa}.3.2`, ecdsa('sha256')],
  [`${ansiEcdsa}.3.3`, ecdsa('sha384')],
  [`${ansiEcdsa}.3.4`, ecdsa('sha512')],
  [`${nistSignature}.9`, ecdsa('sha3-224')],
  [`${nistSignature}.10`, ecdsa('sha3-256')],
  [`${nistSignature}.11`, ecdsa('sha3-384')],
  [`${nistSignature}.12`, ecdsa('sha3-512')],
  // RFC 8550 B: DSA is read in old mail only; its keys always count as weak.
  ['1.2.840.10040.4.3', dsa('sha1')],
  [`${nistSignature}.1`, dsa('sha224')],
  [`${nistSignature}.2`, dsa('sha256')],
  [keyOid.ed25519, eddsa('ed25519')],
  [keyOid.ed448, eddsa('ed448')],
]);

/**
 * What a signature algorithm means, or null if it is not supported. `digest` is CMS's separate digestAlgorithm
 * (null in a certificate): it completes a bare rsaEncryption, id-ecPublicKey or id-dsa (RFC 3370 3), and must agree with an
 * algorithm that names its own (RFC 5754 3.2, RFC 4056 3), else a strong name could cover a weak digest.
 */
export function signatureScheme(
  algorithm: AlgorithmIdentifier,
  digest: DigestName | null,
): SignatureScheme | null {
  if (digest !== null) {
    if (algorithm.oid === keyOid.rsa) return rsa(digest);
    if (algorithm.oid === keyOid.ec) return ecdsa(digest);
    if (algorithm.oid === keyOid.dsa) return dsa(digest);
  }
  const found =
    algorithm.oid === keyOid.rsaPss ? pssScheme(algorithm) : (complete.get(algorithm.oid) ?? null);
  if (!found || (digest !== null && found.digest !== null && found.digest !== digest)) return null;
  return found;
}

/** RSASSA-PSS-params (RFC 4055 3.1), read strictly. Null where they are absent, broken or unknown. */
function pssScheme(algorithm: AlgorithmIdentifier): SignatureScheme | null {
  const { parameters } = algorithm;
  if (!isUniversal(parameters, tag.sequence)) return null;
  let digest: DigestName | null = 'sha1';
  let mask: DigestName | null = 'sha1';
  let saltLength = 20;
  let previous = -1;
  for (const field of parameters.children) {
    if (field.class !== 'context' || field.tag <= previous || field.children.length !== 1) return null;
    previous = field.tag;
    const value = field.children[0];
    if (isContext(field, 0)) digest = plainDigest(value);
    else if (isContext(field, 1)) {
      const generator = readAlgorithm(value);
      if (generator.oid !== keyOid.mgf1) return null;
      mask = plainDigest(generator.parameters ?? undefined);
    } else if (isContext(field, 2)) saltLength = smallIntegerOf(value);
    else if (!isContext(field, 3) || smallIntegerOf(value) !== 1) return null;
  }
  if (digest === null || mask === null || saltLength > 1024) return null;
  return { ...scheme('rsa-pss', digest), saltLength, mask };
}

function plainDigest(node: Ber | undefined): DigestName | null {
  const { oid, parameters } = readAlgorithm(node);
  if (parameters !== null && !isUniversal(parameters, tag.null)) return null;
  const name = digestOf(oid);
  return name !== null && digestOid(name) === oid ? name : null;
}

/** Reads the AlgorithmIdentifier in `der` and says what it means; null if broken or not supported. */
export function signatureSchemeOf(der: Buffer, digest: DigestName | null = null): SignatureScheme | null {
  try {
    return signatureScheme(readAlgorithm(readBer(der)), digest);
  } catch {
    return null;
  }
}

const keyTypes: Readonly<Record<SignatureScheme['family'], readonly string[]>> = {
  rsa: ['rsa'],
  // RFC 4055 1.2: a plain RSA key may sign with PSS; a PSS key must not sign otherwise.
  'rsa-pss': ['rsa', 'rsa-pss'],
  ecdsa: ['ec'],
  dsa: ['dsa'],
  eddsa: ['ed25519', 'ed448'],
};

/**
 * Whether `signature` is right for the octets of `segments`, one after another (signed attributes with their SET tag, a
 * TBSCertificate, or content as it came). A key of the wrong kind, or a signature that is no signature at all, is false.
 */
export function verifySignature(
  scheme: SignatureScheme,
  publicKey: KeyObject,
  segments: readonly Uint8Array[],
  signature: Uint8Array,
): boolean {
  const keyType = publicKey.asymmetricKeyType ?? '';
  if (!keyTypes[scheme.family].includes(keyType)) return false;
  try {
    if (scheme.digest === null) {
      const whole = segments.length === 1 ? (segments[0] as Uint8Array) : Buffer.concat(segments);
      return keyType === scheme.name && verify(null, whole, publicKey, signature);
    }
    const { digest, mask, saltLength } = scheme;
    if (mask !== null && saltLength !== null) {
      const parameters = { digest, mask, saltLength };
      if (!keyAllows(publicKey, parameters)) return false;
      // node:crypto has no way to name the digest of the mask generation.
      if (mask !== digest) return verifyPss(parameters, publicKey, segments, signature);
    }
    const verifier = createVerify(digest);
    for (const segment of segments) verifier.update(segment);
    if (saltLength === null) return verifier.verify(publicKey, signature);
    const padding = constants.RSA_PKCS1_PSS_PADDING;
    return verifier.verify({ key: publicKey, padding, saltLength }, signature);
  } catch {
    // OpenSSL throws for keys that forbid the scheme and for signatures of an impossible shape.
    return false;
  }
}

/**
 * Whether the parameters of a PSS key, if it has some, allow those of a signature (RFC 4055 3.3): the same digests, and a
 * salt no shorter. OpenSSL would take the key's mask digest whatever the signature says.
 */
function keyAllows(publicKey: KeyObject, { digest, mask, saltLength }: PssParameters): boolean {
  const bound = publicKey.asymmetricKeyDetails;
  if (bound?.hashAlgorithm === undefined) return true;
  return (
    bound.hashAlgorithm === digest &&
    bound.mgf1HashAlgorithm === mask &&
    saltLength >= (bound.saltLength ?? 0)
  );
}

/** The reasons why a digest is below the floor: none, or `weak-digest`. */
export function digestWeakness(digest: DigestName | null, floor: Floor): Reason[] {
  if (floor.allowWeak || digest === null) return [];
  return digestBits(digest) < digestBits(floor.digest) ? ['weak-digest'] : [];
}

/** The reasons why a key is below the floor: none, or `weak-key` (RFC 8550 4.3; RFC 5480 4 for curves). */
export function keyWeakness(
  key: Pick<Certificate, 'rsaBits' | 'curve'> & { keyType: KeyType },
  floor: Floor,
): Reason[] {
  if (floor.allowWeak) return [];
  const weakRsa = key.rsaBits !== null && key.rsaBits < floor.rsaBits;
  const weakCurve = key.curve !== null && (curveBits(key.curve) ?? 0) < leastCurveBits;
  return weakRsa || weakCurve || key.keyType === 'dsa' ? ['weak-key'] : [];
}
