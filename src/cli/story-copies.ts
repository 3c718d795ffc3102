import type { Story, StoryCopy, StoryPosting } from '../flow/operator/explain.ts';
import { shortSha, table } from './output.ts';
import { ofEach } from './some-of-each.ts';
import type { Say, StoryView, Times } from './story-words.ts';

/**
 * How each copy fared: a table, why copies are not delivered or not as they should be, and what would help. Of each state
 * no more than `most` are named.
 */
export function copyLines(
  { id }: Pick<Story, 'id'>,
  posting: StoryPosting,
  d: StoryView & { readonly times: Times; readonly say: Say },
): string[] {
  const { members } = posting;
  const { shown, more } = ofEach(members, ({ state }) => state, d.most);
  return [
    ...copyTable(posting, shown, d),
    ...(more > 0
      ? ['', ...d.say(`and ${more} more: \`reseal explain ${id} --all\` names all, --member one.`, '  ')]
      : []),
    ...copyReasons(members, new Set(shown), d),
  ];
}

function copyTable(
  posting: StoryPosting,
  copies: readonly StoryCopy[],
  { times, namesRelays = false }: Pick<StoryView, 'namesRelays'> & { readonly times: Times },
): string[] {
  const isPost = posting.decision === 'authorized' || posting.decision === 'held';
  const rows = copies.map((one) => [
    one.member,
    one.state,
    one.finishedAt ? times.short(one.finishedAt) : '-',
    one.cipher ?? (isPost && one.state === 'delivered' ? 'in clear' : '-'),
    one.keyTransport ?? '-',
    one.certificate ? shortSha(one.certificate) : '-',
    String(one.attempts),
    ...(namesRelays ? [one.relay ?? '-'] : []),
  ]);
  if (rows.length === 0) return [];
  const head = [
    'MEMBER',
    'STATE',
    'AT',
    'CIPHER',
    'KEY',
    'CERTIFICATE',
    'TRIES',
    ...(namesRelays ? ['RELAY'] : []),
  ];
  return table(head, rows, '').map((line) => `  ${line}`);
}

/** One entry for each that is shown; then what would help, once for all whom it would help. */
function copyReasons(
  copies: readonly StoryCopy[],
  shown: ReadonlySet<StoryCopy>,
  { times, say }: { readonly times: Times; readonly say: Say },
): string[] {
  const lines: string[] = [];
  const helped = new Map<string, string[]>();
  for (const one of copies) {
    if (one.state === 'delivered' && one.reason === null) continue;
    const { member, state, detail, reason, reply, nextTry, until, remedy } = one;
    const why = detail ?? reason ?? reply;
    const when = [
      ...(nextTry && state === 'deferred' ? [`next try ${times.at(nextTry)}`] : []),
      ...(until && state !== 'pending' ? [`given up ${times.onDay(until)}`] : []),
    ].join(', ');
    const end = when ? `${why ? '; ' : ': '}${when}` : '';
    if (shown.has(one) && (why || when))
      lines.push(...say(`${member} ${state}${why ? `: ${why}` : ''}${end}`, '  ', '    '));
    if (remedy) helped.set(remedy, [...(helped.get(remedy) ?? []), member]);
  }
  const told = new Set([...shown].map(({ member }) => member));
  for (const [remedy, members] of helped) {
    if (!members.some((member) => told.has(member))) continue;
    const others = members.length > 3 ? ` and ${members.length - 3} others` : '';
    const who = `${members.slice(0, 3).join(', ')}${others}`;
    lines.push(...say(`What would change it for ${who}: ${remedy}.`, '  ', '    '));
  }
  return lines.length > 0 ? ['', ...lines] : [];
}
