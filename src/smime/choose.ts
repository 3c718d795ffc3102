import { agreementSuits } from '../cms/agreements.ts';
import type { Capabilities } from '../cms/capabilities.ts';
import type { KeyTransport } from '../cms/encrypt.ts';
import { type ContentCipher, cipherOf, keyWrapFor, strengthOf } from '../pki/algorithms.ts';
import type { Certificate } from '../pki/certificate.ts';

/** What an owner pinned for one member with `member set --cipher --key-transport`, or nothing. */
export interface AlgorithmPins {
  readonly cipher?: ContentCipher | undefined;
  readonly keyTransport?: KeyTransport | undefined;
}

export interface Choice {
  readonly cipher: ContentCipher;
  readonly keyTransport: KeyTransport;
  /** The post came with a stronger cipher: the member's pins or capabilities allow no more. */
  readonly weaker: boolean;
}

/** What holds for all copies of a post. */
export interface PostCiphers {
  /** For members who have not told what they can read. */
  readonly unknown: ContentCipher;
  /** Strength in bits that the post came with; 0 in clear. */
  readonly receivedBits: number;
}

/** Best first: by strength, and of two equals the authenticated one (RFC 8551 2.7, RULES 11). */
const preferred: readonly ContentCipher[] = [
  'aes-256-gcm',
  'aes-256-cbc',
  'aes-192-gcm',
  'aes-192-cbc',
  'aes-128-gcm',
  'aes-128-cbc',
];

/**
 * Cipher and key transport for one copy: the member's pins, else the best that his signed capabilities list, else
 * what every client reads: `unknown`, but never with less strength than the post came with, and RSA PKCS #1 v1.5
 * (RULES 11). Keys bound to OAEP use nothing else (RFC 4055 1.2). Null if the certificate's key can not receive.
 * This deviates from RFC 8551 2.7.1.2 (AES-256-GCM for the unknown): NSS 3.87 and gpgsm can not read GCM.
 */
export function chooseAlgorithms(
  certificate: Pick<Certificate, 'keyType'>,
  capabilities: Capabilities | null,
  pins: AlgorithmPins,
  post: PostCiphers,
): Choice | null {
  const listed = preferred.find((one) => capabilities?.ciphers.includes(one));
  const cipher = pins.cipher ?? listed ?? raised(post);
  const keyTransport = transportFor(certificate, capabilities, pins, cipher);
  if (keyTransport === null) return null;
  return { cipher, keyTransport, weaker: strengthOf(cipher) < post.receivedBits };
}

/**
 * Whether a key wrap for this key takes longer than all else that a copy costs, or nearly so. OpenSSL has code of its own for
 * P-256 only: where that takes 0.2 ms, P-384 takes 1.2 and P-521 2.4. RSA above 3072 bits and X448 come near.
 */
export function isCostly({
  keyType,
  rsaBits,
  curve,
}: Pick<Certificate, 'keyType' | 'rsaBits' | 'curve'>): boolean {
  if (keyType === 'ec') return curve !== 'prime256v1';
  return keyType === 'x448' || (rsaBits ?? 0) > 3072;
}

/** `unknown`, or the cipher of its kind that is as strong as what the post came with. */
function raised({ unknown, receivedBits }: PostCiphers): ContentCipher {
  if (strengthOf(unknown) >= receivedBits) return unknown;
  const { authenticated } = cipherOf(unknown);
  const alike = preferred.filter((one) => cipherOf(one).authenticated === authenticated);
  return alike.findLast((one) => strengthOf(one) >= receivedBits) ?? unknown;
}

function transportFor(
  { keyType }: Pick<Certificate, 'keyType'>,
  capabilities: Capabilities | null,
  pins: AlgorithmPins,
  cipher: ContentCipher,
): KeyTransport | null {
  if (keyType === 'ec' || keyType === 'x25519' || keyType === 'x448') {
    // RFC 8551 2.3: the wrapping key is as long as the content key.
    const wanted = keyWrapFor(cipherOf(cipher).keyLength);
    const listed = capabilities?.agreements.find(
      ({ scheme, wrap }) => agreementSuits(scheme, keyType) && (wrap === null || wrap === wanted),
    );
    return listed?.scheme ?? 'ecdh';
  }
  // RFC 4055 4.1: a key marked for OAEP is used with nothing else.
  if (keyType === 'rsa-oaep') return `rsa-oaep-${capabilities?.oaep[0] ?? 'sha256'}`;
  if (keyType !== 'rsa') return null;
  if (pins.keyTransport) return pins.keyTransport;
  const oaep = capabilities?.oaep[0];
  return oaep ? `rsa-oaep-${oaep}` : 'rsa';
}
