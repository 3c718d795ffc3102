import { createHash } from 'node:crypto';
import { isFault } from '../base/errors.ts';
import { type AlgorithmIdentifier, type DigestName, digestOf, readAlgorithm } from '../pki/algorithms.ts';
import {
  type Ber,
  bytesOf,
  contentOf,
  expect,
  isContext,
  isUniversal,
  octetSegments,
  octetsOf,
  oidOf,
  readBer,
  tag,
  timeOf,
} from '../pki/ber.ts';
import { type Certificate, parseCertificate } from '../pki/certificate.ts';
import { signatureSchemeOf } from '../pki/signatures.ts';
import { type Attribute, attributeOid, onlyValue, readAttributes } from './attributes.ts';
import { reading, withinBudget } from './faults.ts';
import { type CertificateId, readIssuerSerial } from './identifier.ts';
import { type CmsLimits, cmsLimits } from './limits.ts';

/** id-ri-ocsp-response (RFC 5940 2.1). */
const ocspResponseOid = '1.3.6.1.5.5.7.16.2';

export type SignerId = CertificateId;
/** The certificate that a signer wants mail encrypted to (RFC 8551 2.5.3). */
export type EncryptionKeyPreference = CertificateId;

/** SignedData (RFC 5652 5.1) as read; nothing of it is verified. */
export interface SignedData {
  /** Object identifier of the eContentType. */
  readonly contentType: string;
  /** The eContent in the pieces it came in, not copied; null if the signature is detached or there is none. */
  readonly content: readonly Buffer[] | null;
  /** X.509 certificates in the order they came. Anybody on the way can add to them or take them away. */
  readonly certificates: readonly Certificate[];
  /** Certificates that could not be read and are left out. */
  readonly badCertificates: number;
  readonly signers: readonly SignerInfo[];
  /** Revocation lists as received (RFC 5652 10.2.1); as anybody's word as the certificates are. */
  readonly crls: readonly Buffer[];
  /** OCSPResponses as received (RFC 5940 2). */
  readonly ocsp: readonly Buffer[];
}

/** One SignerInfo (RFC 5652 5.3). What comes from signed attributes counts only once `verifySigner` found it intact. */
export interface SignerInfo {
  readonly id: SignerId;
  /** Null if not known. */
  readonly digest: DigestName | null;
  /** Object identifier of the digest, for reports. */
  readonly digestOid: string;
  readonly signatureAlgorithm: AlgorithmIdentifier;
  /** The [0] element as received, or null if the content itself is signed. */
  readonly signedAttrs: Ber | null;
  readonly attributes: readonly Attribute[];
  readonly signature: Buffer;
  /**
   * The replay memory's key (RULES 4): SHA-256 in hexadecimal of the signature value, without what anybody can change
   * in it: ECDSA's second half, leading zero octets.
   */
  readonly signatureSha256: string;
  /** Milliseconds, or null if absent or broken. */
  readonly signingTime: number | null;
  readonly preference: EncryptionKeyPreference | null;
  /** SMIMECapabilities as received, or null. */
  readonly capabilities: Buffer | null;
}

/**
 * Reads SignedData, certs-only ones too (no signers, RFC 8551 3.8).
 * Throws `cms-malformed`, and `cms-budget` for too many certificates or signers (RULES 7).
 */
export function parseSignedData(content: Ber, limits: CmsLimits = cmsLimits): SignedData {
  return reading(() => {
    const fields = [...expect(content, tag.sequence, 'the signed data').children];
    fields.shift();
    expect(fields.shift(), tag.set, 'the set of digests');
    const encapsulated = expect(fields.shift(), tag.sequence, 'the signed content');
    const bag = isContext(fields[0], 0) ? fields.shift() : undefined;
    const crls = isContext(fields[0], 1) ? fields.shift() : undefined;
    const signers = expect(fields.shift(), tag.set, 'the set of signers').children;
    withinBudget(bag?.children.length ?? 0, 'certificates', limits.certificates);
    withinBudget(crls?.children.length ?? 0, 'revocation lists', limits.revocations);
    withinBudget(signers.length, 'signers', limits.signers);
    return {
      contentType: oidOf(encapsulated.children[0]),
      content: readContent(encapsulated.children[1]),
      ...readCertificates(bag?.children ?? []),
      signers: signers.map((node) => readSigner(node, limits)),
      ...readRevocations(crls?.children ?? []),
    };
  });
}

function readContent(wrapper: Ber | undefined): Buffer[] | null {
  if (wrapper === undefined) return null;
  const content = isContext(wrapper, 0) ? wrapper.children[0] : undefined;
  return octetSegments(expect(content, tag.octetString, 'the signed content'));
}

