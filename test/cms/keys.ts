import type { DecryptionKey } from '../../src/cms/enveloped-data.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import type { Identity } from '../kit/pki.ts';

/** What `openEnveloped` takes, from an identity of the kit. */
export function decryptionKey(identity: Pick<Identity, 'certDer' | 'key'>): DecryptionKey {
  return { certificate: parseCertificate(identity.certDer), key: identity.key };
}
