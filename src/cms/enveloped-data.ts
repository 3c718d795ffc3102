import { createDecipheriv } from 'node:crypto';
import {
  type AlgorithmIdentifier,
  type ContentCipher,
  cipherOf,
  contentCipherOf,
} from '../pki/algorithms.ts';
import { type Ber, expect, octetsOf, tag } from '../pki/ber.ts';
import { cipherInto } from './content-cipher.ts';
import type { DecryptionKey } from './content-key.ts';
import { cmsFault, reading } from './faults.ts';
import { type CmsLimits, cmsLimits } from './limits.ts';
import { type OpenResult, openEnvelope, readEnvelope } from './opening.ts';

export type { DecryptionKey } from './content-key.ts';
export type { OpenResult } from './opening.ts';

/**
 * Opens EnvelopedData (RFC 5652 6; AES-CBC by RFC 3565, 3DES-CBC by RFC 3370 5.1). What comes out is not authenticated:
 * only a signature inside says who made it and that nobody changed it (RULES 2).
 * Throws `cms-malformed` and `cms-budget` on structure alone; anything that depends on a key is in the result.
 */
export function openEnveloped(
  content: Ber,
  keys: readonly DecryptionKey[],
  limits: CmsLimits = cmsLimits,
): OpenResult {
  const envelope = reading(() => readEnvelope(content, limits));
  const named = contentCipherOf(envelope.algorithm.oid);
  // GCM here would be CBC's structure without a place for the tag.
  const cipher = named === null || cipherOf(named).authenticated ? null : named;
  const iv = cipher && reading(() => readIv(envelope.algorithm, cipher));
  const decrypt =
    cipher &&
    iv &&
    ((contentKey: Buffer) => decryptCbc(cipher, contentKey, iv, envelope.segments, envelope.size));
  return openEnvelope(envelope, { keys, limits, cipher, decrypt });
}

function readIv(algorithm: AlgorithmIdentifier, cipher: ContentCipher): Buffer {
  const iv = octetsOf(
    expect(algorithm.parameters ?? undefined, tag.octetString, 'the initialisation vector'),
  );
  if (iv.length !== cipherOf(cipher).ivLength)
    throw cmsFault('cms-malformed', { what: 'the initialisation vector has a wrong length' });
  return iv;
}

function decryptCbc(
  cipher: ContentCipher,
  contentKey: Buffer,
  iv: Buffer,
  segments: readonly Buffer[],
  size: number,
): Buffer | null {
  const block = iv.length;
  const out = Buffer.alloc(size);
  const decipher = createDecipheriv(cipher, contentKey, iv);
  // OpenSSL would throw on bad padding only; see paddingOf.
  decipher.setAutoPadding(false);
  cipherInto(decipher, segments, out);
  const padding = size > 0 && size % block === 0 ? paddingOf(out, block) : 0;
  if (padding > 0) return out.subarray(0, size - padding);
  out.fill(0);
  return null;
}

/**
 * Octets of padding (RFC 5652 6.3), or 0 if it is wrong, as 0 itself is. Each octet of the last block is looked at in
 * either case, so that the time does not tell how much of the padding was right (Vaudenay's attack).
 */
function paddingOf(out: Buffer, block: number): number {
  const padding = out[out.length - 1] as number;
  let bad = (block - padding) >> 31;
  for (let i = 1; i <= block; i++) {
    const within = (i - padding - 1) >> 31;
    bad |= within & ((out[out.length - i] as number) ^ padding);
  }
  const mask = (bad | -bad) >> 31;
  return padding & ~mask;
}
