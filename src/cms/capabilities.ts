import {
  type ContentCipher,
  cipherOf,
  contentCipherOf,
  derAlgorithm,
  type KeyWrap,
  keyOid,
  keyWrapOf,
  keyWrapOid,
  readAlgorithm,
} from '../pki/algorithms.ts';
import { expect, isUniversal, readBer, tag } from '../pki/ber.ts';
import type { KeyType } from '../pki/certificate.ts';
import { derSequence } from '../pki/der.ts';
import {
  type AgreementName,
  agreementNamed,
  agreementNames,
  agreementOid,
  agreementSuits,
} from './agreements.ts';
import { reading } from './faults.ts';
import { derOaepParameters, type OaepHash, oaepHashes, readOaepParameters } from './oaep.ts';

/** A key agreement scheme and the key wrap that goes with it (RFC 5753 7.1.4). */
export interface AgreementCapability {
  readonly scheme: AgreementName;
  /** Null: none was named. */
  readonly wrap: KeyWrap | null;
}

/** What somebody says his client can read, best first (RFC 8551 2.5.2); what reseal does not write is left out. */
export interface Capabilities {
  readonly ciphers: readonly ContentCipher[];
  /** RSAES-OAEP with this hash, and with the same in MGF1. */
  readonly oaep: readonly OaepHash[];
  readonly agreements: readonly AgreementCapability[];
}

/**
 * Reads SMIMECapabilities, from a signed attribute or from a certificate's extension (RFC 4262 2).
 * Throws `cms-malformed`; unknown capabilities are no error (RFC 8551 2.5.2).
 */
export function parseCapabilities(der: Buffer): Capabilities {
  return reading(() => {
    const ciphers = new Set<ContentCipher>();
    const oaep = new Set<OaepHash>();
    const agreements: AgreementCapability[] = [];
    for (const node of expect(readBer(der), tag.sequence, 'the list of capabilities').children) {
      const capability = readAlgorithm(node);
      const cipher = contentCipherOf(capability.oid);
      if (cipher) ciphers.add(cipher);
      const scheme = agreementNamed(capability.oid);
      if (scheme && isUniversal(capability.parameters, tag.sequence)) {
        const wrap = keyWrapOf(readAlgorithm(capability.parameters).oid);
        if (wrap) agreements.push({ scheme, wrap });
      } else if (scheme) agreements.push({ scheme, wrap: null });
      if (capability.oid !== keyOid.rsaOaep) continue;
      const parameters = readOaepParameters(capability);
      const hash = oaepHashes.find((name) => name === parameters?.hash);
      if (hash && parameters?.mask === hash && parameters.label.length === 0) oaep.add(hash);
    }
    return { ciphers: [...ciphers], oaep: [...oaep], agreements };
  });
}

const ownCiphers: readonly ContentCipher[] = [
  'aes-256-gcm',
  'aes-192-gcm',
  'aes-128-gcm',
  'aes-256-cbc',
  'aes-192-cbc',
  'aes-128-cbc',
];
const ownWraps: readonly KeyWrap[] = ['id-aes256-wrap', 'id-aes128-wrap'];

/**
 * What reseal itself can read with a key of this type, to be signed by the list (RFC 8551 2.5.2): best first. It reads
 * older hashes too, but does not ask for them.
 */
export function ownCapabilities(keyType: KeyType): Capabilities {
  const schemes = agreementNames.filter((scheme) => agreementSuits(scheme, keyType));
  return {
    ciphers: ownCiphers,
    oaep: keyType === 'rsa' || keyType === 'rsa-oaep' ? ['sha256', 'sha384', 'sha512'] : [],
    agreements: schemes.flatMap((scheme) => ownWraps.map((wrap) => ({ scheme, wrap }))),
  };
}

/** SMIMECapabilities in DER. */
export function formatCapabilities({ ciphers, oaep, agreements }: Capabilities): Buffer {
  return derSequence(
    ...ciphers.map((cipher) => derAlgorithm(cipherOf(cipher).oid)),
    ...oaep.map((hash) => derAlgorithm(keyOid.rsaOaep, derOaepParameters(hash))),
    // RFC 5753 7.1.4: the parameter is the key wrap's AlgorithmIdentifier.
    ...agreements.map(({ scheme, wrap }) =>
      derAlgorithm(agreementOid(scheme), ...(wrap ? [derAlgorithm(keyWrapOid(wrap))] : [])),
    ),
  );
}
