import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { defaultFloor } from '../../src/pki/algorithms.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { derNull } from '../../src/pki/der.ts';
import { evidenceLimits } from '../../src/pki/evidence.ts';
import { type PathRequest, type PathResult, validatePath } from '../../src/pki/path.ts';
import { noEvidence } from '../../src/pki/revocation.ts';
import { wantedFor } from '../../src/pki/wanted.ts';
import { runProgram } from '../kit/client.ts';
import { type CertificateOptions, type Identity, makeCa, makeSelfSigned, type TestCa } from '../kit/pki.ts';
import { tempFolder } from '../kit/tmp.ts';
import {
  crlIssuer,
  distributionPoints,
  extension,
  flag,
  freshest,
  type Line,
  type ListOptions,
  listPem,
  makeList,
  pointNames,
  reasonFlags,
  url,
} from './lists.ts';

interface World {
  readonly leaf: Identity;
  readonly anchors: readonly Identity[];
  readonly bag: readonly Identity[];
  readonly crls: readonly Buffer[];
}

interface Case {
  readonly name: string;
  readonly world: () => Promise<World>;
  /** In hard mode; none: valid. */
  readonly reasons: readonly string[];
  readonly allowWeak?: boolean;
  /** In soft mode, where it is not what hard mode fails for. */
  readonly remarks?: readonly string[];
  /** Why OpenSSL judges otherwise, where it does. */
  readonly opensslDiffers?: string;
}

const hour = 3_600_000;
const day = 24 * hour;
const now = Math.floor(Date.now() / 1000) * 1000;
const ago = (ms: number) => new Date(now - ms);
const ahead = (ms: number) => new Date(now + ms);

let root: TestCa;
let issuing: TestCa;
let ann: Identity;

beforeAll(async () => {
  root = await makeCa('Root', { key: 'p256' });
  issuing = await root.intermediate({ name: 'Issuing', key: 'p256' });
  ann = await issuing.issue({ name: 'Ann', address: 'ann@example.org', key: 'p256' });
});

const issueAnn = (options: Partial<CertificateOptions> = {}) =>
  issuing.issue({ name: 'Ann', address: 'ann@example.org', key: 'p256', ...options });
const revoked = (identity: Identity, more: Partial<Line> = {}): Line => ({
  serial: identity.serial,
  at: ago(2 * day),
  reason: 1,
  ...more,
});
const listOf = (issuer: Identity, options: Partial<ListOptions> = {}): Buffer =>
  makeList({ issuerDer: issuer.subjectDer, signer: issuer.key, thisUpdate: ago(hour), ...options });
/** Lists in any order; that of the root, which lists nobody, beside them unless told otherwise. */
const judged =
  (
    lists: () => readonly Buffer[] | Promise<readonly Buffer[]>,
    more: { leaf?: () => Promise<Identity> } = {},
  ) =>
  async (): Promise<World> => ({
    leaf: (await more.leaf?.()) ?? ann,
    anchors: [root],
    bag: [issuing],
    crls: [listOf(root), ...(await lists())],
  });

const unknownCritical = () => extension('1.2.3.4.5', derNull(), true);
const someReasons = (...reasons: number[]) => reasonFlags(3, ...reasons);
const here = 'http://crl.example.org/one.crl';
/** A second authority of the same name, with its own key for lists. */
const listSigner = (options: Partial<CertificateOptions> = {}) =>
  root.issue({ name: 'Issuing', subjectDer: issuing.subjectDer, key: 'p256', usage: 'cRLSign', ...options });
const signedBy = (signer: Identity, options: Partial<ListOptions> = {}) =>
  listOf(issuing, { signer: signer.key, ...options });

