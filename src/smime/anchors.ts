import { createHash } from 'node:crypto';
import { type Certificate, parseCertificate } from '../pki/certificate.ts';

/** Trust anchors from their DER, in its order. */
export type ReadAnchors = (ders: readonly Uint8Array[]) => Certificate[];

/** Reads each anew. Fault 'certificate-malformed'. */
export const readAnchors: ReadAnchors = (ders) => ders.map((der) => parseCertificate(Buffer.from(der)));

/** Ten bundles of a system take 6 MB. */
const mostKept = 1500;

/**
 * The same, but what was read before is known by its digest: a system's bundle has a hundred and fifty authorities, they
 * come with every message, and reading them all takes longer than opening it.
 */
export function anchorCache(): ReadAnchors {
  const known = new Map<string, Certificate>();
  return (ders) => {
    if (known.size > mostKept) known.clear();
    return ders.map((der) => {
      const sha256 = createHash('sha256').update(der).digest('hex');
      const anchor = known.get(sha256) ?? parseCertificate(Buffer.from(der));
      known.set(sha256, anchor);
      return anchor;
    });
  };
}
