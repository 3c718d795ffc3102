import type { ListPolicy } from './settings.ts';

/**
 * Settings that `list create --profile` sets at once. A list keeps the name of its profile, so a profile stands
 * between the site's defaults and the list's own settings.
 */
export const profiles = Object.freeze({
  /** The defaults: members post, what came encrypted leaves encrypted. */
  discussion: Object.freeze({}),
  /** Everything signed and encrypted, and the owner looks at each first certificate (RULES 15). */
  confidential: Object.freeze({
    'accept.signature': 'required',
    'accept.encryption': 'required',
    'accept.encrypted-unsigned': 'refuse',
    'send.encrypt': 'always',
    'send.sign': 'notices',
    'harvest.first': 'owner',
  }),
  /** Moderators post, the list signs everything, encrypted for whoever can read it. */
  announce: Object.freeze({
    'accept.from': 'moderators',
    // A From that nobody signed is anybody's.
    'accept.signature': 'required',
    'send.sign': 'always',
    'send.encrypt': 'when-possible',
  }),
} satisfies Readonly<Record<string, Partial<ListPolicy>>>);

/** The name of a profile. */
export type ProfileName = keyof typeof profiles;
