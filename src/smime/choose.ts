import type { Capabilities } from '../cms/capabilities.ts';
import type { KeyTransport } from '../cms/encrypt.ts';
import type { ContentCipher } from '../pki/algorithms.ts';
import type { Certificate } from '../pki/certificate.ts';

/** What an owner pinned for one member with `member set --cipher --key-transport`, or nothing. */
export interface AlgorithmPins {
  readonly cipher?: ContentCipher | undefined;
  readonly keyTransport?: KeyTransport | undefined;
}

export interface Choice {
  readonly cipher: ContentCipher;
  readonly keyTransport: KeyTransport;
}

/** Best first; what we write (RFC 8551 2.7, RULES 11). */
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
 * what every client reads: `unknown` and RSA PKCS #1 v1.5 (RULES 11). EC, X25519 and X448 keys use ECDH, keys bound
 * to OAEP use nothing else (RFC 4055 1.2). Null if the certificate's key can not receive.
 * This deviates from RFC 8551 2.7.1.2 (AES-256-GCM for the unknown): NSS 3.87 and gpgsm can not read GCM.
 */
export function chooseAlgorithms(
  certificate: Pick<Certificate, 'keyType'>,
  capabilities: Capabilities | null,
  pins: AlgorithmPins,
  unknown: ContentCipher = 'aes-256-cbc',
): Choice | null {
  const keyTransport = transportFor(certificate, capabilities, pins);
  if (keyTransport === null) return null;
  const listed = preferred.find((cipher) => capabilities?.ciphers.includes(cipher));
  return { cipher: pins.cipher ?? listed ?? unknown, keyTransport };
}

function transportFor(
  certificate: Pick<Certificate, 'keyType'>,
  capabilities: Capabilities | null,
  pins: AlgorithmPins,
): KeyTransport | null {
  const { keyType } = certificate;
  if (keyType === 'ec' || keyType === 'x25519' || keyType === 'x448') return 'ecdh';
  // RFC 4055 4.1: a key marked for OAEP is used with nothing else.
  if (keyType === 'rsa-oaep') return `rsa-oaep-${capabilities?.oaep[0] ?? 'sha256'}`;
  if (keyType !== 'rsa') return null;
  if (pins.keyTransport) return pins.keyTransport;
  const oaep = capabilities?.oaep[0];
  return oaep ? `rsa-oaep-${oaep}` : 'rsa';
}
