import { remarksOn } from '../policy/remarks.ts';
import { resolvePolicy } from '../policy/resolve.ts';
import type { ListPolicy } from '../policy/settings.ts';
import type { Entries } from './entries.ts';
import { fault, type Mistake } from './faults.ts';
import { isThisMachine, type Listen } from './listen.ts';
import type { RelaySettings } from './relays.ts';
import { defaultsPrefix, type SiteValues } from './settings.ts';

/** What contradicts itself although every value is right by itself. */
export function contradictionsIn(d: {
  readonly values: SiteValues;
  readonly listen: readonly Listen[];
  readonly relays: readonly RelaySettings[];
  readonly defaults: Partial<ListPolicy>;
  readonly entries: Entries;
}): readonly Mistake[] {
  const { values, entries } = d;
  const mistakes: Mistake[] = [];
  const object = (why: string, ...names: readonly string[]): void => {
    const entry = names.map((name) => entries.get(name)).find((one) => one !== undefined);
    mistakes.push(fault('config-contradiction', { place: entry?.place ?? '', why }));
  };

  if (d.listen.some((socket) => d.relays.some((relay) => isRelay(socket, relay)))) {
    const why = 'the relay is a socket of reseal itself: mail would go in circles';
    object(why, 'relay.path', 'relay.port', 'relay.host', 'listen.port');
  }
  const most = d.defaults['accept.max-size'] ?? null;
  if (most !== null && most > values.size) {
    object(
      'accept.max-size is larger than the size that the site accepts',
      `${defaultsPrefix}accept.max-size`,
    );
  }
  const { policy } = resolvePolicy({ site: d.defaults, profile: null, list: {} });
  for (const remark of remarksOn(policy)) {
    if (remark.grave) object(remark.text, ...remark.settings.map((name) => defaultsPrefix + name));
  }
  return mistakes;
}

function isRelay(socket: Listen, relay: RelaySettings): boolean {
  if ('path' in socket) return socket.path === relay.path;
  if (relay.path !== null || socket.port !== relay.port) return false;
  return socket.host === relay.host || (isThisMachine(socket.host) && isThisMachine(relay.host));
}
