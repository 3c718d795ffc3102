import { formatCapabilities, ownCapabilities } from '../cms/capabilities.ts';
import { type Certificate, parseCertificate } from '../pki/certificate.ts';
import type { SignerData } from './jobs.ts';
import { signEntity } from './sign.ts';

const parse = (der: Uint8Array): Certificate => parseCertificate(Buffer.from(der));

/**
 * Signs an entity as a list does (`signEntity`), with what authors' programs may encrypt to it with (RFC 8551 2.5.2). In
 * a worker where there are some, in the process itself where a command has a mail to sign.
 */
export function signAs(
  signer: SignerData,
  entity: Buffer,
  d: { readonly at: number; readonly boundary: string },
): Buffer {
  const { key, certificate, chain, encryption } = signer;
  const parsed = {
    key,
    certificate: parse(certificate),
    chain: chain.map(parse),
    ...(encryption ? { encryption: parse(encryption) } : {}),
  };
  const { keyType } = parsed.encryption ?? parsed.certificate;
  return signEntity(entity, parsed, { ...d, capabilities: formatCapabilities(ownCapabilities(keyType)) });
}
