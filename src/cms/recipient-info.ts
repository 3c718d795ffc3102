import { constants, diffieHellman, type KeyObject, publicEncrypt } from 'node:crypto';
import { wordsOf } from '../base/errors.ts';
import { derAlgorithm, derRsaEncryption, keyOid, keyWrapFor, keyWrapOid } from '../pki/algorithms.ts';
import { tag } from '../pki/ber.ts';
import { type Certificate, type KeyType, publicKeyOf } from '../pki/certificate.ts';
import { der, derBits, derContext, derInteger, derOctets, derSequence } from '../pki/der.ts';
import { type AgreementName, agreementSuits, schemeFor } from './agreements.ts';
import { wrapKey } from './ecdh.ts';
import type { EphemeralKeys } from './ephemeral-keys.ts';
import { cmsFault } from './faults.ts';
import { derOaepParameters, type OaepHash, oaepHashes } from './oaep.ts';

/** Diffie-Hellman for EC keys, X25519 and X448: `ecdh` is the usual scheme of the key, the others are named by members. */
export type KeyAgreement = 'ecdh' | AgreementName;
/** How a content key gets to a member: `rsa` is RSA v1.5. */
export type KeyTransport = 'rsa' | `rsa-oaep-${OaepHash}` | KeyAgreement;

/** Whether this way is a key agreement (RFC 5652 6.2.2); else it is key transport. */
export function isAgreement(transport: KeyTransport): transport is KeyAgreement {
  return transport.startsWith('ecdh');
}

/** One member's certificate as far as sealing needs it. */
export interface Recipient {
  /** Of the certificate; for messages. */
  readonly sha256: string;
  readonly issuerDer: Buffer;
  readonly serialDer: Buffer;
  readonly publicKey: KeyObject;
  readonly keyType: KeyType;
  readonly curve: string | null;
  readonly transport: KeyTransport;
}

/** A recipient from his certificate; its usage and validity are for the caller to judge. Fault `key-unsupported`. */
export function recipientOf(certificate: Certificate, transport: KeyTransport): Recipient {
  const { sha256, issuerDer, serialDer, keyType, curve } = certificate;
  return { sha256, issuerDer, serialDer, keyType, curve, transport, publicKey: publicKeyOf(certificate) };
}

/**
 * The RecipientInfo that gives `contentKey` to one recipient (RFC 5652 6.2), named by issuer and serial number;
 * `ephemeral` has our side of key agreements. Throws `cms-recipient` if his key cannot be used in this way.
 */
export function recipientInfo(recipient: Recipient, contentKey: Buffer, ephemeral: EphemeralKeys): Buffer {
  const { keyType, transport } = recipient;
  const refuse = (why: string) => cmsFault('cms-recipient', { certificate: recipient.sha256, why });
  if (isAgreement(transport)) {
    if (keyType !== 'ec' && keyType !== 'x25519' && keyType !== 'x448')
      throw refuse(`a ${keyType} key has no Diffie-Hellman`);
    if (transport !== 'ecdh' && !agreementSuits(transport, keyType))
      throw refuse(`${transport} is not for ${keyType} keys`);
  } else {
    if (keyType !== 'rsa' && keyType !== 'rsa-oaep')
      throw refuse(`a ${keyType} key cannot transport a content key`);
    // RFC 4055 1.2: a key that is bound to OAEP is used with nothing else.
    if (keyType === 'rsa-oaep' && transport === 'rsa') throw refuse('its key is for RSA-OAEP only');
  }
  try {
    return isAgreement(transport)
      ? keyAgreement(recipient, transport, contentKey, ephemeral)
      : keyTransport(recipient, transport, contentKey);
  } catch (error) {
    throw refuse(wordsOf(error));
  }
}

/** What most RecipientInfos have in common is written once: every copy has one. */
const version0 = derInteger(0);
const rsaEncryption = derRsaEncryption();

const issuerAndSerial = ({ issuerDer, serialDer }: Recipient): Buffer =>
  derSequence(issuerDer, der(tag.integer, serialDer));

/** KeyTransRecipientInfo (RFC 5652 6.2.1), version 0. */
function keyTransport(
  recipient: Recipient,
  transport: Exclude<KeyTransport, KeyAgreement>,
  contentKey: Buffer,
): Buffer {
  const key = recipient.publicKey;
  const hash = oaepHashes.find((name) => transport === `rsa-oaep-${name}`);
  const encryptedKey = hash
    ? publicEncrypt({ key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: hash }, contentKey)
    : publicEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, contentKey);
  const algorithm = hash ? derAlgorithm(keyOid.rsaOaep, derOaepParameters(hash)) : rsaEncryption;
  return derSequence(version0, issuerAndSerial(recipient), algorithm, derOctets(encryptedKey));
}

/** KeyAgreeRecipientInfo (RFC 5652 6.2.2), version 3, with an ephemeral key of ours (RFC 5753 3.1.2). */
function keyAgreement(
  recipient: Recipient,
  transport: KeyAgreement,
  contentKey: Buffer,
  ephemeral: EphemeralKeys,
): Buffer {
  const { privateKey, originatorKey, keyAlgorithm } = ephemeral.for(recipient);
  const shared = diffieHellman({ privateKey, publicKey: recipient.publicKey });
  const scheme = schemeFor(transport, recipient);
  // RFC 8551 2.3: the wrapping key is as long as the content key.
  const wrap = keyWrapFor(contentKey.length);
  const wrapDer = derAlgorithm(keyWrapOid(wrap));
  const wrapped = wrapKey(shared, contentKey, { scheme, wrap, wrapDer, ukm: null });
  return derContext(
    1,
    derInteger(3),
    derContext(0, derContext(1, keyAlgorithm, derBits(originatorKey))),
    derAlgorithm(scheme.oid, wrapDer),
    derSequence(derSequence(issuerAndSerial(recipient), derOctets(wrapped))),
  );
}
