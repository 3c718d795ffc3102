import { createServer, get, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Server as TcpServer } from 'node:net';
import { gzipSync } from 'node:zlib';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type FetcherOptions, openFetcher } from '../../src/fetch/fetcher.ts';
import { minute, stoppedClock } from '../flow/parts.ts';

/** A server of this machine; everything that it was asked. */
async function serve(answer: RequestListener, host = '127.0.0.1', wanted = 0) {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    answer(request, response);
  });
  await listen(server, host, wanted);
  return { port: (server.address() as AddressInfo).port, requests };
}

async function listen(server: Server | TcpServer, host: string, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.on('error', reject);
    server.listen(port, host, resolve);
  });
  onTestFinished(() => {
    if ('closeAllConnections' in server) server.closeAllConnections();
    server.close();
  });
}

/** A fetcher to which 127.0.0.1, and nothing else, is the Internet; every name has that address. */
function fetcherFor(port: number, change: Partial<FetcherOptions> = {}) {
  const clock = stoppedClock();
  const lookups: string[] = [];
  const fetcher = openFetcher({
    hosts: [`pki.example:${port}`],
    timeoutMs: 5000,
    size: 1000,
    clock,
    isAllowedAddress: (address) => address === '127.0.0.1',
    lookup: async (host) => {
      lookups.push(host);
      return ['127.0.0.1'];
    },
    ...change,
  });
  return { fetcher, clock, lookups, url: (path = '/') => `http://pki.example:${port}${path}` };
}

const failure = (code: string) => expect.objectContaining({ code });

