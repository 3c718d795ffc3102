import type { Story, StoryEvent } from '../flow/operator/explain.ts';
import { byRelay } from './named-relays.ts';
import { counted } from './output.ts';
import { ofEach } from './some-of-each.ts';
import { clientOf, type StoryView } from './story-words.ts';
import { timedLines } from './timed-lines.ts';

/**
 * The ledger of one message, oldest first: the day once, then times (UTC). List and member are named where the line
 * would not say it otherwise. Of lines about members no more than `most` of each event.
 */
export function historyLines(story: Story, { width, most, namesRelays = false }: StoryView): string[] {
  const own = ofEach(
    story.history.filter((one) => one.member !== null),
    (one) => [one.posting, one.event, one.reason].join(' '),
    most,
  );
  const named = new Set(own.shown);
  const history = story.history.filter((one) => one.member === null || named.has(one));
  const end = own.more > 0 ? [`  and ${own.more} more lines about members`] : [];
  const days = [...new Set(history.map((one) => one.at.slice(0, 10)))];
  const severalLists = new Set(history.flatMap((one) => one.list ?? [])).size > 1;
  const [day, ...more] = days;
  if (day === undefined) return ['The ledger has nothing about it.'];
  const first = more.length === 0 ? `History, ${day} (UTC):` : `History (UTC), ${day}:`;
  const lines = history.map((one) => ({
    head: one.at.startsWith(day) ? first : `${one.at.slice(0, 10)}:`,
    at: one.at.slice(11, 19),
    event: one.event,
    words: wordsOf(story, one, { severalLists, namesRelays }),
  }));
  return [...timedLines(lines, width), ...end];
}

function wordsOf(
  { message }: Story,
  one: StoryEvent,
  { severalLists, namesRelays }: { readonly severalLists: boolean; readonly namesRelays: boolean },
): string {
  const { event, list, member, detail, reason, data } = one;
  if (event === 'received' && message) return `from ${clientOf(message)}, ${counted(message.size, 'octet')}`;
  const said = detail ?? reason ?? (typeof data?.reply === 'string' ? data.reply : '');
  const relay = namesRelays && typeof data?.relay === 'string' ? data.relay : null;
  const words = byRelay(said, relay);
  const names = [
    ...(severalLists && list ? [list] : []),
    ...(member && !words.includes(member) ? [member] : []),
  ];
  return [names.join(', '), words].filter(Boolean).join(': ');
}
