import type { KeyObject } from 'node:crypto';
import { agreementSchemeOf, curves, keyOid, keyWrapOf, readAlgorithm } from '../pki/algorithms.ts';
import { recoverEcdh } from './ecdh.ts';
import { identifies } from './identifier.ts';
import { readOaepParameters, recoverOaep } from './oaep.ts';
import type { KeyAgreeRecipientInfo, KeyTransRecipientInfo, RecipientInfo } from './recipients.ts';
import { recoverRsa15 } from './rsa15.ts';

/** One of our private keys with what a message names it by. Plain data and a KeyObject: it passes `postMessage`. */
export interface DecryptionKey {
  readonly certificate: {
    readonly issuerDer: Buffer;
    readonly serialDer: Buffer;
    readonly subjectKeyId: Buffer | null;
    readonly spkiDer: Buffer;
    readonly sha256: string;
  };
  readonly key: KeyObject;
}

/** How a content key came, for reports. */
export interface KeyManagement {
  readonly keyTransport: 'rsa' | 'rsa-oaep' | 'ecdh';
  /** OAEP's hash, the KDF's name such as `x963-sha256`, or null. */
  readonly kdf: string | null;
  /** The key wrap of ECDH, or null. */
  readonly wrap: string | null;
}

/** A RecipientInfo that one of our keys may open. */
export interface Candidate extends KeyManagement {
  readonly keySha256: string;
  /** The content key, of this many octets: if it cannot be recovered, another one (RULES 6). Never throws. */
  recover(length: number): Buffer;
}

/** Encrypted keys addressed to us: those that can be tried, and how many name us in a manner that is not supported. */
export interface Candidates {
  readonly supported: readonly Candidate[];
  readonly unsupported: number;
}

/** Finds the RecipientInfos that name one of our certificates (RULES 7); no private key is used yet. */
export function findCandidates(
  recipients: readonly RecipientInfo[],
  keys: readonly DecryptionKey[],
): Candidates {
  const supported: Candidate[] = [];
  let unsupported = 0;
  const add = (candidate: Candidate | null) => {
    if (candidate) supported.push(candidate);
    else unsupported++;
  };
  for (const info of recipients) {
    for (const key of keys) {
      if (info.kind === 'ktri') {
        if (identifies(info.recipient, key.certificate)) add(transported(info, key));
      } else if (info.kind === 'kari') {
        for (const { recipient, encryptedKey } of info.keys)
          if (identifies(recipient, key.certificate)) add(agreed(info, encryptedKey, key));
      }
    }
  }
  return { supported, unsupported };
}

function transported(info: KeyTransRecipientInfo, { key, certificate }: DecryptionKey): Candidate | null {
  if (key.asymmetricKeyType !== 'rsa') return null;
  const keySha256 = certificate.sha256;
  if (info.algorithm.oid === keyOid.rsa) {
    const recover = (length: number) => recoverRsa15(key, info.encryptedKey, length);
    return { keySha256, keyTransport: 'rsa', kdf: null, wrap: null, recover };
  }
  const parameters = info.algorithm.oid === keyOid.rsaOaep ? readOaepParameters(info.algorithm) : null;
  if (parameters === null) return null;
  const recover = (length: number) => recoverOaep(key, info.encryptedKey, length, parameters);
  return { keySha256, keyTransport: 'rsa-oaep', kdf: parameters.hash, wrap: null, recover };
}

/** The curves of which we know that the cofactor is 1, so that both Diffie-Hellman schemes are the same. */
const primeOrderCurves = new Set([...curves.values()].map((curve) => curve.name));

function agreed(
  info: KeyAgreeRecipientInfo,
  encryptedKey: Buffer,
  { key, certificate }: DecryptionKey,
): Candidate | null {
  const { originatorKey, ukm, algorithm } = info;
  const type = key.asymmetricKeyType ?? '';
  if (!['ec', 'x25519', 'x448'].includes(type)) return null;
  const scheme = agreementSchemeOf(algorithm.oid);
  if (scheme === null || originatorKey === null || algorithm.parameters === null) return null;
  const onPrimeOrderCurve = primeOrderCurves.has(key.asymmetricKeyDetails?.namedCurve ?? '');
  if (scheme.cofactor && !onPrimeOrderCurve) return null;
  const wrapAlgorithm = readAlgorithm(algorithm.parameters);
  const wrap = keyWrapOf(wrapAlgorithm.oid);
  if (wrap === null) return null;
  const agreement = { scheme, wrap, wrapDer: wrapAlgorithm.der, ukm };
  return {
    keySha256: certificate.sha256,
    keyTransport: 'ecdh',
    kdf: `${scheme.kdf}-${scheme.digest}`,
    wrap,
    recover: (length) =>
      recoverEcdh(key, certificate.spkiDer, originatorKey, encryptedKey, length, agreement),
  };
}
