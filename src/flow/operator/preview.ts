import { parseEntity } from '../../mime/entity.ts';
import type { Reason } from '../../pki/reasons.ts';
import type { Findings, OpenReport } from '../../smime/open.ts';
import type { Database } from '../../store/database.ts';
import type { Brought, FindRecipients, MemberCertificate } from '../certificates/member-certificate.ts';
import { dropBeforeOpening, modeFor } from '../decision/post.ts';
import { sightingNow } from '../decision/replay.ts';
import { obstacleTo } from '../decision/unopened.ts';
import type { Keyring } from '../lists/keyring.ts';
import { type ListContext, rolesOn, type SiteDefaults } from '../lists/list-context.ts';
import { judgeOuterHeader, tryReadOuter } from '../pipeline/intake.ts';
import { authorize, type Decision, mayGoOnUnopened } from '../post/authorize.ts';
import { listSignatureFor } from '../post/list-signature.ts';
import { type OpenParts, openPosting } from '../post/open-posting.ts';
import type { Prepared } from '../post/prepare.ts';
import { receivedBits, sentenceFor, toJson, verdictRecord } from '../post/verdict-record.ts';
import type { FindIntermediates } from '../revocation/intermediates.ts';
import { membersNow } from './list-health.ts';
import { type PreviewHarvest, previewHarvest } from './preview-harvest.ts';

export interface PreviewParts extends Omit<OpenParts, 'q' | 'keyring'> {
  readonly database: Database;
  readonly keyring: Keyring;
  readonly findRecipients: FindRecipients;
  readonly intermediates: FindIntermediates;
  readonly defaults: SiteDefaults;
}

/** What opening says of it, without a word of what is inside; null if it would not be opened. */
export interface PreviewVerdict extends Pick<Findings, 'verdict' | 'author' | 'claimed' | 'encrypted'> {
  readonly reasons: readonly Reason[];
}

/** Beside what `authorize` decides: the session refuses it, it cannot be opened, or it goes on as it came. */
export type PreviewDecision = Decision['kind'] | 'refused-in-session' | 'unopened' | 'passed-on';

/** What would become of one member's copy. `waits`: nothing can be said while the list's authorities cannot be read. */
export type CopyFate =
  | 'sealed'
  | 'clear'
  | 'as-it-came'
  | 'held'
  | 'notified'
  | 'dropped'
  | 'suspended'
  | 'waits';

export interface PreviewCopy {
  readonly member: string;
  readonly fate: CopyFate;
  /** For `sealed`; with 'held', 'notified' and 'dropped' why not. */
  readonly certificate: MemberCertificate | null;
}

export interface Preview {
  readonly verdict: PreviewVerdict | null;
  readonly decision: PreviewDecision;
  /** The rule that decided, and where it is not authorized a code and words for it. */
  readonly rule: string;
  readonly reason: string | null;
  readonly detail: string | null;
  /** What the list would sign of the copies, and why not though it should. */
  readonly sign: Prepared['sign'];
  readonly signProblem: string | null;
  /** What its author's certificates would become, before the copies are made. */
  readonly harvest: PreviewHarvest;
  /** Members would share encrypted copies and see each other's certificates. */
  readonly grouped: boolean;
  /** Of a post that is held: what happens if it is released. Empty if there would be no copies. */
  readonly copies: readonly PreviewCopy[];
}

/**
 * What would become of a message if it came to the list now from `envelopeFrom` ('' is the null sender, null
 * takes the From address): the same
 * stages as `pipeline`, up to the copies. Nothing is stored, remembered, sent, harvested or fetched, as long as `parts`
 * fetch nothing. `message` has the form on the wire.
 */
export async function previewPost(
  parts: PreviewParts,
  list: ListContext,
  message: Buffer,
  envelopeFrom: string | null,
): Promise<Preview> {
  const { q } = parts.database;
  const at = parts.clock.now();
  const outer = tryReadOuter(message);
  const sender = envelopeFrom ?? outer?.from ?? list.address;
  if (outer === null || (outer.automatic === null && sender !== '')) {
    const refusal = await judgeOuterHeader(q, list, outer, message.length);
    if (refusal) return ended('refused-in-session', refusal.reason, refusal.reason, refusal.text);
  }
  const dropped = await dropBeforeOpening(parts, {
    list,
    outer,
    // No row has this id: every other message counts.
    message: {
      id: '',
      messageId: outer?.messageId ?? null,
      bodySha256: outer?.bodySha256 ?? '',
      envelope: { from: sender },
    },
    posting: { kind: 'post' },
    spooled: { receivedAt: at },
  });
  if (dropped) return ended('dropped', dropped, dropped, sentenceFor(dropped, null));
  const { entity, ...report } = await openPosting({ ...parts, q }, list, message, at);
  entity?.wipe();
  return (await previewUnopened(parts, list, report)) ?? previewOpened(parts, list, report, message, at);
}

