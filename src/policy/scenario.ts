import type { ListPolicy } from './settings.ts';

/** What the address in From is on the list. */
export interface Roles {
  readonly member: boolean;
  /** A member whom an owner suspended. */
  readonly suspended: boolean;
  readonly owner: boolean;
  readonly moderator: boolean;
}

/** The rules of who may post, with the sentence that `explain` shows, and the one that asks whether copies can be sent. */
export const postingRules = Object.freeze({
  'no-author': 'The message names no single author in From.',
  'moderator-may-post': 'A moderator may always post.',
  'owner-may-post': 'An owner may always post.',
  'suspended-may-not-post': 'A suspended member is treated as not covered by accept.from.',
  'anyone-may-post': 'accept.from lets anyone post.',
  'member-may-post': 'accept.from lets members post.',
  'others-may-not-post': 'accept.from does not cover this address.',
  relay: 'No relay could take any copy.',
});

/** The name of a rule, as in the ledger. */
export type PostingRule = keyof typeof postingRules;

export interface MayPost {
  readonly answer: 'allow' | 'hold' | 'refuse';
  /** The rule that matched. */
  readonly rule: PostingRule;
}

/**
 * Who may post, by address and roles alone; the first rule that matches decides. `from` is the canonical address of
 * the author. An `allow` says nothing about whether From is genuine: that is for `accept.signature` and the verified signer.
 */
export function whoMayPost(
  policy: Pick<ListPolicy, 'accept.from' | 'accept.others'>,
  facts: { readonly from: string; readonly roles: Roles },
): MayPost {
  const { roles } = facts;
  const accepted = policy['accept.from'];
  const otherwise = policy['accept.others'] === 'moderate' ? 'hold' : 'refuse';

  if (facts.from === '') return { answer: 'refuse', rule: 'no-author' };
  if (roles.moderator) return { answer: 'allow', rule: 'moderator-may-post' };
  if (roles.owner) return { answer: 'allow', rule: 'owner-may-post' };
  // Before 'anyone': whom an owner suspended does not get in again as a stranger.
  if (roles.suspended) return { answer: otherwise, rule: 'suspended-may-not-post' };
  if (accepted === 'anyone') return { answer: 'allow', rule: 'anyone-may-post' };
  if (accepted === 'members' && roles.member) return { answer: 'allow', rule: 'member-may-post' };
  return { answer: otherwise, rule: 'others-may-not-post' };
}
