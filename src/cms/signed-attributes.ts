import { isFault } from '../base/errors.ts';
import { createDigest, type DigestName, digestOf, readAlgorithm } from '../pki/algorithms.ts';
import { type Ber, expect, isContext, isUniversal, octetsOf, oidOf, readBer, tag } from '../pki/ber.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { Reason } from '../pki/reasons.ts';
import { attributeOid, onlyValue, readAttributes, singularAttributes } from './attributes.ts';
import { contentOid } from './content-info.ts';
import type { SignerInfo } from './signed-data.ts';

/**
 * What the signed attributes, or their absence, say against a signature over `content` (RFC 5652 5.3, 5.4, 11):
 * nothing, or the reasons.
 */
export function attributeFaults(
  contentType: string,
  signer: Pick<SignerInfo, 'attributes' | 'signedAttrs' | 'digest' | 'signatureAlgorithm'>,
  content: readonly Buffer[],
): Reason[] {
  if (signer.signedAttrs === null) return bareFaults(contentType, content);
  const { attributes, digest } = signer;
  const faults: Reason[] = [];
  if (singularAttributes.some((oid) => onlyValue(attributes, oid) === 'duplicate'))
    faults.push('duplicate-attribute');
  const value = (oid: string): Ber | null => {
    const found = onlyValue(attributes, oid);
    return found === 'duplicate' ? null : found;
  };
  const type = value(attributeOid.contentType);
  const messageDigest = value(attributeOid.messageDigest);
  if (type === null || messageDigest === null || digest === null) faults.push('missing-attribute');
  else {
    if (!readsAs(() => oidOf(type) === contentType)) faults.push('content-type-mismatch');
    const expected = digestSegments(digest, content);
    if (!readsAs(() => octetsOf(expect(messageDigest, tag.octetString, 'a digest')).equals(expected)))
      faults.push('bad-digest');
  }
  const protection = value(attributeOid.algorithmProtection);
  if (protection && !readsAs(() => protects(protection, signer))) faults.push('bad-signature');
  return faults;
}

/** A signature right over the content (RFC 5652 5.3 allows it for id-data only). */
function bareFaults(contentType: string, content: readonly Buffer[]): Reason[] {
  if (contentType !== contentOid.data) return ['missing-attribute'];
  // One signature value fits both a message's attributes and a message whose text is those attributes: whoever sees
  // a signed message could make another one of it. So text that reads as signed attributes is refused.
  return readsAs(() => areAttributes(content)) ? ['missing-attribute'] : [];
}

function areAttributes(content: readonly Buffer[]): boolean {
  if (content.find((segment) => segment.length > 0)?.[0] !== 0x31) return false;
  const octets = Buffer.concat(content);
  const set = readBer(octets);
  return (
    set.end === octets.length && readAttributes(set).some(({ oid }) => oid === attributeOid.messageDigest)
  );
}

function digestSegments(digest: DigestName, segments: readonly Buffer[]): Buffer {
  const hash = createDigest(digest);
  for (const segment of segments) hash.update(segment);
  return hash.digest();
}

/** CMSAlgorithmProtection (RFC 6211 2): the algorithms must be those that the SignerInfo names. */
function protects(node: Ber, signer: Pick<SignerInfo, 'digest' | 'signatureAlgorithm'>): boolean {
  const [digest, signature] = expect(node, tag.sequence, 'the algorithm protection').children;
  if (digestOf(readAlgorithm(digest).oid) !== signer.digest) return false;
  return isContext(signature, 1) && oidOf(signature.children[0]) === signer.signatureAlgorithm.oid;
}

/**
 * Whether the signature may be verified with this certificate: true unless signingCertificate or signingCertificateV2
 * is there and its first hash is another certificate's (RFC 5035 3 and 4, RFC 8550 4.2).
 */
export function isBoundTo(signer: Pick<SignerInfo, 'attributes'>, certificate: Certificate): boolean {
  const old = onlyValue(signer.attributes, attributeOid.signingCertificate);
  const current = onlyValue(signer.attributes, attributeOid.signingCertificateV2);
  if (old === 'duplicate' || current === 'duplicate') return false;
  return readsAs(
    () =>
      (old === null || namesFirst(old, certificate, 'sha1')) &&
      (current === null || namesFirst(current, certificate, 'sha256')),
  );
}

/** Whether the first ESSCertID or ESSCertIDv2 is the certificate's; `usual` is the hash if it names none. */
function namesFirst(node: Ber, certificate: Certificate, usual: DigestName): boolean {
  const ids = expect(
    expect(node, tag.sequence, 'the signing certificate').children[0],
    tag.sequence,
    'its list',
  );
  const fields = [...expect(ids.children[0], tag.sequence, 'the first certificate in it').children];
  const digest = isUniversal(fields[0], tag.sequence) ? digestOf(readAlgorithm(fields.shift()).oid) : usual;
  if (digest === null) return false;
  const hash = octetsOf(expect(fields[0], tag.octetString, 'the hash of a certificate'));
  return createDigest(digest).update(certificate.der).digest().equals(hash);
}

/** What `check` says; false if what it reads is broken. */
function readsAs(check: () => boolean): boolean {
  try {
    return check();
  } catch (error) {
    if (isFault(error)) return false;
    throw error;
  }
}
