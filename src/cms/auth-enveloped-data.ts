import { type CipherGCMTypes, createDecipheriv } from 'node:crypto';
import { type AlgorithmIdentifier, type ContentCipher, contentCipherOf } from '../pki/algorithms.ts';
import { type Ber, expect, isContext, octetsOf, smallIntegerOf, tag } from '../pki/ber.ts';
import { attributesAsSet } from './attributes.ts';
import { cipherInto } from './content-cipher.ts';
import type { DecryptionKey } from './content-key.ts';
import { cmsFault, reading, withinBudget } from './faults.ts';
import { type CmsLimits, cmsLimits } from './limits.ts';
import { type Envelope, type OpenResult, openEnvelope, readEnvelope } from './opening.ts';

/**
 * Opens AuthEnvelopedData (RFC 5083) with AES-GCM (RFC 5084). Nothing of the plaintext is given before its tag was
 * found right, and it is wiped if the tag is wrong. That proves only that somebody who knew the content key made it:
 * the sender, or any other recipient (RULES 2).
 * Throws `cms-malformed` and `cms-budget` on structure alone; anything that depends on a key is in the result.
 */
export function openAuthEnveloped(
  content: Ber,
  keys: readonly DecryptionKey[],
  limits: CmsLimits = cmsLimits,
): OpenResult {
  const envelope = reading(() => readEnvelope(content, limits));
  const named = contentCipherOf(envelope.algorithm.oid);
  const cipher = isGcm(named) ? named : null;
  const gcm = cipher && reading(() => readGcm(envelope, limits));
  const decrypt = cipher && gcm && ((contentKey: Buffer) => decryptGcm(cipher, contentKey, gcm, envelope));
  return openEnvelope(envelope, { keys, limits, cipher, decrypt });
}

type GcmCipher = ContentCipher & CipherGCMTypes;
const isGcm = (cipher: ContentCipher | null): cipher is GcmCipher => cipher?.endsWith('-gcm') ?? false;

interface Gcm {
  readonly nonce: Buffer;
  readonly tag: Buffer;
  /** Whether the tag is as long as the parameters say. */
  readonly fits: boolean;
  /** What is authenticated beside the content: authAttrs with the tag of a SET (RFC 5083 2.2), or nothing. */
  readonly additional: Buffer | null;
}

function readGcm(envelope: Envelope, limits: CmsLimits): Gcm {
  const rest = [...envelope.rest];
  const attributes = isContext(rest[0], 1) ? rest.shift() : undefined;
  if (attributes) withinBudget(attributes.children.length, 'attributes', limits.attributes);
  const mac = octetsOf(expect(rest[0], tag.octetString, 'the authentication tag'));
  const { nonce, tagLength } = readGcmParameters(envelope.algorithm);
  return {
    nonce,
    tag: mac,
    fits: mac.length === tagLength,
    additional: attributes ? attributesAsSet(attributes).der : null,
  };
}

/** GCMParameters (RFC 5084 3.2). */
function readGcmParameters(algorithm: AlgorithmIdentifier): { nonce: Buffer; tagLength: number } {
  const [nonceNode, lengthNode] = expect(
    algorithm.parameters ?? undefined,
    tag.sequence,
    'the GCM parameters',
  ).children;
  const nonce = octetsOf(expect(nonceNode, tag.octetString, 'the nonce'));
  // 12 octets are recommended; OpenSSL takes 1 to 128.
  if (nonce.length < 1 || nonce.length > 128)
    throw cmsFault('cms-malformed', { what: 'the nonce has an impossible length' });
  const tagLength = lengthNode === undefined ? 12 : smallIntegerOf(lengthNode);
  // Node would take 4 octets: 2^32 tries to forge instead of 2^96.
  if (tagLength < 12 || tagLength > 16)
    throw cmsFault('cms-malformed', { what: 'the authentication tag must be 12 to 16 octets long' });
  return { nonce, tagLength };
}

function decryptGcm(
  cipher: GcmCipher,
  contentKey: Buffer,
  gcm: Gcm,
  { segments, size }: Envelope,
): Buffer | null {
  const out = Buffer.alloc(size);
  // A tag of another length than announced cannot be right: 16 zero octets keep the work the same.
  const tag = gcm.fits ? gcm.tag : Buffer.alloc(16);
  const decipher = createDecipheriv(cipher, contentKey, gcm.nonce, { authTagLength: tag.length });
  decipher.setAuthTag(tag);
  if (gcm.additional) decipher.setAAD(gcm.additional);
  cipherInto(decipher, segments, out);
  try {
    decipher.final();
    if (gcm.fits) return out;
  } catch {
    // The tag is wrong.
  }
  out.fill(0);
  return null;
}
