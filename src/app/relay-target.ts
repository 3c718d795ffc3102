import { readFile } from 'node:fs/promises';
import { errnoOf, faultsOf } from '../base/errors.ts';
import type { RelaySettings } from '../config/relays.ts';
import { relayPasswordOf } from '../config/secrets.ts';
import type { Site } from '../config/site.ts';
import type { RelayTarget } from '../smtp/pool.ts';

const fault = faultsOf({
  'relay-cafile': (d: { path: string; why: string }) =>
    `The certificates in ${d.path} (relay.cafile) cannot be read (${d.why}): check the path, and owner and mode of the file`,
  'relay-cafile-empty': (d: { path: string }) =>
    `There is no certificate in PEM in ${d.path} (relay.cafile): put those of the relay's authority there`,
});

/** A relay of the site as the connection pool takes it; reads its password and authorities. Faults: 'relay-cafile', 'relay-cafile-empty', and of `relayPasswordOf`. */
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
  const pem = await readFile(path).catch((error: unknown) => {
    throw fault('relay-cafile', { path, why: errnoOf(error) ?? 'unknown error' });
  });
  // TLS passes over anything else, and says only that the relay's certificate is not known.
  if (!/^-----BEGIN (X509 |TRUSTED )?CERTIFICATE-----/m.test(pem.toString('latin1')))
    throw fault('relay-cafile-empty', { path });
  return pem;
}
