import type { Command } from 'commander';
import { type Story, type StoryCopy, type StoryPosting, storiesOf } from '../flow/explain.ts';
import type { Layer } from '../smime/layers.ts';
import { addressOf } from './arguments.ts';
import { cliFault } from './faults.ts';
import { table } from './output.ts';
import { onSite, type Session } from './site-command.ts';

interface ExplainOptions {
  readonly member?: string;
}

/** `explain`: what happened to a message, per member, in words. */
export function addExplain(program: Command): void {
  program
    .command('explain <message>')
    .description('what happened to a message and why: by its Message-ID or its id in the spool')
    .option('--member <address>', 'only what concerns this member')
    .action(onSite<[string, ExplainOptions]>(explain));
}

/** Prints the stories of a message; `queue show` does the same. Fault 'message-unknown'. */
export async function explain(
  { database, output }: Session,
  name: string,
  options: ExplainOptions,
): Promise<void> {
  const member = options.member === undefined ? null : addressOf(options.member);
  const stories = await storiesOf(database.q, name, member);
  if (stories.length === 0) throw cliFault('message-unknown', { id: name });
  output.result(
    stories,
    stories.flatMap((story, index) => [...(index > 0 ? ['', '---', ''] : []), ...wordsOf(story)]),
  );
}

function wordsOf(story: Story): string[] {
  return [
    ...headOf(story),
    ...story.postings.flatMap((posting) => ['', ...postingWords(posting)]),
    '',
    'History:',
    ...historyOf(story),
  ];
}

function headOf({ id, message }: Story): string[] {
  if (!message) return [`${id}: refused before it was taken; only the ledger knows it.`];
  const { messageId, from, subject, receivedAt, receivedFrom, protocol, size, envelopeFrom, to } = message;
  return [
    `${id}${messageId ? `  Message-ID ${messageId}` : ''}`,
    `From ${from ?? '(no single author)'}, Subject: ${subject ?? '(none)'}`,
    `Received ${receivedAt} from ${receivedFrom} (${protocol}), ${size} octets; envelope ${envelopeFrom || '<>'} to ${to.join(', ')}`,
    `State: ${message.state}${message.detail ? `: ${message.detail}` : ''}${message.nextTry ? `; next try ${message.nextTry}` : ''}`,
    ...(message.remedy ? [`What to do: ${message.remedy}`] : []),
  ];
}

function postingWords(posting: StoryPosting): string[] {
  const { id, list, kind, state, why, decidedAt, rule, ruleText } = posting;
  const counts = Object.entries(posting.copies).map(([name, count]) => `${count} ${name}`);
  return [
    `${list}${kind === 'post' ? '' : ` (${kind})`}, posting ${id}: ${state}${why ? `: ${why}` : ''}`,
    ...(decidedAt
      ? [
          `  decided ${decidedAt}: ${posting.decision ?? state}, rule ${rule ?? '-'}${ruleText ? ` (${ruleText})` : ''}`,
        ]
      : []),
    ...(posting.verdict
      ? [`  verdict: ${posting.verdict}${posting.author ? `, signed by ${posting.author}` : ''}`]
      : []),
    ...posting.reasons.map((reason) => `    ${reason.code}: ${reason.text}`),
    ...(posting.layers.length > 0
      ? ['  layers, from outside in:', ...posting.layers.flatMap(layerWords)]
      : []),
    ...(posting.remedy ? [`  What would change it: ${posting.remedy}`] : []),
    ...(counts.length > 0 ? [`  copies: ${counts.join(', ')}`] : []),
    ...memberTable(posting.members),
  ];
}

function layerWords(layer: Layer): string[] {
  if (layer.kind === 'encrypted') {
    const how = [layer.form, layer.cipher, layer.keyTransport].filter(Boolean).join(', ');
    const by = layer.opened
      ? `opened with the key of ${(layer.keySha256 ?? '').slice(0, 16)}`
      : `not opened (${layer.reason ?? 'unknown'})`;
    return [`    encrypted (${how}): ${by}`];
  }
  return layer.signers.map((signer) => {
    const states = [
      signer.intact ? 'intact' : 'NOT intact',
      signer.trusted ? 'trusted' : 'NOT trusted',
      ...signer.reasons,
    ];
    const who = `${signer.subject ?? 'an unknown signer'}${signer.addresses.length > 0 ? ` <${signer.addresses.join(', ')}>` : ''}`;
    return `    signed (${layer.form}, ${signer.algorithm}) by ${who}: ${states.join(', ')}`;
  });
}

function memberTable(members: readonly StoryCopy[]): string[] {
  if (members.length === 0) return [];
  const rows = members.map((one) => [
    one.member,
    one.state,
    one.finishedAt ?? one.nextTry ?? one.until ?? '-',
    String(one.attempts),
    one.certificate?.slice(0, 16) ?? '-',
    one.cipher ? `${one.cipher} ${one.keyTransport ?? ''}`.trim() : '-',
    [one.detail ?? one.reason ?? one.reply ?? '-', one.remedy].filter(Boolean).join('; what helps: '),
  ]);
  return table(
    ['MEMBER', 'STATE', 'WHEN', 'TRIES', 'CERTIFICATE', 'CIPHER', 'WHY OR THE RELAY'],
    rows,
    '',
  ).map((line) => `    ${line}`);
}

function historyOf({ history }: Story): string[] {
  return table(
    ['WHEN', 'WHAT', 'LIST', 'MEMBER', 'DETAIL'],
    history.map((one) => [
      one.at,
      one.event,
      one.list ?? '-',
      one.member ?? '-',
      one.detail ?? one.reason ?? '',
    ]),
    'nothing',
  ).map((line) => `  ${line}`);
}
