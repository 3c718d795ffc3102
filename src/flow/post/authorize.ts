import { type OpeningCipher, openingCiphers, strengthOf } from '../../pki/algorithms.ts';
import type { Reason } from '../../pki/reasons.ts';
import { type Roles, whoMayPost } from '../../policy/scenario.ts';
import type { Findings, OpenReport } from '../../smime/open.ts';
import type { Misfit } from '../../smtp/outcome.ts';
import type { ListContext } from '../lists/list-context.ts';

/** Why a post was decided as it was; with the engine's reasons, the closed set that ledger and `explain` use. */
export type DecisionReason =
  | Reason
  | Misfit
  | 'may-not-post'
  | 'list-closed'
  | 'not-encrypted'
  | 'not-signed'
  | 'encrypted-unsigned'
  | 'replay'
  | 'replay-elsewhere'
  | 'not-for-this-list'
  | 'from-not-one'
  | 'too-big'
  | 'undated';

/** Why a post is dropped before it is opened. */
export type DropReason = 'malformed' | 'loop' | 'null-sender' | 'automatic' | 'duplicate';

/** What the list does with a post. Recorded once (RULES 18). */
export type Decision =
  | { readonly kind: 'authorized'; readonly rule: string; readonly author: string | null }
  | {
      readonly kind: 'held' | 'refused' | 'dropped';
      readonly rule: string;
      readonly reason: DecisionReason;
      /** What is to be said beside the sentence of the reason. */
      readonly detail?: string;
    };

export interface PostFacts {
  readonly report: Findings;
  /** Roles of the From address. */
  readonly roles: Roles;
  /** What the replay memory says of the signature (RULES 4); null for an unsigned post. */
  readonly replay: 'new' | 'seen-here' | 'seen-elsewhere' | null;
  /** When the spool received the message, ms: the instant of every judgement. */
  readonly receivedAt: number;
  /** Octets as received. */
  readonly size: number;
}

const hour = 3_600_000;

/**
 * Whether a post that was opened may be distributed (RULES 1 to 5). Pure; each `rule` names what matched.
 * `report.verdict` is neither `unopened` nor `malformed`: those never come here.
 */
export function authorize(list: ListContext, facts: PostFacts): Decision {
  const { report } = facts;
  const { policy } = list;
  if (!list.open) return refused('list-open', 'list-closed');
  if (report.claimed === null) return refused('one-author', 'from-not-one');
  // Asked in the session too, but not of a message to several addresses.
  const most = policy['accept.max-size'];
  if (most !== null && facts.size > most) return refused('accept.max-size', 'too-big');

  // Who From names comes first: a stranger's post need not be judged further, and From is checked below.
  const may = whoMayPost(policy, { from: report.claimed, roles: provenRoles(list, facts) });
  if (may.answer === 'refuse') return refused(may.rule, 'may-not-post');

  if (policy['accept.encryption'] === 'required' && !report.encrypted)
    return refused('accept.encryption', 'not-encrypted');
  const signature = judgeSignature(list, facts);
  if (signature !== null) return signature;
  // RULES 5: opened, but whoever saw it on the way may have read it; a moderator decides, the owner is told.
  if (weakestCipher(report) < list.floor.cipherBits) return held('minimum.cipher', 'weak-cipher');
  if (may.answer === 'hold') return held(may.rule, 'may-not-post');
  return { kind: 'authorized', rule: may.rule, author: report.author };
}

/**
 * RULES 3: a moderator's or owner's right needs a signature. Without one his From counts as a member's, where members
 * may post unsigned; it never opens a list that only moderators write to.
 */
function provenRoles(list: ListContext, { report, roles }: Pick<PostFacts, 'report' | 'roles'>): Roles {
  if (report.verdict === 'signed') return roles;
  const asMember = list.policy['accept.from'] === 'members' && (roles.owner || roles.moderator);
  return { ...roles, member: roles.member || asMember, owner: false, moderator: false };
}

/**
 * Whether a post that cannot be opened may go to the members as it came (`unopened.action`): nothing is proven of it, so
 * where an unsigned post of this From would go. Not one that does not decrypt, nor one that did and could not be read
 * further inside: what became of a changed ciphertext would tell each member whether the padding is right (RULES 6).
 */
