import { type Compose, composeWith } from '../flow/mail/notify.ts';
import type { CryptoWorkers } from '../smime/workers.ts';
import { openTemplates } from '../template/templates.ts';
import { type OpenSite, templateFolders } from './open-site.ts';

/** Builds what writes and signs the mail of a site's lists. */
export function openComposer(
  { site, keyring, log }: Pick<OpenSite, 'site' | 'keyring' | 'log'>,
  d: { workers: Pick<CryptoWorkers, 'sign' | 'seal'>; unique: () => string },
): Compose {
  return composeWith({
    templates: openTemplates(templateFolders(site)),
    workers: d.workers,
    signingPair: (list) => keyring.signingPair(list),
    encryptionPair: (list) => keyring.encryptionPair(list),
    serviceAddress: site['service.address'],
    postmaster: site.postmaster,
    unique: d.unique,
    log,
  });
}
