import {
  type ContentCipher,
  cipherOf,
  contentCipherOf,
  derAlgorithm,
  keyOid,
  readAlgorithm,
} from '../pki/algorithms.ts';
import { expect, readBer, tag } from '../pki/ber.ts';
import { derSequence } from '../pki/der.ts';
import { reading } from './faults.ts';
import { derOaepParameters, type OaepHash, oaepHashes, readOaepParameters } from './oaep.ts';

/** What somebody says his client can read, best first (RFC 8551 2.5.2); what reseal does not know is left out. */
export interface Capabilities {
  readonly ciphers: readonly ContentCipher[];
  /** RSAES-OAEP with this hash, and with the same in MGF1. */
  readonly oaep: readonly OaepHash[];
}

/**
 * Reads SMIMECapabilities, from a signed attribute or from a certificate's extension (RFC 4262 2).
 * Throws `cms-malformed`; unknown capabilities are no error (RFC 8551 2.5.2).
 */
export function parseCapabilities(der: Buffer): Capabilities {
  return reading(() => {
    const ciphers = new Set<ContentCipher>();
    const oaep = new Set<OaepHash>();
    for (const node of expect(readBer(der), tag.sequence, 'the list of capabilities').children) {
      const capability = readAlgorithm(node);
      const cipher = contentCipherOf(capability.oid);
      if (cipher) ciphers.add(cipher);
      if (capability.oid !== keyOid.rsaOaep) continue;
      const parameters = readOaepParameters(capability);
      const hash = oaepHashes.find((name) => name === parameters?.hash);
      if (hash && parameters?.mask === hash && parameters.label.length === 0) oaep.add(hash);
    }
    return { ciphers: [...ciphers], oaep: [...oaep] };
  });
}

/** What reseal itself can read, to be signed by the list (RFC 8551 2.5.2): best first. */
export const ownCapabilities: Capabilities = {
  ciphers: ['aes-256-gcm', 'aes-128-gcm', 'aes-256-cbc', 'aes-192-cbc', 'aes-128-cbc'],
  oaep: ['sha256'],
};

/** SMIMECapabilities in DER. */
export function formatCapabilities({ ciphers, oaep }: Capabilities): Buffer {
  return derSequence(
    ...ciphers.map((cipher) => derAlgorithm(cipherOf(cipher).oid)),
    ...oaep.map((hash) => derAlgorithm(keyOid.rsaOaep, derOaepParameters(hash))),
  );
}
