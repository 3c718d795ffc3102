import type { Reason } from '../pki/reasons.ts';

/** One S/MIME wrapping as `reseal inspect` and `explain` report it, from outside in (RULES 22). Plain data. */
export type Layer = EncryptedLayer | SignedLayer | CompressedLayer;

export interface EncryptedLayer {
  readonly kind: 'encrypted';
  readonly form: 'enveloped' | 'auth-enveloped';
  /** Content cipher as named in `pki/algorithms`, or the OID of one we do not know. */
  readonly cipher: string | null;
  /** `rsa` or `rsa-oaep`, when an RSA key opened it. */
  readonly keyTransport: string | null;
  /** The scheme, when a Diffie-Hellman key opened it. */
  readonly keyAgreement: string | null;
  /** OAEP's hash or the KDF of the agreement. */
  readonly kdf: string | null;
  readonly wrap: string | null;
  /** RecipientInfos in it, ours or not. */
  readonly recipients: number;
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

/** Compression (RFC 3274) neither hides nor proves anything; it is removed to see what is inside. */
export interface CompressedLayer {
  readonly kind: 'compressed';
  /** Null if it could not be opened. */
  readonly algorithm: string | null;
  readonly opened: boolean;
  readonly reason: Reason | null;
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
  /** Which certificate of the path above it some of the reasons are about: the signer's own, or an authority's. */
  readonly flaws: readonly SignerFlaw[];
  /** What stayed open about revocation where the policy lets it (`soft`). */
  readonly remarks: readonly Reason[];
  /** DN of the issuer that no authority of the list answers to, when that is why trust failed. */
  readonly missingIssuer: string | null;
}

/** What is wrong with one certificate between a signer and the authority. */
export interface SignerFlaw {
  readonly reason: Reason;
  readonly subject: string;
  readonly issuer: string;
  /** It is the signer's own certificate. */
  readonly isOwn: boolean;
}
