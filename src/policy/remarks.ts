import { strengthOf } from '../pki/algorithms.ts';
import { day, hour } from './kinds.ts';
import type { ListPolicy, SettingName } from './settings.ts';

/** Something to tell whoever made a policy. */
export interface Remark {
  /** The settings it is about. */
  readonly settings: readonly SettingName[];
  /** Grave: the settings contradict each other and are to be refused. Else only a warning. */
  readonly grave: boolean;
  readonly text: string;
}

interface Check extends Remark {
  readonly when: (policy: ListPolicy) => boolean;
}

const checks: readonly Check[] = [
  {
    settings: ['send.cipher', 'minimum.cipher'],
    grave: true,
    when: (p) => strengthOf(p['send.cipher']) < p['minimum.cipher'],
    text: 'send.cipher is weaker than minimum.cipher: no copy could be sent with it',
  },
  {
    settings: ['accept.signature', 'accept.encrypted-unsigned'],
    grave: true,
    when: (p) => p['accept.signature'] === 'required' && p['accept.encrypted-unsigned'] === 'allow',
    text: 'accept.encrypted-unsigned: allow contradicts accept.signature: required',
  },
  {
    settings: ['replay.days', 'accept.max-age'],
    grave: true,
    // A signature may be up to an hour ahead (RULES 4), so it is acceptable for that much longer.
    when: (p) => p['replay.days'] * day < p['accept.max-age'] + hour,
    text: 'replay.days is shorter than accept.max-age: a signature would be forgotten while it is still accepted',
  },
  {
    settings: ['bounce.threshold', 'bounce.days'],
    grave: true,
    when: (p) => p['bounce.threshold'] > p['bounce.days'],
    text: 'bounce.threshold is more days than bounce.days: it would never be reached',
  },
  {
    settings: ['send.envelope', 'send.verp'],
    grave: true,
    when: (p) => p['send.envelope'] === 'grouped' && p['send.verp'] === 'yes',
    text: 'send.envelope: grouped contradicts send.verp: yes, which gives each member a copy of his own',
  },
  {
    settings: ['send.envelope'],
    grave: false,
    when: (p) => p['send.envelope'] === 'grouped',
    text: 'send.envelope: grouped shows members to each other: each encrypted copy names the certificates of all who share it',
  },
  {
    settings: ['bounce.action', 'send.verp'],
    grave: false,
    when: (p) => p['bounce.action'] === 'suspend' && p['send.verp'] === 'no',
    text: 'bounce.action: suspend without send.verp: yes lets whoever knows the Message-IDs of posts forge a member out of the list',
  },
  {
    settings: ['send.sign'],
    grave: false,
    when: (p) => p['send.sign'] === 'always',
    text: "send.sign: always puts the list's signature around the author's, which some mail programs show badly",
  },
  {
    settings: ['send.sign'],
    grave: false,
    when: (p) =>
      (p['send.sign'] === 'unsigned' || p['send.sign'] === 'always') && p['accept.signature'] === 'optional',
    text: 'send.sign: posts without a valid signature of their author leave with the list in From',
  },
  {
    settings: ['send.sign'],
    grave: false,
    when: (p) => p['send.sign'] === 'never',
    text: 'send.sign: never leaves notices unsigned: members cannot tell them from forged ones',
  },
  {
    settings: ['harvest'],
    grave: false,
    when: (p) => p.harvest === 'verified',
    text: 'harvest: verified replaces a certificate at once: whoever can once read a mailbox can get one for it',
  },
  {
    settings: ['accept.encrypted-unsigned'],
    grave: false,
    when: (p) => p['accept.encrypted-unsigned'] === 'allow',
    text: 'accept.encrypted-unsigned: allow lets anyone have a captured ciphertext decrypted for all members by sending it again',
  },
  {
    settings: ['minimum.rsa', 'minimum.digest', 'minimum.cipher'],
    grave: false,
    when: (p) => p['minimum.rsa'] < 2048 || p['minimum.digest'] === 'sha1' || p['minimum.cipher'] < 128,
    text: 'the minimum is below what RFC 8551 allows: RSA 2048, SHA-256, AES-128',
  },
  {
    settings: ['revocation'],
    grave: false,
    when: (p) => p.revocation === 'off',
    text: 'revocation: off goes on believing certificates that their authority has revoked',
  },
  {
    settings: ['missing.action'],
    grave: false,
    when: (p) => p['missing.action'] === 'drop',
    text: 'missing.action: drop leaves members without a certificate unaware of the posts that they miss',
  },
];

/** What is contradictory (grave) or risky in a policy; an empty list if nothing is. `list set` and `config check` show it. */
export function remarksOn(policy: ListPolicy): readonly Remark[] {
  return checks
    .filter((check) => check.when(policy))
    .map(({ settings, grave, text }) => ({ settings, grave, text }));
}