describe('get', () => {
  it('gives the body, and tells the server nothing but what it needs', async () => {
    const { port, requests } = await serve((_, response) => void response.end('a list'));
    const { fetcher, url } = fetcherFor(port);
    expect(String(await fetcher.get(url('/ca.crl?n=1')))).toBe('a list');
    const [request] = requests;
    expect([request?.method, request?.url]).toEqual(['GET', '/ca.crl?n=1']);
    expect(request?.headers).toEqual({
      host: `pki.example:${port}`,
      accept: '*/*',
      'accept-encoding': 'identity',
      'user-agent': 'reseal',
      connection: 'close',
    });
  });

  it('goes nowhere by default', async () => {
    const { port, requests } = await serve((_, response) => void response.end('a list'));
    const { fetcher, url, lookups } = fetcherFor(port, { hosts: [] });
    expect(fetcher.allows(url())).toBe(false);
    await expect(fetcher.get(url())).rejects.toEqual(failure('fetch-not-allowed'));
    expect([requests.length, lookups.length]).toEqual([0, 0]);
  });

  it('does not go to this machine, whatever its name is', async () => {
    const { port, requests } = await serve((_, response) => void response.end('secret'));
    const hosts = ['pki.example', 'localhost', '127.0.0.1', '10.0.0.1'].map((host) => `${host}:${port}`);
    const { isAllowedAddress: _, ...options } = { isAllowedAddress: null, hosts, timeoutMs: 5000, size: 9 };
    const clock = stoppedClock();
    const own = openFetcher({ ...options, clock, lookup: async () => ['::ffff:127.0.0.1', '127.0.0.1'] });
    await expect(own.get(`http://pki.example:${port}/`)).rejects.toEqual(failure('fetch-address'));
    const system = openFetcher({ ...options, clock });
    for (const name of ['localhost', '127.0.0.1', '0x7f.1', '2130706433'])
      await expect(system.get(`http://${name}:${port}/`), name).rejects.toEqual(failure('fetch-address'));
    expect(requests).toEqual([]);
  });

  it('connects to the address that was checked, though the name has another one a moment later', async () => {
    const good = await serve((_, response) => void response.end('good'));
    const inner = await serve((_, response) => void response.end('secret'), '127.0.0.2', good.port);
    const answers = ['127.0.0.1', '127.0.0.2', '127.0.0.2'];
    const asked: string[] = [];
    const lookup = async (host: string) => {
      asked.push(host);
      return [answers[asked.length - 1] ?? ''];
    };
    const { fetcher, url } = fetcherFor(good.port, { lookup });
    expect(String(await fetcher.get(url()))).toBe('good');
    expect(asked).toEqual(['pki.example']);
    await expect(fetcher.get(url())).rejects.toEqual(failure('fetch-address'));
    expect(inner.requests).toEqual([]);
  });

  it('takes the public one of several addresses', async () => {
    const { port } = await serve((_, response) => void response.end('good'));
    const { fetcher, url } = fetcherFor(port, { lookup: async () => ['10.0.0.1', '127.0.0.1'] });
    expect(String(await fetcher.get(url()))).toBe('good');
  });

  it('says so when a name has no address', async () => {
    const lookup = async () =>
      Promise.reject(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }));
    const { fetcher, url } = fetcherFor(9, { lookup });
    await expect(fetcher.get(url())).rejects.toThrow('pki.example:9/ cannot be reached: ENOTFOUND');
  });

  it.each<[string, RequestListener, string]>([
    ['an error', (_, response) => void response.writeHead(404).end('none'), 'fetch-answer'],
    [
      'an announced length above the limit',
      (_, r) => void r.writeHead(200, { 'content-length': 1001 }).flushHeaders(),
      'fetch-size',
    ],
    [
      'a body above the limit',
      (_, r) => {
        for (let i = 0; i < 11; i++) r.write('x'.repeat(100));
      },
      'fetch-size',
    ],
    [
      'a compressed body',
      (_, r) => void r.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('x')),
      'fetch-answer',
    ],
    ['a hang-up before the answer', (request) => void request.socket.destroy(), 'fetch-unreachable'],
    [
      'a hang-up within the body',
      (_, r) => {
        r.writeHead(200, { 'content-length': 10 });
        r.write('x', () => r.destroy());
      },
      'fetch-unreachable',
    ],
    ['a redirect without an end', (_, r) => void r.writeHead(302, { location: '/' }).end(), 'fetch-answer'],
    [
      'a redirect to a host that is not allowed',
      (_, r) => void r.writeHead(302, { location: 'http://other.example/' }).end(),
      'fetch-not-allowed',
    ],
    [
      'a redirect to nowhere',
      (_, r) => void r.writeHead(302, { location: 'http://[' }).end(),
      'fetch-answer',
    ],
    [
      'a redirect to a file',
      (_, r) => void r.writeHead(302, { location: 'file:///etc/passwd' }).end(),
      'fetch-not-allowed',
    ],
    [
      'a header without an end',
      (_, r) => void r.writeHead(200, { x: 'x'.repeat(20_000) }).end(),
      'fetch-unreachable',
    ],
  ])('does not take %s', async (_, answer, code) => {
    const { port } = await serve(answer);
    const { fetcher, url } = fetcherFor(port);
    await expect(fetcher.get(url())).rejects.toEqual(failure(code));
  });

  it('takes a body of exactly the limit', async () => {
    const { port } = await serve((_, response) => void response.end('x'.repeat(1000)));
    const { fetcher, url } = fetcherFor(port);
    expect(await fetcher.get(url())).toHaveLength(1000);
  });

  it('follows two redirects, and looks each host up', async () => {
    const { port } = await serve((request, response) => {
      const next = { '/1': '/2', '/2': `http://mirror.example:${port}/3` }[request.url ?? ''];
      if (next) response.writeHead(301, { location: next }).end();
      else response.end(`at ${request.headers.host}${request.url}`);
    });
    const hosts = [`pki.example:${port}`, `mirror.example:${port}`];
    const { fetcher, url, lookups } = fetcherFor(port, { hosts });
    expect(String(await fetcher.get(url('/1')))).toBe(`at mirror.example:${port}/3`);
    expect(lookups).toEqual(['pki.example', 'pki.example', 'mirror.example']);
  });

  it('does not follow a redirect to an inner address', async () => {
    const { port, requests } = await serve(
      (_, r) => void r.writeHead(302, { location: `http://inner.example:${port}/` }).end(),
    );
    const hosts = [`pki.example:${port}`, `inner.example:${port}`];
    const lookup = async (host: string) => [host === 'inner.example' ? '10.0.0.1' : '127.0.0.1'];
    const { fetcher, url } = fetcherFor(port, { hosts, lookup });
    await expect(fetcher.get(url())).rejects.toEqual(failure('fetch-address'));
    expect(requests).toHaveLength(1);
  });

  it.each<[string, RequestListener]>([
    ['never answers', () => undefined],
    [
      'drips its body',
      (_, response) => {
        const timer = setInterval(() => response.write('x'), 10);
        response.on('close', () => clearInterval(timer));
      },
    ],
  ])('gives a server up that %s', async (_, answer) => {
    const { port } = await serve(answer);
    const { fetcher, url } = fetcherFor(port, { timeoutMs: 100 });
    await expect(fetcher.get(url())).rejects.toEqual(failure('fetch-timeout'));
  });

  it('gives a name server up that never answers', async () => {
    const { fetcher, url } = fetcherFor(9, { timeoutMs: 50, lookup: () => new Promise(() => undefined) });
    await expect(fetcher.get(url())).rejects.toEqual(failure('fetch-timeout'));
  });

  it('gives a server up that never speaks TLS', async () => {
    const server = createTcpServer(() => undefined);
    await listen(server, '127.0.0.1', 0);
    const { port } = server.address() as AddressInfo;
    const { fetcher } = fetcherFor(port, { timeoutMs: 100 });
    await expect(fetcher.get(`https://pki.example:${port}/`)).rejects.toEqual(failure('fetch-timeout'));
  });
});

