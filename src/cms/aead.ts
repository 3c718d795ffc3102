import {
  type CipherCCMTypes,
  type CipherChaCha20Poly1305Types,
  type CipherGCMTypes,
  createDecipheriv,
} from 'node:crypto';
import type { AlgorithmIdentifier, OpeningCipher } from '../pki/algorithms.ts';
import { type Ber, expect, octetsOf, smallIntegerOf, tag } from '../pki/ber.ts';
import { cipherInto } from './content-cipher.ts';
import { cmsFault } from './faults.ts';

/** Ciphers whose content cannot be changed unnoticed, by how node:crypto wants to be asked. */
export type Aead =
  | { readonly mode: 'gcm'; readonly cipher: OpeningCipher & CipherGCMTypes }
  | { readonly mode: 'ccm'; readonly cipher: OpeningCipher & CipherCCMTypes }
  | { readonly mode: 'chacha20'; readonly cipher: OpeningCipher & CipherChaCha20Poly1305Types };

/** `cipher` as an AEAD, or null if it is none. */
export function aeadOf(cipher: OpeningCipher): Aead | null {
  switch (cipher) {
    case 'aes-128-gcm':
    case 'aes-192-gcm':
    case 'aes-256-gcm':
      return { mode: 'gcm', cipher };
    case 'aes-128-ccm':
    case 'aes-192-ccm':
    case 'aes-256-ccm':
      return { mode: 'ccm', cipher };
    case 'chacha20-poly1305':
      return { mode: 'chacha20', cipher };
    default:
      return null;
  }
}

/** What an AEAD's AlgorithmIdentifier says. */
export interface AeadParameters {
  readonly nonce: Buffer;
  /** Octets of the tag. */
  readonly tagLength: number;
}

/**
 * Reads the parameters for content of `size` octets: GCMParameters and CCMParameters (RFC 5084 3), or the bare nonce of
 * ChaCha20-Poly1305 (RFC 8103 3.1). Throws `cms-malformed`, also for tags of less than 12 octets (RULES 7), and
 * `ber-malformed`.
 */
export function readAeadParameters(
  { mode }: Aead,
  algorithm: AlgorithmIdentifier,
  size: number,
): AeadParameters {
  const parameters = algorithm.parameters ?? undefined;
  if (mode === 'chacha20') {
    const nonce = octetsOf(expect(parameters, tag.octetString, 'the nonce'));
    if (nonce.length !== 12) throw malformed('the nonce has an impossible length');
    return { nonce, tagLength: 16 };
  }
  const [nonceNode, lengthNode] = expect(parameters, tag.sequence, 'the cipher parameters').children;
  const nonce = octetsOf(expect(nonceNode, tag.octetString, 'the nonce'));
  const tagLength = readTagLength(mode, lengthNode);
  if (mode === 'gcm') {
    // 12 octets are recommended; OpenSSL takes 1 to 128.
    if (nonce.length < 1 || nonce.length > 128) throw malformed('the nonce has an impossible length');
    return { nonce, tagLength };
  }
  if (nonce.length < 7 || nonce.length > 13) throw malformed('the nonce has an impossible length');
  // NIST SP 800-38C: the nonce leaves this much room for the content's length, in octets.
  if (size >= 2 ** (8 * (15 - nonce.length))) throw malformed('the content is too long for its nonce');
  return { nonce, tagLength };
}

/** AES-GCM-ICVlen and AES-CCM-ICVlen; both are 12 if absent. */
function readTagLength(mode: 'gcm' | 'ccm', node: Ber | undefined): number {
  const length = node === undefined ? 12 : smallIntegerOf(node);
  // RFC 5084 allows CCM 4 octets, and Node would take them: 2^32 tries to forge instead of 2^96.
  const odd = mode === 'ccm' && length % 2 === 1;
  if (length < 12 || length > 16 || odd)
    throw malformed(
      `the authentication tag must be ${mode === 'ccm' ? '12, 14 or 16' : '12 to 16'} octets long`,
    );
  return length;
}

const malformed = (what: string) => cmsFault('cms-malformed', { what });

/**
 * Decrypts all of the content into one buffer, then compares the tag; null, and nothing of the plaintext left, if it is
 * wrong. `mac` must be `tagLength` octets to be right; the work is the same whether it is or not.
 */
export function decryptAead(
  aead: Aead,
  contentKey: Buffer,
  d: {
    readonly parameters: AeadParameters;
    readonly mac: Buffer;
    readonly additional: Buffer | null;
    readonly segments: readonly Buffer[];
    readonly size: number;
  },
): Buffer | null {
  const { nonce, tagLength } = d.parameters;
  const fits = d.mac.length === tagLength;
  const mac = fits ? d.mac : Buffer.alloc(tagLength);
  const options = { authTagLength: tagLength };
  if (aead.mode === 'ccm') {
    const decipher = createDecipheriv(aead.cipher, contentKey, nonce, options).setAuthTag(mac);
    decipher.setAAD(d.additional ?? Buffer.alloc(0), { plaintextLength: d.size });
    // CCM takes its text in one piece, and OpenSSL gives nothing of it if the tag is wrong.
    const out = attempt(() => {
      const text = decipher.update(
        d.segments.length === 1 ? (d.segments[0] as Buffer) : Buffer.concat(d.segments),
      );
      decipher.final();
      return text;
    });
    return kept(out, out !== null && fits);
  }
  const decipher =
    aead.mode === 'gcm'
      ? createDecipheriv(aead.cipher, contentKey, nonce, options)
      : createDecipheriv(aead.cipher, contentKey, nonce, options);
  decipher.setAuthTag(mac);
  if (d.additional) decipher.setAAD(d.additional, { plaintextLength: d.size });
  const out = Buffer.alloc(d.size);
  cipherInto(decipher, d.segments, out);
  return kept(out, attempt(() => decipher.final()) !== null && fits);
}

/** What `run` gives, or null if OpenSSL found the tag wrong: it throws for nothing else here. */
function attempt(run: () => Buffer): Buffer | null {
  try {
    return run();
  } catch {
    return null;
  }
}

function kept(out: Buffer | null, right: boolean): Buffer | null {
  if (right) return out;
  out?.fill(0);
  return null;
}
