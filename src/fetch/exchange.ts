import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { isIP } from 'node:net';
import { errnoOf, wordsOf } from '../base/errors.ts';
import { fetchFault } from './faults.ts';

/** What is sent: nothing (GET), or a body with its media type (POST). */
export interface Sending {
  readonly type: string;
  readonly accept: string;
  readonly body: Uint8Array;
}

/** What came: the body, or where else to look. */
export type Answer = { readonly body: Buffer } | { readonly location: string };

/**
 * One HTTP exchange with exactly the given IP address: the name of the host stands in the Host field and in the TLS handshake and is
 * not looked up again, so no second answer of a name server counts. No cookies, credentials, proxies, compression or
 * kept connections. At most `size` octets. Faults: `fetch-unreachable`, `fetch-answer`, `fetch-size`; when `signal`
 * ends it, it rejects with the signal's reason.
 */
export function exchange(
  url: URL,
  d: {
    readonly address: string;
    readonly sending: Sending | null;
    readonly size: number;
    readonly signal: AbortSignal;
  },
): Promise<Answer> {
  const isTls = url.protocol === 'https:';
  const { sending } = d;
  const name = url.hostname.replace(/^\[|\]$/g, '');
  const options = {
    host: d.address,
    port: url.port === '' ? (isTls ? 443 : 80) : Number(url.port),
    path: `${url.pathname}${url.search}`,
    method: sending ? 'POST' : 'GET',
    // An agent of its own: the global one may be told to use a proxy by the environment.
    agent: isTls ? new HttpsAgent({ keepAlive: false }) : new HttpAgent({ keepAlive: false }),
    signal: d.signal,
    headers: {
      Host: url.host,
      Accept: sending?.accept ?? '*/*',
      'Accept-Encoding': 'identity',
      'User-Agent': 'reseal',
      ...(sending ? { 'Content-Type': sending.type, 'Content-Length': sending.body.length } : {}),
    },
    // RFC 6066 3: no IP addresses in server_name.
    ...(isTls ? { servername: isIP(name) ? '' : name } : {}),
  };
  return new Promise((resolve, reject) => {
    const failed = (error: unknown) => {
      if (d.signal.aborted) return reject(d.signal.reason);
      const words = errnoOf(error) ?? wordsOf(error);
      reject(fetchFault('fetch-unreachable', { url: url.href, words }, { cause: error }));
    };
    const request = (isTls ? httpsRequest : httpRequest)(options, (response) => {
      const end = (outcome: Answer | Error) => {
        if (outcome instanceof Error) reject(outcome);
        else resolve(outcome);
        request.destroy();
      };
      receive(response, url, d.size, end);
      response.on('error', failed);
    });
    request.on('error', failed);
    request.end(sending?.body);
  });
}

function receive(
  response: IncomingMessage,
  url: URL,
  size: number,
  end: (outcome: Answer | Error) => void,
): void {
  const bad = (words: string) => end(fetchFault('fetch-answer', { url: url.href, words }));
  const tooLarge = () => end(fetchFault('fetch-size', { url: url.href, octets: size }));
  const { statusCode = 0, headers } = response;
  const { location } = headers;
  if ([301, 302, 303, 307, 308].includes(statusCode) && location !== undefined) end({ location });
  else if (statusCode !== 200) bad(`HTTP status ${statusCode}`);
  // What is compressed may unfold to anything: it was not asked for.
  else if ((headers['content-encoding'] ?? 'identity') !== 'identity') bad('it is compressed');
  else if (Number(headers['content-length'] ?? 0) > size) tooLarge();
  const pieces: Buffer[] = [];
  let length = 0;
  response.on('data', (piece: Buffer) => {
    length += piece.length;
    if (length > size) tooLarge();
    else pieces.push(piece);
  });
  response.on('end', () => {
    if (response.complete) end({ body: Buffer.concat(pieces) });
  });
}
