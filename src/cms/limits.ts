import { type BerLimits, berLimits } from '../pki/ber.ts';

/** What one CMS structure may cost (RULES 7, 8). Counted by the parser, before anything of that size is allocated. */
export interface CmsLimits {
  readonly ber: BerLimits;
  /** RecipientInfos, and RecipientEncryptedKeys inside them. */
  readonly recipients: number;
  /** RecipientInfos that name one of our certificates and are tried. */
  readonly privateKeyOperations: number;
  /** Certificates in a SignedData. */
  readonly certificates: number;
  /** CRLs and OCSP responses in a SignedData. */
  readonly revocations: number;
  /** SignerInfos in a SignedData. */
  readonly signers: number;
  /** Attributes in one set of them. */
  readonly attributes: number;
  /** Octets of decrypted content. */
  readonly openedSize: number;
}

export const cmsLimits: CmsLimits = {
  ber: berLimits,
  recipients: 1000,
  privateKeyOperations: 4,
  certificates: 20,
  revocations: 10,
  signers: 4,
  attributes: 50,
  openedSize: 100 * 1024 * 1024,
};
