import { purposeWords } from '../flow/certificates/purposes.ts';
import type { Story, StoryMessage, StoryPosting, StoryRefusal } from '../flow/operator/explain.ts';
import { cipherWords, foundWords, namesOf, openedWords } from '../flow/post/crypto-lines.ts';
import { sentenceOf } from '../pki/reasons.ts';
import type { EncryptedLayer, Layer, SignerVerdict } from '../smime/layers.ts';
import type { Purpose } from '../store/schema.ts';
import { counted, folded, shortSha } from './output.ts';
import { copyLines } from './story-copies.ts';
import { historyLines } from './story-history.ts';
import { clientOf, type Say, type StoryView, type Times, timesOn } from './story-words.ts';

/**
 * A story for people: how the message came, what each list found and decided, how each copy
 * fared, what would change it, and the ledger. Times are UTC and without the day where it is that of the arrival. Of
 * members of one fate no more than `view.most` are named.
 */
export function storyLines(story: Story, view: StoryView): string[] {
  const { width } = view;
  const begin = story.message?.receivedAt ?? story.history[0]?.at ?? '';
  const times = timesOn(begin.slice(0, 10));
  const say: Say = (text, first = '', rest) => folded(text, { width, first, ...(rest ? { rest } : {}) });
  return [
    ...(story.message
      ? headOf(story.id, story.message, say)
      : [`Message ${story.id}, refused before it was taken: only the ledger knows it.`]),
    ...story.refusals.flatMap((refusal) => refusalWords(refusal, times, say)),
    ...(story.message ? stateOf(story.message, times, say) : []),
    ...story.postings.flatMap((posting) => ['', ...postingWords(story, posting, { ...view, times, say })]),
    '',
    ...historyLines(story, view),
  ];
}

function headOf(id: string, message: StoryMessage, say: Say): string[] {
  const { messageId, from, subject, receivedAt, protocol, size, envelopeFrom, to } = message;
  const [day, time] = [receivedAt.slice(0, 10), receivedAt.slice(11, 19)];
  return [
    `Message ${id}`,
    ...(messageId ? say(messageId, 'Message-ID  ') : []),
    ...say(from ?? '(not one author)', 'From        '),
    ...say(subject ?? '(none)', 'Subject     '),
    '',
    ...say(
      `Received on ${day} at ${time} UTC from ${clientOf(message)} (${protocol}): ${counted(size, 'octet')}, from ${envelopeFrom || '<>'} to ${to.join(', ')}.`,
    ),
  ];
}

function refusalWords(refusal: StoryRefusal, times: Times, say: Say): string[] {
  const { at, list, receivedFrom, from, detail, reason, remedy } = refusal;
  const words = detail ?? reason ?? '';
  const whence = [from && `From ${from}`, receivedFrom && `by ${receivedFrom}`]
    .filter(Boolean)
    .join(', sent ');
  return [
    ...say(
      `${list ?? 'The list'} refused it ${times.at(at)}${words.startsWith('refused ') ? words.slice('refused'.length) : `: ${words}`}${whence ? ` (${whence})` : ''}.`,
    ),
    ...(remedy ? say(`What would change it: ${remedy}.`) : []),
  ];
}

const stateWords: Readonly<Record<string, string>> = {
  queued: 'It waits to be opened',
  unopened: 'It could not be opened',
  quarantine: 'It is in quarantine',
  parked: 'It is put aside',
};

function stateOf({ state, detail, reason, nextTry, remedy }: StoryMessage, times: Times, say: Say): string[] {
  const words = stateWords[state];
  if (words === undefined) return [];
  // What was just taken is due at once: nothing to tell.
  const next = nextTry && (state !== 'queued' || reason) ? `; next try ${times.at(nextTry)}` : '';
  const why = detail ?? reason;
  return [
    ...say(`${words}${why ? `: ${why}` : ''}${next}.`),
    ...(remedy ? say(`What to do: ${remedy}.`) : []),
  ];
}

