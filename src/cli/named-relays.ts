import type { Site } from '../config/site.ts';

/** Whether people are told which relay answered for a copy: where there is but one, each line would say the same. */
export function namesRelays({ relays }: Pick<Site, 'relays'>): boolean {
  return relays.length > 1;
}

/** What was said of a copy, and by which relay if that is told: `552 5.2.2 mailbox full (relay mx2.example:25)`. */
export function byRelay(words: string, relay: string | null): string {
  if (relay === null) return words;
  return words === '' ? `relay ${relay}` : `${words} (relay ${relay})`;
}
