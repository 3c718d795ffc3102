import { createHash } from 'node:crypto';
import { lookup as systemLookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Clock } from '../base/clock.ts';
import { errnoOf, Fault, isFault, wordsOf } from '../base/errors.ts';
import { permits } from '../base/permits.ts';
import { isPublicAddress } from './addresses.ts';
import { exchange, type Sending } from './exchange.ts';
import { fetchFault } from './faults.ts';
import { allowedUrl } from './hosts.ts';

/** Fetches what certificates point to, from the hosts of `fetch.hosts` and nowhere else. */
export interface Fetcher {
  /** Whether the URL may be fetched at all. */
  allows(url: string): boolean;
  /** The body of a GET. Rejects with a Fault of faults.ts. The same URL in flight is asked for once. */
  get(url: string): Promise<Buffer>;
  /** The body of the answer to a POST; redirects are not followed. */
  post(url: string, sending: Sending): Promise<Buffer>;
}

export interface FetcherOptions {
  /** `fetch.hosts`; empty: nothing is ever fetched. */
  readonly hosts: readonly string[];
  /** For one fetch as a whole, from its turn on: looking up, redirects, body. */
  readonly timeoutMs: number;
  /** Octets that one body may have. */
  readonly size: number;
  readonly clock: Clock;
  /** Where tests put an address of their own in; `app` leaves it out. */
  readonly isAllowedAddress?: (address: string) => boolean;
  /** Every IP address of a host name. */
  readonly lookup?: (host: string) => Promise<readonly string[]>;
}

const mostRedirects = 2;
const atOnce = 8;
const mostWaiting = 100;
/** A post storm must not become a storm of requests to a host that does not answer. */
const failureRememberedMs = 300_000;
const mostFailures = 1000;

/** Makes the fetcher. */
export function openFetcher(options: FetcherOptions): Fetcher {
  const { hosts, timeoutMs, size, clock } = options;
  const isAllowedAddress = options.isAllowedAddress ?? isPublicAddress;
  const lookup = options.lookup ?? lookUp;
  const inFlight = new Map<string, Promise<Buffer>>();
  const failures = new Map<string, { readonly fault: Fault; readonly until: number }>();
  const permit = permits(atOnce);

  const allowed = (text: string): URL => {
    const url = allowedUrl(hosts, text);
    if (!url) throw fetchFault('fetch-not-allowed', { url: text.slice(0, 200) });
    return url;
  };

  /** One address, looked up once: what was checked is what is connected to. */
  const addressOf = async (url: URL): Promise<string> => {
    const name = url.hostname.replace(/^\[|\]$/g, '');
    let found: readonly string[];
    try {
      found = isIP(name) ? [name] : await lookup(name);
    } catch (error) {
      const words = errnoOf(error) ?? wordsOf(error);
      throw fetchFault('fetch-unreachable', { url: url.href, words }, { cause: error });
    }
    const address = found.find(isAllowedAddress);
    if (address !== undefined) return address;
    const [first] = found;
    if (first === undefined)
      throw fetchFault('fetch-unreachable', { url: url.href, words: 'it has no address' });
    throw fetchFault('fetch-address', { url: url.href, address: first });
  };

  const follow = async (text: string, sending: Sending | null, signal: AbortSignal): Promise<Buffer> => {
    let url = allowed(text);
    for (let redirects = 0; ; redirects++) {
      const address = await addressOf(url);
      signal.throwIfAborted();
      const answer = await exchange(url, { address, sending, size, signal });
      if ('body' in answer) return answer.body;
      if (sending || redirects === mostRedirects || !URL.canParse(answer.location, url.href))
        throw fetchFault('fetch-answer', { url: url.href, words: 'it points elsewhere' });
      url = allowed(new URL(answer.location, url).href);
    }
  };

  /** In time, counted from its turn: a URL is not blamed for those before it. */
  const once = async (text: string, sending: Sending | null): Promise<Buffer> => {
    const control = new AbortController();
    const { signal } = control;
    const late = fetchFault('fetch-timeout', { url: text.slice(0, 200), seconds: timeoutMs / 1000 });
    const timer = setTimeout(() => control.abort(late), timeoutMs);
    // A name server has no patience of its own that could be set: the look-up ends when it ends.
    const tooLate = new Promise<never>((_, reject) =>
      signal.addEventListener('abort', () => reject(late), { once: true }),
    );
    const work = follow(text, sending, signal);
    work.catch(() => undefined);
    return Promise.race([work, tooLate]).finally(() => clearTimeout(timer));
  };

  const remember = (key: string, fault: Fault): void => {
    const [oldest] = failures.keys();
    if (failures.size >= mostFailures && oldest !== undefined) failures.delete(oldest);
    failures.set(key, { fault, until: clock.now() + failureRememberedMs });
  };

  const shared = async (text: string, sending: Sending | null): Promise<Buffer> => {
    const { origin } = allowed(text);
    const body = sending ? createHash('sha256').update(sending.body).digest('hex') : '';
    const key = `${text} ${body}`;
    for (const one of [key, origin]) {
      const failure = failures.get(one);
      if (failure && failure.until > clock.now()) throw failure.fault;
    }
    const running = inFlight.get(key);
    if (running) return running;
    if (inFlight.size >= mostWaiting) throw fetchFault('fetch-busy', { url: text.slice(0, 200) });
    const work = permit(() => once(text, sending))
      .catch((error: unknown) => {
        const fault = error instanceof Fault ? error : unexpected(text, error);
        // A host that does not answer answers none of its URLs.
        const isDead = isFault(fault, 'fetch-unreachable') || isFault(fault, 'fetch-timeout');
        remember(isDead ? origin : key, fault);
        throw fault;
      })
      .finally(() => inFlight.delete(key));
    inFlight.set(key, work);
    return work;
  };

  return {
    allows: (url) => allowedUrl(hosts, url) !== null,
    get: (url) => shared(url, null),
    post: shared,
  };
}

function unexpected(url: string, error: unknown): Fault {
  return fetchFault('fetch-unreachable', { url: url.slice(0, 200), words: wordsOf(error) }, { cause: error });
}

async function lookUp(host: string): Promise<string[]> {
  return (await systemLookup(host, { all: true })).map(({ address }) => address);
}
