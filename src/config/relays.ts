import { canonicalAddress } from '../mime/address.ts';
import type { Entries, GroupEntries } from './entries.ts';
import { fault, type Mistake } from './faults.ts';
import { isThisMachine } from './listen.ts';
import { relayPrefix, type SiteValues, siteSettings } from './settings.ts';
import { absolute, readTable } from './values.ts';

/** A mail server that takes copies. */
export interface RelaySettings {
  /** What it is called in messages: `mail.example:25` or the path of its socket. */
  readonly name: string;
  readonly protocol: 'smtp' | 'lmtp';
  readonly host: string;
  readonly port: number;
  /** Its unix socket instead of host and port, or null. */
  readonly path: string | null;
  /** Canonical; `*.example.org` is what is below example.org. Empty: all domains that no other relay names. */
  readonly domains: readonly string[];
  readonly tls: 'none' | 'opportunistic' | 'required';
  readonly cafile: string | null;
  readonly user: string | null;
  readonly passwordFile: string | null;
  readonly passwordCredential: string | null;
  readonly connections: number;
  /** Copies a minute, or null. */
  readonly perMinute: number | null;
  readonly timeoutMs: number;
}

/** The settings of one relay. */
type RelayValues = Pick<SiteValues, Extract<keyof SiteValues, `${typeof relayPrefix}${string}`>>;

const relayTable = Object.fromEntries(
  Object.entries(siteSettings).filter(([name]) => name.startsWith(relayPrefix)),
);

/** The relays that the file sets, in its order, and what is wrong with them. */
export function readRelays(
  groups: readonly GroupEntries[],
  root: string,
): { readonly relays: readonly RelaySettings[]; readonly mistakes: readonly Mistake[] } {
  const mistakes: Mistake[] = [];
  const relays: RelaySettings[] = [];
  const taken = new Set<string>();
  const defaults = Object.entries(relayTable).map(([name, row]) => [name, row.default]);
  for (const { entries, place } of groups) {
    const read = readTable(relayTable, entries, { root, prefix: '' });
    mistakes.push(...read.mistakes);
    const relay = relayOf({ ...Object.fromEntries(defaults), ...read.values } as RelayValues, root);
    const same = `${relay.name} ${relay.domains.join(' ')}`;
    const objection = objectionTo(relay, entries) ?? (taken.has(same) ? ['two relays are the same'] : null);
    // Of values that are wrong by themselves nothing more can be said.
    if (objection !== null && read.mistakes.length === 0) {
      const [why, ...names] = objection;
      const entry = names.map((name) => entries.get(name)).find((one) => one !== undefined);
      mistakes.push(fault('config-contradiction', { place: entry?.place ?? place, why: why ?? '' }));
    }
    taken.add(same);
    relays.push(Object.freeze(relay));
  }
  if (mistakes.length === 0 && relays.every((relay) => relay.domains.length > 0)) {
    const why =
      relays.length === 0
        ? 'relay is an empty list: no copy could be sent'
        : 'every relay has relay.domains: copies for all other domains have no way; add a relay without';
    mistakes.push(fault('config-contradiction', { place: groups[0]?.place ?? '', why }));
  }
  return { relays: Object.freeze(relays), mistakes };
}

function relayOf(values: RelayValues, root: string): RelaySettings {
  const host = values['relay.host'];
  const port = values['relay.port'];
  const path = absolute(root, values['relay.path']) as string | null;
  return {
    name: path ?? `${host}:${port}`,
    protocol: values['relay.protocol'],
    host,
    port,
    path,
    domains: Object.freeze(values['relay.domains'].map(canonicalDomain)),
    tls: values['relay.tls'],
    cafile: values['relay.cafile'],
    user: values['relay.user'],
    passwordFile: values['relay.password-file'],
    passwordCredential: values['relay.password-credential'],
    connections: values['relay.connections'],
    perMinute: values['relay.rate'],
    timeoutMs: values['relay.timeout'],
  };
}

/** As the domains of members are kept. */
function canonicalDomain(domain: string): string {
  const below = domain.startsWith('*.');
  const address = canonicalAddress(`x@${below ? domain.slice(2) : domain}`);
  return (below ? '*.' : '') + (address?.slice(2) ?? domain.toLowerCase());
}

/** Why the settings of one relay contradict each other, and which of them show it; null if they do not. */
function objectionTo(relay: RelaySettings, entries: Entries): [string, ...string[]] | null {
  const other = ['relay.host', 'relay.port'].find((name) => entries.has(name));
  // The host is the name that its certificate must have, also behind a socket.
  if (relay.path !== null && other && !(other === 'relay.host' && relay.tls === 'required'))
    return [`relay.path and ${other} are both set: keep one`, 'relay.path'];
  if (relay.path !== null && relay.tls === 'required' && !other)
    return ['relay.tls: required needs relay.host: the name that its certificate must have', 'relay.tls'];
  // RFC 2033 5
  if (relay.path === null && relay.protocol === 'lmtp' && relay.port === 25)
    return ['LMTP must not be spoken on port 25: set relay.port', 'relay.port', 'relay.protocol'];
  if (relay.cafile !== null && relay.tls !== 'required')
    return [`relay.cafile has no use with relay.tls: ${relay.tls}`, 'relay.cafile'];
  return objectionToLogin(relay);
}

function objectionToLogin(relay: RelaySettings): [string, ...string[]] | null {
  const { user, passwordFile, passwordCredential } = relay;
  if (passwordFile !== null && passwordCredential !== null) {
    const why = 'relay.password-file and relay.password-credential are both set: keep one';
    return [why, 'relay.password-credential'];
  }
  const password = passwordFile === null ? 'relay.password-credential' : 'relay.password-file';
  const hasPassword = passwordFile !== null || passwordCredential !== null;
  if (user !== null && !hasPassword)
    return ['relay.user is set, but neither relay.password-file nor relay.password-credential', 'relay.user'];
  if (user === null && hasPassword) return [`${password} is set, but relay.user is not`, password];
  if (user === null || relay.tls === 'required' || isLocal(relay)) return null;
  const why = `relay.tls: ${relay.tls} would send the password to ${relay.host} in clear: set relay.tls: required`;
  return [why, 'relay.tls', 'relay.user'];
}

/** Whether nothing between us and the relay can listen. */
function isLocal(relay: RelaySettings): boolean {
  return relay.path !== null || isThisMachine(relay.host);
}
