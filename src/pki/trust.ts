import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, faultsOf } from '../base/errors.ts';
import type { Certificate } from './certificate.ts';
import type { TrustAnchors } from './path.ts';
import { certificatesFromPem } from './pem.ts';

export const trustFault = faultsOf({
  'trust-unreadable': (d: { path: string; errno: string }) =>
    `the trusted authorities in ${d.path} cannot be read (${d.errno}): check cafile and capath, and that the user that runs reseal may read them`,
});

/** What a folder of authorities holds besides revocation lists and notes; c_rehash names are `1a2b3c4d.0`. */
const certificateName = /\.(pem|crt|cer|der)$|^[0-9a-f]{8}\.\d+$/i;

/**
 * Reads the trust anchors: a PEM bundle (or one DER file) and a folder of such files, both optional; neither means that
 * nothing is trusted. Certificates that cannot be read are left out and told in `problems`, a sentence each.
 * Fault `trust-unreadable` where the file or the folder itself cannot be read: better no start than no trust unnoticed.
 */
export async function loadTrustAnchors(d: {
  cafile?: string | undefined;
  capath?: string | undefined;
}): Promise<{ anchors: TrustAnchors; problems: string[] }> {
  const found = new Map<string, Certificate>();
  const problems: string[] = [];
  const take = (path: string, text: Buffer) => {
    const bundle = certificatesFromPem(text);
    for (const certificate of bundle.certificates) found.set(certificate.sha256, certificate);
    for (const problem of bundle.problems) problems.push(`${path}: ${problem}`);
  };
  if (d.cafile !== undefined) take(d.cafile, await orFault(d.cafile, readFile(d.cafile)));
  if (d.capath !== undefined) {
    for (const name of (await orFault(d.capath, readdir(d.capath))).sort()) {
      if (!certificateName.test(name)) continue;
      const path = join(d.capath, name);
      try {
        take(path, await readFile(path));
      } catch (error) {
        // A link of c_rehash that leads nowhere takes away one authority only.
        problems.push(`${path}: it cannot be read (${errnoOf(error) ?? 'unknown error'})`);
      }
    }
  }
  return { anchors: { certificates: [...found.values()] }, problems };
}

async function orFault<T>(path: string, reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (error) {
    throw trustFault(
      'trust-unreadable',
      { path, errno: errnoOf(error) ?? 'unknown error' },
      { cause: error },
    );
  }
}
