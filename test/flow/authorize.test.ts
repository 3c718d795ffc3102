import { describe, expect, it } from 'vitest';
import type { ListContext } from '../../src/flow/lists/list-context.ts';
import { authorize, type Decision, type PostFacts } from '../../src/flow/post/authorize.ts';
import type { Reason } from '../../src/pki/reasons.ts';
import type { ListPolicy } from '../../src/policy/settings.ts';
import type { AuthorSignature } from '../../src/smime/author-signature.ts';
import type { ProtectedHeader } from '../../src/smime/header-protection.ts';
import type { Layer } from '../../src/smime/layers.ts';
import type { OpenReport } from '../../src/smime/open.ts';
import { day, hour, listWith, report, t0 } from './parts.ts';

// The verdicts as a post may come with them, against the policy; RULES 1 to 5.

const nobody = { member: false, suspended: false, owner: false, moderator: false };
const member = { ...nobody, member: true };
type Roles = typeof nobody;

const signature = (signingTime: number | null): AuthorSignature => ({
  certificate: new Uint8Array([1]),
  bag: [],
  signatureSha256: 'ab',
  allSha256: ['ab'],
  others: [],
  signingTime,
  capabilities: null,
  preference: null,
});
const layer = (cipher: string | null): Layer => ({
  kind: 'encrypted',
  form: 'enveloped',
  cipher,
  keyTransport: 'rsa',
  keyAgreement: null,
  kdf: null,
  wrap: null,
  recipients: 1,
  opened: true,
  keySha256: 'cd',
  reason: null,
});
const sealed = (cipher: string | null = 'aes-256-cbc') => ({ encrypted: true, layers: [layer(cipher)] });
const signed = (at: number | null = t0) =>
  ({ verdict: 'signed', author: 'alice@example.org', signature: signature(at) }) as const;
const bad = (verdict: OpenReport['verdict'], ...reasons: Reason[]) => ({ verdict, reasons });

interface Case {
  readonly policy?: Partial<ListPolicy>;
  readonly roles?: Roles;
  readonly report?: Partial<OpenReport>;
  readonly replay?: PostFacts['replay'];
  readonly list?: Partial<ListContext>;
}

function decide(c: Case): Decision {
  const facts = report(c.report);
  const replay = c.replay === undefined ? (facts.signature ? 'new' : null) : c.replay;
  return authorize(listWith(c.policy, c.list), {
    report: facts,
    roles: c.roles ?? member,
    replay,
    receivedAt: t0,
    size: 2000,
  });
}

const words = (d: Decision): string =>
  d.kind === 'authorized'
    ? `authorized by ${d.rule}, ${d.author ?? 'nobody'} signed`
    : `${d.kind} by ${d.rule}: ${d.reason}`;
const alice = 'authorized by member-may-post, alice@example.org signed';
const unsignedPost = 'authorized by member-may-post, nobody signed';

const must = { 'accept.signature': 'required' } as const;
const allow = { 'accept.encrypted-unsigned': 'allow' } as const;
const refuse = { 'accept.encrypted-unsigned': 'refuse' } as const;