const cases: readonly Case[] = [
  { name: 'nobody is listed', world: judged(() => [listOf(issuing)]), reasons: [] },
  {
    name: 'others are listed',
    world: judged(() => [listOf(issuing, { lines: [revoked(root)] })]),
    reasons: [],
  },
  {
    name: 'the leaf is listed',
    world: judged(() => [listOf(issuing, { lines: [revoked(issuing), revoked(ann)] })]),
    reasons: ['revoked'],
  },
  {
    name: 'the leaf is on hold',
    world: judged(() => [listOf(issuing, { lines: [revoked(ann, { reason: 6 })] })]),
    reasons: ['revoked'],
  },
  {
    name: 'the authority is listed',
    world: async () => ({
      leaf: ann,
      anchors: [root],
      bag: [issuing],
      crls: [listOf(root, { lines: [revoked(issuing)] }), listOf(issuing)],
    }),
    reasons: ['revoked'],
  },
  { name: 'no list for the leaf', world: judged(() => []), reasons: ['crl-missing'] },
  {
    name: 'no list for the authority',
    world: async () => ({ leaf: ann, anchors: [root], bag: [issuing], crls: [listOf(issuing)] }),
    reasons: ['crl-missing'],
  },
  {
    name: 'an outdated list',
    world: judged(() => [listOf(issuing, { thisUpdate: ago(3 * day), nextUpdate: ago(day) })]),
    reasons: ['crl-expired'],
  },
  {
    name: 'an outdated list that has the leaf on it',
    world: judged(() => [
      listOf(issuing, {
        thisUpdate: ago(3 * day),
        nextUpdate: ago(day),
        lines: [revoked(ann, { at: ago(4 * day) })],
      }),
    ]),
    reasons: ['revoked'],
  },
  {
    name: 'a list without the next update',
    world: judged(() => [listOf(issuing, { nextUpdate: null })]),
    reasons: ['crl-expired'],
    opensslDiffers: 'takes such a list for ever; RFC 5280 5.1.2.5 demands the field',
  },
  ...[0, 1].map((order) => ({
    name: `an older list without the leaf, attached ${order ? 'after' : 'before'} the newer one with it`,
    world: judged(() => {
      const lists = [
        listOf(issuing, { thisUpdate: ago(2 * day), number: 1 }),
        listOf(issuing, { lines: [revoked(ann)], number: 2 }),
      ];
      return order ? lists.reverse() : lists;
    }),
    reasons: ['revoked'],
  })),
  {
    name: 'a hold on an older list only',
    world: judged(() => [
      listOf(issuing, { thisUpdate: ago(2 * day), lines: [revoked(ann, { reason: 6 })], number: 1 }),
      listOf(issuing, { number: 2 }),
    ]),
    reasons: [],
  },
  {
    name: "a forger's list with the authority's name",
    world: judged(async () => [listOf(await makeCa('Issuing', { key: 'p256' }), {})]),
    reasons: ['crl-invalid'],
  },
  {
    name: "a forger's newer list beside the right one",
    world: judged(async () => {
      const forger = await makeCa('Issuing', { key: 'p256' });
      return [listOf(forger, { thisUpdate: ago(1000) }), listOf(issuing, { lines: [revoked(ann)] })];
    }),
    reasons: ['revoked'],
  },
  {
    name: 'an authority that may not sign lists',
    world: async () => {
      const ca = await root.intermediate({ name: 'No Lists', key: 'p256', usage: 'keyCertSign' });
      const leaf = await ca.issue({ name: 'Ann', address: 'ann@example.org', key: 'p256' });
      return { leaf, anchors: [root], bag: [ca], crls: [listOf(root), listOf(ca)] };
    },
    reasons: ['crl-invalid'],
  },
  {
    name: 'an unknown critical extension of the list',
    world: judged(() => [listOf(issuing, { extensions: [unknownCritical()] })]),
    reasons: ['crl-invalid'],
  },
  {
    name: "an unknown critical extension of another's entry",
    world: judged(() => [listOf(issuing, { lines: [revoked(root, { extensions: [unknownCritical()] })] })]),
    reasons: ['crl-invalid'],
  },
  {
    name: 'an unknown extension that is not critical',
    world: judged(() => [
      listOf(issuing, { lines: [revoked(root, { extensions: [extension('1.2.3.4.5', derNull())] })] }),
    ]),
    reasons: [],
  },
  {
    name: 'version 1',
    world: judged(() => [
      listOf(issuing, { version: 1, lines: [revoked(root, { reason: undefined as never })] }),
    ]),
    reasons: [],
  },
  {
    name: 'signed with SHA-1',
    world: judged(() => [listOf(issuing, { digest: 'sha1' })]),
    reasons: ['crl-invalid'],
    opensslDiffers: 'looks at the strength of certificates only',
  },
  {
    name: 'signed with SHA-1, weak allowed',
    world: judged(() => [listOf(issuing, { digest: 'sha1' })]),
    allowWeak: true,
    reasons: [],
  },
  // Scopes (RFC 5280 5.2.5, 6.3.3 b).
  { name: 'a list of users only', world: judged(() => [listOf(issuing, { scope: [flag(1)] })]), reasons: [] },
  {
    name: 'a list of authorities only',
    world: judged(() => [listOf(issuing, { scope: [flag(2)] })]),
    reasons: ['crl-missing'],
  },
  {
    name: 'a list of users only, for an authority',
    world: async () => ({
      leaf: ann,
      anchors: [root],
      bag: [issuing],
      crls: [listOf(root, { scope: [flag(1)] }), listOf(issuing)],
    }),
    reasons: ['crl-missing'],
  },
  {
    name: 'a list of attribute certificates',
    world: judged(() => [listOf(issuing, { scope: [flag(5)] })]),
    reasons: ['crl-missing'],
  },
  {
    name: 'the list of the distribution point that the leaf names',
    world: judged(() => [listOf(issuing, { scope: [pointNames(url(here))] })], {
      leaf: () => issueAnn({ extensions: [distributionPoints([pointNames(url(here))])] }),
    }),
    reasons: [],
  },
  {
    name: 'the list of another distribution point',
    world: judged(() => [listOf(issuing, { scope: [pointNames(url(`${here}2`))] })], {
      leaf: () => issueAnn({ extensions: [distributionPoints([pointNames(url(here))])] }),
    }),
    reasons: ['crl-missing'],
  },
  {
    name: 'the list of a distribution point, for a leaf that names none',
    world: judged(() => [listOf(issuing, { scope: [pointNames(url(here))] })]),
    reasons: ['crl-missing'],
  },
  {
    name: 'a list for some reasons only',
    world: judged(() => [listOf(issuing, { scope: [someReasons(1, 2)] })]),
    reasons: ['crl-missing'],
  },
  {
    name: 'two lists for all reasons together',
    world: judged(() => [
      listOf(issuing, { scope: [someReasons(1, 2)] }),
      listOf(issuing, { scope: [someReasons(3, 4, 5, 6, 7, 8)] }),
    ]),
    reasons: [],
  },
  {
    name: 'two lists for all reasons together, listed on the second',
    world: judged(() => [
      listOf(issuing, { scope: [someReasons(1, 2)] }),
      listOf(issuing, { scope: [someReasons(3, 4, 5, 6, 7, 8)], lines: [revoked(ann, { reason: 4 })] }),
    ]),
    reasons: ['revoked'],
  },
  // Delta lists (RFC 5280 5.2.4).
  {
    name: 'listed on the delta only',
    world: judged(() => [
      listOf(issuing, { thisUpdate: ago(2 * day), number: 5, extensions: [freshest()] }),
      listOf(issuing, { number: 6, base: 5, lines: [revoked(ann)] }),
    ]),
    reasons: ['revoked'],
  },
  {
    name: 'a hold that the delta takes back',
    world: judged(() => [
      listOf(issuing, {
        thisUpdate: ago(3 * day),
        number: 5,
        extensions: [freshest()],
        lines: [revoked(ann, { reason: 6, at: ago(4 * day) })],
      }),
      listOf(issuing, { number: 6, base: 5, lines: [revoked(ann, { reason: 8 })] }),
    ]),
    reasons: [],
  },
  {
    name: 'a delta that nobody needs',
    world: judged(() => [
      listOf(issuing, { number: 5, extensions: [freshest()] }),
      listOf(issuing, { number: 6, base: 5 }),
    ]),
    reasons: [],
  },
  {
    name: 'a delta alone',
    world: judged(() => [listOf(issuing, { number: 6, base: 5 })]),
    reasons: ['crl-missing'],
  },
  {
    name: 'a delta that builds on a later list takes no hold back',
    world: judged(() => [
      listOf(issuing, {
        thisUpdate: ago(3 * day),
        number: 5,
        extensions: [freshest()],
        lines: [revoked(ann, { reason: 6, at: ago(4 * day) })],
      }),
      listOf(issuing, { number: 8, base: 7, lines: [revoked(ann, { reason: 8 })] }),
    ]),
    reasons: ['revoked'],
  },
  {
    name: 'an outdated delta takes no hold back',
    world: judged(() => [
      listOf(issuing, {
        thisUpdate: ago(4 * day),
        number: 5,
        extensions: [freshest()],
        lines: [revoked(ann, { reason: 6, at: ago(5 * day) })],
      }),
      listOf(issuing, {
        thisUpdate: ago(3 * day),
        nextUpdate: ago(hour),
        number: 6,
        base: 5,
        lines: [revoked(ann, { reason: 8, at: ago(3 * day) })],
      }),
    ]),
    reasons: ['revoked'],
    opensslDiffers: 'lets an outdated delta take a hold back',
  },
  {
    name: "a forger's delta takes no hold back",
    world: judged(async () => [
      listOf(issuing, {
        thisUpdate: ago(3 * day),
        number: 5,
        extensions: [freshest()],
        lines: [revoked(ann, { reason: 6, at: ago(4 * day) })],
      }),
      listOf(await makeCa('Issuing', { key: 'p256' }), {
        number: 6,
        base: 5,
        lines: [revoked(ann, { reason: 8 })],
      }),
    ]),
    reasons: ['revoked'],
  },
  {
    name: 'a delta of another scope takes no hold back',
    world: judged(() => [
      listOf(issuing, {
        thisUpdate: ago(3 * day),
        number: 5,
        extensions: [freshest()],
        lines: [revoked(ann, { reason: 6, at: ago(4 * day) })],
      }),
      listOf(issuing, { number: 6, base: 5, scope: [flag(1)], lines: [revoked(ann, { reason: 8 })] }),
    ]),
    reasons: ['revoked'],
  },
  {
    name: 'an outdated list made current by its delta',
    world: judged(() => [
      listOf(issuing, {
        thisUpdate: ago(3 * day),
        nextUpdate: ago(hour),
        number: 5,
        extensions: [freshest()],
      }),
      listOf(issuing, { number: 6, base: 5 }),
    ]),
    reasons: [],
  },
  // Who signs (RFC 5280 6.3.3 f).
  {
    name: 'a key of its own for lists',
    world: async () => {
      const signer = await listSigner();
      return { leaf: ann, anchors: [root], bag: [issuing, signer], crls: [listOf(root), signedBy(signer)] };
    },
    reasons: [],
  },
  {
    name: 'a key of its own for lists that was revoked',
    world: async () => {
      const signer = await listSigner();
      const crls = [listOf(root, { lines: [revoked(signer)] }), signedBy(signer)];
      return { leaf: ann, anchors: [root], bag: [issuing, signer], crls };
    },
    reasons: ['crl-invalid'],
  },
  {
    name: 'a key of its own for lists that has expired',
    world: async () => {
      const signer = await listSigner({ notBefore: ago(30 * day), notAfter: ago(day) });
      return { leaf: ann, anchors: [root], bag: [issuing, signer], crls: [listOf(root), signedBy(signer)] };
    },
    reasons: ['crl-invalid'],
    opensslDiffers: 'says that it has expired, and goes on',
  },
  {
    name: 'a key for lists under another anchor',
    world: async () => {
      const other = await makeCa('Other Root', { key: 'p256' });
      const signer = await other.issue({
        name: 'Issuing',
        subjectDer: issuing.subjectDer,
        key: 'p256',
        usage: 'cRLSign',
      });
      const crls = [listOf(root), listOf(other), signedBy(signer)];
      return { leaf: ann, anchors: [root, other], bag: [issuing, signer], crls };
    },
    reasons: ['crl-invalid'],
  },
  {
    name: 'a key for lists that vouches for itself',
    world: async () => {
      const signer = await issuing.issue({
        name: 'Issuing',
        subjectDer: issuing.subjectDer,
        key: 'p256',
        usage: 'cRLSign',
      });
      return { leaf: ann, anchors: [root], bag: [issuing, signer], crls: [listOf(root), signedBy(signer)] };
    },
    reasons: ['crl-invalid'],
    // Its own status is open, which soft mode lets pass.
    remarks: [],
  },
  {
    name: 'two keys for lists that vouch for each other',
    world: async () => {
      const options = {
        name: 'Issuing',
        subjectDer: issuing.subjectDer,
        key: 'p256',
        usage: 'cRLSign',
      } as const;
      const [one, two] = [await issuing.issue(options), await issuing.issue(options)];
      const crls = [listOf(root), signedBy(one, { number: 2 }), signedBy(two)];
      return { leaf: ann, anchors: [root], bag: [issuing, one, two], crls };
    },
    reasons: ['crl-invalid'],
    remarks: [],
  },
  {
    name: 'the leaf signs a list about itself',
    world: async () => {
      const leaf = await issueAnn({ subjectDer: issuing.subjectDer, usage: 'digitalSignature,cRLSign' });
      return { leaf, anchors: [root], bag: [issuing, leaf], crls: [listOf(root), signedBy(leaf)] };
    },
    reasons: ['crl-invalid'],
  },
  // Indirect lists (RFC 5280 5.2.5, 5.3.3).
  ...[
    { name: 'an indirect list', listed: false, isIndirect: true, reasons: [] },
    { name: 'an indirect list with the leaf on it', listed: true, isIndirect: true, reasons: ['revoked'] },
    {
      name: "another authority's list that is not indirect",
      listed: false,
      isIndirect: false,
      reasons: ['crl-missing'],
    },
  ].map(({ name, listed, isIndirect, reasons }) => ({
    name,
    reasons,
    world: async (): Promise<World> => {
      const lister = await root.issue({ name: 'Lister', key: 'p256', usage: 'cRLSign' });
      const points = distributionPoints([pointNames(url(here)), crlIssuer(lister.subjectDer)]);
      const leaf = await issueAnn({ extensions: [points] });
      const lines = listed ? [revoked(leaf, { issuerDer: issuing.subjectDer })] : [revoked(leaf)];
      const scope = [pointNames(url(here)), ...(isIndirect ? [flag(4)] : [])];
      return {
        leaf,
        anchors: [root],
        bag: [issuing, lister],
        crls: [listOf(root), listOf(lister, { scope, lines })],
      };
    },
  })),
  // The instant judged: mail is judged at its receipt, with lists of after it.
  {
    name: 'revoked after the instant judged',
    world: judged(() => [
      listOf(issuing, { thisUpdate: ahead(2 * hour), lines: [revoked(ann, { at: ahead(hour) })] }),
    ]),
    reasons: [],
    opensslDiffers: 'takes no list of after the instant judged',
  },
  {
    name: 'revoked after the instant judged, but lost before it',
    world: judged(() => [
      listOf(issuing, {
        thisUpdate: ahead(2 * hour),
        lines: [revoked(ann, { at: ahead(hour), invalidFrom: ago(hour) })],
      }),
    ]),
    reasons: ['revoked'],
  },
  {
    name: 'a list of after the instant judged tells what a current one does not know yet',
    world: judged(() => [
      listOf(issuing),
      listOf(issuing, { thisUpdate: ahead(hour), number: 2, lines: [revoked(ann, { at: ago(1000) })] }),
    ]),
    reasons: ['revoked'],
    opensslDiffers: 'takes no list of after the instant judged',
  },
  {
    name: 'a list of the future does not hide what the current one says',
    world: judged(() => [
      listOf(issuing, { lines: [revoked(ann)] }),
      listOf(issuing, { thisUpdate: ahead(30 * day), number: 2 }),
    ]),
    reasons: ['revoked'],
  },
  {
    name: 'a list of after the certificate expired proves nothing by not having it',
    world: judged(() => [listOf(issuing, { thisUpdate: ahead(9 * day) })], {
      leaf: () => issueAnn({ notAfter: ahead(8 * day) }),
    }),
    reasons: ['crl-expired'],
  },
];

