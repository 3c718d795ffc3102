import { createHash } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import { dayMs } from '../../base/day.ts';
import type { Log } from '../../base/log.ts';
import { type Crl, parseCrl } from '../../pki/crl.ts';
import { parseOcspResponse } from '../../pki/ocsp.ts';
import type { Database } from '../../store/database.ts';
import { findRevocation, forgetRevocation, keptCrls, saveRevocation } from '../../store/revocation.ts';
import type { RevocationRow } from '../../store/schema.ts';
import { sharedCopy } from '../lists/crl-files.ts';
import type { ProvenCrl } from './crl-proof.ts';

/** One CRL that is kept; its octets are shared between threads. */
export interface KeptCrl {
  readonly key: string;
  readonly url: string | null;
  readonly storedAt: number;
  readonly crl: Crl;
}

/** What was fetched or came with mail and proved right, for all lists: in the database, and in memory for use. */
export interface RevocationStore {
  crls(): Promise<readonly KeptCrl[]>;
  answer(certificate: string): Promise<RevocationRow | null>;
  /** `url`: where it was fetched; null for one that came with mail. */
  keepCrl(proven: ProvenCrl, url: string | null): Promise<void>;
  keepAnswer(der: Buffer, d: { certificate: string; url: string }): Promise<void>;
  /** Forgets what went out of date a week ago, and what is too much. */
  clean(): Promise<void>;
  /** Grows when something new is kept. */
  version(): number;
}

/** Of lists and of answers each; an authority has one or two lists, the largest public ones have some megabytes. */
const most = { count: 500, octets: 200_000_000 };
const keptOutdatedMs = 7 * dayMs;

/** Makes the store. CRLs are read from the database once; this process alone writes them. */
export function openRevocationStore(d: { database: Database; clock: Clock; log: Log }): RevocationStore {
  let version = 0;
  let loaded: Promise<Map<string, KeptCrl>> | null = null;

  const load = async (): Promise<Map<string, KeptCrl>> => {
    const rows = await keptCrls(d.database.q);
    return new Map(rows.map((row) => [row.key, kept(row)]));
  };
  const inMemory = (): Promise<Map<string, KeptCrl>> => {
    loaded ??= load();
    loaded.catch(() => {
      loaded = null;
    });
    return loaded;
  };

  const save = async (row: RevocationRow): Promise<boolean> => {
    const saved = await d.database.write(async (tx) => {
      const taken = await saveRevocation(tx, row);
      const gone = taken ? await forgetRevocation(tx, { before: row.storedAt - keptOutdatedMs, ...most }) : 0;
      return { taken, gone };
    });
    if (saved.taken) version++;
    // Read again at the next use: what went may have been a list.
    if (saved.gone > 0) loaded = null;
    return saved.taken;
  };

  return {
    crls: async () => [...(await inMemory()).values()],
    answer: (certificate) => findRevocation(d.database.q, answerKey(certificate)),
    async keepCrl({ crl, issuerSpkiSha256 }, url) {
      const crls = await inMemory();
      const key = url === null ? scopeKey(crl, issuerSpkiSha256) : `crl ${url}`;
      const isKnown = crls.get(key)?.crl.sha256 === crl.sha256;
      const row = {
        key,
        kind: 'crl' as const,
        issuer: crl.issuer,
        thisUpdate: crl.thisUpdate,
        nextUpdate: crl.nextUpdate,
        source: url === null ? ('message' as const) : ('fetched' as const),
        url,
        storedAt: d.clock.now(),
        der: Buffer.from(crl.der),
      };
      if (!(await save(row))) return;
      crls.set(key, kept(row));
      if (!isKnown) d.log.event('crl-stored', { issuer: crl.issuer, url: url ?? undefined });
    },
    async keepAnswer(der, { certificate, url }) {
      const [first] = parseOcspResponse(der).answers;
      if (!first) return;
      await save({
        key: answerKey(certificate),
        kind: 'ocsp',
        issuer: '',
        thisUpdate: first.thisUpdate,
        nextUpdate: first.nextUpdate,
        source: 'fetched',
        url,
        storedAt: d.clock.now(),
        der,
      });
    },
    async clean() {
      const before = d.clock.now() - keptOutdatedMs;
      const gone = await d.database.write((tx) => forgetRevocation(tx, { before, ...most }));
      if (gone > 0) loaded = null;
    },
    version: () => version,
  };
}

const answerKey = (certificate: string): string => `ocsp ${certificate}`;

/** Lists of one authority that speak of the same certificates; a full list and its delta are two. */
function scopeKey(crl: Crl, issuerSpkiSha256: string): string {
  const scope = createHash('sha256')
    .update(crl.scopeDer ?? '')
    .digest('hex');
  return `crl ${issuerSpkiSha256} ${scope} ${crl.isDelta ? 'delta' : 'full'}`;
}

function kept({ key, url, storedAt, der }: RevocationRow): KeptCrl {
  return { key, url, storedAt, crl: parseCrl(sharedCopy(der)) };
}
