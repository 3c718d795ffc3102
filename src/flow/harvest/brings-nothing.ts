import { identifies } from '../../cms/identifier.ts';
import { type Certificate, mayServe, parseCertificate } from '../../pki/certificate.ts';
import type { AuthorSignature } from '../../smime/author-signature.ts';
import type { Purpose } from '../../store/schema.ts';
import { mostAheadMs } from './harvest.ts';

/**
 * Whether all that a verified signature brings is in use for its author already, so that `decideHarvest` would file
 * nothing and refuse nothing. Nearly every post of a member is so, and neither paths nor revocation need be asked to
 * know it. What is not plain at once (several signatures, addresses or certificates of his) is for `decideHarvest`:
 * false says nothing. `inUse`: SHA-256 of the certificates in use. Pure.
 */
export function bringsNothing(d: {
  readonly address: string;
  readonly signature: AuthorSignature;
  readonly inUse: Readonly<Partial<Record<Purpose, string>>>;
  readonly receivedAt: number;
}): boolean {
  const { address, signature, inUse } = d;
  const { preference, signingTime, others } = signature;
  if (others.length > 0 || (signingTime ?? 0) > d.receivedAt + mostAheadMs) return false;
  const signer = read(signature.certificate);
  if (signer.addresses.some((one) => one !== address)) return false;
  if (!mayServe(signer, 'encrypt') || inUse.enc !== signer.sha256) return false;
  if (mayServe(signer, 'sign') && inUse.sign !== signer.sha256) return false;
  // Another one of that name would have to be judged: it may be the one that he means.
  const isMeant = (one: Certificate): boolean => preference !== null && identifies(preference, one);
  return !signature.bag.some((der) => isMeant(read(der)) && !equal(der, signature.certificate));
}

const read = (der: Uint8Array): Certificate => parseCertificate(Buffer.from(der));
const equal = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
