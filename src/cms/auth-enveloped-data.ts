import { cipherOf, openingCipherOf } from '../pki/algorithms.ts';
import { type Ber, expect, isContext, octetsOf, tag } from '../pki/ber.ts';
import { aeadOf, decryptAead, readAeadParameters } from './aead.ts';
import { attributesAsSet } from './attributes.ts';
import type { DecryptionKey } from './content-key.ts';
import { reading, withinBudget } from './faults.ts';
import { type CmsLimits, cmsLimits } from './limits.ts';
import { type Envelope, type OpenResult, openEnvelope, readEnvelope } from './opening.ts';

/**
 * Opens AuthEnvelopedData (RFC 5083) with AES-GCM, AES-CCM (RFC 5084) or ChaCha20-Poly1305 (RFC 8103). Nothing of the
 * plaintext is given before its tag was found right, and it is wiped if the tag is wrong. That proves only that
 * somebody who knew the content key made it: the sender, or any other recipient (RULES 2).
 * Throws `cms-malformed` and `cms-budget` on structure alone; anything that depends on a key is in the result.
 */
export function openAuthEnveloped(
  content: Ber,
  keys: readonly DecryptionKey[],
  limits: CmsLimits = cmsLimits,
): OpenResult {
  const envelope = reading(() => readEnvelope(content, limits));
  const cipher = openingCipherOf(envelope.algorithm.oid);
  const aead = cipher && aeadOf(cipher);
  if (cipher === null || aead === null) return openEnvelope(envelope, { keys, limits, decryption: null });
  const parameters = reading(() => readAeadParameters(aead, envelope.algorithm, envelope.size));
  const text = { ...reading(() => readProtection(envelope, limits)), parameters };
  const { segments, size } = envelope;
  const decrypt = (contentKey: Buffer) => decryptAead(aead, contentKey, { ...text, segments, size });
  return openEnvelope(envelope, {
    keys,
    limits,
    decryption: { cipher, keyLength: cipherOf(cipher).keyLength, decrypt },
  });
}

/** The tag, and what it covers beside the content: authAttrs with the tag of a SET (RFC 5083 2.2), or nothing. */
function readProtection(envelope: Envelope, limits: CmsLimits): { mac: Buffer; additional: Buffer | null } {
  const rest = [...envelope.rest];
  const attributes = isContext(rest[0], 1) ? rest.shift() : undefined;
  if (attributes) withinBudget(attributes.children.length, 'attributes', limits.attributes);
  return {
    mac: octetsOf(expect(rest[0], tag.octetString, 'the authentication tag')),
    additional: attributes ? attributesAsSet(attributes).der : null,
  };
}
