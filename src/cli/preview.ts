import type { Command } from 'commander';
import { openLookUps } from '../app/open-look-ups.ts';
import { openKnownRevocation } from '../app/open-revocation.ts';
import { purposeWords } from '../flow/certificates/purposes.ts';
import { contextOf } from '../flow/lists/list-context.ts';
import { type CopyFate, type Preview, type PreviewCopy, previewPost } from '../flow/operator/preview.ts';
import type { PreviewFiling, PreviewHarvest } from '../flow/operator/preview-harvest.ts';
import { type Reason, sentenceOf } from '../pki/reasons.ts';
import { openMessage } from '../smime/open.ts';
import type { Purpose } from '../store/schema.ts';
import { addressOf, listNamed } from './arguments.ts';
import { readMessage } from './inspect-files.ts';
import { findWithoutChange } from './list-health.ts';
import { counted, folded, instant, shortSha, table } from './output.ts';
import { onSite, type Session } from './site-command.ts';
import { mostOfEach, ofEach } from './some-of-each.ts';

interface PreviewOptions {
  readonly list: string;
  readonly fromEnvelope?: string;
  readonly all?: true;
}

/** `preview`: a dry run of one post. Exit code 0 whatever would become of it. */
export function addPreview(program: Command): void {
  program
    .command('preview <file>')
    .description('what would become of a post, and of the copy of each member; - is standard input')
    .requiredOption('--list <list>', 'the list that it would come to')
    .option('--from-envelope <address>', 'the envelope sender, <> for the null sender; else the From address')
    .option('--all', `every member, where more than ${mostOfEach} fare alike`)
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
  const revocation = openKnownRevocation(session);
  const parts = {
    ...session,
    workers: { open: async (request: Parameters<typeof openMessage>[0]) => openMessage(request) },
    revocation,
    intermediates: openLookUps(session, revocation).intermediates,
    openedSize: site['open.size'],
    defaults: site.defaults,
    findRecipients: findWithoutChange(session),
  };
  const found = await previewPost(parts, list, message, senderOf(options.fromEnvelope));
  const value = {
    list: list.address,
    ...found,
    harvest: { ...found.harvest, filings: found.harvest.filings.map(filingValue) },
    copies: found.copies.map(copyValue),
  };
  const most = options.all === true ? Number.POSITIVE_INFINITY : mostOfEach;
  output.result(value, output.json ? [] : previewLines(list.address, found, { width: output.width, most }));
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

const shared =
  "Members whose key is used in the same way would share one, and see each other's certificates in it (send.envelope: grouped).";

function previewLines(
  list: string,
  found: Preview,
  { width, most }: { readonly width: number; readonly most: number },
): string[] {
  const { verdict, decision, rule, detail, sign, signProblem, harvest, grouped, copies } = found;
  const say = (first: string, text: string | null) => (text === null ? [] : folded(text, { width, first }));
  return [
    ...say('Verdict   ', verdict && verdictWords(verdict)),
    ...say('Decision  ', `${list}: it ${decisions[decision]}${detail ? `: ${detail}` : ''}.`),
    ...say('Rule      ', rule),
    ...say('Signing   ', signProblem ? `The list would not sign it: ${signProblem}.` : signs[sign]),
    ...say('Copies    ', grouped ? shared : null),
    ...harvestLines(harvest, width),
    ...(copies.length > 0 ? ['', ...copyLines(copies, decision, most)] : []),
  ];
}

function filingValue({ certificate, ...filing }: PreviewFiling) {
  return { ...filing, certificate: { ...certificate, notAfter: instant(certificate.notAfter) } };
}

const actions: Readonly<Record<PreviewFiling['action'], string>> = {
  use: 'would come in use',
  pending: 'would wait for a decision',
  skip: 'would not be taken',
};

/** What its certificates would become; one line for both purposes of one. */
function harvestLines({ filings, none }: PreviewHarvest, width: number): string[] {
  const first = 'Harvest   ';
  if (none !== null) return folded(`Nothing: ${none}.`, { width, first });
  const told = new Map<string, { readonly one: PreviewFiling; readonly uses: Purpose[] }>();
  for (const one of filings) {
    const key = [one.address, one.certificate.sha256, one.action, one.reason].join(' ');
    const { uses } = told.get(key) ?? { uses: [] };
    told.set(key, { one, uses: [...uses, one.purpose] });
  }
  return [...told.values()].flatMap(({ one, uses }) => {
    const { subject, issuer, sha256 } = one.certificate;
    const what = `${purposeWords(...uses)} certificate of ${subject} (issued by ${issuer}, ${shortSha(sha256)})`;
    const fate = one.reason === 'already-known' ? one.why : `${actions[one.action]}: ${one.why}`;
    return folded(`${one.address}: ${what} ${fate}.`, { width, first });
  });
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

function copyLines(copies: readonly PreviewCopy[], decision: Preview['decision'], most: number): string[] {
  const counts = new Map<CopyFate, number>();
  for (const { fate } of copies) counts.set(fate, (counts.get(fate) ?? 0) + 1);
  const { shown, more } = ofEach(copies, ({ fate }) => fate, most);
  const values = shown.map(copyValue);
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
  const all = [...counts].map(([fate, count]) => `${count} ${fates[fate]}`).join(', ');
  return [
    `${members}${decision === 'held' ? ', if it is released' : ''}: ${all}`,
    ...table(head, rows, ''),
    ...(more > 0 ? [`and ${more} more: --all names all`] : []),
  ];
}
