import { type Roles, whoMayPost } from './scenario.ts';
import type { ListPolicy } from './settings.ts';

/** A message with more Received fields than this goes in circles (RFC 5321 6.3: at least 100). */
export const mostHops = 100;

/** What is known of a message for one list at the end of DATA, before anything is decrypted or verified. */
export interface OuterFacts {
  /** The one mailbox of the one outer From field, canonical; null if there is not exactly one. */
  readonly from: string | null;
  readonly roles: Roles;
  /** The outermost layer is S/MIME enveloped. */
  readonly encrypted: boolean;
  /** Encryption may be inside: an outer multipart/signed or opaque signed-data hides what it holds. */
  readonly maybeEncrypted: boolean;
  /** There is no S/MIME layer at all, so certainly no signature. */
  readonly plain?: boolean;
  /** The message has been distributed by this list before. */
  readonly loop: boolean;
  /** Number of Received fields. */
  readonly hops: number;
  /** Octets as received. */
  readonly size: number;
  /** The list is open. */
  readonly open: boolean;
}

/** A refusal for the SMTP session; `reason` is for the ledger, `text` begins with the enhanced code (RFC 3463). */
export type OuterJudgement =
  | { readonly refuse: false }
  | {
      readonly refuse: true;
      readonly code: 550 | 552 | 554;
      readonly text: string;
      readonly reason: OuterReason;
    };

/** Why a message was refused in the SMTP session. */
export type OuterReason =
  | 'list-closed'
  | 'too-big'
  | 'loop'
  | 'from-not-one'
  | 'not-encrypted'
  | 'not-signed'
  | 'may-not-post';

/**
 * What envelope and outer header alone can decide at the end of DATA. It only ever refuses: From is not proven here, so
 * nothing is granted. Refusing now spares a reply to an address that may be forged (RULES 20).
 */
export function judgeOuter(policy: ListPolicy, facts: OuterFacts): OuterJudgement {
  const most = policy['accept.max-size'];
  if (!facts.open) return refusal(550, '5.2.1', 'list-closed', 'This list is closed');
  if (most !== null && facts.size > most) {
    return refusal(552, '5.2.3', 'too-big', `This list accepts at most ${most} octets`);
  }
  if (facts.loop || facts.hops > mostHops) {
    return refusal(554, '5.4.6', 'loop', 'This message has been here before: mail loop');
  }
  if (facts.from === null) {
    return refusal(550, '5.7.1', 'from-not-one', 'From must name exactly one author');
  }
  // Before who may post: what everybody is told alike shows nobody who is a member.
  if (policy['accept.encryption'] === 'required' && !facts.encrypted && !facts.maybeEncrypted) {
    return refusal(
      550,
      '5.7.1',
      'not-encrypted',
      'This list accepts only mail encrypted to its certificate (S/MIME)',
    );
  }
  if (policy['accept.signature'] === 'required' && facts.plain === true) {
    return refusal(550, '5.7.1', 'not-signed', 'This list accepts only signed mail (S/MIME)');
  }
  if (whoMayPost(policy, { from: facts.from, roles: facts.roles }).answer === 'refuse') {
    return refusal(550, '5.7.1', 'may-not-post', 'You may not post to this list');
  }
  return { refuse: false };
}

function refusal(
  code: 550 | 552 | 554,
  enhanced: string,
  reason: OuterReason,
  words: string,
): OuterJudgement {
  return { refuse: true, code, text: `${enhanced} ${words}`, reason };
}
