import type { Clock } from '../../base/clock.ts';
import { dayOf } from '../../base/day.ts';
import type { Log } from '../../base/log.ts';
import type { Database } from '../../store/database.ts';
import { releaseHeld } from '../../store/outcomes.ts';
import { outdatedIn, outdatedRemedy } from '../lists/crl-files.ts';
import type { Keyring } from '../lists/keyring.ts';
import { everyList, type ListContext, type SiteDefaults } from '../lists/list-context.ts';
import type { Authorities } from './crl-proof.ts';
import type { RevocationBook } from './revocation-book.ts';

export interface EvidenceParts {
  readonly database: Database;
  readonly keyring: Pick<Keyring, 'anchorsOf' | 'crlsOf'>;
  readonly revocation: RevocationBook;
  readonly defaults: SiteDefaults;
  readonly clock: Clock;
  readonly log: Log;
  /** Whether anything may be fetched. */
  readonly mayFetch: boolean;
  /** How long the relay may refuse a released copy before it is given up, ms. */
  readonly lifetimeMs: number;
  readonly wakeDelivery: () => void;
}

/** The care for what is known about revocation. */
export interface EvidenceCare {
  /** Warns of lists in files that went out of date, of each once. */
  warn(): Promise<void>;
  /** To be called each hour: warns, fetches again what was fetched, and releases copies that waited for a list; gives their number. */
  keep(): Promise<number>;
}

/** Makes the care of one site. */
export function careForEvidence(parts: EvidenceParts): EvidenceCare {
  const { database, keyring, revocation, clock, log } = parts;
  const warned = new Set<string>();
  let seen = revocation.version();

  const warnOfOutdated = async (lists: readonly ListContext[]): Promise<void> => {
    for (const list of lists) {
      for (const crl of outdatedIn((await keyring.crlsOf(list)).crls, clock.now())) {
        if (warned.has(crl.sha256)) continue;
        warned.add(crl.sha256);
        const ended = crl.nextUpdate === null ? undefined : dayOf(crl.nextUpdate);
        log.warn('crl-outdated', { path: crl.path, issuer: crl.issuer, ended, remedy: outdatedRemedy });
      }
    }
  };

  const listsThatLook = async (): Promise<ListContext[]> => {
    const all = await everyList(database.q, parts.defaults, (list, detail) =>
      log.warn('list-unreadable', { list, detail }),
    );
    return all.filter((list) => list.policy.revocation !== 'off');
  };

  const keep = async (): Promise<number> => {
    const now = clock.now();
    const lists = await listsThatLook();
    await warnOfOutdated(lists);
    const authorities: Authorities[] = [];
    for (const list of lists)
      authorities.push({ list, anchors: await keyring.anchorsOf(list), others: [], at: now });
    await revocation.refresh(authorities);
    const isNew = revocation.version() !== seen;
    seen = revocation.version();
    if (!isNew && !parts.mayFetch) return 0;
    const released = await database.write((tx) =>
      releaseHeld(tx, {
        reasons: ['not-checked'],
        now,
        expiresAt: now + parts.lifetimeMs,
        why: 'revocation is looked up again',
      }),
    );
    if (released > 0) parts.wakeDelivery();
    return released;
  };
  return { keep, warn: async () => warnOfOutdated(await listsThatLook()) };
}
