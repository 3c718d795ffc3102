import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { defaultFloor, type Floor } from '../../src/pki/algorithms.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { derContext, derContextPrimitive, derIa5, derNull, derSequence } from '../../src/pki/der.ts';
import { type PathRequest, type PathResult, pathLimits, validatePath } from '../../src/pki/path.ts';
import { sentenceOf } from '../../src/pki/reasons.ts';
import { runProgram } from '../kit/client.ts';
import { distinguishedName, type Extension, extendedKeyUsage } from '../kit/issue.ts';
import { type Identity, makeCa, makeSelfSigned, type TestCa } from '../kit/pki.ts';
import { tempFolder } from '../kit/tmp.ts';

interface World {
  readonly leaf: Identity;
  readonly anchors: readonly Identity[];
  readonly bag?: readonly Identity[];
}

interface Case {
  readonly name: string;
  readonly world: () => Promise<World>;
  /** Reasons; none: valid. */
  readonly reasons: readonly string[];
  readonly purpose?: PathRequest['purpose'];
  readonly floor?: Partial<Floor>;
  /** Why OpenSSL judges otherwise, where it does. */
  readonly opensslDiffers?: string;
}

const address = 'ann@example.org';
const day = 86_400_000;
const now = Date.now();
const past = (days: number) => new Date(now - days * day);
const future = (days: number) => new Date(now + days * day);

/** nameConstraints: `permitted` and `excluded` GeneralNames. */
const nameConstraints = (permitted: readonly Buffer[], excluded: readonly Buffer[] = []): Extension => ({
  oid: '2.5.29.30',
  critical: true,
  valueDer: derSequence(
    ...(permitted.length > 0 ? [derContext(0, ...permitted.map((base) => derSequence(base)))] : []),
    ...(excluded.length > 0 ? [derContext(1, ...excluded.map((base) => derSequence(base)))] : []),
  ),
});
const mailName = (text: string) => derContextPrimitive(1, Buffer.from(text));
const dnsName = (text: string) => derContextPrimitive(2, Buffer.from(text));
const directoryName = (commonName: string) => derContext(4, distinguishedName(commonName));
const altNames = (...names: Buffer[]): Extension => ({ oid: '2.5.29.17', valueDer: derSequence(...names) });
const unknownCritical: Extension = { oid: '1.2.3.4.5', critical: true, valueDer: derNull() };
const policies = (oid: Buffer): Extension => ({ oid: '2.5.29.32', valueDer: derSequence(derSequence(oid)) });

let root: TestCa;
let issuing: TestCa;
let stranger: TestCa;

beforeAll(async () => {
  root = await makeCa('Root');
  issuing = await root.intermediate({ name: 'Issuing', key: 'p256' });
  stranger = await makeCa('Stranger', { key: 'p256' });
});

/** A person below `issuing`, which is in the bag. */
const below = (options: Partial<Parameters<TestCa['issue']>[0]>) => async (): Promise<World> => ({
  leaf: await issuing.issue({ name: 'Ann', address, key: 'p256', ...options }),
  anchors: [root],
  bag: [issuing],
});

/** A person below an intermediate that is made as told. */
const underCa =
  (options: Partial<Parameters<TestCa['issue']>[0]>, leaf = {}) =>
  async (): Promise<World> => {
    const ca = await root.intermediate({ name: 'Special', key: 'p256', ...options });
    return {
      leaf: await ca.issue({ name: 'Ann', address, key: 'p256', ...leaf }),
      anchors: [root],
      bag: [ca],
    };
  };

