import type { KeyObject } from 'node:crypto';
import {
  type AlgorithmIdentifier,
  createDigest,
  type DigestName,
  derAlgorithm,
  digestLength,
  digestOf,
  digestOid,
  keyOid,
  readAlgorithm,
} from '../pki/algorithms.ts';
import { isContext, isUniversal, octetsOf, tag } from '../pki/ber.ts';
import { derContext, derNull, derSequence } from '../pki/der.ts';
import { rawDecrypt } from './rsa15.ts';
import { choose, substituteKey } from './substitute.ts';

/** RSAES-OAEP-params (RFC 4055 4.1). */
export interface OaepParameters {
  readonly hash: DigestName;
  /** Hash of the mask generation function MGF1; some senders leave it SHA-1 beside another `hash`. */
  readonly mask: DigestName;
  readonly label: Buffer;
}

/** Reads the parameters of id-RSAES-OAEP, or null if an algorithm in them is not known. `ber-malformed` if broken. */
export function readOaepParameters(algorithm: AlgorithmIdentifier): OaepParameters | null {
  const fields = algorithm.parameters?.children ?? [];
  const inside = (number: number) => fields.find((field) => isContext(field, number))?.children[0];
  let hash: DigestName | null = 'sha1';
  let mask: DigestName | null = 'sha1';
  let label: Buffer = Buffer.alloc(0);
  const hashNode = inside(0);
  if (hashNode) hash = digestOf(readAlgorithm(hashNode).oid);
  const maskNode = inside(1);
  if (maskNode) {
    const generator = readAlgorithm(maskNode);
    if (generator.oid !== keyOid.mgf1 || generator.parameters === null) return null;
    mask = digestOf(readAlgorithm(generator.parameters).oid);
  }
  const labelNode = inside(2);
  if (labelNode) {
    const source = readAlgorithm(labelNode);
    const value = source.parameters ?? undefined;
    if (source.oid !== keyOid.pSpecified || !isUniversal(value, tag.octetString)) return null;
    label = octetsOf(value);
  }
  if (hash === null || mask === null || hash === 'shake256' || mask === 'shake256') return null;
  return { hash, mask, label };
}

/** Hashes that reseal writes; MGF1 has the same and the label is empty (RFC 3560 2). */
export const oaepHashes = ['sha1', 'sha256', 'sha384', 'sha512'] as const satisfies readonly DigestName[];
export type OaepHash = (typeof oaepHashes)[number];

/** RSAES-OAEP-params for one of them; SHA-1 is the default, which DER leaves out (RFC 4055 4.1). */
export function derOaepParameters(hash: OaepHash): Buffer {
  if (hash === 'sha1') return derSequence();
  const algorithm = derAlgorithm(digestOid(hash), derNull());
  return derSequence(derContext(0, algorithm), derContext(1, derAlgorithm(keyOid.mgf1, algorithm)));
}

/**
 * Recovers a content key of `length` octets from RSAES-OAEP (RFC 8017 7.1.2, RFC 3560). Never fails: for anything but
 * a key of exactly this length it gives `substituteKey`.
 *
 * The unpadding is here and not Node's, which has no option for another MGF1 hash and throws on a failure: one way
 * for all parameters looks the same from outside whether the first octet, the label's hash or the padding is wrong
 * (Manger's attack needs to tell the first from the others).
 */
export function recoverOaep(key: KeyObject, encryptedKey: Buffer, length: number, d: OaepParameters): Buffer {
  const padded = rawDecrypt(key, encryptedKey);
  const substitute = substituteKey(key, encryptedKey, length);
  const recovered = unpad(padded, substitute, d);
  padded.fill(0);
  substitute.fill(0);
  return recovered;
}

function unpad(padded: Buffer, substitute: Buffer, { hash, mask, label }: OaepParameters): Buffer {
  const hashLength = digestLength(hash);
  const seed = padded.subarray(1, 1 + hashLength);
  const block = padded.subarray(1 + hashLength);
  const separator = block.length - substitute.length - 1;
  // Known from the sizes of key, hash and cipher alone.
  if (separator < hashLength) return Buffer.from(substitute);
  applyMask(seed, block, mask);
  applyMask(block, seed, mask);
  const labelHash = createDigest(hash).update(label).digest();
  let bad = (padded[0] as number) | ((block[separator] as number) ^ 1);
  for (let i = 0; i < hashLength; i++) bad |= (block[i] as number) ^ (labelHash[i] as number);
  for (let i = hashLength; i < separator; i++) bad |= block[i] as number;
  return choose(bad, block.subarray(separator + 1), substitute);
}

/** XORs MGF1 of `from` over `target` (RFC 8017 B.2.1). */
function applyMask(target: Buffer, from: Buffer, digest: DigestName): void {
  const counter = Buffer.alloc(4);
  for (let done = 0, block = 0; done < target.length; block++) {
    counter.writeUInt32BE(block);
    const stream = createDigest(digest).update(from).update(counter).digest();
    for (let i = 0; i < stream.length && done < target.length; i++, done++)
      target[done] = (target[done] as number) ^ (stream[i] as number);
    stream.fill(0);
  }
}
