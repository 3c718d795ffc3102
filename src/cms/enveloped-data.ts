import { createDecipheriv } from 'node:crypto';
import {
  type AlgorithmIdentifier,
  cipherOf,
  type OpeningCipher,
  openingCipherOf,
} from '../pki/algorithms.ts';
import { type Ber, expect, octetsOf, smallIntegerOf, tag } from '../pki/ber.ts';
import { cipherInto } from './content-cipher.ts';
import type { DecryptionKey } from './content-key.ts';
import { cmsFault, reading } from './faults.ts';
import { type CmsLimits, cmsLimits } from './limits.ts';
import { type OpenResult, openEnvelope, readEnvelope } from './opening.ts';

export type { DecryptionKey } from './content-key.ts';
export type { OpenResult } from './opening.ts';

/**
 * Opens EnvelopedData (RFC 5652 6; AES-CBC by RFC 3565, 3DES-CBC and RC2-CBC by RFC 3370 5). What comes out is not authenticated:
 * only a signature inside says who made it and that nobody changed it (RULES 2).
 * Throws `cms-malformed` and `cms-budget` on structure alone; anything that depends on a key is in the result.
 */
export function openEnveloped(
  content: Ber,
  keys: readonly DecryptionKey[],
  limits: CmsLimits = cmsLimits,
): OpenResult {
  const envelope = reading(() => readEnvelope(content, limits));
  const named = reading(() => readCipher(envelope.algorithm));
  const { segments, size } = envelope;
  const decryption = named && {
    cipher: named.cipher,
    keyLength: cipherOf(named.cipher).keyLength,
    decrypt: (contentKey: Buffer) => decryptCbc(named.cipher, contentKey, named.iv, segments, size),
  };
  return openEnvelope(envelope, { keys, limits, decryption });
}

interface Cbc {
  readonly cipher: OpeningCipher;
  readonly iv: Buffer;
}

/** The cipher and its IV; null if it is not supported. */
function readCipher(algorithm: AlgorithmIdentifier): Cbc | null {
  const cipher = openingCipherOf(algorithm.oid);
  // An authenticated one here would be CBC's structure without a place for the tag.
  if (cipher === null || cipherOf(cipher).authenticated) return null;
  if (cipher === 'rc2-cbc') return readRc2(algorithm);
  const parameters = algorithm.parameters ?? undefined;
  return { cipher, iv: ivOf(expect(parameters, tag.octetString, 'the initialisation vector'), cipher) };
}

function ivOf(node: Ber, cipher: OpeningCipher): Buffer {
  const iv = octetsOf(node);
  if (iv.length !== cipherOf(cipher).ivLength)
    throw cmsFault('cms-malformed', { what: 'the initialisation vector has a wrong length' });
  return iv;
}

/** RC2-CBC parameters (RFC 3370 5.2), whose version says how many bits the key effectively has (RFC 2268 6). */
const rc2Versions: ReadonlyMap<number, OpeningCipher> = new Map([
  [160, 'rc2-40-cbc'],
  [120, 'rc2-64-cbc'],
  [58, 'rc2-cbc'],
]);

function readRc2(algorithm: AlgorithmIdentifier): Cbc | null {
  const parameters = expect(algorithm.parameters ?? undefined, tag.sequence, 'the RC2 parameters');
  const [version, iv] = parameters.children;
  const cipher = rc2Versions.get(smallIntegerOf(version));
  if (cipher === undefined || !isAvailable(cipher)) return null;
  return { cipher, iv: ivOf(expect(iv, tag.octetString, 'the initialisation vector'), cipher) };
}

/** Whether OpenSSL has the cipher: RC2 is in its legacy provider only. */
function isAvailable(cipher: OpeningCipher): boolean {
  const { keyLength, ivLength } = cipherOf(cipher);
  try {
    createDecipheriv(cipher, Buffer.alloc(keyLength), Buffer.alloc(ivLength));
    return true;
  } catch {
    return false;
  }
}

function decryptCbc(
  cipher: OpeningCipher,
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
