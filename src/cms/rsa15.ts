import { constants, type KeyObject, privateDecrypt } from 'node:crypto';
import { choose, substituteKey } from './substitute.ts';

/**
 * Recovers a content key of `length` octets from RSAES-PKCS1-v1_5 (RFC 8017 7.2.2, RFC 3370 4.2.1). Never fails: for
 * anything but a well padded key of exactly this length it gives `substituteKey`.
 *
 * Not `privateDecrypt` with RSA_PKCS1_PADDING: Node 20 refuses it (CVE-2023-46809), and newer OpenSSL answers bad
 * padding with a key of another length, which one could tell. Do not add a length check, an early return or a
 * `catch` that answers otherwise: each would be Bleichenbacher's oracle.
 */
export function recoverRsa15(key: KeyObject, encryptedKey: Buffer, length: number): Buffer {
  const padded = rawDecrypt(key, encryptedKey);
  const substitute = substituteKey(key, encryptedKey, length);
  const recovered = unpad(padded, substitute);
  padded.fill(0);
  substitute.fill(0);
  return recovered;
}

/**
 * The private-key operation without any unpadding: as many octets as the modulus has. All zeros, which no padding
 * allows, for an encrypted key that is no number below the modulus; whoever made it knows that already.
 */
export function rawDecrypt(key: KeyObject, encryptedKey: Buffer): Buffer {
  const size = Math.ceil((key.asymmetricKeyDetails?.modulusLength ?? 0) / 8);
  // RFC 8017 7.2.2 step 1; OpenSSL would take a shorter one.
  const input = encryptedKey.length === size ? encryptedKey : Buffer.alloc(size);
  try {
    return privateDecrypt({ key, padding: constants.RSA_NO_PADDING }, input);
  } catch {
    return Buffer.alloc(size);
  }
}

/** 0x00 0x02, at least eight octets that are not zero, 0x00, the key; every octet is looked at in every case. */
function unpad(padded: Buffer, substitute: Buffer): Buffer {
  const separator = padded.length - substitute.length - 1;
  // Known from the sizes of key and cipher alone.
  if (separator < 10) return Buffer.from(substitute);
  let bad = (padded[0] as number) | ((padded[1] as number) ^ 2) | (padded[separator] as number);
  for (let i = 2; i < separator; i++) bad |= (((padded[i] as number) - 1) >> 31) & 1;
  return choose(bad, padded.subarray(separator + 1), substitute);
}
