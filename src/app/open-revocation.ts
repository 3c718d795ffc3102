import type { Site } from '../config/site.ts';
import { openFetcher } from '../fetch/fetcher.ts';
import { fetchWantedWith } from '../flow/revocation/fetch-wanted.ts';
import { openRevocationBook, type RevocationBook } from '../flow/revocation/revocation-book.ts';
import { openRevocationStore } from '../flow/revocation/revocation-store.ts';
import type { OpenSite } from './open-site.ts';

/** What a site knows about revocation, for a command that only looks: nothing is fetched, and nothing is kept. */
export function openKnownRevocation(base: OpenSite): RevocationBook {
  const store = openRevocationStore(base);
  const book = openRevocationBook({ ...base, store, fetch: async () => null, patienceMs: 0 });
  return {
    ...book,
    obtain: async (wanted, before) => {
      const had = new Set(before.answers.map((one) => one.certificate));
      const about = wanted.flatMap((one) => (one.kind === 'ocsp' ? [one.certificate] : []));
      return book.answersAbout(about.filter((one) => !had.has(one)));
    },
    keep: async () => {},
    refresh: async () => {},
  };
}

/** What a site knows about revocation and may fetch about it. */
export function openRevocation(site: Site, base: OpenSite): RevocationBook {
  const { clock, log } = base;
  const timeoutMs = site['fetch.timeout'];
  const fetcher = openFetcher({ hosts: site['fetch.hosts'], timeoutMs, size: site['fetch.size'], clock });
  return openRevocationBook({
    ...base,
    store: openRevocationStore(base),
    fetch: fetchWantedWith({ fetcher, log }),
    // One fetch that is late, and one that comes.
    patienceMs: timeoutMs * 2,
  });
}
