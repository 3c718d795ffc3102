import type { StoryMessage } from '../flow/operator/explain.ts';

/** How a story is shown. */
export interface StoryView {
  /** Columns that it is folded to. */
  readonly width: number;
  /** How many members of one fate are named; all unless given. */
  readonly most?: number;
  /** Whether copies name the relay that answered for them. */
  readonly namesRelays?: boolean;
}

/** Folds a text; `first` and `rest` are what its lines begin with. */
export type Say = (text: string, first?: string, rest?: string) => string[];

/** How instants (ISO 8601, UTC) are written in a story that began on a certain day. */
export interface Times {
  /** `at 06:38:02`, or `on 2026-01-06 at 06:38:02` for another day. */
  at(iso: string): string;
  /** `06:38:02`, or `2026-01-06 06:38`. */
  short(iso: string): string;
  /** `on 2026-01-06`, whichever day it is. */
  onDay(iso: string): string;
}

/** Makes `Times` for a day such as `2026-01-05`. */
export function timesOn(day: string): Times {
  const split = (iso: string) => [iso.slice(0, 10), iso.slice(11, 19)] as const;
  return {
    at(iso) {
      const [date, time] = split(iso);
      return date === day ? `at ${time}` : `on ${date} at ${time}`;
    },
    short(iso) {
      const [date, time] = split(iso);
      return date === day ? time : `${date} ${time.slice(0, 5)}`;
    },
    onDay: (iso) => `on ${split(iso)[0]}`,
  };
}

/** The name that the client gave itself, then what is known of it: `mail.example (host.example [192.0.2.1])`. */
export function clientOf({ helo, receivedFrom }: Pick<StoryMessage, 'helo' | 'receivedFrom'>): string {
  const [host, ...address] = receivedFrom.split(' ');
  if (helo === '' || address.length === 0) return receivedFrom;
  return host === helo || host === 'unknown' ? `${helo} ${address.join(' ')}` : `${helo} (${receivedFrom})`;
}