const kinds: Readonly<Record<string, string>> = {
  sendcert: 'mail to -sendcert',
  request: 'mail to -request',
  owner: 'mail to -owner',
  editor: 'mail to -editor',
  bounces: 'mail to -bounces',
  service: 'mail to the service address',
  local: 'written by reseal itself',
};

function postingWords(
  story: Story,
  posting: StoryPosting,
  view: StoryView & { readonly times: Times; readonly say: Say },
): string[] {
  const { times, say } = view;
  const { id, list, kind, copies, remedy } = posting;
  const all = Object.values(copies).reduce((sum, count) => sum + count, 0);
  const counts = Object.entries(copies).map(([state, count]) =>
    count === all ? state : `${count} ${state}`,
  );
  const indented = (text: string): string[] => say(text, '  ');
  return [
    `${list} (${kind === 'post' ? '' : `${kinds[kind] ?? kind}; `}posting ${id})`,
    ...posting.layers.flatMap((layer, index) => layerWords(layer, index > 0).flatMap(indented)),
    ...(posting.verdict ? indented(`${verdictWords(posting)}.`) : []),
    ...harvestWords(story, posting).flatMap(indented),
    ...earlierWords(story, posting, times).flatMap(indented),
    ...indented(decisionWords(story, posting, times)),
    ...laterWords(story, posting, times).flatMap(indented),
    ...(remedy ? indented(`What would change it: ${remedy}.`) : []),
    ...(posting.state === 'refused' && posting.retryUntil
      ? indented(`For that it is kept until ${posting.retryUntil.slice(0, 10)}.`)
      : []),
    ...(all > 0
      ? [
          '',
          ...indented(
            `${counted(all, 'copy', 'copies')}${all > 1 && counts.length === 1 ? ', all' : ':'} ${counts.join(', ')}.`,
          ),
        ]
      : []),
    ...copyLines(story, posting, view),
  ];
}

function layerWords(layer: Layer, isInside: boolean): string[] {
  if (layer.kind === 'encrypted') return [encryptedWords(layer, isInside)];
  if (layer.kind === 'compressed') {
    const end = layer.opened
      ? ''
      : `, and could not be unfolded: ${sentenceOf(layer.reason ?? 'unsupported')}`;
    return [`${isInside ? 'Inside it was' : 'It was'} compressed${end}.`];
  }
  const words = layer.signers.map((signer) => signerWords(signer, isInside));
  return [...words, ...layer.reasons.map((reason) => `About its signature: ${sentenceOf(reason)}.`)];
}

function encryptedWords(layer: EncryptedLayer, isInside: boolean): string {
  return `${isInside ? 'Inside it was encrypted again' : 'It was encrypted'} (${cipherWords(layer)}) and ${openedWords(layer)}.`;
}

function signerWords(signer: SignerVerdict, isInside: boolean): string {
  return `${isInside ? 'Inside it is' : 'It is'} signed by ${namesOf(signer)}: ${foundWords(signer)}.`;
}

function verdictWords({ verdict, author, reasons: found, layers }: StoryPosting): string {
  if (author) return `It counts as signed by ${author}`;
  const inClear = layers.length === 0 ? 'It came in clear and ' : 'It ';
  const why = found.map((one) => one.text).join('; ');
  return `${inClear}counts as ${verdict}${why ? `: ${why}` : ''}`;
}

