import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { derAlgorithm, keyOid } from '../pki/algorithms.ts';
import { bitsOf, readBer } from '../pki/ber.ts';
import type { KeyType } from '../pki/certificate.ts';

interface Ephemeral {
  readonly privateKey: KeyObject;
  /** Our public key as it stands in the KeyAgreeRecipientInfo. */
  readonly originatorKey: Buffer;
  readonly keyAlgorithm: Buffer;
}

/**
 * Our side of key agreements about one content key: one key pair a curve, made when the first recipient needs it. As
 * the recipients of one KeyAgreeRecipientInfo share it (RFC 5652 6.2.2), so do the copies of one encrypted entity; another entity
 * has others (RFC 5753 3.1.2).
 */
export class EphemeralKeys {
  readonly #keys = new Map<string, Ephemeral>();

  for({ keyType, curve }: { readonly keyType: KeyType; readonly curve: string | null }): Ephemeral {
    const name = keyType === 'ec' && curve !== null ? curve : keyType;
    const known = this.#keys.get(name);
    if (known) return known;
    const made = keyType === 'ec' && curve !== null ? onCurve(curve) : montgomery(keyType);
    this.#keys.set(name, made);
    return made;
  }

  /** Forgets the private keys. */
  dispose(): void {
    this.#keys.clear();
  }
}

function onCurve(namedCurve: string): Ephemeral {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve });
  // RFC 5753 7.1.2: the curve is absent, being the recipient's.
  return { privateKey, originatorKey: pointOf(publicKey), keyAlgorithm: derAlgorithm(keyOid.ec) };
}

/** RFC 8418 2.1. */
function montgomery(keyType: KeyType): Ephemeral {
  const is25519 = keyType === 'x25519';
  const { privateKey, publicKey } = is25519 ? generateKeyPairSync('x25519') : generateKeyPairSync('x448');
  const keyAlgorithm = derAlgorithm(is25519 ? keyOid.x25519 : keyOid.x448);
  return { privateKey, originatorKey: pointOf(publicKey), keyAlgorithm };
}

function pointOf(publicKey: KeyObject): Buffer {
  return bitsOf(readBer(publicKey.export({ type: 'spki', format: 'der' })).children[1]).bytes;
}
