import { readFile } from 'node:fs/promises';
import { errnoOf, faultsOf } from '../base/errors.ts';
import type { RelaySettings } from '../config/relays.ts';
import { relayPasswordOf } from '../config/secrets.ts';
import type { Site } from '../config/site.ts';
import type { RelayTarget } from '../smtp/pool.ts';

const fault = faultsOf({
  'relay-cafile': (d: { path: string; why: string }) =>
    `The certificates in ${d.path} (relay.cafile) cannot be read (${d.why}): check the path, and owner and mode of the file`,
});

/** A relay of the site as the connection pool takes it; reads its password and authorities. Faults: 'relay-cafile', and of `relayPasswordOf`. */
export async function relayTarget(site: Site, relay: RelaySettings): Promise<RelayTarget> {
  const { host, port, path, tls, user, cafile, connections, perMinute, timeoutMs } = relay;
  const pass = await relayPasswordOf(site, relay);
  return {
    host,
    port,
    ...(path === null ? {} : { socketPath: path }),
    lmtp: relay.protocol === 'lmtp',
    tls,
    ...(cafile === null ? {} : { ca: await authorities(cafile) }),
    ...(user === null || pass === null ? {} : { auth: { user, pass } }),
    connections,
    ...(perMinute === null ? {} : { perMinute }),
    hostname: site.hostname,
    timeoutMs,
  };
}

async function authorities(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw fault('relay-cafile', { path, why: errnoOf(error) ?? 'unknown error' });
  }
}
