import { Fault, faultsOf, isFault } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { parseContentInfo } from '../../cms/content-info.ts';
import { parseSignedData } from '../../cms/signed-data.ts';
import type { Fetcher } from '../../fetch/fetcher.ts';
import type { Certificate } from '../../pki/certificate.ts';
import { type Crl, crlsFromPem } from '../../pki/crl.ts';
import { parseOcspResponse } from '../../pki/ocsp.ts';
import { certificatesFromPem } from '../../pki/pem.ts';
import type { Wanted } from '../../pki/wanted.ts';

export const fetchedFault = faultsOf({
  'fetch-useless': (d: { url: string; what: string }) => `${d.url} gave no revocation list: ${d.what}`,
});

/** What came from the network, read but not believed. */
export type Fetched =
  | { readonly kind: 'crl'; readonly url: string; readonly crl: Crl }
  | { readonly kind: 'ocsp'; readonly url: string; readonly certificate: string; readonly der: Buffer }
  | { readonly kind: 'issuer'; readonly url: string; readonly certificates: readonly Certificate[] };

/** Gets one thing; null, and a line in the log, if it cannot be had or read. */
export type FetchWanted = (wanted: Wanted) => Promise<Fetched | null>;

const mostIssuers = 5;

/** Makes the fetching. A failure that the fetcher remembers is logged once; lines hold the URL, which is the authority's, and nothing of the mail. */
export function fetchWantedWith(d: { fetcher: Fetcher; log: Log }): FetchWanted {
  const logged = new WeakSet<Fault>();
  return async (wanted) => {
    if (!d.fetcher.allows(wanted.url)) return null;
    try {
      return await fetchOne(d.fetcher, wanted);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      if (!logged.has(error))
        d.log.warn('fetch-failed', { url: wanted.url, code: error.code, detail: error.message });
      logged.add(error);
      return null;
    }
  };
}

async function fetchOne(fetcher: Fetcher, wanted: Wanted): Promise<Fetched> {
  const { kind, url } = wanted;
  if (kind === 'ocsp') {
    // RFC 6960 A.1.
    const type = 'application/ocsp-request';
    const sending = { type, accept: 'application/ocsp-response', body: wanted.request };
    const der = await fetcher.post(url, sending);
    parseOcspResponse(der);
    return { kind, url, certificate: wanted.certificate, der };
  }
  const body = await fetcher.get(url);
  if (kind === 'issuer') return { kind, url, certificates: authoritiesIn(body) };
  const {
    crls: [crl],
    problems,
  } = crlsFromPem(body);
  if (!crl) throw fetchedFault('fetch-useless', { url, what: problems[0] ?? 'it is empty' });
  return { kind, url, crl };
}

/** RFC 5280 4.2.2.1: one certificate in DER, or a certs-only message; some authorities serve PEM. */
function authoritiesIn(body: Buffer): Certificate[] {
  const { certificates } = certificatesFromPem(body);
  const found = certificates.length > 0 ? certificates : certificatesInMessage(body);
  return found.filter((one) => one.isCa).slice(0, mostIssuers);
}

function certificatesInMessage(body: Buffer): readonly Certificate[] {
  try {
    const { kind, content } = parseContentInfo(body);
    return kind === 'signed-data' ? parseSignedData(content).certificates : [];
  } catch (error) {
    if (isFault(error)) return [];
    throw error;
  }
}
