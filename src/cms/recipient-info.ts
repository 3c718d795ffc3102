import {
  constants,
  createECDH,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  publicEncrypt,
} from 'node:crypto';
import { wordsOf } from '../base/errors.ts';
import { derAlgorithm, derRsaEncryption, keyOid, keyWrapFor, keyWrapOid } from '../pki/algorithms.ts';
import { bitsOf, readBer, tag } from '../pki/ber.ts';
import { type Certificate, type KeyType, publicKeyOf } from '../pki/certificate.ts';
import { der, derBits, derContext, derInteger, derOctets, derSequence } from '../pki/der.ts';
import { type AgreementName, agreementSuits, schemeFor } from './agreements.ts';
import { wrapKey } from './ecdh.ts';
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
 * The RecipientInfo that gives `contentKey` to one recipient (RFC 5652 6.2), named by issuer and serial number.
 * Throws `cms-recipient` if his key cannot be used in this way.
 */
export function recipientInfo(recipient: Recipient, contentKey: Buffer): Buffer {
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
      ? keyAgreement(recipient, transport, contentKey)
      : keyTransport(recipient, transport, contentKey);
  } catch (error) {
    throw refuse(wordsOf(error));
  }
}

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
  const algorithm = hash ? derAlgorithm(keyOid.rsaOaep, derOaepParameters(hash)) : derRsaEncryption();
  return derSequence(derInteger(0), issuerAndSerial(recipient), algorithm, derOctets(encryptedKey));
}

/** KeyAgreeRecipientInfo (RFC 5652 6.2.2), version 3, with a key of ours that is used this once (RFC 5753 3.1.2). */
function keyAgreement(recipient: Recipient, transport: KeyAgreement, contentKey: Buffer): Buffer {
  const { shared, originatorKey, keyAlgorithm } = agree(recipient);
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

interface Agreed {
  readonly shared: Buffer;
  /** The ephemeral public key. */
  readonly originatorKey: Buffer;
  readonly keyAlgorithm: Buffer;
}

function agree({ publicKey, keyType, curve }: Recipient): Agreed {
  if (keyType === 'ec' && curve !== null) {
    // Not generateKeyPairSync and diffieHellman: this is nearly three times as fast (3.2 k for 1.2 k members a second).
    const ephemeral = createECDH(curve);
    const originatorKey = ephemeral.generateKeys();
    const shared = ephemeral.computeSecret(pointOf(publicKey));
    // RFC 5753 7.1.2: the curve is absent, being the recipient's.
    return { shared, originatorKey, keyAlgorithm: derAlgorithm(keyOid.ec) };
  }
  const ephemeral = keyType === 'x25519' ? generateKeyPairSync('x25519') : generateKeyPairSync('x448');
  const shared = diffieHellman({ privateKey: ephemeral.privateKey, publicKey });
  const keyAlgorithm = derAlgorithm(keyType === 'x25519' ? keyOid.x25519 : keyOid.x448);
  return { shared, originatorKey: pointOf(ephemeral.publicKey), keyAlgorithm };
}

function pointOf(publicKey: KeyObject): Buffer {
  return bitsOf(readBer(publicKey.export({ type: 'spki', format: 'der' })).children[1]).bytes;
}