describe('revocation lists, required', () => {
  it.each(cases)('$name', async ({ world, reasons, allowWeak = false, opensslDiffers }) => {
    const built = await world();
    const result = validate(built, 'hard', { floor: { ...defaultFloor, allowWeak } });
    expect(result.reasons).toEqual(reasons);
    expect(result.valid).toBe(reasons.length === 0);
    expect(result.remarks).toEqual([]);
    expect(result.unchecked.length).toBe(reasons.some((reason) => reason !== 'revoked') ? 1 : 0);
    const said = await opensslVerify(built, allowWeak);
    if (opensslDiffers === undefined) expect(said.ok, said.words).toBe(result.valid);
    else expect(said.ok, `OpenSSL agrees now: ${opensslDiffers}`).not.toBe(result.valid);
  });
});

describe('revocation lists, where they are there', () => {
  it.each(cases)('$name', async ({ world, reasons, remarks, allowWeak = false }) => {
    const result = validate(await world(), 'soft', { floor: { ...defaultFloor, allowWeak } });
    const isRevoked = reasons.includes('revoked');
    expect(result.valid).toBe(!isRevoked);
    expect(result.reasons).toEqual(isRevoked ? ['revoked'] : []);
    expect(result.remarks).toEqual(remarks ?? reasons.filter((reason) => reason !== 'revoked'));
  });

  it('does not look at all where it is off', async () => {
    const world = await judged(() => [listOf(issuing, { lines: [revoked(ann)] })])();
    expect(validate(world, 'off')).toMatchObject({ valid: true, remarks: [], unchecked: [] });
  });
});

