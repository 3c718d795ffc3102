import type { Log } from '../base/log.ts';
import type { Site } from '../config/site.ts';
import { openRelays, type RelayChoice, type Relays } from '../smtp/relays.ts';
import { relayTarget } from './relay-target.ts';

/** The relays of a site; the log says when one is found down and when it is there again. Faults of `relayTarget`. */
export async function openSiteRelays(site: Site, log: Log): Promise<Relays> {
  const choices: RelayChoice[] = [];
  for (const relay of site.relays) {
    const { name, domains } = relay;
    choices.push({ name, domains, target: await relayTarget(site, relay) });
  }
  return openRelays(choices, {
    changed: (relay, down) => {
      if (down === null) log.event('relay-up', { relay });
      else log.warn('relay-down', { relay, reply: down.text, remedy: '`reseal check` tries it' });
    },
  });
}
