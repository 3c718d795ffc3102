import { constants, createHash, type KeyObject, sign } from 'node:crypto';
import { wordsOf } from '../base/errors.ts';
import {
  createDigest,
  type DigestName,
  derAlgorithm,
  derDigest,
  derRsaEncryption,
  digestLength,
  digestOid,
  keyOid,
} from '../pki/algorithms.ts';
import { tag } from '../pki/ber.ts';
import type { Certificate } from '../pki/certificate.ts';
import {
  der,
  derContext,
  derInteger,
  derNull,
  derOctets,
  derOid,
  derSequence,
  derSetOf,
  derTime,
} from '../pki/der.ts';
import { attributeOid } from './attributes.ts';
import { contentOid } from './content-info.ts';
import { cmsFault } from './faults.ts';

export interface Signing {
  readonly key: KeyObject;
  readonly certificate: Certificate;
  /** Certificates of authorities to send along; a root among them is left out (RFC 8550 2.3). */
  readonly chain: readonly Certificate[];
  /** The signing time, milliseconds. */
  readonly at: number;
  /** SMIMECapabilities in DER, see `formatCapabilities`. */
  readonly capabilities?: Buffer;
  /** The certificate to encrypt answers to, if it is not the signing one; sent along (RFC 8551 2.5.3). */
  readonly encryption?: Certificate;
}

/**
 * A detached signature over `entity` (RFC 5652 5, RFC 8551 2.5): DER SignedData in its ContentInfo, with contentType,
 * messageDigest, signingTime, signingCertificateV2, and what else `signing` asks for as signed attributes.
 * Throws `cms-signer` if the key cannot sign.
 */
export function signDetached(entity: Buffer, signing: Signing): Buffer {
  return signContent(entity, signing, derSequence(derOid(contentOid.data)));
}

/** The same with `entity` inside (RFC 8551 3.5.2): octets that line ends cannot change. */
export function signOpaque(entity: Buffer, signing: Signing): Buffer {
  const content = derContext(0, derOctets(entity));
  return signContent(entity, signing, derSequence(derOid(contentOid.data), content));
}

function signContent(entity: Buffer, signing: Signing, encapsulated: Buffer): Buffer {
  const { key, certificate, chain, encryption } = signing;
  const digest = signatureDigest(key);
  const attributes = signedAttributes(entity, digest, signing);
  const { algorithm, signature } = signOctets(der(0x31, ...attributes), digest, signing);
  const { issuerDer, serialDer } = certificate;
  const signer = derSequence(
    derInteger(1),
    derSequence(issuerDer, der(tag.integer, serialDer)),
    derDigest(digest),
    derContext(0, ...attributes),
    algorithm,
    derOctets(signature),
  );
  const others = chain.filter((c) => !isSelfIssued(c));
  const bag = [certificate, ...(encryption ? [encryption] : []), ...others];
  return signedData([derDigest(digest)], encapsulated, bag, [signer]);
}

/** The digest of a signature by this key, for `micalg`: SHA-256, but SHA-512 beside Ed25519 (RFC 8419 3.1). */
export function signatureDigest(key: KeyObject): DigestName {
  if (key.asymmetricKeyType === 'ed448') return 'shake256';
  return key.asymmetricKeyType === 'ed25519' ? 'sha512' : 'sha256';
}

/** A SignedData that carries certificates and signs nothing (RFC 8551 3.8): what .p7c and .p7b files hold. */
export function certsOnly(certificates: readonly Certificate[]): Buffer {
  return signedData([], derSequence(derOid(contentOid.data)), certificates, []);
}

const isSelfIssued = (certificate: Certificate) => certificate.issuerDer.equals(certificate.subjectDer);

/** SignedData (RFC 5652 5.1): version 1, for signers are named by issuer and serial number. */
function signedData(
  digests: readonly Buffer[],
  encapsulated: Buffer,
  certificates: readonly Certificate[],
  signers: readonly Buffer[],
): Buffer {
  const unique = new Map(certificates.map((certificate) => [certificate.sha256, certificate.der]));
  const content = derSequence(
    derInteger(1),
    derSetOf(...digests),
    encapsulated,
    derContext(0, ...inOrder([...unique.values()])),
    derSetOf(...signers),
  );
  return derSequence(derOid(contentOid.signedData), derContext(0, content));
}

/** The attributes in the order of a DER SET OF: what is signed and what is sent differ in their outer tag only. */
function signedAttributes(entity: Buffer, digest: DigestName, signing: Signing): Buffer[] {
  const { certificate, at, capabilities, encryption } = signing;
  const attribute = (oid: string, value: Buffer) => derSequence(derOid(oid), derSetOf(value));
  const hash = createHash('sha256').update(certificate.der).digest();
  return inOrder([
    attribute(attributeOid.contentType, derOid(contentOid.data)),
    attribute(attributeOid.messageDigest, derOctets(createDigest(digest).update(entity).digest())),
    attribute(attributeOid.signingTime, derTime(at)),
    // ESSCertIDv2 with its default, SHA-256 (RFC 5035 4).
    attribute(attributeOid.signingCertificateV2, derSequence(derSequence(derSequence(derOctets(hash))))),
    ...(capabilities ? [attribute(attributeOid.capabilities, capabilities)] : []),
    ...(encryption ? [attribute(attributeOid.encryptionKeyPreference, preference(encryption))] : []),
  ]);
}

/** SMIMEEncryptionKeyPreference by issuer and serial number (RFC 8551 2.5.3). */
const preference = ({ issuerDer, serialDer }: Certificate): Buffer =>
  derContext(0, issuerDer, der(tag.integer, serialDer));

const inOrder = (encodings: readonly Buffer[]): Buffer[] => [...encodings].sort(Buffer.compare);

function signOctets(
  octets: Buffer,
  digest: DigestName,
  { key, certificate }: Signing,
): { algorithm: Buffer; signature: Buffer } {
  const refuse = (why: string) => cmsFault('cms-signer', { certificate: certificate.sha256, why });
  const type = key.asymmetricKeyType ?? 'unknown';
  try {
    // RFC 3370 3.2: rsaEncryption, which every client reads; the digest is named beside it.
    if (type === 'rsa') return { algorithm: derRsaEncryption(), signature: sign(digest, octets, key) };
    if (type === 'rsa-pss') {
      const pss = {
        key,
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
      };
      return { algorithm: derPss(digest), signature: sign(digest, octets, pss) };
    }
    // ecdsa-with-SHA256 (RFC 5758 3.2).
    if (type === 'ec')
      return { algorithm: derAlgorithm('1.2.840.10045.4.3.2'), signature: sign(digest, octets, key) };
    if (type === 'ed25519' || type === 'ed448')
      return { algorithm: derAlgorithm(keyOid[type]), signature: sign(null, octets, key) };
  } catch (error) {
    throw refuse(wordsOf(error));
  }
  throw refuse(`a ${type} key cannot sign`);
}

/** RSASSA-PSS with one digest for all and a salt as long (RFC 4055 3.1, RFC 4056 3). */
function derPss(digest: DigestName): Buffer {
  const hash = derAlgorithm(digestOid(digest), derNull());
  const mask = derAlgorithm(keyOid.mgf1, hash);
  const parameters = derSequence(
    derContext(0, hash),
    derContext(1, mask),
    derContext(2, derInteger(digestLength(digest))),
  );
  return derAlgorithm(keyOid.rsaPss, parameters);
}
