import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { ReceiveOptions } from '../smtp/receive.ts';

const atMostEveryMs = 60_000;
const setting = { address: 'limits.clients-per-address', all: 'limits.clients' } as const;

/**
 * Says in the log that clients are answered 421 because too many are connected: at once, then for each limit once a
 * minute with their number since the last line, so that who fills all places does not fill the log as well.
 */
export function logTurnedAway(log: Log, clock: Clock): NonNullable<ReceiveOptions<never>['turnedAway']> {
  const told = { address: { at: -Infinity, clients: 0 }, all: { at: -Infinity, clients: 0 } };
  return (limit, client) => {
    const last = told[limit];
    last.clients++;
    if (Math.abs(clock.now() - last.at) < atMostEveryMs) return;
    log.warn('clients-turned-away', {
      limit: setting[limit],
      client: client ?? 'local',
      clients: last.clients,
      remedy:
        'a mail server of yours that opens so many connections belongs into limits.exempt; of others, ask whose they are',
    });
    told[limit] = { at: clock.now(), clients: 0 };
  };
}
