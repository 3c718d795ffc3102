import { type AlgorithmIdentifier, readAlgorithm } from '../pki/algorithms.ts';
import { type Ber, bitsOf, contentOf, expect, isContext, isUniversal, octetsOf, tag } from '../pki/ber.ts';
import { cmsFault, withinBudget } from './faults.ts';
import { type CertificateId, readIssuerSerial } from './identifier.ts';
import type { CmsLimits } from './limits.ts';

/** Key transport (RFC 5652 6.2.1). */
export interface KeyTransRecipientInfo {
  readonly kind: 'ktri';
  readonly recipient: CertificateId;
  readonly algorithm: AlgorithmIdentifier;
  readonly encryptedKey: Buffer;
}

/** Key agreement (RFC 5652 6.2.2). */
export interface KeyAgreeRecipientInfo {
  readonly kind: 'kari';
  /** The originator's public key as in its BIT STRING, or null if it is only named (static-static). */
  readonly originatorKey: Buffer | null;
  /** User keying material, or null. */
  readonly ukm: Buffer | null;
  readonly algorithm: AlgorithmIdentifier;
  readonly keys: readonly { readonly recipient: CertificateId; readonly encryptedKey: Buffer }[];
}

/** Kinds that never name a certificate: shared keys, passwords, and others such as KEMs (RFC 5652 6.2.3 to 6.2.5). */
export interface OtherRecipientInfo {
  readonly kind: 'kekri' | 'pwri' | 'ori';
}

export type RecipientInfo = KeyTransRecipientInfo | KeyAgreeRecipientInfo | OtherRecipientInfo;

/**
 * Reads RecipientInfos (RFC 5652 6.2). Versions are not compared: senders get them wrong and nothing hangs on them.
 * Throws `cms-malformed`, `ber-malformed`, or `cms-budget` if there are too many.
 */
export function readRecipients(node: Ber | undefined, limits: CmsLimits): RecipientInfo[] {
  const set = expect(node, tag.set, 'the set of recipients');
  withinBudget(set.children.length, 'recipients', limits.recipients);
  const recipients = set.children.map(readRecipient);
  // One KeyAgreeRecipientInfo may hold keys for any number of people.
  const keys = recipients.reduce((sum, r) => sum + (r.kind === 'kari' ? r.keys.length : 1), 0);
  withinBudget(keys, 'recipients', limits.recipients);
  return recipients;
}

function readRecipient(node: Ber): RecipientInfo {
  if (isUniversal(node, tag.sequence)) return readKeyTransport(node);
  if (isContext(node, 1)) return readKeyAgreement(node);
  if (isContext(node, 2)) return { kind: 'kekri' };
  if (isContext(node, 3)) return { kind: 'pwri' };
  if (isContext(node, 4)) return { kind: 'ori' };
  throw cmsFault('cms-malformed', { what: 'a recipient is of no known kind' });
}

function readKeyTransport(node: Ber): KeyTransRecipientInfo {
  const [, recipient, algorithm, encryptedKey] = node.children;
  return {
    kind: 'ktri',
    recipient: readIdentifier(recipient),
    algorithm: readAlgorithm(algorithm),
    encryptedKey: octetsOf(expect(encryptedKey, tag.octetString, 'an encrypted key')),
  };
}

function readKeyAgreement(node: Ber): KeyAgreeRecipientInfo {
  const rest = node.children.slice(1);
  const originator = rest.shift();
  if (!isContext(originator, 0))
    throw cmsFault('cms-malformed', { what: 'the originator of a key is missing' });
  const ukm = isContext(rest[0], 1) ? rest.shift()?.children[0] : undefined;
  const [algorithm, keys] = rest;
  return {
    kind: 'kari',
    originatorKey: readOriginatorKey(originator.children[0]),
    ukm: ukm === undefined ? null : octetsOf(expect(ukm, tag.octetString, 'the user keying material')),
    algorithm: readAlgorithm(algorithm),
    keys: expect(keys, tag.sequence, 'the encrypted keys').children.map((key) => ({
      recipient: readIdentifier(key.children[0]),
      encryptedKey: octetsOf(expect(key.children[1], tag.octetString, 'an encrypted key')),
    })),
  };
}

/**
 * OriginatorIdentifierOrKey: only [1] OriginatorPublicKey has a key. Its algorithm is not read: RFC 5753 7.1.2 lets
 * the curve be absent, and it must be the recipient's in any case.
 */
function readOriginatorKey(choice: Ber | undefined): Buffer | null {
  if (!isContext(choice, 1)) return null;
  return bitsOf(choice.children[1]).bytes;
}

/**
 * RecipientIdentifier and KeyAgreeRecipientIdentifier: an IssuerAndSerialNumber, or [0] with a key identifier, bare
 * (RFC 5652 6.2.1) or in a RecipientKeyIdentifier (6.2.2).
 */
function readIdentifier(node: Ber | undefined): CertificateId {
  if (!isContext(node, 0)) return readIssuerSerial(expect(node, tag.sequence, 'the name of a recipient'));
  const first = node.children[0];
  const keyId = isUniversal(first, tag.octetString) ? octetsOf(first) : contentOf(node);
  return { kind: 'key-id', keyId };
}
