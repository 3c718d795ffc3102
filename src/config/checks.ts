import { remarksOn } from '../policy/remarks.ts';
import { resolvePolicy } from '../policy/resolve.ts';
import type { ListPolicy } from '../policy/settings.ts';
import type { Entries } from './entries.ts';
import { fault, type Mistake } from './faults.ts';
import { isThisMachine, type Listen } from './listen.ts';
import { defaultsPrefix, type SiteValues } from './settings.ts';

/** What contradicts itself although every value is right by itself. */
export function contradictionsIn(d: {
  readonly values: SiteValues;
  readonly listen: readonly Listen[];
  readonly defaults: Partial<ListPolicy>;
  readonly entries: Entries;
}): readonly Mistake[] {
  const { values, entries } = d;
  const mistakes: Mistake[] = [];
  const object = (why: string, ...names: readonly string[]): void => {
    const entry = names.map((name) => entries.get(name)).find((one) => one !== undefined);
    mistakes.push(fault('config-contradiction', { place: entry?.place ?? '', why }));
  };

  if (values['relay.path'] !== null) {
    const other = ['relay.host', 'relay.port'].find((name) => entries.has(name));
    if (other) object(`relay.path and ${other} are both set: keep one`, 'relay.path');
  }
  if (values['relay.user'] !== null && values['relay.password-file'] === null) {
    object('relay.user is set, but relay.password-file is not', 'relay.user');
  }
  if (values['relay.user'] === null && values['relay.password-file'] !== null) {
    object('relay.password-file is set, but relay.user is not', 'relay.password-file');
  }
  if (values['relay.user'] !== null && values['relay.tls'] !== 'required' && !isLocal(values)) {
    const why = `relay.tls: ${values['relay.tls']} would send the password to ${values['relay.host']} in clear: set relay.tls: required`;
    object(why, 'relay.tls', 'relay.user');
  }
  if (d.listen.some((socket) => isRelay(socket, values))) {
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

function isLocal(values: SiteValues): boolean {
  return values['relay.path'] !== null || isThisMachine(values['relay.host']);
}

function isRelay(socket: Listen, values: SiteValues): boolean {
  if ('path' in socket) return socket.path === values['relay.path'];
  if (values['relay.path'] !== null || socket.port !== values['relay.port']) return false;
  const host = values['relay.host'];
  return socket.host === host || (isThisMachine(socket.host) && isThisMachine(host));
}