const cases: readonly Case[] = [
  { name: 'root, intermediate, leaf', world: below({}), reasons: [] },
  {
    name: 'the leaf directly below the root',
    world: async () => ({ leaf: await root.issue({ name: 'Ann', address, key: 'p256' }), anchors: [root] }),
    reasons: [],
  },
  {
    name: 'a bag in any order with strangers in it',
    world: async () => {
      const deep = await issuing.intermediate({ name: 'Deep', key: 'p256' });
      const leaf = await deep.issue({ name: 'Ann', address, key: 'p256' });
      return { leaf, anchors: [root], bag: [leaf, stranger, issuing, root, deep] };
    },
    reasons: [],
  },
  {
    name: 'no intermediate at hand',
    world: async () => ({
      leaf: await issuing.issue({ name: 'Ann', address, key: 'p256' }),
      anchors: [root],
    }),
    reasons: ['no-path'],
  },
  {
    name: 'a root that is not trusted, in the bag',
    world: async () => ({
      leaf: await stranger.issue({ name: 'Ann', address, key: 'p256' }),
      anchors: [root],
      bag: [stranger],
    }),
    reasons: ['no-path'],
  },
  {
    name: 'self-signed, from the message',
    world: async () => {
      const leaf = await makeSelfSigned({ name: 'Ann', address });
      return { leaf, anchors: [root], bag: [leaf] };
    },
    reasons: ['no-path'],
  },
  {
    name: 'self-signed, an anchor itself',
    world: async () => {
      const leaf = await makeSelfSigned({ name: 'Ann', address });
      return { leaf, anchors: [leaf] };
    },
    reasons: [],
  },
  {
    name: 'an intermediate as anchor',
    world: async () => ({
      leaf: await issuing.issue({ name: 'Ann', address, key: 'p256' }),
      anchors: [issuing],
    }),
    reasons: [],
    opensslDiffers: 'needs -partial_chain',
  },
  {
    name: "a forger's authority with the name and key identifier of the real one",
    world: async () => {
      const forged = await makeCa('Root', {
        extensions: [
          { oid: '2.5.29.14', valueDer: null },
          { oid: '2.5.29.35', valueDer: null },
        ],
      });
      const leaf = await forged.issue({
        name: 'Ann',
        address,
        extensions: [{ oid: '2.5.29.35', valueDer: null }],
      });
      return { leaf, anchors: [root], bag: [forged] };
    },
    reasons: ['bad-certificate-signature'],
  },
  {
    name: 'two authorities of one name, the right one last',
    world: async () => {
      const other = await makeCa('Twin', { key: 'p256', notAfter: future(7000) });
      const right = await makeCa('Twin', { key: 'p256', notAfter: future(6000) });
      const leaf = await right.issue({
        name: 'Ann',
        address,
        extensions: [{ oid: '2.5.29.35', valueDer: null }],
      });
      return { leaf, anchors: [other, right] };
    },
    reasons: [],
    opensslDiffers: 'takes the first certificate of that name and stops there',
  },
  {
    name: 'one authority with two certificates, one expired',
    world: async () => {
      const old = await root.intermediate({
        name: 'Renewed',
        key: 'p256',
        notBefore: past(900),
        notAfter: past(10),
      });
      const fresh = await root.intermediate({ name: 'Renewed', keyFrom: old });
      return {
        leaf: await old.issue({ name: 'Ann', address, key: 'p256' }),
        anchors: [root],
        bag: [old, fresh],
      };
    },
    reasons: [],
  },
  {
    name: 'two roots that signed each other',
    world: async () => {
      const a = await makeCa('Cross A', { key: 'p256' });
      const b = await makeCa('Cross B', { key: 'p256' });
      const aByB = await b.intermediate({ name: 'Cross A', keyFrom: a });
      const bByA = await a.intermediate({ name: 'Cross B', keyFrom: b });
      return { leaf: await a.issue({ name: 'Ann', address, key: 'p256' }), anchors: [b], bag: [aByB, bByA] };
    },
    reasons: [],
  },
  {
    name: 'two roots that signed each other, none trusted',
    world: async () => {
      const a = await makeCa('Loop A', { key: 'p256' });
      const b = await makeCa('Loop B', { key: 'p256' });
      const aByB = await b.intermediate({ name: 'Loop A', keyFrom: a });
      const bByA = await a.intermediate({ name: 'Loop B', keyFrom: b });
      return {
        leaf: await a.issue({ name: 'Ann', address, key: 'p256' }),
        anchors: [root],
        bag: [aByB, bByA],
      };
    },
    reasons: ['no-path'],
  },
  { name: 'expired leaf', world: below({ notBefore: past(30), notAfter: past(1) }), reasons: ['expired'] },
  { name: 'leaf of tomorrow', world: below({ notBefore: future(1) }), reasons: ['not-yet-valid'] },
  {
    name: 'expired intermediate',
    world: underCa({ notBefore: past(30), notAfter: past(1) }),
    reasons: ['expired'],
  },
  {
    name: 'expired anchor',
    world: async () => {
      const old = await makeCa('Old Root', { key: 'p256', notBefore: past(900), notAfter: past(1) });
      return { leaf: await old.issue({ name: 'Ann', address, key: 'p256' }), anchors: [old] };
    },
    reasons: ['expired'],
  },
  {
    name: 'a person who issues certificates',
    world: async () => {
      const ann = await root.intermediate({ name: 'Ann', key: 'p256', isCa: false });
      return { leaf: await ann.issue({ name: 'Mallory', address }), anchors: [root], bag: [ann] };
    },
    reasons: ['not-a-ca', 'wrong-usage'],
  },
  {
    name: 'an authority without keyCertSign',
    world: underCa({ usage: 'digitalSignature,cRLSign' }),
    reasons: ['wrong-usage'],
  },
  { name: 'an authority without key usage', world: underCa({ usage: 'none' }), reasons: [] },
  {
    name: 'pathLenConstraint 0 with an authority below',
    world: async () => {
      const short = await root.intermediate({ name: 'Short', key: 'p256', pathLength: 0 });
      const more = await short.intermediate({ name: 'More', key: 'p256' });
      return {
        leaf: await more.issue({ name: 'Ann', address, key: 'p256' }),
        anchors: [root],
        bag: [short, more],
      };
    },
    reasons: ['path-too-long'],
  },
  { name: 'pathLenConstraint 0 with a person below', world: underCa({ pathLength: 0 }), reasons: [] },
  {
    name: "the anchor's own pathLenConstraint",
    world: async () => {
      const short = await makeCa('Short Root', { key: 'p256', pathLength: 0 });
      const more = await short.intermediate({ name: 'More', key: 'p256' });
      return { leaf: await more.issue({ name: 'Ann', address, key: 'p256' }), anchors: [short], bag: [more] };
    },
    reasons: ['path-too-long'],
  },
  { name: 'no key usage at all (Sympa dies here)', world: below({ usage: 'none' }), reasons: [] },
  { name: 'nonRepudiation only', world: below({ key: 'rsa', usage: 'nonRepudiation' }), reasons: [] },
  {
    name: 'keyEncipherment only, to sign',
    world: below({ key: 'rsa', usage: 'keyEncipherment' }),
    reasons: ['wrong-usage'],
  },
  {
    name: 'keyEncipherment only, to encrypt',
    world: below({ key: 'rsa', usage: 'keyEncipherment' }),
    purpose: 'encrypt',
    reasons: [],
  },
  {
    name: 'digitalSignature only, to encrypt',
    world: below({ key: 'rsa', usage: 'digitalSignature' }),
    purpose: 'encrypt',
    reasons: ['wrong-usage'],
  },
  {
    name: 'EC with keyAgreement, to encrypt',
    world: below({ key: 'p256', usage: 'keyAgreement' }),
    purpose: 'encrypt',
    reasons: [],
    opensslDiffers: 'asks keyEncipherment of EC keys too',
  },
  { name: 'serverAuth only', world: below({ eku: 'serverAuth' }), reasons: ['wrong-extended-usage'] },
  {
    name: 'serverAuth only, for any purpose',
    world: below({ eku: 'serverAuth' }),
    purpose: 'any',
    reasons: [],
  },
  { name: 'no extended key usage', world: below({ eku: 'none' }), reasons: [] },
  {
    name: 'anyExtendedKeyUsage',
    world: below({ eku: 'any' }),
    reasons: [],
    opensslDiffers: 'does not take anyExtendedKeyUsage for e-mail; RFC 8550 4.4.4 does',
  },
  {
    name: 'an authority for servers only',
    world: underCa({ extensions: [extendedKeyUsage('serverAuth')] }),
    reasons: ['wrong-extended-usage'],
  },
  {
    name: 'unknown critical extension',
    world: below({ extensions: [unknownCritical] }),
    reasons: ['unknown-critical'],
  },
  {
    name: 'unknown critical extension of an authority',
    world: underCa({ extensions: [unknownCritical] }),
    reasons: ['unknown-critical'],
  },
  {
    name: 'unknown extension that is not critical',
    world: below({ extensions: [{ ...unknownCritical, critical: false }] }),
    reasons: [],
  },
  {
    name: 'permitted host',
    world: underCa({ extensions: [nameConstraints([mailName('example.org')])] }),
    reasons: [],
  },
  {
    name: 'another host',
    world: underCa({ extensions: [nameConstraints([mailName('example.com')])] }),
    reasons: ['name-constraint'],
  },
  {
    name: 'excluded host',
    world: underCa({ extensions: [nameConstraints([], [mailName('example.org')])] }),
    reasons: ['name-constraint'],
  },
  {
    name: 'a domain does not cover its own name',
    world: underCa({ extensions: [nameConstraints([mailName('.example.org')])] }),
    reasons: ['name-constraint'],
  },
  {
    name: 'a host does not cover the ones below it',
    world: underCa(
      { extensions: [nameConstraints([mailName('example.org')])] },
      { address: 'ann@mail.example.org' },
    ),
    reasons: ['name-constraint'],
  },
  {
    name: 'a domain covers the hosts below it',
    world: underCa(
      { extensions: [nameConstraints([mailName('.example.org')])] },
      { address: 'ann@mail.example.org' },
    ),
    reasons: [],
  },
  {
    name: 'one of two addresses is not permitted',
    world: underCa(
      { extensions: [nameConstraints([mailName('example.org')])] },
      { address: [address, 'ann@evil.example'] },
    ),
    reasons: ['name-constraint'],
  },
  {
    name: 'an address in the subject is bound as well',
    world: underCa(
      { extensions: [nameConstraints([mailName('example.org')])] },
      { dnEmail: 'boss@evil.example' },
    ),
    reasons: ['name-constraint'],
  },
  {
    name: 'an internationalised address is bound by its domain',
    world: underCa(
      { extensions: [nameConstraints([mailName('example.org')])] },
      { address: ['änn@evil.example'] },
    ),
    reasons: ['name-constraint'],
  },
  {
    name: 'an address that cannot be compared, under an exclusion',
    world: underCa(
      { extensions: [nameConstraints([], [mailName('evil.example')])] },
      { extensions: [altNames(mailName('a b@evil.example'))] },
    ),
    reasons: ['name-constraint'],
  },
  {
    name: 'a server name outside its constraint',
    world: underCa(
      { extensions: [nameConstraints([dnsName('example.com')])] },
      { extensions: [altNames(mailName(address), dnsName('example.org'))] },
    ),
    reasons: ['name-constraint'],
  },
  {
    name: 'a constraint on server names leaves people alone',
    world: underCa({ extensions: [nameConstraints([dnsName('example.com')])] }),
    reasons: [],
  },
  {
    name: 'another directory name',
    world: underCa({ extensions: [nameConstraints([directoryName('Bob')])] }),
    reasons: ['name-constraint'],
  },
  {
    name: 'the same directory name',
    world: underCa({ extensions: [nameConstraints([directoryName('ANN')])] }),
    reasons: [],
  },
  {
    name: 'an authority whose own name is not permitted',
    world: async () => {
      const bound = await root.intermediate({
        name: 'Bound',
        key: 'p256',
        extensions: [nameConstraints([directoryName('Ann')])],
      });
      const more = await bound.intermediate({ name: 'More', key: 'p256' });
      return {
        leaf: await more.issue({ name: 'Ann', address, key: 'p256' }),
        anchors: [root],
        bag: [bound, more],
      };
    },
    reasons: ['name-constraint'],
  },
  {
    name: 'a new key of an authority, under its own constraint',
    world: async () => {
      const bound = await root.intermediate({
        name: 'Bound',
        key: 'p256',
        extensions: [nameConstraints([directoryName('Ann')])],
      });
      const renewed = await bound.intermediate({ name: 'Bound', key: 'p256' });
      return {
        leaf: await renewed.issue({ name: 'Ann', address, key: 'p256' }),
        anchors: [root],
        bag: [bound, renewed],
      };
    },
    reasons: [],
  },
  {
    name: 'an anchor without any extension, as before X.509 version 3',
    world: async () => {
      const extensions = ['2.5.29.19', '2.5.29.14', '2.5.29.35'].map((oid) => ({ oid, valueDer: null }));
      const old = await makeCa('Version 1', { key: 'p256', usage: 'none', extensions });
      return { leaf: await old.issue({ name: 'Ann', address, key: 'p256' }), anchors: [old] };
    },
    reasons: [],
    opensslDiffers: 'takes version 1 only, and the kit writes 3',
  },
  {
    name: 'another authority of that name, with another key identifier',
    world: async () => {
      const [known, other] = await Promise.all(['Twin', 'Twin'].map((name) => makeCa(name, { key: 'p256' })));
      if (!known || !other) throw new Error('no authorities');
      return { leaf: await other.issue({ name: 'Ann', address, key: 'p256' }), anchors: [known] };
    },
    reasons: ['no-path'],
  },
  {
    name: 'a constraint on a form that reseal cannot compare, and such a name',
    world: underCa(
      { extensions: [nameConstraints([derContextPrimitive(7, Buffer.from('0a000000ff000000', 'hex'))])] },
      { extensions: [altNames(mailName(address), derContextPrimitive(7, Buffer.from('0a000001', 'hex')))] },
    ),
    reasons: ['name-constraint'],
    opensslDiffers: 'compares IP addresses; this one is permitted',
  },
  {
    name: 'broken name constraints',
    world: underCa({ extensions: [{ oid: '2.5.29.30', critical: true, valueDer: derIa5('nonsense') }] }),
    reasons: ['name-constraint'],
  },
  {
    name: 'a policy that an authority requires is missing',
    world: underCa({
      extensions: [
        { oid: '2.5.29.36', critical: true, valueDer: derSequence(derContextPrimitive(0, Buffer.from([0]))) },
        policies(Buffer.from('06032a0304', 'hex')),
      ],
    }),
    reasons: ['policy'],
    opensslDiffers: 'looks at policies only if told',
  },
  ...[1, 2].map((after) => ({
    name: `a policy required ${after} certificates below is missing from the first`,
    world: underCa({
      extensions: [
        {
          oid: '2.5.29.36',
          critical: true,
          valueDer: derSequence(derContextPrimitive(0, Buffer.from([after]))),
        },
      ],
    }),
    reasons: after === 1 ? ['policy'] : [],
    ...(after === 1 && { opensslDiffers: 'looks at policies only if told' }),
  })),
  {
    name: 'a policy that an authority requires is there',
    world: underCa(
      {
        extensions: [
          {
            oid: '2.5.29.36',
            critical: true,
            valueDer: derSequence(derContextPrimitive(0, Buffer.from([0]))),
          },
          policies(Buffer.from('06032a0304', 'hex')),
        ],
      },
      { extensions: [policies(Buffer.from('06032a0304', 'hex'))] },
    ),
    reasons: [],
  },
  { name: 'SHA-1 signature on the leaf', world: below({ digest: 'sha1' }), reasons: ['weak', 'weak-digest'] },
  {
    name: 'SHA-1 signature on the leaf, weak allowed',
    world: below({ digest: 'sha1' }),
    floor: { allowWeak: true },
    reasons: [],
  },
  {
    name: 'SHA-1 signature on the anchor only',
    world: async () => {
      const old = await makeCa('SHA-1 Root', { key: 'p256', digest: 'sha1' });
      return { leaf: await old.issue({ name: 'Ann', address, key: 'p256' }), anchors: [old] };
    },
    reasons: [],
  },
  {
    name: 'SHA-256 under a floor of SHA-384',
    world: below({}),
    floor: { digest: 'sha384' },
    reasons: ['weak', 'weak-digest'],
    opensslDiffers: 'has no such floor',
  },
  { name: 'RSA of 1024 bits', world: below({ key: 'rsa1024' }), reasons: ['weak', 'weak-key'] },
  {
    name: 'an authority with RSA of 1024 bits',
    world: underCa({ key: 'rsa1024' }),
    reasons: ['weak', 'weak-key'],
  },
  {
    name: 'RSA of 2048 bits under a floor of 3072',
    world: below({}),
    floor: { rsaBits: 3072 },
    reasons: ['weak', 'weak-key'],
    opensslDiffers: 'has no such floor',
  },
  { name: 'EC authority and leaf', world: underCa({ key: 'p384' }, { key: 'p256' }), reasons: [] },
  { name: 'Ed25519 authority', world: underCa({ key: 'ed25519' }), reasons: [] },
  { name: 'RSASSA-PSS key of the leaf', world: below({ key: 'rsa-pss' }), reasons: [] },
];