describe('paths', () => {
  it('takes another path where one has a revoked certificate', async () => {
    const cross = await makeCa('Cross', { key: 'p256' });
    const again = await cross.intermediate({ name: 'Issuing', keyFrom: issuing });
    const crls = [listOf(root, { lines: [revoked(issuing)] }), listOf(cross), listOf(issuing)];
    const world = { leaf: ann, anchors: [root, cross], bag: [issuing, again], crls };
    const result = validate(world, 'hard');
    expect(result.path.map((c) => c.issuer)).toEqual(['CN=Issuing', 'CN=Cross', 'CN=Cross']);
    expect(result.valid).toBe(true);
    expect(validate({ ...world, bag: [issuing] }, 'soft').reasons).toEqual(['revoked']);
  });

  it('asks nothing about an anchor', async () => {
    const leaf = await makeSelfSigned({ name: 'Ann', address: 'ann@example.org', key: 'p256' });
    expect(validate({ leaf, anchors: [leaf], bag: [], crls: [] }, 'hard').valid).toBe(true);
  });

  it('names all that is not settled, leaf first', () => {
    const result = validate({ leaf: ann, anchors: [root], bag: [issuing], crls: [] }, 'soft');
    expect(result.unchecked.map((c) => c.subject)).toEqual(['CN=Ann', 'CN=Issuing']);
    expect(result.remarks).toEqual(['crl-missing']);
  });

  it.each(['soft', 'hard'] as const)(
    '%s: a flood of false lists does not hide the right one',
    async (mode) => {
      const forger = await makeCa('Issuing', { key: 'p256' });
      const flood = Array.from({ length: 80 }, (_, i) =>
        listOf(forger, { thisUpdate: ago(i * 1000), number: 500 - i }),
      );
      const crls = [...flood, listOf(root), listOf(issuing, { lines: [revoked(ann)] })];
      const result = validate({ leaf: ann, anchors: [root], bag: [issuing], crls }, mode);
      expect(result.valid).toBe(false);
      expect(result.reasons).toEqual(['path-budget']);
    },
  );

  it('does not look at more than five thousand lists, and says so', async () => {
    const crls = Array.from({ length: evidenceLimits.crls + 1 }, () => Buffer.from('none'));
    const result = validate({ leaf: ann, anchors: [root], bag: [issuing], crls }, 'soft');
    expect(result.reasons).toEqual(['path-budget']);
  });

  it('whatever octet of the list is changed, nobody on it gets off it', () => {
    const whole = listOf(issuing, { lines: [revoked(ann)] });
    const rest = listOf(root);
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const changed = Buffer.from(whole);
        changed[at] = (changed[at] ?? 0) ^ change;
        const world = { leaf: ann, anchors: [root], bag: [issuing], crls: [changed, rest] };
        expect(validate(world, 'hard').valid).toBe(false);
      }),
      { numRuns: 300 },
    );
  });

  it('leaves out what is no list at all', async () => {
    const crls = [Buffer.from('none'), Buffer.alloc(0), listOf(issuing), listOf(root)];
    expect(validate({ leaf: ann, anchors: [root], bag: [issuing], crls }, 'hard').valid).toBe(true);
  });

  it('reads lists in memory that threads share', () => {
    const share = (der: Buffer): Uint8Array => {
      const shared = new Uint8Array(new SharedArrayBuffer(der.length));
      shared.set(der);
      return shared;
    };
    const crls = [listOf(issuing, { lines: [revoked(ann)] }), listOf(root)].map((der) =>
      Buffer.from(share(der).buffer),
    );
    expect(validate({ leaf: ann, anchors: [root], bag: [issuing], crls }, 'soft').reasons).toEqual([
      'revoked',
    ]);
  });
});