describe('many at once', () => {
  it('ask for the same URL once, and again when it has come', async () => {
    const { port, requests } = await serve((_, response) => void response.end('a list'));
    const { fetcher, url } = fetcherFor(port);
    const bodies = await Promise.all([1, 2, 3].map(() => fetcher.get(url())));
    expect([bodies.map(String), requests.length]).toEqual([['a list', 'a list', 'a list'], 1]);
    await fetcher.get(url());
    expect(requests).toHaveLength(2);
  });

  it('wait for their turn: eight at a time', async () => {
    const open: (() => void)[] = [];
    const counts: number[] = [];
    const { port } = await serve((request, response) => {
      if (request.url === '/look') {
        // Sent when eight were here: a ninth of the first ones would have come before it.
        counts.push(open.length);
        for (const one of open.splice(0)) one();
        response.end();
        return;
      }
      open.push(() => void response.end('x'));
      if (open.length === 8) get(`http://127.0.0.1:${port}/look`).on('error', () => undefined);
    });
    const { fetcher, url } = fetcherFor(port);
    await Promise.all(Array.from({ length: 16 }, (_, n) => fetcher.get(url(`/${n}`))));
    expect(counts).toEqual([8, 8]);
  });

  it('that wait for hosts that do not answer are not blamed for it', async () => {
    const { port } = await serve((request, response) => {
      if (request.url === '/9') response.end('x');
    });
    const { fetcher, url } = fetcherFor(port, { timeoutMs: 200, hosts: [`*.example:${port}`] });
    const stuck = Array.from({ length: 8 }, (_, n) => fetcher.get(url(`/${n}`)).catch(() => 'stuck'));
    expect(String(await fetcher.get(`http://other.example:${port}/9`))).toBe('x');
    await Promise.all(stuck);
  });

  it('are refused when a hundred wait', async () => {
    const { port } = await serve(() => undefined);
    const { fetcher, url } = fetcherFor(port, { timeoutMs: 50 });
    const stuck = Array.from({ length: 100 }, (_, n) => fetcher.get(url(`/${n}`)).catch(() => 'stuck'));
    await expect(fetcher.get(url('/more'))).rejects.toEqual(failure('fetch-busy'));
    await Promise.all(stuck);
  });
});

describe('what failed', () => {
  it('is left alone for five minutes: one URL', async () => {
    let status = 500;
    const { port, requests } = await serve((_, response) => void response.writeHead(status).end('x'));
    const { fetcher, url, clock } = fetcherFor(port);
    await expect(fetcher.get(url('/a'))).rejects.toEqual(failure('fetch-answer'));
    status = 200;
    await expect(fetcher.get(url('/a'))).rejects.toEqual(failure('fetch-answer'));
    expect(requests).toHaveLength(1);
    expect(String(await fetcher.get(url('/b')))).toBe('x');
    clock.pass(5 * minute);
    expect(String(await fetcher.get(url('/a')))).toBe('x');
  });

  it('is left alone for five minutes: a host that does not answer, with all its URLs', async () => {
    const { port, requests } = await serve((request) => void request.socket.destroy());
    const { fetcher, url, clock } = fetcherFor(port);
    await expect(fetcher.get(url('/a'))).rejects.toEqual(failure('fetch-unreachable'));
    await expect(fetcher.get(url('/b'))).rejects.toEqual(failure('fetch-unreachable'));
    expect(requests).toHaveLength(1);
    clock.pass(5 * minute);
    await expect(fetcher.get(url('/b'))).rejects.toEqual(failure('fetch-unreachable'));
    expect(requests).toHaveLength(2);
  });
});

describe('post', () => {
  const sending = {
    type: 'application/ocsp-request',
    accept: 'application/ocsp-response',
    body: Buffer.from('who?'),
  };

  it('sends a body and gives the answer', async () => {
    const { port, requests } = await serve(async (request, response) => {
      const pieces: Buffer[] = [];
      for await (const piece of request) pieces.push(piece);
      response.end(`${request.method} ${Buffer.concat(pieces)}`);
    });
    const { fetcher, url } = fetcherFor(port);
    expect(String(await fetcher.post(url('/ocsp'), sending))).toBe('POST who?');
    expect(requests[0]?.headers).toMatchObject({
      'content-type': sending.type,
      accept: sending.accept,
      'content-length': '4',
    });
  });

  it('shares only what asks the same', async () => {
    const { port, requests } = await serve((_, response) => void response.end('x'));
    const { fetcher, url } = fetcherFor(port);
    const other = { ...sending, body: Buffer.from('what?') };
    await Promise.all([sending, sending, other].map((one) => fetcher.post(url(), one)));
    expect(requests).toHaveLength(2);
  });

  it('follows no redirect', async () => {
    const { port, requests } = await serve((_, r) => void r.writeHead(307, { location: '/2' }).end());
    const { fetcher, url } = fetcherFor(port);
    await expect(fetcher.post(url(), sending)).rejects.toEqual(failure('fetch-answer'));
    expect(requests).toHaveLength(1);
  });
});
