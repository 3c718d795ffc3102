import type { Command } from 'commander';
import { openKnownRevocation } from '../app/open-revocation.ts';
import { contextOf } from '../flow/list-context.ts';
import { type CopyFate, type Preview, type PreviewCopy, previewPost } from '../flow/preview.ts';
import { type Reason, sentenceOf } from '../pki/reasons.ts';
import { openMessage } from '../smime/open.ts';
import { addressOf, listNamed } from './arguments.ts';
import { readMessage } from './inspect-files.ts';
import { findWithoutChange } from './list-health.ts';
import { counted, folded, shortSha, table } from './output.ts';
import { onSite, type Session } from './site-command.ts';

interface PreviewOptions {
  readonly list: string;
  readonly fromEnvelope?: string;
}

/** `preview`: a dry run of one post. Exit code 0 whatever would become of it. */
export function addPreview(program: Command): void {
  program
    .command('preview <file>')
    .description('what would become of a post, and of the copy of each member; - is standard input')
    .requiredOption('--list <list>', 'the list that it would come to')
    .option('--from-envelope <address>', 'the envelope sender, <> for the null sender; else the From address')
    .addHelpText(
      'after',
      `
Sends nothing, stores nothing and fetches nothing; what is inside the message is not shown.
Example: reseal preview post.eml --list team@lists.example`,
    )
    .action(onSite<[string, PreviewOptions]>(preview));
}

async function preview(session: Session, file: string, options: PreviewOptions): Promise<void> {
  const { database, site, output } = session;
  const list = contextOf(await listNamed(database.q, options.list), site.defaults);
  const message = await readMessage(file);
  const parts = {
    ...session,
    workers: { open: async (request: Parameters<typeof openMessage>[0]) => openMessage(request) },
    revocation: openKnownRevocation(session),
    openedSize: site['open.size'],
    findRecipients: findWithoutChange(session),
  };
  const found = await previewPost(parts, list, message, senderOf(options.fromEnvelope));
  const value = { list: list.address, ...found, copies: found.copies.map(copyValue) };
  output.result(value, output.json ? [] : previewLines(list.address, found, output.width));
}

function senderOf(text: string | undefined): string | null {
  if (text === undefined) return null;
  const bare = text.trim().replace(/^<(.*)>$/, '$1');
  return bare === '' ? '' : addressOf(bare);
}

function copyValue({ member, fate, certificate }: PreviewCopy) {
  const sealed = certificate?.usable ? certificate : null;
  const missing = certificate && !certificate.usable ? certificate : null;
  return {
    member,
    fate,
    certificate: sealed?.sha256 ?? null,
    cipher: sealed?.choice.cipher ?? null,
    keyTransport: sealed?.choice.keyTransport ?? null,
    weaker: sealed?.choice.weaker ?? false,
    reason: missing?.reason ?? null,
    detail: missing?.detail ?? null,
  };
}

const decisions: Readonly<Record<Preview['decision'], string>> = {
  authorized: 'would be distributed',
  held: 'would be held for a moderator',
  refused: 'would be refused',
  dropped: 'would be dropped',
  'refused-in-session': 'would be refused while it is handed in',
  unopened: 'could not be opened, and would not be distributed',
  'passed-on': 'could not be opened, and would go to the members as it came',
};

const signs: Readonly<Record<Preview['sign'], string | null>> = {
  none: null,
  around: 'The list would sign it, around the signature of the author.',
  'as-list': 'The list would sign it with its own From.',
};

function previewLines(list: string, found: Preview, width: number): string[] {
  const { verdict, decision, rule, detail, sign, signProblem, copies } = found;
  const say = (first: string, text: string | null) => (text === null ? [] : folded(text, { width, first }));
  return [
    ...say('Verdict   ', verdict && verdictWords(verdict)),
    ...say('Decision  ', `${list}: it ${decisions[decision]}${detail ? `: ${detail}` : ''}.`),
    ...say('Rule      ', rule),
    ...say('Signing   ', signProblem ? `The list would not sign it: ${signProblem}.` : signs[sign]),
    // What is filed comes before the copies are made, so the author's own line may be better than told.
    ...(verdict?.author && copies.length > 0
      ? say(
          'Note      ',
          'Certificates that came with its signature would be judged first; this is as known now.',
        )
      : []),
    ...(copies.length > 0 ? ['', ...copyLines(copies, decision)] : []),
  ];
}

function verdictWords({ verdict, author, encrypted, reasons }: NonNullable<Preview['verdict']>): string {
  const by = author ? ` by ${author}` : '';
  const why = reasons.map((reason: Reason) => sentenceOf(reason, {})).join('; ');
  return `${verdict}${by}, ${encrypted ? 'came encrypted' : 'came in clear'}${why ? ` (${why})` : ''}`;
}

const fates: Readonly<Record<CopyFate, string>> = {
  sealed: 'encrypted',
  clear: 'in clear',
  'as-it-came': 'as it came',
  held: 'held',
  notified: 'dropped, told',
  dropped: 'dropped',
  suspended: 'none: suspended',
  waits: 'waits',
};

function copyLines(copies: readonly PreviewCopy[], decision: Preview['decision']): string[] {
  const values = copies.map(copyValue);
  const rows = values.map((one) => [
    one.member,
    fates[one.fate],
    one.cipher ? `${one.cipher}${one.weaker ? ' (weaker than it came)' : ''}` : '-',
    one.keyTransport ?? '-',
    one.certificate ? shortSha(one.certificate) : '-',
    one.detail ?? (one.fate === 'waits' ? "the list's authorities cannot be read" : '-'),
  ]);
  const head = ['MEMBER', 'COPY', 'CIPHER', 'KEY TRANSPORT', 'SHA-256', 'WHY'];
  const members = counted(copies.length, 'member');
  return [`${members}${decision === 'held' ? ', if it is released' : ''}:`, ...table(head, rows, '')];
}
