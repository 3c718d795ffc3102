import { expect, it } from 'vitest';
import { logTurnedAway } from '../../src/app/log-turned-away.ts';
import { keptLog, minute, stoppedClock } from '../flow/parts.ts';

it('clients that are turned away: one line at once, then one a minute with their number, for each limit', () => {
  const log = keptLog();
  const clock = stoppedClock();
  const turnedAway = logTurnedAway(log, clock);
  for (const client of ['10.0.0.1', '10.0.0.1', '10.0.0.2']) turnedAway('address', client);
  turnedAway('all', undefined);
  clock.pass(minute - 1);
  turnedAway('address', '10.0.0.2');
  expect(log.lines.map((line) => [line.limit, line.client, line.clients])).toEqual([
    ['limits.clients-per-address', '10.0.0.1', 1],
    ['limits.clients', 'local', 1],
  ]);
  clock.pass(1);
  turnedAway('address', '10.0.0.3');
  expect(log.lines.at(-1)).toMatchObject({ level: 'warn', client: '10.0.0.3', clients: 4 });
  // A clock that was set back keeps nobody silent.
  clock.pass(-100 * minute);
  turnedAway('address', '10.0.0.3');
  expect(log.lines).toHaveLength(4);
});
