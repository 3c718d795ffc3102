import { createHash } from 'node:crypto';
import { faultsOf, wordsOf } from '../base/errors.ts';
import { type DigestName, derAlgorithm, digestOf, digestOid, readAlgorithm } from './algorithms.ts';
import {
  type Ber,
  bitsOf,
  bytesOf,
  contentOf,
  expect,
  isContext,
  octetsOf,
  oidOf,
  readBer,
  tag,
  timeOf,
} from './ber.ts';
import { type Certificate, parseCertificate } from './certificate.ts';
import { der, derNull, derOctets, derSequence } from './der.ts';
import { type Extensions, readExtensions } from './extensions.ts';
import { comparableName, readName } from './name.ts';

export const ocspFault = faultsOf({
  'ocsp-malformed': (d: { what: string }) => `the OCSP response cannot be read: ${d.what}`,
  'ocsp-refused': (d: { status: string }) => `the OCSP responder did not answer the question (${d.status})`,
});

/** One SingleResponse (RFC 6960 4.2.1). */
export interface OcspAnswer {
  readonly digest: DigestName | null;
  readonly issuerNameHash: Buffer;
  readonly issuerKeyHash: Buffer;
  /** Content octets of the INTEGER. */
  readonly serialDer: Buffer;
  readonly status: 'good' | 'revoked' | 'unknown';
  /** Milliseconds since the epoch; null unless revoked. */
  readonly revokedAt: number | null;
  readonly thisUpdate: number;
  /** Null: newer information is there at any time (RFC 6960 4.2.2.1). */
  readonly nextUpdate: number | null;
  readonly extensions: Extensions;
}

/** A BasicOCSPResponse (RFC 6960 4.2.1) as read by `parseOcspResponse`; nothing of it is verified. */
export interface OcspResponse {
  readonly der: Buffer;
  /** Of `der`, lower-case hexadecimal. */
  readonly sha256: string;
  /** Who signed: a comparable name, or the SHA-1 of the public key's octets. */
  readonly responder: { readonly name: string } | { readonly keyHash: Buffer };
  readonly producedAt: number;
  readonly answers: readonly OcspAnswer[];
  readonly extensions: Extensions;
  /** That came along; unreadable ones are left out. */
  readonly certificates: readonly Certificate[];
  readonly tbsDer: Buffer;
  readonly signatureAlgorithmDer: Buffer;
  readonly signature: Buffer;
}

/** Counted before anything is allocated: an answer about one certificate has 2 kB. */
const limits = { octets: 200_000, elements: 10_000, depth: 20 };
const mostCertificates = 5;
const basicResponse = '1.3.6.1.5.5.7.48.1.1';
/** RFC 6960 4.2.1; 4 is not used. */
const statusNames = [
  'successful',
  'malformedRequest',
  'internalError',
  'tryLater',
  '',
  'sigRequired',
  'unauthorized',
];

/**
 * An OCSPRequest about one certificate (RFC 6960 4.1.1, RFC 5019 2.1.1): SHA-1 in the CertID, which is all that many
 * responders know and only names the issuer, not signed, and without a nonce, so that responders may answer from a store.
 */
export function ocspRequest(
  certificate: Pick<Certificate, 'issuerDer' | 'serialDer'>,
  issuer: Pick<Certificate, 'spkiDer'>,
): Buffer {
  const id = derSequence(
    derAlgorithm(digestOid('sha1'), derNull()),
    derOctets(hash('sha1', certificate.issuerDer)),
    derOctets(hash('sha1', publicKeyOctets(issuer))),
    der(tag.integer, certificate.serialDer),
  );
  return derSequence(derSequence(derSequence(derSequence(id))));
}

const hash = (digest: DigestName, octets: Uint8Array): Buffer => createHash(digest).update(octets).digest();

/** The BIT STRING of a SubjectPublicKeyInfo without its tag, length and unused bits (RFC 6960 4.1.1). */
const publicKeyOctets = ({ spkiDer }: Pick<Certificate, 'spkiDer'>): Buffer =>
  bitsOf(readBer(spkiDer).children[1]).bytes;

/**
 * Reads an OCSPResponse (RFC 6960 4.2.1). Faults: `ocsp-malformed`; `ocsp-refused` if it carries no answer (tryLater,
 * unauthorized and so on). The octets are kept, not copied.
 */
