import { Plaintext } from '../base/bytes.ts';
import {
  type AlgorithmIdentifier,
  cipherNameOf,
  type OpeningCipher,
  readAlgorithm,
} from '../pki/algorithms.ts';
import { type Ber, expect, isContext, octetSegments, oidOf, tag } from '../pki/ber.ts';
import { type DecryptionKey, findCandidates, type KeyManagement } from './content-key.ts';
import { cmsFault, reading, withinBudget } from './faults.ts';
import type { CmsLimits } from './limits.ts';
import { type RecipientInfo, readRecipients } from './recipients.ts';

/** The part that EnvelopedData and AuthEnvelopedData share (RFC 5652 6.1, RFC 5083 2.1). */
export interface Envelope {
  readonly recipients: readonly RecipientInfo[];
  /** Object identifier of what is inside. */
  readonly contentType: string;
  readonly algorithm: AlgorithmIdentifier;
  /** The ciphertext in the pieces it came in, not copied. */
  readonly segments: readonly Buffer[];
  /** Octets of ciphertext. */
  readonly size: number;
  /** The elements after the EncryptedContentInfo. */
  readonly rest: readonly Ber[];
}

/** Reads the shared part. Throws `cms-malformed`, `ber-malformed` or `cms-budget`; allocates nothing. */
export function readEnvelope(content: Ber, limits: CmsLimits): Envelope {
  const fields = [...expect(content, tag.sequence, 'the enveloped data').children];
  fields.shift();
  if (isContext(fields[0], 0)) fields.shift();
  const [recipients, encrypted, ...rest] = fields;
  const info = expect(encrypted, tag.sequence, 'the encrypted content').children;
  const ciphertext = info[2];
  // RFC 5652 6.1 lets it be elsewhere; S/MIME never does (RFC 8551 3.3).
  if (!isContext(ciphertext, 0))
    throw cmsFault('cms-malformed', { what: 'the encrypted content is missing' });
  const segments = octetSegments(ciphertext);
  const size = segments.reduce((sum, segment) => sum + segment.length, 0);
  withinBudget(size, 'octets of content', limits.openedSize);
  return {
    recipients: readRecipients(recipients, limits),
    contentType: oidOf(info[0]),
    algorithm: readAlgorithm(info[1]),
    segments,
    size,
    rest,
  };
}

interface Opening {
  /** Content cipher by name; an object identifier if it is not known. */
  readonly cipher: string;
  /** RecipientInfos in the message, ours or not. */
  readonly recipients: number;
  /** The kinds of them that occur. */
  readonly kinds: readonly RecipientInfo['kind'][];
}

export interface OpenedContent extends Opening, KeyManagement {
  readonly opened: true;
  readonly content: Plaintext;
  /** Object identifier of the content's type: id-data, unless somebody broke RFC 8551 2.4. */
  readonly contentType: string;
  readonly cipher: OpeningCipher;
  /** SHA-256 of our certificate whose key opened it. */
  readonly keySha256: string;
  /** Private-key operations that it took. */
  readonly operations: number;
}

export interface UnopenedContent extends Opening {
  readonly opened: false;
  readonly reason: 'decrypt-failed' | 'no-recipient' | 'unsupported';
  /** Words for postmasters; always the same ones for `decrypt-failed`. */
  readonly detail: string;
}

/** Opened; not for us (`no-recipient`); or for us and not readable (`unsupported` by structure, or `decrypt-failed`). */
export type OpenResult = OpenedContent | UnopenedContent;

/**
 * Decrypts with one content key, all of it, in one unpooled buffer that the caller owns. Null if it is the wrong key or
 * the ciphertext was changed; then nothing of the plaintext is left in memory.
 */
export type Decrypt = (contentKey: Buffer) => Buffer | null;

/** How the content is decrypted once its key is known. */
export interface Decryption {
  readonly cipher: OpeningCipher;
  /** Octets of the content key. */
  readonly keyLength: number;
  readonly decrypt: Decrypt;
}

/**
 * Tries the RecipientInfos that name one of `keys`, in the message's order, until one opens the content (RULES 7).
 * `decryption` is null for a content cipher that is not supported. Every failure after the structure was understood is
 * the same `decrypt-failed` after the same work: unwrap, then decrypt all of the content (RULES 6).
 * Throws `cms-malformed` if an algorithm of a RecipientInfo that names us is broken, `cms-budget` if no private-key
 * operation is left to an inner layer.
 */
export function openEnvelope(
  envelope: Envelope,
  d: {
    readonly keys: readonly DecryptionKey[];
    readonly limits: CmsLimits;
    readonly decryption: Decryption | null;
  },
): OpenResult {
  const { decryption } = d;
  const cipherName = decryption?.cipher ?? cipherNameOf(envelope.algorithm.oid);
  const summary = {
    recipients: envelope.recipients.length,
    kinds: [...new Set(envelope.recipients.map(({ kind }) => kind))],
  };
  const unopened = (reason: UnopenedContent['reason'], detail: string): UnopenedContent => ({
    opened: false,
    reason,
    detail,
    cipher: cipherName,
    ...summary,
  });
  const { supported, unsupported } = reading(() => findCandidates(envelope.recipients, d.keys));
  if (supported.length + unsupported === 0) return unopened(...notAddressed(summary.kinds));
  if (decryption === null)
    return unopened('unsupported', `the content cipher ${cipherName} is not supported`);
  if (supported.length === 0) return unopened('unsupported', 'the key encryption algorithm is not supported');
  withinBudget(1, 'private-key operations', d.limits.privateKeyOperations);
  for (const [n, candidate] of supported.slice(0, d.limits.privateKeyOperations).entries()) {
    const contentKey = candidate.recover(decryption.keyLength);
    const content = decryption.decrypt(contentKey);
    contentKey.fill(0);
    if (content === null) continue;
    const { keyTransport, kdf, wrap, keySha256 } = candidate;
    return {
      opened: true,
      content: new Plaintext(content),
      contentType: envelope.contentType,
      cipher: decryption.cipher,
      keyTransport,
      kdf,
      wrap,
      keySha256,
      operations: n + 1,
      ...summary,
    };
  }
  return unopened('decrypt-failed', 'it could not be decrypted');
}

/** What the kinds that never name a certificate are addressed to (RFC 5652 6.2.3 to 6.2.5). */
const others: ReadonlyMap<RecipientInfo['kind'], string> = new Map([
  ['kekri', 'a shared secret key'],
  ['pwri', 'a password'],
  ['ori', 'a kind of recipient that reseal does not know'],
]);

/** Why nothing is for us: a message that no certificate could open is another matter than one for other people. */
function notAddressed(kinds: readonly RecipientInfo['kind'][]): [UnopenedContent['reason'], string] {
  const found = kinds.flatMap((kind) => others.get(kind) ?? []);
  const all = found.join(' and ');
  if (found.length > 0 && found.length === kinds.length)
    return ['unsupported', `it is encrypted for ${all}, and not for a certificate`];
  const beside = found.length > 0 ? `; it is also encrypted for ${all}, which reseal does not use` : '';
  return ['no-recipient', `no recipient is one of our certificates${beside}`];
}
