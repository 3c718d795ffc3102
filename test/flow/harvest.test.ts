import { beforeAll, describe, expect, it } from 'vitest';
import { bringsNothing } from '../../src/flow/harvest/brings-nothing.ts';
import {
  type Filing,
  filingsFor,
  type HarvestFacts,
  type InUse,
  signatureWithNews,
} from '../../src/flow/harvest/harvest.ts';
import { type Certificate, parseCertificate } from '../../src/pki/certificate.ts';
import { revocationOff } from '../../src/pki/revocation.ts';
import type { ListPolicy } from '../../src/policy/settings.ts';
import type { AuthorSignature } from '../../src/smime/author-signature.ts';
import { type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import { hour, listWith } from './parts.ts';

// RULES 15 and 16: what is taken from a verified signature of alice@example.org.

const now = Date.now();
const address = 'alice@example.org';

interface Names {
  readonly both: Identity;
  readonly renewed: Identity;
  readonly sooner: Identity;
  readonly changed: Identity;
  readonly sign: Identity;
  readonly enc: Identity;
  readonly encOther: Identity;
  readonly encForeign: Identity;
  readonly encNamesake: Identity;
  readonly encOver: Identity;
}
let ca: TestCa;
let alice: Names;
beforeAll(async () => {
  ca = await makeCa();
  const foreign = await makeCa('Foreign');
  const who = { name: 'Alice', address };
  const both = await ca.issue(who);
  const sign = await ca.issue({ ...who, usage: 'digitalSignature' });
  alice = {
    both,
    renewed: await ca.issue({ ...who, keyFrom: both }),
    sooner: await ca.issue({ ...who, keyFrom: both, notAfter: new Date(now + 24 * hour) }),
    changed: await ca.issue(who),
    sign,
    enc: await ca.issue({ ...who, usage: 'keyEncipherment' }),
    encOther: await ca.issue({ ...who, address: 'alice@elsewhere.example', usage: 'keyEncipherment' }),
    encForeign: await foreign.issue({ ...who, usage: 'keyEncipherment', issuerDer: ca.subjectDer }),
    encOver: await ca.issue({
      ...who,
      usage: 'keyEncipherment',
      notBefore: new Date(now - 48 * hour),
      notAfter: new Date(now - 24 * hour),
    }),
    encNamesake: await ca.issue({ name: 'Alice Two', address, usage: 'keyEncipherment' }),
  };
});

const certificate = (name: keyof Names): Certificate => parseCertificate(alice[name].certDer);
const used = (name: keyof Names, signingTime = now - hour): InUse => {
  const { sha256, spkiSha256, notAfter } = certificate(name);
  return { sha256, spkiSha256, notAfter, signingTime, source: 'harvested' };
};

interface Case {
  readonly signer?: keyof Names;
  readonly bag?: readonly (keyof Names)[];
  readonly preference?: keyof Names | 'key-id of enc';
  readonly at?: number | null;
  readonly inUse?: { sign?: InUse; enc?: InUse };
  /** Known before, whether in use or not. */
  readonly known?: boolean;
  readonly waiting?: readonly string[];
  /** Replaced by one with another key half an hour ago. */
  readonly replaced?: keyof Names;
  /** Refused or removed by an owner. */
  readonly refused?: keyof Names;
  /** A certificate of its key was revoked. */
  readonly revoked?: keyof Names;
  readonly others?: readonly (keyof Names)[];
  /** What the preference of each of them names. */
  readonly othersPrefer?: keyof Names;
  readonly policy?: Partial<ListPolicy>;
}

/** `sign both use first, enc both use first` */
const fated = ({ action, reason }: Filing): string => `${action} ${reason}`;

function factsOf(c: Case): HarvestFacts {
  const { signer = 'both', bag = [], at = now } = c;
  const preference = (name: Case['preference']): AuthorSignature['preference'] => {
    if (name === undefined) return null;
    if (name === 'key-id of enc')
      return { kind: 'key-id', keyId: certificate('enc').subjectKeyId ?? Buffer.alloc(0) };
    const { issuerDer, serialDer } = certificate(name);
    return { kind: 'issuer-serial', issuerDer, serialDer };
  };
  const signature: AuthorSignature = {
    certificate: alice[signer].certDer,
    bag: [signer, ...bag].map((name) => alice[name].certDer),
    signatureSha256: 'ab',
    allSha256: ['ab'],
    others: (c.others ?? []).map((name) => ({
      certificate: alice[name].certDer,
      signingTime: at,
      capabilities: null,
      preference: preference(c.othersPrefer),
      trusted: true,
    })),
    signingTime: at,
    capabilities: null,
    preference: preference(c.preference),
  };
  const { sign = null, enc = null } = c.inUse ?? {};
  const replaced = new Map(c.replaced ? [[certificate(c.replaced).sha256, now - hour / 2]] : []);
  const refused = c.refused ? [certificate(c.refused).sha256] : [];
  return {
    address,
    signature,
    inUse: { sign, enc },
    waiting: { sign: c.waiting ?? [], enc: c.waiting ?? [] },
    replaced: { sign: replaced, enc: replaced },
    refused: { sign: refused, enc: refused },
    known: { sign: c.known ?? sign !== null, enc: c.known ?? enc !== null },
    anchors: { certificates: [parseCertificate(ca.certDer)] },
    intermediates: [],
    revocation: revocationOff,
    revokedKeys: new Set(c.revoked ? [certificate(c.revoked).spkiSha256] : []),
    receivedAt: now,
  };
}

const isNothing = (facts: HarvestFacts): boolean =>
  bringsNothing({
    ...facts,
    inUse: { sign: facts.inUse.sign?.sha256 ?? '', enc: facts.inUse.enc?.sha256 ?? '' },
  });

function file(c: Case, say = fated): string {
  const facts = factsOf(c);
  const nameOf = (one: Certificate) =>
    (Object.keys(alice) as (keyof Names)[]).find((name) => certificate(name).sha256 === one.sha256);
  const spoken = { ...facts, signature: signatureWithNews(facts.signature, facts.inUse) };
  const filings = filingsFor(listWith(c.policy), spoken);
  // Of every case of this file: where the short way is taken, the long one would have found nothing.
  if (isNothing(facts)) expect(filings.map(fated)).toEqual(filings.map(() => 'skip already-known'));
  return filings.map((filing) => `${filing.purpose} ${nameOf(filing.certificate)} ${say(filing)}`).join(', ');
}

const bothUsed = () => ({ sign: used('both'), enc: used('both') });
const otherUsed = () => ({ sign: used('sign'), enc: used('encNamesake') });
const splitUsed = () => ({ sign: used('sign'), enc: used('enc') });

const five = ['1', '2', '3', '4', '5'];
const knownAlready = 'sign both skip already-known, enc both skip already-known';

describe('bringsNothing', () => {
  it.each<[string, () => Case, boolean]>([
    ['the same again', () => ({ inUse: bothUsed() }), true],
    ['again, and named', () => ({ inUse: bothUsed(), preference: 'both' }), true],
    ['again, undated', () => ({ inUse: bothUsed(), at: null }), true],
    ['again, beside another of no name', () => ({ inUse: bothUsed(), bag: ['enc'] }), true],
    ['again where harvest is off', () => ({ inUse: bothUsed(), policy: { harvest: 'off' } }), true],
    ['first contact', () => ({}), false],
    ['known for one purpose', () => ({ inUse: { sign: used('both') } }), false],
    ['for the other', () => ({ inUse: { enc: used('both') } }), false],
    ['renewed', () => ({ signer: 'renewed', inUse: bothUsed() }), false],
    ['naming another', () => ({ inUse: bothUsed(), bag: ['enc'], preference: 'enc' }), false],
    ['signed by two', () => ({ inUse: bothUsed(), others: ['changed'] }), false],
    ['from the future', () => ({ inUse: bothUsed(), at: now + 2 * hour }), false],
    ['two certificates of his', () => ({ signer: 'sign', bag: ['enc'], inUse: splitUsed() }), false],
  ])('%s: %s', (_, c, expected) => {
    file(c());
    expect(isNothing(factsOf(c()))).toBe(expected);
  });

  it('false where the certificate names another address, which may have a gap', () => {
    const facts = factsOf({ inUse: bothUsed() });
    expect(isNothing({ ...facts, address: 'alice@elsewhere.example' })).toBe(false);
  });
});

describe('filingsFor', () => {
  it.each<[string, () => Case, string]>([
    ['first contact', () => ({}), 'sign both use first, enc both use first'],
    [
      'first contact, the owner decides',
      () => ({ policy: { 'harvest.first': 'owner' } }),
      'sign both pending owner-decides, enc both pending owner-decides',
    ],
    [
      'first contact, off',
      () => ({ policy: { 'harvest.first': 'off' } }),
      'sign both skip off, enc both skip off',
    ],
    ['harvest off', () => ({ policy: { harvest: 'off' } }), 'sign both skip off, enc both skip off'],
    ['first contact, undated', () => ({ at: null }), 'sign both use first, enc both use first'],

    [
      'the same again',
      () => ({ inUse: bothUsed() }),
      'sign both skip already-known, enc both skip already-known',
    ],
    [
      'renewed with the same key',
      () => ({ signer: 'renewed', inUse: bothUsed() }),
      'sign renewed use same-key, enc renewed use same-key',
    ],
    [
      'renewed, but an older mail',
      () => ({ signer: 'renewed', inUse: bothUsed(), at: now - 2 * hour }),
      'sign renewed skip older, enc renewed skip older',
    ],
    [
      'another key',
      () => ({ signer: 'changed', inUse: bothUsed() }),
      'sign changed pending changed-key, enc changed pending changed-key',
    ],
    [
      'another key where each is taken at once',
      () => ({ signer: 'changed', inUse: bothUsed(), policy: { harvest: 'verified' } }),
      'sign changed use newer, enc changed use newer',
    ],
    [
      'another key, older than what is in use',
      () => ({ signer: 'changed', inUse: bothUsed(), at: now - 2 * hour, policy: { harvest: 'verified' } }),
      'sign changed skip older, enc changed skip older',
    ],
    [
      'another key, undated, counts as oldest',
      () => ({ signer: 'changed', inUse: bothUsed(), at: null, policy: { harvest: 'verified' } }),
      'sign changed skip older, enc changed skip older',
    ],
    [
      'another key, off',
      () => ({ signer: 'changed', inUse: bothUsed(), policy: { harvest: 'off' } }),
      'sign changed skip off, enc changed skip off',
    ],
    [
      'another key after one that is used no more (expired, refused)',
      () => ({ signer: 'changed', known: true }),
      'sign changed pending changed-key, enc changed pending changed-key',
    ],

    ['an hour ahead', () => ({ at: now + hour }), 'sign both use first, enc both use first'],
    ['from the future', () => ({ at: now + hour + 1 }), 'sign both skip future, enc both skip future'],

    [
      'another key, and a signature by the old one beside it that names it',
      () => ({ signer: 'changed', others: ['both'], othersPrefer: 'changed', inUse: bothUsed() }),
      'sign changed use signed-by-old, enc changed use signed-by-old',
    ],
    [
      'the old key, which names it, first, and a new one beside it',
      () => ({ signer: 'both', preference: 'changed', others: ['changed'], inUse: bothUsed() }),
      'sign changed use signed-by-old, enc changed use signed-by-old',
    ],
    [
      'another key, and a signature by the old one beside it that says nothing of it',
      () => ({ signer: 'changed', others: ['both'], inUse: bothUsed() }),
      'sign changed pending changed-key, enc changed pending changed-key',
    ],
    [
      'the old key, which names its own, first, and a new one beside it',
      () => ({ signer: 'both', preference: 'both', others: ['changed'], inUse: bothUsed() }),
      'sign changed pending changed-key, enc changed pending changed-key',
    ],
    [
      'a first signing key where another one is known for encryption',
      () => ({ signer: 'sign', inUse: { enc: used('enc') } }),
      'sign sign pending changed-key',
    ],
    [
      "another key, and somebody else's signature beside it",
      () => ({ signer: 'changed', others: ['encNamesake'], inUse: bothUsed() }),
      'sign changed pending changed-key, enc changed pending changed-key',
    ],
    [
      'the same key, but it ends sooner than what is known',
      () => ({ signer: 'sooner', inUse: bothUsed() }),
      'sign sooner skip older, enc sooner skip older',
    ],
    [
      'another key, and many wait already',
      () => ({ signer: 'changed', inUse: bothUsed(), waiting: ['1', '2', '3', '4', '5'] }),
      'sign changed skip too-many, enc changed skip too-many',
    ],
    [
      'another key that waits already, among many',
      () => ({
        signer: 'changed',
        inUse: bothUsed(),
        waiting: ['1', '2', '3', '4', certificate('changed').sha256],
      }),
      'sign changed pending changed-key, enc changed pending changed-key',
    ],

    // A key that was replaced, after a person's word or a proof.
    ...(['confirm-change', 'verified'] as const).flatMap((harvest) =>
      [now - hour / 2, null].map((at): [string, () => Case, string] => [
        `the replaced key in an old mail (${at === null ? 'undated' : 'dated'}), ${harvest}`,
        () => ({
          signer: 'both',
          replaced: 'both',
          at,
          inUse: { sign: used('changed', 0), enc: used('changed', 0) },
          policy: { harvest },
        }),
        'sign both skip older, enc both skip older',
      ]),
    ),
    [
      'the replaced key in a new mail',
      () => ({ signer: 'both', replaced: 'both', inUse: { sign: used('changed'), enc: used('changed') } }),
      'sign both pending changed-key, enc both pending changed-key',
    ],
    [
      'a replaced encryption key that an old mail of the same signing key names',
      () => ({
        signer: 'sign',
        bag: ['enc'],
        preference: 'enc',
        replaced: 'enc',
        at: now - hour / 2 - 1,
        inUse: { sign: used('sign'), enc: used('encNamesake', 0) },
      }),
      'sign sign skip already-known, enc enc skip older',
    ],
    [
      'a replaced encryption key that the signing key names anew',
      () => ({
        signer: 'sign',
        bag: ['enc'],
        preference: 'enc',
        replaced: 'enc',
        inUse: { sign: used('sign'), enc: used('encNamesake') },
      }),
      'sign sign skip already-known, enc enc use signed-by-old',
    ],
    [
      'one that an owner refused or removed, though the signing key names it',
      () => ({ signer: 'sign', bag: ['enc'], preference: 'enc', refused: 'enc', inUse: otherUsed() }),
      'sign sign skip already-known, enc enc pending refused-before',
    ],
    [
      'one that an owner refused or removed, of the key in use',
      () => ({ signer: 'renewed', refused: 'renewed', inUse: bothUsed() }),
      'sign renewed pending refused-before, enc renewed pending refused-before',
    ],

    // Keys apart.
    ['signing only', () => ({ signer: 'sign' }), 'sign sign use first'],
    [
      'apart, named by the signed preference',
      () => ({ signer: 'sign', bag: ['enc'], preference: 'enc' }),
      'sign sign use first, enc enc use first',
    ],
    [
      'apart, named by key identifier',
      () => ({ signer: 'sign', bag: ['encNamesake', 'enc'], preference: 'key-id of enc' }),
      'sign sign use first, enc enc use first',
    ],
    [
      'apart, beside it in the bag, none known',
      () => ({ signer: 'sign', bag: ['enc'] }),
      'sign sign use first, enc enc use first',
    ],
    [
      'apart, beside it in the bag, another known',
      () => ({ signer: 'sign', bag: ['enc'], inUse: { sign: used('sign'), enc: used('both') } }),
      'sign sign skip already-known, enc enc pending candidate',
    ],
    [
      'apart, beside it in the bag, another known, each is taken at once: not this',
      () => ({
        signer: 'sign',
        bag: ['enc'],
        inUse: { sign: used('sign'), enc: used('both') },
        policy: { harvest: 'verified' },
      }),
      'sign sign skip already-known, enc enc pending candidate',
    ],
    [
      'apart, the same again',
      () => ({ signer: 'sign', bag: ['enc'], inUse: splitUsed() }),
      'sign sign skip already-known, enc enc skip already-known',
    ],
    [
      'apart, off',
      () => ({ signer: 'sign', bag: ['enc'], inUse: { enc: used('both') }, policy: { harvest: 'off' } }),
      'sign sign skip off, enc enc skip off',
    ],
    [
      'the preference wins over the bag and the signer',
      () => ({ signer: 'both', bag: ['enc'], preference: 'enc' }),
      'sign both use first, enc enc use first',
    ],
    [
      'a changed preference, which the old key signed',
      () => ({ signer: 'both', bag: ['enc'], preference: 'enc', inUse: bothUsed() }),
      'sign both skip already-known, enc enc use signed-by-old',
    ],

    // What anybody could have put there.
    ["in the bag, another's address", () => ({ signer: 'sign', bag: ['encOther'] }), 'sign sign use first'],
    [
      'in the bag, another subject',
      () => ({ signer: 'sign', bag: ['encNamesake'] }),
      'sign sign use first, enc encNamesake pending candidate',
    ],
    [
      'in the bag, another subject, five wait',
      () => ({ signer: 'sign', bag: ['encNamesake'], inUse: { sign: used('sign') }, waiting: five }),
      'sign sign skip already-known, enc encNamesake skip too-many',
    ],
    [
      'in the bag, another subject, in use by a person’s word',
      () => ({ signer: 'sign', bag: ['encNamesake'], inUse: otherUsed() }),
      'sign sign skip already-known, enc encNamesake skip already-known',
    ],
    [
      'in the bag, one of the same subject before another',
      () => ({ signer: 'sign', bag: ['encNamesake', 'enc'] }),
      'sign sign use first, enc enc use first',
    ],
    [
      'in the bag, without a path',
      () => ({ signer: 'sign', bag: ['encForeign'] }),
      'sign sign use first, enc encForeign skip no-path',
    ],
    [
      'in the bag, expired',
      () => ({ signer: 'sign', bag: ['encOver'] }),
      'sign sign use first, enc encOver skip expired',
    ],
    [
      'preferred, expired, another beside it',
      () => ({ signer: 'sign', bag: ['encOver', 'encNamesake'], preference: 'encOver' }),
      'sign sign use first, enc encOver skip expired, enc encNamesake pending candidate',
    ],
    [
      'a renewal of a key that was revoked',
      () => ({ signer: 'renewed', inUse: bothUsed(), revoked: 'both' }),
      'sign renewed pending revoked-key, enc renewed pending revoked-key',
    ],
    [
      'the first known, of a key that was revoked',
      () => ({ revoked: 'both' }),
      'sign both pending revoked-key, enc both pending revoked-key',
    ],
    [
      'named by a key that was revoked',
      () => ({ signer: 'renewed', bag: ['enc'], preference: 'enc', inUse: bothUsed(), revoked: 'both' }),
      'sign renewed pending revoked-key, enc enc pending changed-key',
    ],
    ['harvest off, in use', () => ({ inUse: bothUsed(), policy: { harvest: 'off' } }), knownAlready],
    [
      "preferred, another's address",
      () => ({ signer: 'sign', bag: ['encOther'], preference: 'encOther' }),
      'sign sign use first',
    ],
    [
      'preferred, without a path',
      () => ({ signer: 'both', bag: ['encForeign'], preference: 'encForeign' }),
      'sign both use first, enc encForeign skip no-path, enc both use first',
    ],
    [
      'preferred, but not there',
      () => ({ signer: 'both', preference: 'enc' }),
      'sign both use first, enc both use first',
    ],
    [
      'preferred, but it may not encrypt',
      () => ({ signer: 'both', bag: ['sign'], preference: 'sign' }),
      'sign both use first, enc both use first',
    ],
    [
      'the bag is not looked at where the signer may encrypt',
      () => ({ signer: 'both', bag: ['enc'] }),
      'sign both use first, enc both use first',
    ],
  ])('%s', (_, facts, expected) => expect(file(facts())).toBe(expected));
});

describe('who vouches for what is taken', () => {
  const by = (source: InUse['source'], name: keyof Names): InUse => ({ ...used(name), source });
  const voucher = (c: Case): string => file(c, ({ reason, source }) => `${reason} ${source}`);
  it.each<[string, () => Case, string]>([
    ['nobody, of a first one', () => ({}), 'sign both first harvested, enc both first harvested'],
    [
      'whoever vouched for its key',
      () => ({ signer: 'renewed', inUse: { sign: by('harvested', 'both'), enc: by('imported', 'both') } }),
      'sign renewed same-key harvested, enc renewed same-key approved',
    ],
    [
      'not a pin: the authority is asked of a renewed one',
      () => ({ signer: 'renewed', inUse: { sign: by('pinned', 'both'), enc: by('pinned', 'both') } }),
      'sign renewed same-key approved, enc renewed same-key approved',
    ],
    [
      'whoever vouched for all that names it',
      () => ({
        signer: 'both',
        bag: ['enc'],
        preference: 'enc',
        inUse: { sign: by('approved', 'both'), enc: by('by hand', 'both') },
      }),
      'sign both already-known harvested, enc enc signed-by-old approved',
    ],
    [
      'nobody, where one of them came by mail alone',
      () => ({
        signer: 'both',
        bag: ['enc'],
        preference: 'enc',
        inUse: { sign: by('harvested', 'both'), enc: by('approved', 'both') },
      }),
      'sign both already-known harvested, enc enc signed-by-old harvested',
    ],
    [
      'nobody, of a newer one with another key',
      () => ({
        policy: { harvest: 'verified' },
        inUse: { sign: by('approved', 'sign'), enc: by('approved', 'enc') },
      }),
      'sign both newer harvested, enc both newer harvested',
    ],
  ])('%s', (_, facts, expected) => expect(voucher(facts())).toBe(expected));
});