export function parseOcspResponse(octets: Uint8Array): OcspResponse {
  if (octets.length > limits.octets) throw ocspFault('ocsp-malformed', { what: 'it is too large' });
  const source = Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength);
  let status = 0;
  try {
    const whole = expect(readBer(source, 0, limits), tag.sequence, 'the response');
    if (whole.end !== source.length) throw new Error('octets follow it');
    const [statusNode, wrapped] = whole.children;
    status = contentOf(expect(statusNode, tag.enumerated, 'the status'))[0] ?? -1;
    if (status === 0) return readBasic(source, wrapped);
  } catch (error) {
    throw ocspFault('ocsp-malformed', { what: wordsOf(error) }, { cause: error });
  }
  throw ocspFault('ocsp-refused', { status: statusNames[status] || `status ${status}` });
}

function readBasic(source: Buffer, wrapped: Ber | undefined): OcspResponse {
  const [type, octets] = expect(wrapped?.children[0], tag.sequence, 'the answer').children;
  if (oidOf(type) !== basicResponse) throw new Error('it is of an unknown kind');
  const whole = readBer(octetsOf(expect(octets, tag.octetString, 'the answer')), 0, limits);
  const [tbsNode, algorithm, signature, bag] = expect(whole, tag.sequence, 'the basic response').children;
  const tbs = expect(tbsNode, tag.sequence, 'the signed part');
  const fields = isContext(tbs.children[0], 0) ? tbs.children.slice(1) : tbs.children;
  const [responder, producedAt, answers, extensions] = fields;
  return {
    der: source,
    sha256: createHash('sha256').update(source).digest('hex'),
    responder: readResponder(responder),
    producedAt: timeOf(producedAt),
    answers: expect(answers, tag.sequence, 'the list of answers').children.map(readAnswer),
    extensions: readExtensions(extensions?.children[0]),
    certificates: (bag?.children[0]?.children ?? []).slice(0, mostCertificates).flatMap(certificateOrNone),
    tbsDer: bytesOf(tbs),
    signatureAlgorithmDer: readAlgorithm(algorithm).der,
    signature: bitsOf(signature).bytes,
  };
}

function certificateOrNone(node: Ber): Certificate[] {
  try {
    return [parseCertificate(bytesOf(node))];
  } catch {
    return [];
  }
}

/** ResponderID: EXPLICIT [1] byName or [2] byKey. */
function readResponder(node: Ber | undefined): OcspResponse['responder'] {
  const value = node?.children[0];
  if (isContext(node, 1)) return { name: comparableName(readName(value)).join('\n') };
  if (isContext(node, 2)) return { keyHash: octetsOf(expect(value, tag.octetString, 'the key hash')) };
  throw new Error('it does not name its responder');
}

function readAnswer(node: Ber): OcspAnswer {
  const [idNode, state, thisUpdate, ...optional] = expect(node, tag.sequence, 'an answer').children;
  const [algorithm, nameHash, keyHash, serial] = expect(idNode, tag.sequence, 'a certificate id').children;
  const revoked = isContext(state, 1);
  if (!revoked && !isContext(state, 0) && !isContext(state, 2)) throw new Error('an answer has no status');
  return {
    digest: digestOf(readAlgorithm(algorithm).oid),
    issuerNameHash: octetsOf(expect(nameHash, tag.octetString, 'the hash of the issuer')),
    issuerKeyHash: octetsOf(expect(keyHash, tag.octetString, 'the hash of the key')),
    serialDer: contentOf(expect(serial, tag.integer, 'the serial number')),
    status: revoked ? 'revoked' : isContext(state, 0) ? 'good' : 'unknown',
    revokedAt: revoked ? timeOf(state.children[0]) : null,
    thisUpdate: timeOf(thisUpdate),
    nextUpdate: timeIn(optional.find((field) => isContext(field, 0))),
    extensions: readExtensions(optional.find((field) => isContext(field, 1))?.children[0]),
  };
}

const timeIn = (field: Ber | undefined): number | null => (field ? timeOf(field.children[0]) : null);

/** Whether an answer is about this certificate: its issuer's name and key, hashed, and its serial number (RFC 6960 4.1.1). */
export function answersAbout(answer: OcspAnswer, certificate: Certificate, issuer: Certificate): boolean {
  const { digest } = answer;
  if (digest === null || !answer.serialDer.equals(certificate.serialDer)) return false;
  return (
    answer.issuerKeyHash.equals(hash(digest, publicKeyOctets(issuer))) &&
    [certificate.issuerDer, issuer.subjectDer].some((name) =>
      answer.issuerNameHash.equals(hash(digest, name)),
    )
  );
}

/** Whether a certificate is the one that a response names as its responder's. */
export function isResponder({ responder }: OcspResponse, certificate: Certificate): boolean {
  if ('name' in responder) return responder.name === certificate.subjectName;
  return responder.keyHash.equals(hash('sha1', publicKeyOctets(certificate)));
}
