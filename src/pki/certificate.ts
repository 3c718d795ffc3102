import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { faultsOf, wordsOf } from '../base/errors.ts';
import { curves, keyOid, mostRsaBits, readAlgorithm } from './algorithms.ts';
import {
  type Ber,
  bitsOf,
  bytesOf,
  contentOf,
  expect,
  isContext,
  isUniversal,
  oidOf,
  readBer,
  tag,
  timeOf,
} from './ber.ts';
import {
  basicConstraintsIn,
  type Extensions,
  extendedKeyUsageIn,
  extensionOid,
  type KeyUsage,
  keyIdsIn,
  keyUsageIn,
  mailboxOf,
  readExtensions,
  subjectAltNamesIn,
  unknownCriticalIn,
} from './extensions.ts';
import { locationsIn } from './locations.ts';
import { addressesInName, comparableName, nameText, readName } from './name.ts';

export type { KeyUsage } from './extensions.ts';

export const certificateFault = faultsOf({
  'certificate-malformed': (d: { what: string }) => `the certificate cannot be read: ${d.what}`,
  'key-unsupported': (d: { subject: string; what: string }) =>
    `the public key in the certificate of ${d.subject} cannot be used: ${d.what}`,
});

/** `rsa-oaep` and `rsa-pss` are RSA keys that are bound to that use (RFC 4055 1.2). */
export type KeyType =
  | 'rsa'
  | 'rsa-pss'
  | 'rsa-oaep'
  | 'ec'
  | 'dsa'
  | 'ed25519'
  | 'ed448'
  | 'x25519'
  | 'x448'
  | 'other';

/** An X.509 certificate (RFC 5280 4.1) as read by `parseCertificate`: plain data, nothing of it is verified. */
export interface Certificate {
  readonly der: Buffer;
  /** Of `der`, lower-case hexadecimal. */
  readonly sha256: string;
  /** Lower-case hexadecimal, whole octets, no leading zero octets, `-` before a negative one. */
  readonly serial: string;
  /** Content octets of the INTEGER. */
  readonly serialDer: Buffer;
  readonly issuerDer: Buffer;
  readonly subjectDer: Buffer;
  /** RFC 4514 text, most specific part first. */
  readonly issuer: string;
  readonly subject: string;
  /** Equal for names that RFC 5280 7.1 calls equal: chain certificates by these, not by octets or text. */
  readonly issuerName: string;
  readonly subjectName: string;
  /** Milliseconds since the epoch; both ends are part of the validity (RFC 5280 4.1.2.5). */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly spkiDer: Buffer;
  readonly spkiSha256: string;
  readonly keyType: KeyType;
  readonly rsaBits: number | null;
  /** OpenSSL's name; null for no EC key, an unknown curve or explicit parameters. */
  readonly curve: string | null;
  /** Canonical, no repeats, from the alternative names and the subject (RFC 8550 3). */
  readonly addresses: readonly string[];
  readonly keyUsage: ReadonlySet<KeyUsage> | null;
  readonly extendedKeyUsage: ReadonlySet<string> | null;
  readonly isCa: boolean;
  readonly pathLength: number | null;
  readonly subjectKeyId: Buffer | null;
  readonly authorityKeyId: Buffer | null;
  /** Value of the SMIMECapabilities extension (RFC 4262). */
  readonly smimeCapabilities: Buffer | null;
  /** Where revocation lists, OCSP responders and the issuer's certificate are: http and https only, bounded. */
  readonly crlUrls: readonly string[];
  readonly ocspUrls: readonly string[];
  readonly issuerUrls: readonly string[];
  /** Object identifiers. */
  readonly unknownCritical: readonly string[];
  readonly extensions: Extensions;
  readonly tbsDer: Buffer;
  readonly signatureAlgorithmDer: Buffer;
  readonly signature: Buffer;
}

/** Room for DSA with 3072 bits: what verifying costs grows with the size. */
const mostDsaOctets = 2_000;
/** Counted before anything is allocated: a certificate of a person has 2 kB and 150 elements. */
const limits = { octets: 100_000, elements: 5_000, depth: 20 };

/**
 * Reads one certificate (RFC 5280 4.1). Extensions may be missing; ones that cannot be read, or are there twice, make
 * the whole certificate `certificate-malformed`. `der` is copied, so that it does not keep a message in memory.
 */
export function parseCertificate(der: Buffer): Certificate {
  if (der.length > limits.octets)
    throw certificateFault('certificate-malformed', { what: 'it is too large' });
  try {
    return readCertificate(Buffer.from(Uint8Array.from(der).buffer));
  } catch (error) {
    throw certificateFault('certificate-malformed', { what: wordsOf(error) }, { cause: error });
  }
}

