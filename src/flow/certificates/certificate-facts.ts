import { isFault } from '../../base/errors.ts';
import { type Capabilities, parseCapabilities } from '../../cms/capabilities.ts';
import { type Certificate, parseCertificate } from '../../pki/certificate.ts';
import type { Judged } from './judge-certificate.ts';

/** What is asked of a member's certificate at each copy; for anything else it is read again. */
export interface CertificateFacts extends Judged {
  /** Those that the certificate states (RFC 4262). */
  readonly capabilities: Capabilities | null;
}

/** Ten thousand take 10 MB; reading a certificate takes 50 µs, more than all else that is done to choose it. */
const mostRemembered = 20_000;

/** A certificate as it is stored. */
interface Stored {
  readonly sha256: string;
  readonly der: Buffer;
}

/** What is remembered of certificates: the bytes of one SHA-256 never change. */
export interface RememberedFacts {
  of(certificate: Stored): CertificateFacts;
  /** Of many, by SHA-256; those not met lately are read. One that is not stored is not in the map. */
  ofMany(sha256s: readonly string[]): Promise<ReadonlyMap<string, CertificateFacts>>;
}

/** Reads certificates for what sealing asks of them; `find` is asked for those that are not known. */
export function rememberFacts(
  find: (sha256s: readonly string[]) => Promise<readonly Stored[]>,
): RememberedFacts {
  const known = new Map<string, CertificateFacts>();
  const of = ({ sha256, der }: Stored): CertificateFacts => {
    const found = known.get(sha256);
    if (found) return found;
    const facts = factsIn(parseCertificate(der));
    if (known.size >= mostRemembered) known.delete(known.keys().next().value ?? '');
    known.set(sha256, facts);
    return facts;
  };
  return {
    of,
    async ofMany(sha256s) {
      const asked = new Map<string, CertificateFacts>();
      const unknown: string[] = [];
      for (const sha256 of sha256s) {
        const facts = known.get(sha256);
        if (facts) asked.set(sha256, facts);
        else unknown.push(sha256);
      }
      for (const one of await find(unknown)) asked.set(one.sha256, of(one));
      return asked;
    },
  };
}

function factsIn({ smimeCapabilities, ...certificate }: Certificate): CertificateFacts {
  const { subject, issuer, notBefore, notAfter, keyType, keyUsage, extendedKeyUsage, rsaBits, curve } =
    certificate;
  const judged = {
    subject,
    issuer,
    notBefore,
    notAfter,
    keyType,
    keyUsage,
    extendedKeyUsage,
    rsaBits,
    curve,
  };
  return { ...judged, capabilities: readCapabilities(smimeCapabilities) };
}

/**
 * SMIMECapabilities as a signed attribute or an extension has them. What cannot be read says nothing: thrown, one
 * member's broken attribute would hold up the copies of all.
 */
export function readCapabilities(der: Buffer | null): Capabilities | null {
  try {
    return der && parseCapabilities(der);
  } catch (error) {
    if (isFault(error)) return null;
    throw error;
  }
}