describe('authorize', () => {
  it.each<[string, Case, string]>([
    // Who.
    ['a member, signed', { report: signed() }, alice],
    ['a member, unsigned', {}, unsignedPost],
    ['too large', { policy: { 'accept.max-size': 1999 } }, 'refused by accept.max-size: too-big'],
    ['just as large', { policy: { 'accept.max-size': 2000 } }, unsignedPost],
    ['a stranger', { roles: nobody, report: signed() }, 'refused by others-may-not-post: may-not-post'],
    [
      'a stranger who may be moderated',
      { roles: nobody, report: signed(), policy: { 'accept.others': 'moderate' } },
      'held by others-may-not-post: may-not-post',
    ],
    [
      'a stranger where anyone may post',
      { roles: nobody, report: signed(), policy: { 'accept.from': 'anyone' } },
      'authorized by anyone-may-post, alice@example.org signed',
    ],
    [
      'a suspended member',
      { roles: { ...member, member: false, suspended: true }, report: signed() },
      'refused by suspended-may-not-post: may-not-post',
    ],
    [
      'a moderator who signed',
      { roles: { ...nobody, moderator: true }, report: signed() },
      'authorized by moderator-may-post, alice@example.org signed',
    ],
    [
      'a member where moderators post',
      { report: signed(), policy: { 'accept.from': 'moderators' } },
      'refused by others-may-not-post: may-not-post',
    ],
    ['a closed list', { report: signed(), list: { open: false } }, 'refused by list-open: list-closed'],
    [
      'no one From',
      { report: { claimed: null, ...bad('mismatch', 'two-from') } },
      'refused by one-author: from-not-one',
    ],
    ['no one From, unsigned', { report: { claimed: null } }, 'refused by one-author: from-not-one'],

    // Encryption required.
    [
      'clear where encryption is required',
      { report: signed(), policy: { 'accept.encryption': 'required' } },
      'refused by accept.encryption: not-encrypted',
    ],
    [
      'encrypted where it is required',
      { report: { ...signed(), ...sealed() }, policy: { 'accept.encryption': 'required' } },
      alice,
    ],

    // Signature required: everything but `signed` is refused, whatever else is set.
    ['unsigned where required', { policy: must }, 'refused by accept.signature: not-signed'],
    [
      'untrusted where required',
      { policy: must, report: bad('untrusted', 'no-path') },
      'refused by accept.signature: no-path',
    ],
    [
      'weak where required, marked',
      { policy: { ...must, 'weak.action': 'mark' }, report: bad('untrusted', 'weak-digest') },
      'refused by accept.signature: weak-digest',
    ],
    [
      'mismatch where required',
      { policy: must, report: bad('mismatch', 'no-address-match') },
      'refused by accept.signature: no-address-match',
    ],
    [
      'invalid where required',
      { policy: must, report: bad('invalid', 'bad-digest') },
      'refused by accept.signature: bad-digest',
    ],
    [
      'encrypted, unsigned, where required and allowed',
      { policy: { ...must, ...allow }, report: { ...sealed(), reasons: ['outer-only'] } },
      'refused by accept.signature: outer-only',
    ],

    // RULES 1 and 2: encrypted without a valid signature inside.
    ['encrypted, unsigned', { report: sealed() }, 'held by accept.encrypted-unsigned: encrypted-unsigned'],
    [
      'encrypted, signed outside only',
      { report: { ...sealed(), reasons: ['outer-only'] } },
      'held by accept.encrypted-unsigned: encrypted-unsigned',
    ],
    [
      'encrypted, unsigned: refuse',
      { policy: refuse, report: sealed() },
      'refused by accept.encrypted-unsigned: encrypted-unsigned',
    ],
    ['encrypted, unsigned: allow', { policy: allow, report: sealed() }, unsignedPost],
    ...(['untrusted', 'mismatch', 'invalid'] as const).flatMap((verdict): [string, Case, string][] => [
      [
        `encrypted, ${verdict}`,
        { report: { ...sealed(), ...bad(verdict, 'no-path') } },
        'held by accept.encrypted-unsigned: encrypted-unsigned',
      ],
      [
        `encrypted, ${verdict}: refuse`,
        { policy: refuse, report: { ...sealed(), ...bad(verdict, 'no-path') } },
        'refused by accept.encrypted-unsigned: encrypted-unsigned',
      ],
      // `allow` is for the unsigned; a signature that speaks against From is worse than none.
      [
        `encrypted, ${verdict}: allow`,
        { policy: allow, report: { ...sealed(), ...bad(verdict, 'no-path') } },
        'held by accept.encrypted-unsigned: encrypted-unsigned',
      ],
    ]),

    // RULES 5.
    ['weak, in clear', { report: bad('untrusted', 'weak-digest') }, 'refused by weak.action: weak'],
    [
      'weak key, in clear',
      { report: bad('untrusted', 'weak-key', 'no-path') },
      'refused by weak.action: weak',
    ],
    [
      'weak, marked',
      { report: bad('untrusted', 'weak-digest'), policy: { 'weak.action': 'mark' } },
      unsignedPost,
    ],
    ['an unknown authority, in clear', { report: bad('untrusted', 'no-path') }, unsignedPost],
    [
      'a broken signature, in clear',
      { report: bad('invalid', 'bad-digest') },
      'held by verdict-invalid: bad-digest',
    ],
    [
      "another's signature, in clear",
      { report: bad('mismatch', 'no-address-match') },
      'held by verdict-mismatch: no-address-match',
    ],
    [
      'another protected From, in clear',
      { report: bad('mismatch', 'header-mismatch') },
      'refused by protected-from: header-mismatch',
    ],
    [
      'another protected From, encrypted',
      { report: { ...bad('mismatch', 'outer-only', 'header-mismatch'), ...sealed('aes-256-gcm') } },
      'refused by protected-from: header-mismatch',
    ],
    [
      'triple DES',
      { report: { ...signed(), ...sealed('des-ede3-cbc') } },
      'held by minimum.cipher: weak-cipher',
    ],
    [
      'triple DES around AES',
      { report: { ...signed(), encrypted: true, layers: [layer('des-ede3-cbc'), layer('aes-256-gcm')] } },
      'held by minimum.cipher: weak-cipher',
    ],
    [
      'a cipher that we do not know',
      { report: { ...signed(), ...sealed('1.2.3.4') } },
      'held by minimum.cipher: weak-cipher',
    ],
    [
      'triple DES where 112 bits are enough',
      { policy: { 'minimum.cipher': 112 }, report: { ...signed(), ...sealed('des-ede3-cbc') } },
      alice,
    ],
    [
      'AES-128 where 256 bits are asked for',
      { policy: { 'minimum.cipher': 256 }, report: { ...signed(), ...sealed('aes-128-gcm') } },
      'held by minimum.cipher: weak-cipher',
    ],

    // RULES 4.
    ['a replay', { report: signed(), replay: 'seen-here' }, 'dropped by replay: replay'],
    [
      'seen on another list',
      { report: signed(), replay: 'seen-elsewhere' },
      'held by replay: replay-elsewhere',
    ],
    ['just young enough', { report: signed(t0 - 3 * day) }, alice],
    ['too old', { report: signed(t0 - 3 * day - 1) }, 'held by accept.max-age: stale'],
    ['an hour ahead', { report: signed(t0 + hour) }, alice],
    ['more than an hour ahead', { report: signed(t0 + hour + 1) }, 'held by accept.max-age: future'],
    ['undated', { report: signed(null) }, 'held by accept.max-age: undated'],
    ['a replay that is old as well', { report: signed(0), replay: 'seen-here' }, 'dropped by replay: replay'],
    [
      'a replay by a stranger is no post of his',
      { roles: nobody, report: signed(), replay: 'seen-here' },
      'refused by others-may-not-post: may-not-post',
    ],
  ])('%s', (_, facts, expected) => expect(words(decide(facts))).toBe(expected));

  const header: ProtectedHeader = {
    form: 'cipher',
    authenticated: true,
    from: null,
    hasFrom: false,
    subject: null,
    date: null,
    to: null,
    recipients: null,
    hidden: [],
  };
  const protectedTo = (...recipients: string[]) => ({
    ...signed(),
    protected: { ...header, recipients },
  });
  it.each<[string, Partial<OpenReport>, string]>([
    ['protected To names the list', protectedTo('team@lists.example'), alice],
    ['among others', protectedTo('x@y.example', 'team@lists.example'), alice],
    [
      'protected To names another list',
      protectedTo('other@lists.example'),
      'held by protected-recipients: not-for-this-list',
    ],
    ['protected To names nobody', protectedTo(), 'held by protected-recipients: not-for-this-list'],
    [
      'nothing protected about recipients',
      {
        ...signed(),
        protected: { ...header, form: 'clear' },
      },
      alice,
    ],
  ])('%s', (_, facts, expected) => expect(words(decide({ report: facts }))).toBe(expected));

  const dated = (authenticated: boolean, date: number | null, time: number | null = null) => ({
    ...signed(time),
    protected: { ...header, authenticated, date },
  });
  it.each<[string, Partial<OpenReport>, string]>([
    // RFC 9788 4.8.1: the Date that the signature covers dates it where the signature itself does not.
    ['a protected Date instead of a signing time', dated(true, t0), alice],
    ['a protected Date, too old', dated(true, t0 - 3 * day - 1), 'held by accept.max-age: stale'],
    ['a protected Date to come', dated(true, t0 + 2 * 3_600_000), 'held by accept.max-age: future'],
    ['a Date that nobody signed', dated(false, t0), 'held by accept.max-age: undated'],
    ['no protected Date', dated(true, null), 'held by accept.max-age: undated'],
    [
      'the signing time is nearer to the signature',
      dated(true, t0, t0 - 3 * day - 1),
      'held by accept.max-age: stale',
    ],
  ])('%s', (_, facts, expected) => expect(words(decide({ report: facts }))).toBe(expected));

  it('fails closed: no verdict but `signed` ever names an author, and none of them is let through where it is required', () => {
    const verdicts = ['invalid', 'mismatch', 'untrusted', 'unsigned'] as const;
    for (const verdict of verdicts)
      for (const encryption of [{}, sealed()])
        for (const action of ['moderate', 'refuse', 'allow'] as const)
          for (const weak of ['refuse', 'mark'] as const) {
            const policy = { 'accept.encrypted-unsigned': action, 'weak.action': weak } as const;
            const facts = { ...bad(verdict, 'weak'), ...encryption };
            const open = decide({ policy, report: facts });
            if (open.kind === 'authorized') expect(open.author).toBeNull();
            expect(decide({ policy: { ...policy, ...must }, report: facts }).kind).toBe('refused');
          }
  });
});
