import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Clock } from '../base/clock.ts';
import { ensureFolder } from '../base/files.ts';
import type { Log } from '../base/log.ts';
import { passphraseOf } from '../config/secrets.ts';
import type { Site } from '../config/site.ts';
import { type Keyring, keyFolder, openKeyring } from '../flow/lists/keyring.ts';
import type { TrustSource } from '../policy/trust.ts';
import { type Database, openDatabase } from '../store/database.ts';
import { openSpool, type Spool } from '../store/spool.ts';

/** The parts of a site that the daemon and the commands share: its database, spool and keys. */
export interface OpenSite {
  readonly site: Site;
  readonly database: Database;
  readonly spool: Spool;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly log: Log;
  /** Folder of the keys of a list or of the service address. */
  readonly folderOf: (address: string) => string;
  close(): Promise<void>;
}

/** Opens spool, database (migrating it) and keyring of a site. Faults of each name what is wrong and the remedy. */
export async function openSite(site: Site, d: { clock: Clock; log: Log; check: boolean }): Promise<OpenSite> {
  const { clock, log } = d;
  await ensureFolder(site.spool);
  const spool = await openSpool(site.spool);
  const database = await openDatabase(site.database, { check: d.check });
  const service = site['service.address'];
  const folderOf = (address: string): string =>
    address === service
      ? join(site['service.keys'], address.split('@')[1] ?? '')
      : keyFolder(site.lists, address);
  const keyring = openKeyring({
    folderOf,
    passphraseOf: (address) => passphraseOf(site, address),
    siteTrust: siteTrust(site),
    log,
  });
  return { site, database, spool, keyring, clock, log, folderOf, close: () => database.close() };
}

/** Where a site's authorities and revocation lists are read from. */
export function siteTrust(site: Site): TrustSource {
  return {
    cafile: site['trust.cafile'],
    capath: site['trust.capath'],
    crlfile: site['trust.crlfile'],
    crlpath: site['trust.crlpath'],
  };
}

/** Folders of mail templates: the site's own first, then those that come with reseal. */
export function templateFolders(site: Site): string[] {
  return [...site.templates, fileURLToPath(new URL('../../mail_tt2', import.meta.url))];
}
