import type { KeyObject } from 'node:crypto';
import { signatureDigest, signDetached } from '../cms/sign.ts';
import { attachmentPart, multipart } from '../mime/compose.ts';
import type { Certificate } from '../pki/certificate.ts';

/** What the list signs with: its key, its certificate and the chain without the root. */
export interface Signer {
  readonly key: KeyObject;
  readonly certificate: Certificate;
  readonly chain: readonly Certificate[];
}

/**
 * Wraps an entity in multipart/signed (RFC 8551 3.5.3) with a detached signature. `entity` must be CRLF and
 * 7 bit (RFC 8551 3.1.3) and is carried unchanged. `at` is the signing time, ms.
 */
export function signEntity(
  entity: Buffer,
  signer: Signer,
  d: { readonly at: number; readonly boundary: string; readonly capabilities?: Buffer },
): Buffer {
  const { at, boundary, capabilities } = d;
  const content = signDetached(entity, { ...signer, at, ...(capabilities ? { capabilities } : {}) });
  const signature = attachmentPart({
    fileName: 'smime.p7s',
    contentType: 'application/pkcs7-signature; name="smime.p7s"',
    content,
  });
  // RFC 8551 3.5.3.2: sha-256, sha-512.
  const micalg = signatureDigest(signer.key).replace(/^sha(?=\d)/, 'sha-');
  const subtype = `signed; protocol="application/pkcs7-signature"; micalg=${micalg}`;
  return multipart(subtype, [entity, signature], boundary);
}