describe('what to fetch', () => {
  it('asks for the lists and answers of what is not settled', async () => {
    const leaf = await issueAnn({
      extensions: [distributionPoints([pointNames(url(here), url('ldap://x/'))])],
    });
    const world = { leaf, anchors: [root], bag: [issuing], crls: [] };
    expect(wantedFor(validate(world, 'soft'))).toEqual([{ kind: 'crl', url: here }]);
    expect(wantedFor(validate(world, 'hard'))).toEqual([{ kind: 'crl', url: here }]);
    expect(wantedFor(validate(world, 'off'))).toEqual([]);
    expect(wantedFor(validate({ ...world, crls: [listOf(root), listOf(issuing)] }, 'hard'))).toEqual([]);
  });
});

function validate(
  world: World,
  mode: 'off' | 'soft' | 'hard',
  request: Partial<PathRequest> = {},
): PathResult {
  const parse = (identity: Identity) => parseCertificate(identity.certDer);
  return validatePath(parse(world.leaf), {
    anchors: { certificates: world.anchors.map(parse) },
    intermediates: world.bag.map(parse),
    at: now,
    purpose: 'any',
    floor: defaultFloor,
    revocation: { mode, evidence: { ...noEvidence, crls: world.crls } },
    ...request,
  });
}

/** The same question to OpenSSL, which asks about the anchor too. */
async function opensslVerify(world: World, allowWeak: boolean) {
  const folder = tempFolder();
  const write = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const pems = (identities: readonly Identity[]) => identities.map((i) => i.certPem).join('');
  const result = await runProgram('openssl', [
    ...['verify', '-attime', String(now / 1000), '-auth_level', allowWeak ? '0' : '2'],
    ...['-crl_check_all', '-extended_crl', '-use_deltas'],
    ...['-CAfile', write('anchors.pem', pems(world.anchors))],
    ...(world.bag.length > 0 ? ['-untrusted', write('bag.pem', pems(world.bag))] : []),
    ...['-CRLfile', write('lists.pem', world.crls.map(listPem).join(''))],
    write('leaf.pem', world.leaf.certPem),
  ]);
  return { ok: result.code === 0, words: result.stdout.toString() + result.stderr };
}
