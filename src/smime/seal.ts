import { brandSealed, type SealedBytes } from '../base/bytes.ts';
import { type EncryptedContent, encryptContent, type KeyWrap, type Recipient } from '../cms/encrypt.ts';
import type { ContentCipher } from '../pki/algorithms.ts';
import { base64Lines } from './base64-lines.ts';

/** Octets of ciphertext that a copy's own head took over, so that the rest starts a base64 group (0, 1 or 2). */
export type Phase = 0 | 1 | 2;

/** The part of one copy that is its own: the base64 lines before the shared ones. */
export interface CopyHead {
  readonly head: SealedBytes;
  readonly phase: Phase;
}

/**
 * One entity encrypted once, ready to be addressed to any number of members.
 * A copy's body is `head` followed by the shared lines of its phase.
 */
export interface Sealing {
  readonly cipher: ContentCipher;
  /** Content-Type value of every copy (RFC 8551 3.3, 3.4). */
  readonly contentType: string;
  /** The key wrap for one member and the lines that hold it. Throws `cms-recipient` if his key cannot be used. */
  address(recipient: Recipient): CopyHead;
  /** The key wrap alone, for a copy that several members share. Throws as `address`. */
  wrap(recipient: Recipient): KeyWrap;
  /** The lines that hold the key wraps of all who share a copy. */
  headOf(wraps: readonly KeyWrap[]): CopyHead;
  /** The shared base64 lines for a phase, in memory that threads share. Made on first use, not kept: ask once. */
  sharedLines(phase: Phase): SealedBytes;
  /** Forgets the content key. */
  dispose(): void;
}

/**
 * Encrypts an entity with a fresh key (RULES 9) for sealing to members one by one, or to several in one copy (RULES 12,
 * RFC 5652 6).
 *
 * The DER prefix of a copy (ContentInfo up to the first ciphertext octet) differs from copy to copy and its
 * length need not be a multiple of three. 0, 1 or 2 octets of ciphertext move into the prefix to make it so; its
 * last base64 line ends short, and one of three shared encodings of the rest follows.
 */
export function startSealing(entity: Buffer, cipher: ContentCipher): Sealing {
  const content: EncryptedContent = encryptContent(entity, cipher);
  const smimeType = content.kind === 'enveloped-data' ? 'enveloped-data' : 'authEnveloped-data';
  const headOf = (wraps: readonly KeyWrap[]): CopyHead => {
    const prefix = content.prefixOf(wraps);
    const phase = ((3 - (prefix.length % 3)) % 3) as Phase;
    const whole = Buffer.concat([prefix, content.tail.subarray(0, phase)]);
    return { head: brandSealed(base64Lines(whole)), phase };
  };
  return {
    cipher,
    contentType: `application/pkcs7-mime; smime-type=${smimeType}; name="smime.p7m"`,
    address: (recipient) => headOf([content.wrapFor(recipient)]),
    wrap: (recipient) => content.wrapFor(recipient),
    headOf,
    sharedLines(phase) {
      return brandSealed(base64Lines(content.tail.subarray(phase), sharedBuffer));
    },
    dispose: () => content.dispose(),
  };
}

/** Sealed lines that another thread made, as they arrive from it: plain octets in shared memory, not copied. */
export function sealedElsewhere(lines: Uint8Array): SealedBytes {
  return brandSealed(Buffer.from(lines.buffer, lines.byteOffset, lines.byteLength));
}

function sharedBuffer(size: number): Buffer {
  return Buffer.from(new SharedArrayBuffer(size));
}
