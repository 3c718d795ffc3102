import type { SignerId } from '../cms/signed-data.ts';
import type { JudgedSigner } from './judge.ts';
import type { CheckedSignature } from './peel.ts';

/** What one signature says about its signer's certificates. */
export interface SignerFacts {
  readonly certificate: Uint8Array;
  readonly signingTime: number | null;
  /** DER of the signed SMIMECapabilities. */
  readonly capabilities: Uint8Array | null;
  /** Issuer and serial (or key identifier) that SMIMEEncryptionKeyPreference names. */
  readonly preference: SignerId | null;
}

/** The signature that made the verdict `signed`, and what it says about the signer's own certificates. */
export interface AuthorSignature extends SignerFacts {
  /** Certificates that came with it, unsigned (RULES 16). */
  readonly bag: readonly Uint8Array[];
  /** SHA-256 of the signature value: the replay memory's key (RULES 4). */
  readonly signatureSha256: string;
  /** Those of all intact signatures over the same content, this one too: any one of them could be left out of a replay. */
  readonly allSha256: readonly string[];
  /** The other signatures over the same content that verify, none weak or revoked; `trusted`: they speak for From as well. */
  readonly others: readonly (SignerFacts & { readonly trusted: boolean })[];
}

/**
 * The signature that counts, in memory of its own. `all`: those over the same content; `speaking`: those of From's
 * certificates. Null if its certificate is not known.
 */
export function signatureOf(
  signer: JudgedSigner,
  layer: CheckedSignature,
  all: readonly JudgedSigner[],
  speaking: readonly JudgedSigner[],
): AuthorSignature | null {
  const facts = factsOf(signer);
  if (!facts) return null;
  const others = all.filter(
    (one) => one !== signer && one.verdict.intact && !one.report.weak && !isRevoked(one),
  );
  return {
    ...facts,
    bag: layer.bag.map((one) => tight(one.der)),
    signatureSha256: signer.report.signatureSha256,
    allSha256: layer.signers.filter((one) => one.intact).map((one) => one.signatureSha256),
    others: others.flatMap((one) => {
      const more = factsOf(one);
      return more ? [{ ...more, trusted: one.verdict.trusted && speaking.includes(one) }] : [];
    }),
  };
}

const isRevoked = ({ path }: JudgedSigner): boolean => path?.reasons.includes('revoked') === true;

function factsOf({ certificate, report }: JudgedSigner): SignerFacts | null {
  const { capabilities, preference, signingTime } = report;
  return (
    certificate && {
      certificate: tight(certificate.der),
      signingTime,
      capabilities: capabilities && tight(capabilities),
      preference,
    }
  );
}

/** A copy in a buffer of its own: a view into the message would drag the whole message through postMessage. */
export function tight(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}
