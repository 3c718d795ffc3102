import { readSecret } from '../config/secrets.ts';
import type { Site } from '../config/site.ts';
import type { RelayTarget } from '../smtp/pool.ts';

/** The relay of a site as the connection pool takes it; reads the password file. Faults of `readSecret`. */
export async function relayTarget(site: Site): Promise<RelayTarget> {
  const path = site['relay.path'];
  const user = site['relay.user'];
  const passwordFile = site['relay.password-file'];
  const auth =
    user !== null && passwordFile !== null
      ? { auth: { user, pass: (await readSecret(passwordFile)).toString('utf8') } }
      : {};
  return {
    host: site['relay.host'],
    port: site['relay.port'],
    ...(path === null ? {} : { socketPath: path }),
    lmtp: site['relay.protocol'] === 'lmtp',
    tls: site['relay.tls'],
    ...auth,
    connections: site['relay.connections'],
    hostname: site.hostname,
    timeoutMs: site['relay.timeout'],
  };
}
