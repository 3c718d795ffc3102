import { constants, createCipheriv, publicEncrypt } from 'node:crypto';
import { derAlgorithm } from '../../src/pki/algorithms.ts';
import { parseCertificate, publicKeyOf } from '../../src/pki/certificate.ts';
import { derInteger, derOctets, derSequence } from '../../src/pki/der.ts';
import type { OpenReport } from '../../src/smime/open.ts';
import { cbc, forgeEnvelope, gcm, transportTo } from '../cms/forge.ts';
import type { Identity } from '../kit/pki.ts';
import { layersOf } from '../smime/messages.ts';

// What the attacks here share: a report in a few words, envelopes with a content key that the test knows, and MIME
// wrapped by hand.

/** The whole answer of the engine, in the words that an attack is judged by. */
export const outcome = (report: OpenReport) => ({
  layers: layersOf(report),
  verdict: report.verdict,
  author: report.author,
  reasons: [...report.reasons],
});

/** The outcome of an attack: `layers` as `layersOf` says them. Nobody is ever the author. */
export const answer = (layers: string, verdict: OpenReport['verdict'], ...reasons: string[]) => ({
  layers,
  verdict,
  author: null,
  reasons,
});

/** `alice is the author`: for what must still work beside an attack. */
export const signedBy = (author: string, layers: string) => ({
  layers,
  verdict: 'signed',
  author,
  reasons: [],
});

/** A KeyTransRecipientInfo (RSA v1.5) that holds `block` as the content key. */
export function transported(
  to: Identity,
  block: Buffer,
  padding: number = constants.RSA_PKCS1_PADDING,
): Buffer {
  const certificate = parseCertificate(to.certDer);
  return transportTo(certificate, publicEncrypt({ key: publicKeyOf(certificate), padding }, block));
}

export const iv = Buffer.alloc(16, 0x21);
export const nonce = Buffer.alloc(12, 0x22);
export const contentKey = Buffer.alloc(32, 0x23);

/** EnvelopedData with AES-256-CBC under `contentKey`; `padded` must be whole blocks. */
export function cbcEnvelope(
  to: Identity,
  ciphertext: Buffer,
  recipients = [transported(to, contentKey)],
): Buffer {
  return forgeEnvelope({ recipients, algorithm: cbc(iv), ciphertext });
}

export function cbcEncrypt(plaintext: Buffer, autoPadding = true): Buffer {
  const cipher = createCipheriv('aes-256-cbc', contentKey, iv).setAutoPadding(autoPadding);
  return Buffer.concat([cipher.update(plaintext), cipher.final()]);
}

/** AuthEnvelopedData with AES-256-GCM under `contentKey`, its tag cut to `tagLength` octets. */
export function gcmEnvelope(
  to: Identity,
  plaintext: Buffer,
  o: { announced?: number; tagLength?: number; recipients?: Buffer[] } = {},
): Buffer {
  const cipher = createCipheriv('aes-256-gcm', contentKey, nonce);
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  return forgeEnvelope({
    recipients: o.recipients ?? [transported(to, contentKey)],
    algorithm: gcm(nonce, o.announced ?? 16),
    ciphertext,
    mac: cipher.getAuthTag().subarray(0, o.tagLength ?? 16),
  });
}

export const crlf = (text: string): Buffer => Buffer.from(text.replace(/\r?\n/g, '\r\n'), 'latin1');

/** A multipart of parts that are whole entities. */
export function multipartOf(type: string, ...parts: readonly (Buffer | string)[]): Buffer {
  const pieces = parts.flatMap((part) => [Buffer.from('--w\r\n'), Buffer.from(part), Buffer.from('\r\n')]);
  return Buffer.concat([
    Buffer.from(`Content-Type: ${type}; boundary=w\r\n\r\n`),
    ...pieces,
    Buffer.from('--w--\r\n'),
  ]);
}

export const replaced = (entity: Buffer, from: string | RegExp, to: string): Buffer =>
  Buffer.from(
    entity.toString('latin1').replace(from, () => to),
    'latin1',
  );

/** AuthEnvelopedData with AES-256-CCM (RFC 5084) or ChaCha20-Poly1305 (RFC 8103) under `contentKey`. */
export function aeadEnvelope(
  to: Identity,
  mode: 'ccm' | 'chacha20',
  plaintext: Buffer,
  o: { announced?: number; change?: (d: { ciphertext: Buffer; mac: Buffer }) => void } = {},
): Buffer {
  const recipients = [transported(to, contentKey)];
  const tagLength = o.announced ?? 16;
  const sealed = (() => {
    if (mode === 'chacha20') {
      const cipher = createCipheriv('chacha20-poly1305', contentKey, nonce, { authTagLength: 16 });
      const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]);
      return { ciphertext, mac: cipher.getAuthTag() };
    }
    // OpenSSL makes tags of 4 octets and more; shorter ones are cut.
    const options = { authTagLength: Math.max(4, tagLength - (tagLength % 2)) };
    const cipher = createCipheriv('aes-256-ccm', contentKey, nonce, options);
    cipher.setAAD(Buffer.alloc(0), { plaintextLength: plaintext.length });
    const ciphertext = cipher.update(plaintext);
    cipher.final();
    return { ciphertext, mac: cipher.getAuthTag().subarray(0, tagLength) };
  })();
  o.change?.(sealed);
  const algorithm =
    mode === 'chacha20'
      ? derAlgorithm('1.2.840.113549.1.9.16.3.18', derOctets(nonce))
      : derAlgorithm('2.16.840.1.101.3.4.1.47', derSequence(derOctets(nonce), derInteger(tagLength)));
  return forgeEnvelope({ recipients, algorithm, ...sealed });
}