function readCertificate(der: Buffer): Certificate {
  const whole = expect(readBer(der, 0, limits), tag.sequence, 'the certificate');
  if (whole.end !== der.length) throw new Error('octets follow it');
  const [tbsNode, algorithmNode, signatureNode] = whole.children;
  const tbs = expect(tbsNode, tag.sequence, 'the signed part');
  // RFC 5280 4.1: version [0] is left out in version 1.
  const fields = isContext(tbs.children[0], 0) ? tbs.children.slice(1) : tbs.children;
  const [serialNode, innerAlgorithm, issuerNode, validityNode, subjectNode, spkiNode, ...optional] = fields;
  const serialDer = contentOf(expect(serialNode, tag.integer, 'the serial number'));
  const signatureAlgorithmDer = readAlgorithm(algorithmNode).der;
  // RFC 5280 4.1.1.2: the algorithm that is signed must be the one that is used.
  if (!readAlgorithm(innerAlgorithm).der.equals(signatureAlgorithmDer))
    throw new Error('it names two signature algorithms');
  const validity = expect(validityNode, tag.sequence, 'the validity');
  const issuer = readName(issuerNode);
  const subject = readName(subjectNode);
  const spkiDer = bytesOf(expect(spkiNode, tag.sequence, 'the public key'));
  const extensions = readExtensions(optional.find((node) => isContext(node, 3))?.children[0]);
  const alternative = subjectAltNamesIn(extensions).flatMap((name) => mailboxOf(name) ?? []);
  return {
    der,
    sha256: sha256(der),
    serial: serialText(serialDer),
    serialDer,
    issuerDer: bytesOf(issuerNode as Ber),
    subjectDer: bytesOf(subjectNode as Ber),
    issuer: nameText(issuer),
    subject: nameText(subject),
    issuerName: comparableName(issuer).join('\n'),
    subjectName: comparableName(subject).join('\n'),
    notBefore: timeOf(validity.children[0]),
    notAfter: timeOf(validity.children[1]),
    spkiDer,
    spkiSha256: sha256(spkiDer),
    ...readKeyType(spkiNode as Ber),
    addresses: [...new Set([...alternative, ...addressesInName(subject)])],
    keyUsage: keyUsageIn(extensions),
    extendedKeyUsage: extendedKeyUsageIn(extensions),
    ...basicConstraintsIn(extensions),
    ...keyIdsIn(extensions),
    smimeCapabilities: extensions.get(extensionOid.smimeCapabilities)?.value ?? null,
    ...locationsIn(extensions),
    unknownCritical: unknownCriticalIn(extensions),
    extensions,
    tbsDer: bytesOf(tbs),
    signatureAlgorithmDer,
    signature: bitsOf(signatureNode).bytes,
  };
}

const sha256 = (octets: Buffer): string => createHash('sha256').update(octets).digest('hex');

/** RFC 5280 4.1.2.2: negative and zero serial numbers occur and must be handled. */
function serialText(content: Buffer): string {
  if (content.length === 0) throw new Error('the serial number is empty');
  const value = BigInt.asIntN(content.length * 8, BigInt(`0x${content.toString('hex')}`));
  const digits = (value < 0n ? -value : value).toString(16);
  return `${value < 0n ? '-' : ''}${digits.length % 2 ? '0' : ''}${digits}`;
}

const typeByOid: ReadonlyMap<string, KeyType> = new Map([
  [keyOid.rsa, 'rsa'],
  [keyOid.rsaPss, 'rsa-pss'],
  [keyOid.rsaOaep, 'rsa-oaep'],
  [keyOid.ec, 'ec'],
  [keyOid.dsa, 'dsa'],
  [keyOid.ed25519, 'ed25519'],
  [keyOid.ed448, 'ed448'],
  [keyOid.x25519, 'x25519'],
  [keyOid.x448, 'x448'],
]);

const isRsa = (type: KeyType): boolean => type === 'rsa' || type === 'rsa-pss' || type === 'rsa-oaep';

function readKeyType(spki: Ber): Pick<Certificate, 'keyType' | 'rsaBits' | 'curve'> {
  const { oid, parameters } = readAlgorithm(spki.children[0]);
  const keyType = typeByOid.get(oid) ?? 'other';
  const key = bitsOf(spki.children[1]).bytes;
  if (isRsa(keyType)) return { keyType, rsaBits: integerBits(readBer(key).children[0]), curve: null };
  if (keyType !== 'ec') return { keyType, rsaBits: null, curve: null };
  // Explicit curve parameters let a forger choose a generator that makes another's public key his (CVE-2020-0601).
  const named = isUniversal(parameters ?? undefined, tag.oid)
    ? curves.get(oidOf(parameters as Ber))
    : undefined;
  return { keyType, rsaBits: null, curve: named?.name ?? null };
}

