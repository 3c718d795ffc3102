import { constants, createPublicKey, type KeyObject, publicEncrypt, timingSafeEqual } from 'node:crypto';
import { createDigest, type DigestName, digestLength } from './algorithms.ts';
import { bitsOf, readBer } from './ber.ts';

/** The parameters of one RSASSA-PSS signature (RFC 4055 3.1). */
export interface PssParameters {
  readonly digest: DigestName;
  /** The digest inside MGF1. */
  readonly mask: DigestName;
  /** Octets. */
  readonly saltLength: number;
}

/**
 * RSASSA-PSS-VERIFY (RFC 8017 8.1.2) for what node:crypto cannot say: a mask generation digest other than the message's.
 * False for any signature that is not right. Throws what node:crypto does of a key that is no RSA key.
 */
export function verifyPss(
  { digest, mask, saltLength }: PssParameters,
  publicKey: KeyObject,
  segments: readonly Uint8Array[],
  signature: Uint8Array,
): boolean {
  const plain = plainRsa(publicKey);
  const modulusBits = plain.asymmetricKeyDetails?.modulusLength ?? 0;
  if (signature.length !== Math.ceil(modulusBits / 8)) return false;
  const encoded = publicEncrypt({ key: plain, padding: constants.RSA_NO_PADDING }, signature);
  const hash = createDigest(digest);
  for (const segment of segments) hash.update(segment);
  return isPssEncoding(encoded, modulusBits - 1, hash.digest(), { digest, mask, saltLength });
}

/** A key that is bound to PSS does nothing raw; the same numbers as a plain key do. */
function plainRsa(key: KeyObject): KeyObject {
  if (key.asymmetricKeyType !== 'rsa-pss') return key;
  const spki = readBer(key.export({ type: 'spki', format: 'der' }));
  return createPublicKey({ key: bitsOf(spki.children[1]).bytes, format: 'der', type: 'pkcs1' });
}

/** EMSA-PSS-VERIFY (RFC 8017 9.1.2), steps 3 to 14; `message` is the hash of the message. */
function isPssEncoding(
  encoded: Buffer,
  bits: number,
  message: Buffer,
  { digest, mask, saltLength }: PssParameters,
): boolean {
  const length = Math.ceil(bits / 8);
  const hashLength = digestLength(digest);
  // One octet more than the encoding where the modulus begins with a lone bit.
  const whole = encoded.subarray(encoded.length - length);
  if (encoded.length > length && encoded[0] !== 0) return false;
  if (length < hashLength + saltLength + 2 || whole[length - 1] !== 0xbc) return false;
  const block = Buffer.from(whole.subarray(0, length - hashLength - 1));
  const hash = whole.subarray(length - hashLength - 1, length - 1);
  const unusedBits = 8 * length - bits;
  if (((block[0] as number) & ~(0xff >> unusedBits)) !== 0) return false;
  const generated = mgf1(hash, block.length, mask);
  for (let i = 0; i < block.length; i++) block[i] = (block[i] as number) ^ (generated[i] as number);
  block[0] = (block[0] as number) & (0xff >> unusedBits);
  const padding = block.length - saltLength - 1;
  if (block.subarray(0, padding).some((octet) => octet !== 0) || block[padding] !== 1) return false;
  const salted = createDigest(digest)
    .update(Buffer.alloc(8))
    .update(message)
    .update(block.subarray(padding + 1));
  return timingSafeEqual(salted.digest(), hash);
}

/** MGF1 (RFC 8017 B.2.1). */
function mgf1(seed: Buffer, length: number, digest: DigestName): Buffer {
  const blocks: Buffer[] = [];
  const counter = Buffer.alloc(4);
  for (let i = 0; i * digestLength(digest) < length; i++) {
    counter.writeUInt32BE(i);
    blocks.push(createDigest(digest).update(seed).update(counter).digest());
  }
  return Buffer.concat(blocks).subarray(0, length);
}
