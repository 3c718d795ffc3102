import type { Log, LogFields } from '../../src/base/log.ts';
import type { ListContext } from '../../src/flow/lists/list-context.ts';
import { parseEntity } from '../../src/mime/entity.ts';
import { floorOf } from '../../src/policy/floor.ts';
import type { ListPolicy } from '../../src/policy/settings.ts';
import type { Findings } from '../../src/smime/open.ts';
import { policyWith } from '../policy/policies.ts';

/** An arbitrary instant. */
export const t0 = Date.UTC(2026, 0, 5, 12);
export const minute = 60_000;
export const hour = 60 * minute;
export const day = 24 * hour;

/** An open list with the default policy, and some of its settings changed. */
export function listWith(settings: Partial<ListPolicy> = {}, change: Partial<ListContext> = {}): ListContext {
  const policy = policyWith(settings);
  const names = { id: 1, address: 'team@lists.example', name: 'team', domain: 'lists.example' };
  return { ...names, open: true, policy, floor: floorOf(policy), ...change };
}

/** A clock that stands until it is set. */
export function stoppedClock(start = t0) {
  let now = start;
  return {
    now: () => now,
    pass: (ms: number) => {
      now += ms;
    },
  };
}

export interface Line extends LogFields {
  readonly level: string;
  readonly event: string;
}

/** A log that keeps its lines. */
export function keptLog(): Log & { readonly lines: Line[]; events(): string[] } {
  const lines: Line[] = [];
  const at =
    (level: string) =>
    (event: string, fields: LogFields = {}) =>
      void lines.push({ ...fields, level, event });
  return {
    event: at('info'),
    warn: at('warn'),
    error: at('error'),
    debug: at('debug'),
    lines,
    events: () => lines.map((line) => line.event),
  };
}

/** What opening says of an unsigned post in clear, with something changed. */
export function report(change: Partial<Findings> = {}): Findings {
  return {
    verdict: 'unsigned',
    author: null,
    from: ['alice@example.org'],
    claimed: 'alice@example.org',
    encrypted: false,
    layers: [],
    reasons: [],
    missingIssuer: null,
    signature: null,
    protected: null,
    subject: null,
    contentSha256: null,
    wanted: [],
    certificates: [],
    crls: [],
    ocsp: [],
    remarks: [],
    needs: [],
    ...change,
  };
}

/** A message from lines. */
export const messageOf = (text: string) => parseEntity(Buffer.from(text.replace(/\r?\n/g, '\r\n')));
