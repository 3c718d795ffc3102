import type { KeyObject } from 'node:crypto';
import { type Signing, signatureDigest, signDetached, signOpaque } from '../cms/sign.ts';
import { attachmentPart, multipart } from '../mime/compose.ts';
import { isCanonical } from '../mime/seven-bit.ts';
import type { Certificate } from '../pki/certificate.ts';

/** What the list signs with: its key, its certificate and the chain without the root. */
export interface Signer {
  readonly key: KeyObject;
  readonly certificate: Certificate;
  readonly chain: readonly Certificate[];
  /** The certificate to encrypt answers to, if it is another one (RFC 8551 2.5.3). */
  readonly encryption?: Certificate;
}

/**
 * Wraps an entity in multipart/signed (RFC 8551 3.5.3) with a detached signature; `entity` is carried unchanged. To
 * travel outside an encryption it must be 7 bit (RFC 8551 3.1.3). One whose line ends are not all CRLF, which programs
 * convert before they verify, is signed opaquely (3.5.2) instead. `at` is the signing time, ms.
 */
export function signEntity(
  entity: Buffer,
  signer: Signer,
  d: { readonly at: number; readonly boundary: string; readonly capabilities?: Buffer },
): Buffer {
  const { at, boundary, capabilities } = d;
  const signing: Signing = { ...signer, at, ...(capabilities ? { capabilities } : {}) };
  if (!isCanonical(entity)) {
    return attachmentPart({
      fileName: 'smime.p7m',
      contentType: 'application/pkcs7-mime; smime-type=signed-data; name="smime.p7m"',
      content: signOpaque(entity, signing),
    });
  }
  const signature = attachmentPart({
    fileName: 'smime.p7s',
    contentType: 'application/pkcs7-signature; name="smime.p7s"',
    content: signDetached(entity, signing),
  });
  // RFC 8551 3.5.3.2: sha-256, sha-512.
  const micalg = signatureDigest(signer.key).replace(/^sha(?=\d)/, 'sha-');
  const subtype = `signed; protocol="application/pkcs7-signature"; micalg=${micalg}`;
  return multipart(subtype, [entity, signature], boundary);
}