export function mayGoOnUnopened(list: ListContext, facts: Pick<PostFacts, 'report' | 'roles'>): boolean {
  const { report } = facts;
  const { policy } = list;
  if (!list.open || report.claimed === null || report.reasons.includes('decrypt-failed')) return false;
  if (report.layers.some((layer) => layer.kind === 'encrypted' && layer.opened)) return false;
  if (policy['unopened.action'] !== 'members' || policy['accept.signature'] === 'required') return false;
  return whoMayPost(policy, { from: report.claimed, roles: provenRoles(list, facts) }).answer === 'allow';
}

function judgeSignature(list: ListContext, facts: PostFacts): Decision | null {
  const { report } = facts;
  const { policy } = list;
  if (report.verdict === 'signed') return judgeFreshness(list, facts);
  const reason: DecisionReason = report.reasons[0] ?? 'not-signed';
  if (policy['accept.signature'] === 'required') return refused('accept.signature', reason);
  // RFC 9788 4.4: readers would show one author or the other, so no moderator is to choose.
  if (report.reasons.includes('header-mismatch')) return refused('protected-from', 'header-mismatch');
  // RULES 1: a captured ciphertext posted again bare, or in somebody's own outer signature, must not be opened for all.
  if (report.encrypted) {
    const rule = 'accept.encrypted-unsigned';
    const action = policy[rule];
    if (action === 'refuse') return refused(rule, 'encrypted-unsigned');
    if (action === 'moderate' || report.verdict !== 'unsigned') return held(rule, 'encrypted-unsigned');
    return null;
  }
  if (report.verdict === 'unsigned') return null;
  if (report.verdict === 'untrusted' && report.reasons.some(isWeak) && policy['weak.action'] === 'refuse')
    return refused('weak.action', 'weak');
  // An unknown authority proves nothing for or against; a broken signature or another's name on it does.
  return report.verdict === 'untrusted' ? null : held(`verdict-${report.verdict}`, reason);
}

function isWeak(reason: Reason): boolean {
  return reason === 'weak' || reason === 'weak-digest' || reason === 'weak-key';
}

/** RULES 4: no replay, not stale, not from the future, not meant for another list. */
function judgeFreshness(list: ListContext, facts: PostFacts): Decision | null {
  const { report, replay, receivedAt } = facts;
  const time = signedAt(report);
  if (replay === 'seen-here') return { kind: 'dropped', rule: 'replay', reason: 'replay' };
  if (replay === 'seen-elsewhere') return held('replay', 'replay-elsewhere');
  // Without a date it could be sent again when the replay memory has forgotten it.
  if (time === null) return held('accept.max-age', 'undated');
  if (time < receivedAt - list.policy['accept.max-age']) return held('accept.max-age', 'stale');
  if (time > receivedAt + hour) return held('accept.max-age', 'future');
  const named = report.protected?.recipients ?? null;
  if (named !== null && !named.includes(list.address))
    return held('protected-recipients', 'not-for-this-list');
  return null;
}

/** When its author says that he signed it: signingTime, else the Date that his signature covers (RFC 9788 4.8.1). */
function signedAt({ signature, protected: header }: Findings): number | null {
  return signature?.signingTime ?? (header?.authenticated ? header.date : null);
}

/** Bits of the weakest encryption around the post; without encryption there is nothing weak. */
export function weakestCipher(report: Pick<OpenReport, 'layers'>): number {
  let weakest = Number.POSITIVE_INFINITY;
  for (const layer of report.layers) {
    if (layer.kind !== 'encrypted' || layer.cipher === null) continue;
    weakest = Math.min(weakest, isOpeningCipher(layer.cipher) ? strengthOf(layer.cipher) : 0);
  }
  return weakest;
}

function isOpeningCipher(name: string): name is OpeningCipher {
  return (openingCiphers as readonly string[]).includes(name);
}

const refused = (rule: string, reason: DecisionReason): Decision => ({ kind: 'refused', rule, reason });
const held = (rule: string, reason: DecisionReason): Decision => ({ kind: 'held', rule, reason });
