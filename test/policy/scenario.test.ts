import { describe, expect, it } from 'vitest';
import { judgeOuter, mostHops, type OuterFacts } from '../../src/policy/outer.ts';
import { postingRules, type Roles, whoMayPost } from '../../src/policy/scenario.ts';
import type { ListPolicy } from '../../src/policy/settings.ts';
import { policyWith } from './policies.ts';

const nobody: Roles = { member: false, suspended: false, owner: false, moderator: false };
const who = {
  stranger: nobody,
  member: { ...nobody, member: true },
  suspended: { ...nobody, member: true, suspended: true },
  owner: { ...nobody, owner: true },
  moderator: { ...nobody, moderator: true },
  'suspended owner': { ...nobody, member: true, suspended: true, owner: true },
} as const;

describe('whoMayPost', () => {
  const from = 'anna@people.example';
  it.each<[ListPolicy['accept.from'], keyof typeof who, 'allow' | 'other', string]>([
    ['members', 'stranger', 'other', 'others-may-not-post'],
    ['members', 'member', 'allow', 'member-may-post'],
    ['members', 'suspended', 'other', 'suspended-may-not-post'],
    ['members', 'owner', 'allow', 'owner-may-post'],
    ['members', 'moderator', 'allow', 'moderator-may-post'],
    ['members', 'suspended owner', 'allow', 'owner-may-post'],
    ['moderators', 'stranger', 'other', 'others-may-not-post'],
    ['moderators', 'member', 'other', 'others-may-not-post'],
    ['moderators', 'suspended', 'other', 'suspended-may-not-post'],
    ['moderators', 'owner', 'allow', 'owner-may-post'],
    ['moderators', 'moderator', 'allow', 'moderator-may-post'],
    ['anyone', 'stranger', 'allow', 'anyone-may-post'],
    ['anyone', 'member', 'allow', 'anyone-may-post'],
    ['anyone', 'suspended', 'other', 'suspended-may-not-post'],
    ['anyone', 'owner', 'allow', 'owner-may-post'],
  ])('accept.from: %s, %s: %s by %s', (accepted, name, answer, rule) => {
    for (const [others, instead] of [
      ['refuse', 'refuse'],
      ['moderate', 'hold'],
    ] as const) {
      const policy = policyWith({ 'accept.from': accepted, 'accept.others': others });
      expect(whoMayPost(policy, { from, roles: who[name] })).toEqual({
        answer: answer === 'other' ? instead : answer,
        rule,
      });
    }
    expect(postingRules).toHaveProperty([rule]);
  });

  it('refuses without an author, whatever the roles', () => {
    const roles = { member: true, suspended: false, owner: true, moderator: true };
    expect(whoMayPost(policyWith({ 'accept.from': 'anyone' }), { from: '', roles })).toEqual({
      answer: 'refuse',
      rule: 'no-author',
    });
  });
});

describe('judgeOuter', () => {
  const good: OuterFacts = {
    from: 'anna@people.example',
    roles: who.member,
    encrypted: false,
    maybeEncrypted: false,
    plain: true,
    loop: false,
    hops: 3,
    size: 5000,
    open: true,
  };
  const encryptionRequired = { 'accept.encryption': 'required' } as const;
  const signatureRequired = { 'accept.signature': 'required' } as const;

  it.each<[string, Partial<ListPolicy>, Partial<OuterFacts>]>([
    ['a clear post of a member', {}, {}],
    ['a post just as large as allowed', { 'accept.max-size': 5000 }, {}],
    ['as many hops as allowed', {}, { hops: mostHops }],
    ['an encrypted post where that is required', encryptionRequired, { encrypted: true, plain: false }],
    ['a signed post that may hold encryption', encryptionRequired, { maybeEncrypted: true, plain: false }],
    ['a signed post where that is required', signatureRequired, { plain: false }],
    ['an unknown post where a signature is required', signatureRequired, { plain: undefined as never }],
    ['a stranger where others are moderated', { 'accept.others': 'moderate' }, { roles: who.stranger }],
    ['a stranger where anyone may post', { 'accept.from': 'anyone' }, { roles: who.stranger }],
  ])('takes %s', (_, list, facts) => {
    expect(judgeOuter(policyWith(list), { ...good, ...facts })).toEqual({ refuse: false });
  });

  it.each<[string, Partial<ListPolicy>, Partial<OuterFacts>, number, string, string]>([
    ['a closed list', {}, { open: false }, 550, '5.2.1', 'list-closed'],
    ['too big', { 'accept.max-size': 4999 }, {}, 552, '5.2.3', 'too-big'],
    ['a loop', {}, { loop: true }, 554, '5.4.6', 'loop'],
    ['too many hops', {}, { hops: mostHops + 1 }, 554, '5.4.6', 'loop'],
    ['no single From', { 'accept.from': 'anyone' }, { from: null }, 550, '5.7.1', 'from-not-one'],
    ['clear where encryption is required', encryptionRequired, {}, 550, '5.7.1', 'not-encrypted'],
    ['plain where a signature is required', signatureRequired, {}, 550, '5.7.1', 'not-signed'],
    ['a stranger', {}, { roles: who.stranger }, 550, '5.7.1', 'may-not-post'],
    [
      'an encrypted stranger',
      encryptionRequired,
      { roles: who.stranger, encrypted: true },
      550,
      '5.7.1',
      'may-not-post',
    ],
    ['a member of an announcement list', { 'accept.from': 'moderators' }, {}, 550, '5.7.1', 'may-not-post'],
    [
      'an owner in clear where encryption is required',
      encryptionRequired,
      { roles: who.owner },
      550,
      '5.7.1',
      'not-encrypted',
    ],
  ])('refuses %s', (_, list, facts, code, enhanced, reason) => {
    const answer = judgeOuter(policyWith(list), { ...good, ...facts });
    expect(answer).toMatchObject({ refuse: true, code, reason });
    // One reply line: RFC 5321 4.5.3.1.5 allows 512 octets with code and CRLF.
    if (answer.refuse)
      expect(answer.text).toMatch(new RegExp(`^${enhanced.replaceAll('.', '\\.')} [ -~]{5,400}$`));
  });

  it('tells members and strangers the same of a post in the wrong form', () => {
    for (const list of [encryptionRequired, signatureRequired]) {
      const [member, stranger] = [who.member, who.stranger].map((roles) =>
        judgeOuter(policyWith(list), { ...good, roles }),
      );
      expect(stranger).toEqual(member);
    }
  });
});
