import { type CipherGCMTypes, createCipheriv, randomBytes } from 'node:crypto';
import { type ContentCipher, cipherOf, derAlgorithm } from '../pki/algorithms.ts';
import { derHead, derInteger, derOctets, derOid, derSequence, derSetOf } from '../pki/der.ts';
import { cipherInto } from './content-cipher.ts';
import { contentOid } from './content-info.ts';
import { EphemeralKeys } from './ephemeral-keys.ts';
import { cmsFault } from './faults.ts';
import { isAgreement, type Recipient, recipientInfo } from './recipient-info.ts';

export { type KeyTransport, type Recipient, recipientOf } from './recipient-info.ts';

/** Octets; RULES 11: we write the longest tag. */
const gcmTagLength = 16;

/**
 * Encrypts one entity with one cipher, under a key and an IV that are made here and that nobody else ever has
 * (RULES 9): no interface takes them. AES-GCM gives AuthEnvelopedData (RFC 5083, 5084), the others EnvelopedData
 * (RFC 5652 6).
 */
export function encryptContent(entity: Buffer, cipher: ContentCipher): EncryptedContent {
  return EncryptedContent.make(entity, cipher);
}

/** The content key for one recipient. */
export interface KeyWrap {
  /** His RecipientInfo. */
  readonly der: Buffer;
  /** It is a KeyAgreeRecipientInfo. */
  readonly agreement: boolean;
}

/** An entity encrypted once; its key can be given to any number of recipients, one or more a copy. Stays in its thread. */
export class EncryptedContent {
  readonly cipher: ContentCipher;
  readonly kind: 'enveloped-data' | 'auth-enveloped-data';
  /** The ciphertext and what closes the structure after it: the same in all copies. */
  readonly tail: Buffer;
  /** EncryptedContentInfo (RFC 5652 6.1) up to the first octet of ciphertext: the same in all copies. */
  readonly #contentInfo: Buffer;
  readonly #type: Buffer;
  readonly #contentKey: Buffer;
  readonly #ephemeral = new EphemeralKeys();
  #disposed = false;

  private constructor(d: {
    cipher: ContentCipher;
    contentKey: Buffer;
    algorithm: Buffer;
    tail: Buffer;
    ciphertextLength: number;
  }) {
    this.cipher = d.cipher;
    this.kind = cipherOf(d.cipher).authenticated ? 'auth-enveloped-data' : 'enveloped-data';
    this.tail = d.tail;
    this.#type = derOid(
      this.kind === 'enveloped-data' ? contentOid.envelopedData : contentOid.authEnvelopedData,
    );
    const inside = [derOid(contentOid.data), d.algorithm, derHead(0x80, d.ciphertextLength)];
    const length = inside.reduce((sum, piece) => sum + piece.length, d.ciphertextLength);
    this.#contentInfo = Buffer.concat([derHead(0x30, length), ...inside]);
    this.#contentKey = d.contentKey;
  }

  /** See `encryptContent`. */
  static make(entity: Buffer, cipher: ContentCipher): EncryptedContent {
    const { oid, keyLength, ivLength } = cipherOf(cipher);
    const contentKey = randomBytes(keyLength);
    const iv = randomBytes(ivLength);
    if (isGcm(cipher)) {
      // GCMParameters (RFC 5084 3.2).
      const algorithm = derAlgorithm(oid, derSequence(derOctets(iv), derInteger(gcmTagLength)));
      return new EncryptedContent({
        cipher,
        contentKey,
        algorithm,
        ...encryptGcm(entity, cipher, contentKey, iv),
      });
    }
    const algorithm = derAlgorithm(oid, derOctets(iv));
    return new EncryptedContent({
      cipher,
      contentKey,
      algorithm,
      ...encryptCbc(entity, cipher, contentKey, iv),
    });
  }

  /** The content key wrapped for a recipient. Throws `cms-recipient` if his key cannot be used, `cms-disposed` after `dispose`. */
  wrapFor(recipient: Recipient): KeyWrap {
    if (this.#disposed) throw cmsFault('cms-disposed', {});
    return {
      der: recipientInfo(recipient, this.#contentKey, this.#ephemeral),
      agreement: isAgreement(recipient.transport),
    };
  }

  /** As `prefixOf`, for one recipient. Throws as `wrapFor`. */
  prefixFor(recipient: Recipient): Buffer {
    return this.prefixOf([this.wrapFor(recipient)]);
  }

  /**
   * The octets before `tail` in the copy for these recipients, from the ContentInfo on: every length around it is
   * definite, and counts the tail.
   */
  prefixOf(wraps: readonly KeyWrap[]): Buffer {
    const recipients = derSetOf(...wraps.map((wrap) => wrap.der));
    // From inside out: each head stands before what it measures, and the tail is in all of them.
    const version = derInteger(this.#version(wraps));
    let prefix = this.#enclose(0x30, version, recipients, this.#contentInfo);
    prefix = this.#enclose(0xa0, prefix);
    return this.#enclose(0x30, this.#type, prefix);
  }

  /** The head of an element that holds these and the tail, and them. */
  #enclose(identifier: number, ...inside: readonly Buffer[]): Buffer {
    const length = inside.reduce((sum, piece) => sum + piece.length, this.tail.length);
    return Buffer.concat([derHead(identifier, length), ...inside]);
  }

  /** RFC 5652 6.1: 0 if all are key transport by issuer and serial, 2 if one is key agreement; RFC 5083 2.1: always 0. */
  #version(wraps: readonly KeyWrap[]): number {
    return this.kind === 'enveloped-data' && wraps.some((wrap) => wrap.agreement) ? 2 : 0;
  }

  /** Wipes the content key: no more recipients after this. */
  dispose(): void {
    this.#contentKey.fill(0);
    this.#ephemeral.dispose();
    this.#disposed = true;
  }
}

type GcmCipher = ContentCipher & CipherGCMTypes;
const isGcm = (cipher: ContentCipher): cipher is GcmCipher => cipherOf(cipher).authenticated;

interface Encrypted {
  readonly tail: Buffer;
  readonly ciphertextLength: number;
}

/** RFC 5652 6.3: padded to whole blocks, by one octet at least. */
function encryptCbc(entity: Buffer, name: ContentCipher, contentKey: Buffer, iv: Buffer): Encrypted {
  const block = iv.length;
  const ciphertextLength = entity.length + block - (entity.length % block);
  const tail = Buffer.alloc(ciphertextLength);
  const cipher = createCipheriv(name, contentKey, iv);
  const written = cipherInto(cipher, [entity], tail);
  tail.set(cipher.final(), written);
  return { tail, ciphertextLength };
}

/** The MAC of AuthEnvelopedData follows the ciphertext (RFC 5083 2.1). */
function encryptGcm(entity: Buffer, name: GcmCipher, contentKey: Buffer, nonce: Buffer): Encrypted {
  const tail = Buffer.alloc(entity.length + 2 + gcmTagLength);
  const cipher = createCipheriv(name, contentKey, nonce, { authTagLength: gcmTagLength });
  const written = cipherInto(cipher, [entity], tail);
  cipher.final();
  tail.set(derOctets(cipher.getAuthTag()), written);
  return { tail, ciphertextLength: entity.length };
}