describe('validatePath', () => {
  it.each(cases)('$name', async ({ world, reasons, purpose = 'sign', floor, opensslDiffers }) => {
    const built = await world();
    const result = validate(built, { purpose, floor: { ...defaultFloor, ...floor } });
    expect(result.reasons).toEqual(reasons);
    expect(result.valid).toBe(reasons.length === 0);
    const said = await opensslVerify(built, purpose, floor?.allowWeak ?? false);
    if (opensslDiffers === undefined) expect(said.ok, said.words).toBe(result.valid);
    else expect(said.ok, `OpenSSL agrees now: ${opensslDiffers}`).not.toBe(result.valid);
  });

  it('gives the path from leaf to anchor', async () => {
    const { leaf, anchors, bag } = await below({})();
    const { path } = validate({ leaf, anchors, bag: bag ?? [] });
    expect(path.map((c) => c.subject)).toEqual(['CN=Ann', 'CN=Issuing', 'CN=Root']);
  });

  it('names the authority that is missing', async () => {
    const deep = await stranger.intermediate({ name: 'Far, "away"', key: 'p256' });
    const leaf = await deep.issue({ name: 'Ann', address, key: 'p256' });
    const lacking = validate({ leaf, anchors: [root] });
    expect(lacking.missingIssuer).toBe('CN=Far\\, \\"away\\"');
    expect(validate({ leaf, anchors: [root], bag: [deep] }).missingIssuer).toBe('CN=Stranger');
    expect(sentenceOf('no-path', { issuer: lacking.missingIssuer })).toContain(
      `issued by CN=Far\\, \\"away\\", which is not among this list's authorities`,
    );
  });

  it('tells what is wrong with the leaf beside the missing authority', async () => {
    const leaf = await stranger.issue({
      name: 'Ann',
      address,
      key: 'p256',
      notBefore: past(30),
      notAfter: past(1),
    });
    expect(validate({ leaf, anchors: [root] }).reasons).toEqual(['no-path', 'expired']);
  });

  it('is valid in the last second and not after it', async () => {
    const end = new Date(Math.floor(now / 1000) * 1000);
    const world = await below({ notBefore: past(5), notAfter: end })();
    expect(validate(world, { at: end.getTime() + 999 }).valid).toBe(true);
    expect(validate(world, { at: end.getTime() + 1000 }).reasons).toEqual(['expired']);
  });

  it('changes one octet of the signed part, and the signature is bad', async () => {
    const { leaf, anchors, bag } = await below({ address: 'xyz@example.org' })();
    const der = Buffer.from(leaf.certDer);
    der.write('xyy@example.org', der.indexOf('xyz@example.org'));
    const result = validate({ leaf: { ...leaf, certDer: der }, anchors, bag: bag ?? [] });
    expect(result.reasons).toEqual(['bad-certificate-signature']);
  });

  it('trusts nothing without anchors', async () => {
    const { leaf, bag } = await below({})();
    expect(validate({ leaf, anchors: [], bag: [...(bag ?? []), root] }).valid).toBe(false);
  });

  it('stops at eight certificates', async () => {
    const bag: TestCa[] = [];
    for (let i = 0; i < 7; i++)
      bag.push(await (bag.at(-1) ?? root).intermediate({ name: `Step ${i}`, key: 'p256' }));
    const six = await (bag[5] as TestCa).issue({ name: 'Ann', address, key: 'p256' });
    const seven = await (bag[6] as TestCa).issue({ name: 'Ann', address, key: 'p256' });
    expect(validate({ leaf: six, anchors: [root], bag }).path).toHaveLength(pathLimits.depth);
    expect(validate({ leaf: seven, anchors: [root], bag }).reasons).toContain('path-budget');
  });

  it('answers soon when everybody signed everybody', async () => {
    const mesh = await Promise.all([...'ABCDEFG'].map((name) => makeCa(`Mesh ${name}`, { key: 'p256' })));
    const bag: Identity[] = [];
    for (const signer of mesh)
      for (const other of mesh)
        if (other !== signer) bag.push(await signer.intermediate({ name: other.name, keyFrom: other }));
    const leaf = await (mesh[0] as TestCa).issue({ name: 'Ann', address, key: 'p256' });
    const world = { leaf, anchors: [root], bag };
    const started = performance.now();
    const result = validate(world);
    expect(performance.now() - started).toBeLessThan(1000);
    expect(result.valid).toBe(false);
    expect(result.reasons).toContain('path-budget');
  });

  it('finds one of sixty authorities of one name by its key identifier, and gives up without', async () => {
    const crowd = await Promise.all(
      Array.from({ length: 60 }, () => makeCa('Crowd', { key: 'p256', notAfter: future(100) })),
    );
    const right = crowd[59] as TestCa;
    const hinted = await right.issue({ name: 'Ann', address, key: 'p256' });
    expect(validate({ leaf: hinted, anchors: crowd }).valid).toBe(true);
    const silent = [{ oid: '2.5.29.35', valueDer: null }];
    const leaf = await right.issue({ name: 'Ann', address, key: 'p256', extensions: silent });
    expect(validate({ leaf, anchors: crowd }).reasons).toContain('path-budget');
  });

  it('does not read more than a hundred certificates, and finds the path among those', async () => {
    const { leaf, anchors, bag = [] } = await below({})();
    const crowd = await Promise.all(
      Array.from({ length: 110 }, (_, i) => root.issue({ name: `Crowd ${i}`, keyFrom: leaf })),
    );
    expect(validate({ leaf, anchors, bag: [...bag, ...crowd] }).valid).toBe(true);
    expect(validate({ leaf, anchors, bag: [...crowd, ...bag] }).reasons).toEqual(['no-path', 'path-budget']);
  });
});

