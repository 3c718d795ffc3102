import { openFetcher } from '../../src/fetch/fetcher.ts';
import { validatePathsWith } from '../../src/flow/certificates/member-path.ts';
import { crlFilesFault } from '../../src/flow/lists/crl-files.ts';
import type { Keyring } from '../../src/flow/lists/keyring.ts';
import { fetchWantedWith } from '../../src/flow/revocation/fetch-wanted.ts';
import { findIntermediatesWith } from '../../src/flow/revocation/intermediates.ts';
import { openRevocationBook } from '../../src/flow/revocation/revocation-book.ts';
import { openRevocationStore } from '../../src/flow/revocation/revocation-store.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { parseCrl } from '../../src/pki/crl.ts';
import type { ListPolicy } from '../../src/policy/settings.ts';
import type { Identity } from '../kit/pki.ts';
import { listWith, stoppedClock } from './parts.ts';
import { makeSite, type TestSite } from './site.ts';

export interface Options {
  readonly anchors: readonly Identity[];
  readonly settings?: Partial<ListPolicy>;
  /** Port of the authority's server, if it may be asked. */
  readonly port?: number;
  readonly files?: readonly Buffer[];
  readonly unreadable?: boolean;
  readonly site?: TestSite;
}

/**
 * All that looks certificates up, over a real database and a real network: `pki.example` is an authority's server on
 * this machine. Only the keyring is told what it holds.
 */
export async function lookUps(o: Options) {
  const site = o.site ?? (await makeSite());
  const clock = stoppedClock(Date.now());
  const anchors = { certificates: o.anchors.map((one) => parseCertificate(one.certDer)) };
  const keyring: Pick<Keyring, 'keysOf' | 'anchorsOf' | 'crlsOf'> = {
    keysOf: async () => ({ pairs: [], problems: [] }),
    anchorsOf: async () => anchors,
    crlsOf: async () => ({
      crls: (o.files ?? []).map((der) => ({ ...parseCrl(der), path: 'x' })),
      problems: [],
      fault: o.unreadable ? crlFilesFault('crl-unreadable', { path: 'x', errno: 'EACCES' }) : null,
    }),
  };
  const fetcher = openFetcher({
    hosts: o.port === undefined ? [] : [`pki.example:${o.port}`],
    timeoutMs: 5000,
    size: 1_000_000,
    clock,
    isAllowedAddress: (address) => address === '127.0.0.1',
    lookup: async () => ['127.0.0.1'],
  });
  const { database, log } = site;
  const store = openRevocationStore({ database, clock, log });
  const fetch = fetchWantedWith({ fetcher, log });
  const book = openRevocationBook({ database, keyring, store, fetch, patienceMs: 5000, clock });
  const intermediates = findIntermediatesWith({ q: database.q, clock });
  const pathOf = validatePathsWith({ keyring, intermediates, revocation: book, clock });
  const list = listWith(o.settings);
  return {
    site,
    list,
    keyring,
    intermediates,
    book,
    clock,
    store,
    /** `valid`, or the reasons; remarks behind. */
    ask: async (who: Identity): Promise<string> => {
      const { valid, reasons, remarks } = await pathOf(list, {
        sha256: parseCertificate(who.certDer).sha256,
        read: async () => parseCertificate(who.certDer),
      });
      return [valid ? 'valid' : reasons.join(' '), ...remarks].join(' ');
    },
    authorities: { list, anchors, others: [], at: clock.now() },
  };
}
