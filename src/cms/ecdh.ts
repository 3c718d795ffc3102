import {
  createCipheriv,
  createDecipheriv,
  createPublicKey,
  diffieHellman,
  hkdfSync,
  type KeyObject,
} from 'node:crypto';
import { type AgreementScheme, createDigest, type KeyWrap, keyWrapLength } from '../pki/algorithms.ts';
import { bytesOf, expect, readBer, tag } from '../pki/ber.ts';
import { derBits, derContext, derOctets, derSequence } from '../pki/der.ts';
import { substituteKey } from './substitute.ts';

/** How a key encryption key is agreed on and used; the same on both sides. */
export interface Agreement {
  readonly scheme: AgreementScheme;
  readonly wrap: KeyWrap;
  /** The key wrap's AlgorithmIdentifier, octet for octet as in the message: it is hashed. */
  readonly wrapDer: Buffer;
  /** User keying material of the sender, or null. */
  readonly ukm: Buffer | null;
}

/** RFC 3394 2.2.3.1; the IVs of RFC 3217 3 are OpenSSL's business. */
const ivOf = (wrap: KeyWrap): Buffer | null => (wrap === 'des3-wrap' ? null : Buffer.alloc(8, 0xa6));

/**
 * Recovers a content key of `length` octets from ephemeral-static ECDH (RFC 5753 3.1.3, RFC 8418). `spki` is the
 * recipient's SubjectPublicKeyInfo, for its curve; `originatorKey` the sender's point. Never fails: if the point is not
 * on our curve, the key does not unwrap or has another length, it gives `substituteKey`.
 */
export function recoverEcdh(
  key: KeyObject,
  spki: Uint8Array,
  originatorKey: Buffer,
  encryptedKey: Buffer,
  length: number,
  agreement: Agreement,
): Buffer {
  const substitute = substituteKey(key, encryptedKey, length);
  let recovered: Buffer;
  try {
    // OpenSSL refuses points off the curve here (invalid-curve attack) and small-order X25519 ones in diffieHellman.
    const shared = diffieHellman({ privateKey: key, publicKey: importPoint(spki, originatorKey) });
    recovered = unwrapKey(shared, encryptedKey, agreement);
  } catch {
    return substitute;
  }
  if (recovered.length !== length) return substitute;
  substitute.fill(0);
  return recovered;
}

/** A point as a public key on the curve of `spki`: the sender does not get to choose the curve. */
function importPoint(spki: Uint8Array, point: Buffer): KeyObject {
  const own = expect(readBer(Buffer.from(spki)), tag.sequence, 'a public key');
  const algorithm = expect(own.children[0], tag.sequence, 'the algorithm of a public key');
  return createPublicKey({
    key: derSequence(bytesOf(algorithm), derBits(point)),
    format: 'der',
    type: 'spki',
  });
}

/** Key wrap (RFC 3394; RFC 3217 for 3DES) of a content key under the agreed secret, which is wiped. */
export function wrapKey(shared: Buffer, contentKey: Buffer, agreement: Agreement): Buffer {
  const kek = deriveKek(shared, agreement);
  shared.fill(0);
  const cipher = createCipheriv(agreement.wrap, kek, ivOf(agreement.wrap));
  kek.fill(0);
  return Buffer.concat([cipher.update(contentKey), cipher.final()]);
}

/** The reverse under the agreed secret, which is wiped; throws if the integrity check fails. */
function unwrapKey(shared: Buffer, encryptedKey: Buffer, agreement: Agreement): Buffer {
  const kek = deriveKek(shared, agreement);
  shared.fill(0);
  return unwrapUnder(kek, agreement.wrap, encryptedKey);
}

/** What is wrapped under a key encryption key, which is wiped (RFC 3394 2.2.2, RFC 3217 3.2); throws if it is not. */
export function unwrapUnder(kek: Buffer, wrap: KeyWrap, encryptedKey: Buffer): Buffer {
  const decipher = createDecipheriv(wrap, kek, ivOf(wrap));
  kek.fill(0);
  // OpenSSL gives all of it at once; final() adds nothing.
  const contentKey = decipher.update(encryptedKey);
  decipher.final();
  return contentKey;
}

/** The key encryption key: X9.63 (RFC 5753 7.1.4, SEC 1 3.6.1) or HKDF (RFC 8418 2.2). */
export function deriveKek(shared: Buffer, { scheme, wrap, wrapDer, ukm }: Agreement): Buffer {
  const length = keyWrapLength(wrap);
  // ECC-CMS-SharedInfo (RFC 5753 7.2): the key's size in bits comes last.
  const info = derSequence(
    wrapDer,
    ...(ukm === null ? [] : [derContext(0, derOctets(ukm))]),
    derContext(2, derOctets(uint32(length * 8))),
  );
  if (scheme.kdf === 'hkdf') return Buffer.from(hkdfSync(scheme.digest, shared, ukm ?? '', info, length));
  const blocks: Buffer[] = [];
  for (let made = 0, counter = 1; made < length; counter++) {
    const block = createDigest(scheme.digest).update(shared).update(uint32(counter)).update(info).digest();
    blocks.push(block);
    made += block.length;
  }
  return Buffer.concat(blocks, length);
}

function uint32(value: number): Buffer {
  const octets = Buffer.alloc(4);
  octets.writeUInt32BE(value);
  return octets;
}
