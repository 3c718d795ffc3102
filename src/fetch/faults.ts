import { faultsOf } from '../base/errors.ts';

/** The closed set of why nothing was fetched. `url` and `host` come from certificates: they are shown, never followed further. */
export const fetchFault = faultsOf({
  'fetch-not-allowed': (d: { url: string }) =>
    `${d.url} is not fetched: its host is not in fetch.hosts, or it is no plain http or https URL`,
  'fetch-address': (d: { url: string; address: string }) =>
    `${d.url} is not fetched: its host has the address ${d.address}, which is not on the public Internet; put a copy into trust.crlfile or trust.crlpath`,
  'fetch-unreachable': (d: { url: string; words: string }) => `${d.url} cannot be reached: ${d.words}`,
  'fetch-timeout': (d: { url: string; seconds: number }) =>
    `${d.url} did not come within ${d.seconds} s (fetch.timeout)`,
  'fetch-size': (d: { url: string; octets: number }) =>
    `${d.url} is larger than ${d.octets} octets (fetch.size)`,
  'fetch-answer': (d: { url: string; words: string }) => `${d.url} gave no usable answer: ${d.words}`,
  'fetch-busy': (d: { url: string }) => `${d.url} is not fetched: too many others are waited for`,
});

export type FetchFault = ReturnType<typeof fetchFault>;