function integerBits(node: Ber | undefined): number {
  const octets = contentOf(expect(node, tag.integer, 'the RSA modulus'));
  const first = octets.findIndex((octet) => octet !== 0);
  return first < 0 ? 0 : (octets.length - first) * 8 - Math.clz32(octets[first] as number) + 24;
}

/**
 * The public key for node:crypto. RSA keys come from their PKCS#1 part, which imports 30 times faster than the whole
 * SubjectPublicKeyInfo (10 µs for 300 µs). Not cached here.
 * Fault `key-unsupported`: explicit or unknown curves, RSA above 8192 bits or with an unsafe exponent, other algorithms.
 */
export function publicKeyOf(
  certificate: Pick<Certificate, 'spkiDer' | 'keyType' | 'rsaBits' | 'curve' | 'subject'>,
): KeyObject {
  const { subject, keyType, spkiDer } = certificate;
  const refuse = (what: string, cause: unknown = undefined) =>
    certificateFault('key-unsupported', { subject, what }, { cause });
  if (keyType === 'other') throw refuse('its algorithm is not supported');
  if (keyType === 'ec' && certificate.curve === null) throw refuse('its curve is not supported');
  if (keyType === 'dsa' && spkiDer.length > mostDsaOctets) throw refuse('it is too large');
  if ((certificate.rsaBits ?? 0) > mostRsaBits) throw refuse(`it has more than ${mostRsaBits} bits`);
  try {
    return createPublicKey(keyInput(keyType, spkiDer));
  } catch (error) {
    throw refuse(wordsOf(error), error);
  }
}

function keyInput(keyType: KeyType, spkiDer: Buffer): { key: Buffer; format: 'der'; type: 'spki' | 'pkcs1' } {
  if (!isRsa(keyType)) return { key: spkiDer, format: 'der', type: 'spki' };
  const pkcs1 = bitsOf(readBer(spkiDer).children[1]).bytes;
  const exponent = contentOf(expect(readBer(pkcs1).children[1], tag.integer, 'the exponent'));
  // An even exponent, or 1, makes signatures that anyone can forge; a long one makes verifying slow.
  const last = exponent.at(-1) ?? 0;
  if (last % 2 === 0 || (exponent.length === 1 && last === 1) || exponent.length > 8)
    throw new Error('its exponent is even, 1 or longer than 64 bits');
  // A PSS key keeps its own algorithm identifier, which may bind digest and salt (RFC 4055 3.1).
  if (keyType === 'rsa-pss') return { key: spkiDer, format: 'der', type: 'spki' };
  return { key: pkcs1, format: 'der', type: 'pkcs1' };
}

const emailProtection = '1.3.6.1.5.5.7.3.4';
const anyExtendedKeyUsage = '2.5.29.37.0';

/** Whether the extended key usage, if any, allows e-mail (RFC 8550 4.4.4). */
export function allowsEmail(certificate: Pick<Certificate, 'extendedKeyUsage'>): boolean {
  const usages = certificate.extendedKeyUsage;
  return usages === null || usages.has(emailProtection) || usages.has(anyExtendedKeyUsage);
}

const signingOnly: readonly KeyType[] = ['rsa-pss', 'dsa', 'ed25519', 'ed448', 'other'];
const encryptingOnly: readonly KeyType[] = ['rsa-oaep', 'x25519', 'x448', 'other'];

/**
 * Whether key kind and key usage allow the purpose (RFC 8550 4.4.2): signing takes digitalSignature or nonRepudiation;
 * encryption takes keyEncipherment for RSA (RFC 4055 1.2) and keyAgreement for the others (RFC 5480 3, RFC 8410 5).
 * No key usage at all allows both.
 */
export function allowsUsage(
  { keyType, keyUsage }: Pick<Certificate, 'keyType' | 'keyUsage'>,
  purpose: 'sign' | 'encrypt',
): boolean {
  if (purpose === 'sign') {
    if (encryptingOnly.includes(keyType)) return false;
    return keyUsage === null || keyUsage.has('digitalSignature') || keyUsage.has('nonRepudiation');
  }
  if (signingOnly.includes(keyType)) return false;
  return keyUsage === null || keyUsage.has(isRsa(keyType) ? 'keyEncipherment' : 'keyAgreement');
}

/** Whether key usage and extended key usage together allow the purpose (RFC 8550 4.4.2, 4.4.4). */
export function mayServe(
  certificate: Pick<Certificate, 'keyType' | 'keyUsage' | 'extendedKeyUsage'>,
  purpose: 'sign' | 'encrypt',
): boolean {
  return allowsUsage(certificate, purpose) && allowsEmail(certificate);
}