/** The way of what cannot be opened; null if it was. */
async function previewUnopened(
  parts: PreviewParts,
  list: ListContext,
  report: Findings,
): Promise<Preview | null> {
  const obstacle = await obstacleTo(parts.keyring, list, report);
  if (report.verdict !== 'unopened' && report.verdict !== 'malformed' && obstacle === null) return null;
  const reason = obstacle?.reason ?? report.reasons[0] ?? report.verdict;
  const detail = `${sentenceFor(reason, report)}${obstacle ? `: ${obstacle.words}` : ''}`;
  const verdict = verdictOf(report);
  const roles = await rolesOn(parts.database.q, list, report.claimed ?? '');
  const goesOn =
    report.verdict === 'unopened' && obstacle === null && mayGoOnUnopened(list, { report, roles });
  if (!goesOn) return { ...ended('unopened', reason, reason, detail), verdict };
  const copies = await copiesOf(parts, list, 'intact', 0);
  return { ...ended('passed-on', 'unopened.action', reason, detail), verdict, copies };
}

async function previewOpened(
  parts: PreviewParts,
  list: ListContext,
  report: Findings,
  message: Buffer,
  at: number,
): Promise<Preview> {
  const { q } = parts.database;
  const { harvest, brought } = await previewHarvest({ ...parts, q }, list, report, at);
  const roles = await rolesOn(q, list, report.claimed ?? '');
  const replay = await sightingNow(q, list, report);
  const decision = authorize(list, { report, roles, replay, receivedAt: at, size: message.length });
  const reason = decision.kind === 'authorized' ? null : decision.reason;
  const detail = reason && sentenceFor(reason, report);
  const base = {
    ...ended(decision.kind, decision.rule, reason, detail),
    verdict: verdictOf(report),
    harvest,
  };
  if (decision.kind !== 'authorized' && decision.kind !== 'held') return base;
  const mode = modeFor(list, report);
  const signature = await listSignatureFor(parts.keyring, list, {
    verdict: report.verdict,
    mode,
    message: parseEntity(message),
  });
  const record = verdictRecord(report, { decision: decision.kind, rule: decision.rule, receivedAt: at });
  const copies = await copiesOf(parts, list, mode, receivedBits({ verdict: toJson(record) }), brought);
  const grouped =
    list.policy['send.envelope'] === 'grouped' && copies.filter((one) => one.fate === 'sealed').length > 1;
  return { ...base, sign: signature.sign, signProblem: signature.problem, grouped, copies };
}

async function copiesOf(
  parts: PreviewParts,
  list: ListContext,
  mode: Prepared['mode'],
  bits: number,
  brought?: Brought,
): Promise<PreviewCopy[]> {
  const seals = mode === 'sealed' || mode === 'when-possible';
  const waits = seals && (await parts.keyring.trustProblemOf(list)) !== null;
  const members = await membersNow({ ...parts, q: parts.database.q }, list, bits, brought);
  return members.map(({ member, found }) => {
    const copy = (fate: CopyFate, certificate: MemberCertificate | null = null) => ({
      member: member.address,
      fate,
      certificate,
    });
    if (member.state === 'suspended') return copy('suspended');
    if (mode === 'intact') return copy('as-it-came');
    if (mode === 'clear') return copy('clear');
    if (waits) return copy('waits');
    if (found.usable) return copy('sealed', found);
    return mode === 'when-possible'
      ? copy('clear')
      : copy(missingFates[list.policy['missing.action']], found);
  });
}

const missingFates = { hold: 'held', notify: 'notified', drop: 'dropped' } as const;

function verdictOf({
  verdict,
  author,
  claimed,
  encrypted,
  reasons,
}: Omit<OpenReport, 'entity'>): PreviewVerdict {
  return { verdict, author, claimed, encrypted, reasons };
}

const ended = (
  decision: PreviewDecision,
  rule: string,
  reason: string | null,
  detail: string | null,
): Preview => ({
  verdict: null,
  decision,
  rule,
  reason,
  detail,
  sign: 'none',
  signProblem: null,
  harvest: { filings: [], none: null },
  grouped: false,
  copies: [],
});