/** Certificates that were learnt from this mail, or not and why; one for both purposes is named once. */
function harvestWords(story: Story, { list }: StoryPosting): string[] {
  const found = new Map<string, { readonly uses: Purpose[]; readonly begin: string; readonly of: string }>();
  const refused: string[] = [];
  for (const { event, list: where, member, detail, data } of story.history) {
    // Without a certificate it is the answer of -sendcert, which the decision tells.
    if (where !== list || typeof data?.sha256 !== 'string') continue;
    const whose = member ?? 'the sender';
    if (event === 'certificate-not-taken') refused.push(`Not taken for ${whose}: ${detail}.`);
    if (event !== 'harvested' && event !== 'certificate-pending') continue;
    const { sha256, purpose, subject, issuer } = data;
    const begin = `${event === 'harvested' ? 'Learnt' : 'Waits for approval'} for ${whose}`;
    const of = `certificate of ${subject}, issued by ${issuer} (${shortSha(sha256)})`;
    const one = found.get(`${begin} ${sha256}`) ?? { uses: [], begin, of };
    found.set(`${begin} ${sha256}`, one);
    one.uses.push(purpose === 'sign' ? 'sign' : 'enc');
  }
  const learnt = [...found.values()].map(
    ({ uses, begin, of }) => `${begin}: ${purposeWords(...uses)} ${of}.`,
  );
  return [...learnt, ...refused];
}

const decisions: Readonly<Record<string, string>> = {
  authorized: 'Accepted',
  held: 'Held for a moderator',
  refused: 'Refused',
  dropped: 'Dropped',
  unopened: 'Given up, as it could not be opened,',
  forwarded: 'Passed on',
  command: 'Answered as a command',
};

function decisionWords(story: Story, posting: StoryPosting, times: Times): string {
  const { decision, decidedAt, rule, ruleText, why, state } = posting;
  if (!decidedAt) return state === 'new' ? 'Not decided yet.' : `Now ${state}${why ? `: ${why}` : ''}.`;
  const verb = decision === 'unopened' && state !== 'refused' ? 'Passed on as it came' : decision;
  const when = `${decisions[verb ?? ''] ?? verb ?? state} ${times.at(decidedAt)}`;
  if (decision === 'authorized') return `${when} by the rule ${rule ?? '-'}: ${ruleText ?? ''}`;
  const line = story.history[indexOfDecision(story, posting)];
  // A moderator's answer takes the place of the reason in the row; the ledger keeps both.
  return `${when}: ${line?.detail ?? why ?? ''}${rule && rule !== posting.kind ? ` (rule ${rule})` : ''}.`;
}

const ofCryptography: ReadonlySet<string> = new Set([
  'decryption',
  'verification',
  'signature',
  'encryption',
]);

/** Where the ledger tells of the decision that stands; -1 if it has forgotten it. */
function indexOfDecision({ history }: Story, { id, decidedAt, decision }: StoryPosting): number {
  const lines = history.map((one) => one.posting === id && one.at === decidedAt && one.detail !== null);
  const named = history.findLastIndex((one, index) => lines[index] === true && one.event === decision);
  return named >= 0
    ? named
    : history.findIndex((one, index) => lines[index] === true && !ofCryptography.has(one.event));
}

/** The decision before the one that stands, of a posting that was judged again. */
function earlierWords(story: Story, posting: StoryPosting, times: Times): string[] {
  const earlier = story.history
    .slice(0, Math.max(indexOfDecision(story, posting), 0))
    .filter(
      (one) =>
        one.posting === posting.id &&
        one.member === null &&
        (one.event === 'held' || one.event === 'refused'),
    );
  return earlier.map(({ at, event, detail }) => `At first ${event} ${times.at(at)}: ${detail ?? ''}.`);
}

/** What people, or the end of a time, did with the posting after it was decided. */
function laterWords(story: Story, posting: StoryPosting, times: Times): string[] {
  const later = story.history
    .slice(indexOfDecision(story, posting) + 1)
    .filter(
      (one) =>
        one.posting === posting.id &&
        one.member === null &&
        ['released', 'refused', 'dropped', 'expired'].includes(one.event) &&
        one.event !== posting.decision,
    );
  return later.map(({ at, event, detail }) => {
    const words = detail?.startsWith(event) ? detail : `${event}${detail ? ` (${detail})` : ''}`;
    return `${words.charAt(0).toUpperCase()}${words.slice(1)} ${times.at(at)}.`;
  });
}