function validate(world: World, request: Partial<PathRequest> = {}): PathResult {
  const parse = (identity: Identity) => parseCertificate(identity.certDer);
  return validatePath(parse(world.leaf), {
    anchors: { certificates: world.anchors.map(parse) },
    intermediates: (world.bag ?? []).map(parse),
    at: now,
    purpose: 'sign',
    floor: defaultFloor,
    ...request,
  });
}

/** The same question to OpenSSL; level 2 is its floor of 112 bits, which SHA-1 and RSA-1024 miss. */
async function opensslVerify(world: World, purpose: string, allowWeak: boolean) {
  const folder = tempFolder();
  const write = (name: string, identities: readonly Identity[]) => {
    const path = join(folder, name);
    writeFileSync(path, identities.map((i) => i.certPem).join(''));
    return path;
  };
  const wanted =
    { sign: ['-purpose', 'smimesign'], encrypt: ['-purpose', 'smimeencrypt'], any: [] }[purpose] ?? [];
  const bag = world.bag ?? [];
  const result = await runProgram('openssl', [
    'verify',
    ...['-attime', String(Math.floor(now / 1000)), '-auth_level', allowWeak ? '0' : '2'],
    ...wanted,
    ...['-CAfile', write('anchors.pem', world.anchors)],
    ...(bag.length > 0 ? ['-untrusted', write('bag.pem', bag)] : []),
    write('leaf.pem', [world.leaf]),
  ]);
  return { ok: result.code === 0, words: result.stdout.toString() + result.stderr };
}