/** RFC 8550 2.3: any certificates in any order. Other kinds than X.509 (RFC 5652 10.2.2) are passed over. */
function readCertificates(nodes: readonly Ber[]): Pick<SignedData, 'certificates' | 'badCertificates'> {
  const certificates: Certificate[] = [];
  let badCertificates = 0;
  for (const node of nodes) {
    if (!isUniversal(node, tag.sequence)) continue;
    try {
      certificates.push(parseCertificate(bytesOf(node)));
    } catch (error) {
      if (!isFault(error)) throw error;
      badCertificates++;
    }
  }
  return { certificates, badCertificates };
}

/** RevocationInfoChoices (RFC 5652 10.2.1): of the other formats only OCSP is known (RFC 5940 2). */
function readRevocations(nodes: readonly Ber[]): Pick<SignedData, 'crls' | 'ocsp'> {
  const crls = nodes.filter((node) => isUniversal(node, tag.sequence)).map(bytesOf);
  const ocsp: Buffer[] = [];
  for (const node of nodes) {
    if (!isContext(node, 1)) continue;
    const [format, response] = node.children;
    if (tolerant(() => oidOf(format)) === ocspResponseOid && isUniversal(response, tag.sequence))
      ocsp.push(bytesOf(response));
  }
  return { crls, ocsp };
}

function readSigner(node: Ber, limits: CmsLimits): SignerInfo {
  const fields = [...expect(node, tag.sequence, 'a signer').children];
  fields.shift();
  const id = readSignerId(fields.shift());
  const digest = readAlgorithm(fields.shift());
  const signedAttrs = isContext(fields[0], 0) ? (fields.shift() ?? null) : null;
  if (signedAttrs) withinBudget(signedAttrs.children.length, 'attributes', limits.attributes);
  const attributes = signedAttrs ? readAttributes(signedAttrs) : [];
  const signatureAlgorithm = readAlgorithm(fields.shift());
  const signature = octetsOf(expect(fields.shift(), tag.octetString, 'a signature'));
  const capabilities = only(attributes, attributeOid.capabilities);
  return {
    id,
    digest: digestOf(digest.oid),
    digestOid: digest.oid,
    signatureAlgorithm,
    signedAttrs,
    attributes,
    signature,
    signatureSha256: createHash('sha256')
      .update(
        isEcdsa(signatureAlgorithm, digestOf(digest.oid)) ? commitmentOf(signature) : numberOf(signature),
      )
      .digest('hex'),
    signingTime: tolerant(() => timeOf(only(attributes, attributeOid.signingTime))),
    preference: tolerant(() => readPreference(only(attributes, attributeOid.encryptionKeyPreference))),
    capabilities: capabilities ? bytesOf(capabilities) : null,
  };
}

const isEcdsa = (algorithm: AlgorithmIdentifier, digest: DigestName | null): boolean =>
  signatureSchemeOf(algorithm.der, digest)?.family === 'ecdsa';

/**
 * The r of an ECDSA signature (RFC 3279 2.2.3). Of (r, s) anybody can make (r, n - s), which verifies as well: by the
 * hash of both, a replayed message would be a new one.
 */
function commitmentOf(signature: Buffer): Buffer {
  const r = tolerant(() => contentOf(expect(readBer(signature).children[0], tag.integer, 'r')));
  return r ?? signature;
}

/** A signature without leading zero octets: OpenSSL takes an RSASSA-PSS one that lacks them, which would be a new one. */
function numberOf(signature: Buffer): Buffer {
  const first = signature.findIndex((octet) => octet !== 0);
  return first < 0 ? signature : signature.subarray(first);
}

/** SignerIdentifier (RFC 5652 5.3). */
function readSignerId(node: Ber | undefined): SignerId {
  if (isContext(node, 0)) return { kind: 'key-id', keyId: contentOf(node) };
  return readIssuerSerial(expect(node, tag.sequence, 'the name of a signer'));
}

/** SMIMEEncryptionKeyPreference (RFC 8551 2.5.3; its module has IMPLICIT tags). */
function readPreference(node: Ber | undefined): EncryptionKeyPreference | null {
  if (isContext(node, 0)) return readIssuerSerial(node);
  if (isContext(node, 1))
    return { kind: 'key-id', keyId: octetsOf(expect(node.children[0], tag.octetString, 'a key identifier')) };
  if (isContext(node, 2)) return { kind: 'key-id', keyId: contentOf(node) };
  return null;
}

function only(attributes: readonly Attribute[], oid: string): Ber | undefined {
  const value = onlyValue(attributes, oid);
  return value === null || value === 'duplicate' ? undefined : value;
}

/** Attributes that inform and do not prove: a broken one is as if absent (RFC 8551 2.5). */
function tolerant<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (isFault(error)) return null;
    throw error;
  }
}
