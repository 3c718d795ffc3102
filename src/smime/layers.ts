import type { Reason } from '../pki/reasons.ts';

/** One S/MIME wrapping as `reseal inspect` and `explain` report it, from outside in (RULES 22). Plain data. */
export type Layer = EncryptedLayer | SignedLayer;

export interface EncryptedLayer {
  readonly kind: 'encrypted';
  readonly form: 'enveloped' | 'auth-enveloped';
  /** Content cipher as named in `pki/algorithms`, or the OID of one we do not know. */
  readonly cipher: string | null;
  readonly keyTransport: string | null;
  readonly opened: boolean;
  /** SHA-256 of the list's certificate whose key opened it. */
  readonly keySha256: string | null;
  readonly reason: Reason | null;
}

export interface SignedLayer {
  readonly kind: 'signed';
  readonly form: 'detached' | 'opaque';
  readonly signers: readonly SignerVerdict[];
  readonly reasons: readonly Reason[];
}

/** What became of one SignerInfo. */
export interface SignerVerdict {
  readonly subject: string | null;
  readonly issuer: string | null;
  readonly certificate: string | null;
  readonly addresses: readonly string[];
  readonly digest: string;
  readonly algorithm: string;
  /** The signature value fits the content and the certificate's key. */
  readonly intact: boolean;
  /** The certificate has a valid path to a trust anchor, or is pinned. */
  readonly trusted: boolean;
  readonly signingTime: number | null;
  readonly reasons: readonly Reason[];
  /** DN of the issuer that no authority of the list answers to, when that is why trust failed. */
  readonly missingIssuer: string | null;
}
