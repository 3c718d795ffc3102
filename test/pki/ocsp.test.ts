import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { isFault } from '../../src/base/errors.ts';
import { defaultFloor } from '../../src/pki/algorithms.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { der, derContext, derContextPrimitive, derNull, derOid, derSequence } from '../../src/pki/der.ts';
import { ocspRequest, parseOcspResponse } from '../../src/pki/ocsp.ts';
import { type PathRequest, type PathResult, validatePath } from '../../src/pki/path.ts';
import { wantedFor } from '../../src/pki/wanted.ts';
import { mustRun, runProgram } from '../kit/client.ts';
import { distinguishedName, type Extension } from '../kit/issue.ts';
import { type CertificateOptions, type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import { tempFolder } from '../kit/tmp.ts';
import { type AnswerOptions, makeAnswer } from './answers.ts';
import { distributionPoints, extension, makeList, pointNames, url } from './lists.ts';

const hour = 3_600_000;
const day = 24 * hour;
const now = Math.floor(Date.now() / 1000) * 1000;
const ago = (ms: number) => new Date(now - ms);
const ahead = (ms: number) => new Date(now + ms);

let root: TestCa;
let ann: Identity;
let delegate: Identity;

/** id-kp-OCSPSigning, id-pkix-ocsp-nocheck. */
const ocspSigning = '1.3.6.1.5.5.7.3.9';
const noCheck: Extension = { oid: '1.3.6.1.5.5.7.48.1.5', valueDer: derNull() };
const responder = (options: Partial<CertificateOptions> = {}, issuer: TestCa = root) =>
  issuer.issue({
    name: 'Responder',
    key: 'p256',
    usage: 'digitalSignature',
    eku: ocspSigning,
    extensions: [noCheck],
    ...options,
  });

beforeAll(async () => {
  root = await makeCa('Root', { key: 'p256' });
  ann = await root.issue({ name: 'Ann', address: 'ann@example.org', key: 'p256' });
  delegate = await responder();
});

const answer = (options: Partial<AnswerOptions> = {}): Buffer =>
  makeAnswer({ signer: root, about: ann, issuer: root, thisUpdate: ago(hour), ...options });
const delegated = (signer: Identity, options: Partial<AnswerOptions> = {}): Buffer =>
  answer({ signer, certificates: [signer], ...options });

interface Case {
  readonly name: string;
  readonly answers: () => readonly Buffer[] | Promise<readonly Buffer[]>;
  readonly crls?: () => readonly Buffer[];
  /** In hard mode; none: valid. */
  readonly reasons: readonly string[];
  /** In soft mode, where it is not what hard mode fails for. */
  readonly remarks?: readonly string[];
  /** What OpenSSL judges otherwise and why; `not asked`: more than one answer, or not about OCSP alone. */
  readonly openssl?: string;
}

const list = (lines: readonly Identity[], thisUpdate = ago(hour)): Buffer =>
  makeList({
    issuerDer: root.subjectDer,
    signer: root.key,
    thisUpdate,
    lines: lines.map(({ serial }) => ({ serial, at: ago(2 * day) })),
  });

const cases: readonly Case[] = [
  { name: 'good, by the issuer', answers: () => [answer()], reasons: [] },
  { name: 'good, by the issuer, named by its key', answers: () => [answer({ byKey: true })], reasons: [] },
  {
    name: 'good, SHA-256 in the certificate id',
    answers: () => [answer({ idDigest: 'sha256' })],
    reasons: [],
  },
  { name: 'good, by a delegate', answers: () => [delegated(delegate)], reasons: [] },
  {
    name: 'good, by a delegate, named by its key',
    answers: () => [delegated(delegate, { byKey: true })],
    reasons: [],
  },
  {
    name: 'revoked',
    answers: () => [answer({ status: 'revoked', revokedAt: ago(day) })],
    reasons: ['revoked'],
  },
  {
    name: 'revoked, by a delegate',
    answers: () => [delegated(delegate, { status: 'revoked', revokedAt: ago(day) })],
    reasons: ['revoked'],
  },
  { name: 'unknown', answers: () => [answer({ status: 'unknown' })], reasons: ['crl-missing'] },
  {
    name: 'about another certificate',
    answers: () => [answer({ about: delegate })],
    reasons: ['crl-missing'],
  },
  {
    name: "about a namesake authority's certificate of this number",
    answers: async () => [answer({ issuer: await makeCa('Root', { key: 'p256' }) })],
    reasons: ['crl-missing'],
  },
  {
    name: 'out of date',
    answers: () => [answer({ thisUpdate: ago(3 * day), nextUpdate: ago(day) })],
    reasons: ['crl-expired'],
  },
  { name: 'an hour old, without an end', answers: () => [answer({ nextUpdate: null })], reasons: [] },
  {
    name: 'two days old, without an end',
    answers: () => [answer({ nextUpdate: null, thisUpdate: ago(2 * day) })],
    reasons: ['crl-expired'],
    openssl: 'differs: takes it at any age',
  },
  {
    name: 'of after the instant judged',
    answers: () => [answer({ thisUpdate: ahead(hour) })],
    reasons: [],
    openssl: 'differs: takes no answer of after the instant',
  },
  {
    name: 'revoked after the instant judged',
    answers: () => [answer({ status: 'revoked', thisUpdate: ahead(2 * hour), revokedAt: ahead(hour) })],
    reasons: [],
    openssl: 'not asked',
  },
  {
    name: 'signed by somebody who says to be the issuer',
    answers: async () => {
      const forger = await makeCa('Root', { key: 'p256' });
      return [answer({ signer: forger, certificates: [forger] })];
    },
    reasons: ['crl-invalid'],
  },
  {
    name: 'signed by the certificate itself',
    answers: () => [delegated(ann)],
    reasons: ['crl-invalid'],
  },
  {
    name: 'by a delegate of another authority',
    answers: async () => [delegated(await responder({}, await makeCa('Other', { key: 'p256' })))],
    reasons: ['crl-invalid'],
  },
  {
    name: 'by a delegate whose certificate a forger signed',
    answers: async () => [delegated(await responder({}, await makeCa('Root', { key: 'p256' })))],
    reasons: ['crl-invalid'],
  },
  {
    name: 'by a delegate whose certificate names another issuer',
    answers: async () => [delegated(await responder({ issuerDer: distinguishedName('Other') }))],
    reasons: ['crl-invalid'],
  },
  {
    name: 'by a delegate below the issuer, not directly',
    answers: async () => [
      delegated(await responder({}, await root.intermediate({ name: 'Between', key: 'p256' }))),
    ],
    reasons: ['crl-invalid'],
  },
  {
    name: 'by one who may do anything but was not made a responder',
    answers: async () => [delegated(await responder({ eku: 'any' }))],
    reasons: ['crl-invalid'],
  },
  {
    name: 'by one whose extended key usage does not say so',
    answers: async () => [delegated(await responder({ eku: 'none' }))],
    reasons: ['crl-invalid'],
  },
  {
    name: 'by a delegate who has expired',
    answers: async () => [delegated(await responder({ notBefore: ago(9 * day), notAfter: ago(day) }))],
    reasons: ['crl-invalid'],
  },
  {
    name: 'by a delegate with an unknown critical extension',
    answers: async () => [
      delegated(
        await responder({ extensions: [noCheck, { oid: '1.2.3', critical: true, valueDer: derNull() }] }),
      ),
    ],
    reasons: ['crl-invalid'],
  },
  {
    name: 'by a delegate who does not send his certificate',
    answers: () => [answer({ signer: delegate })],
    reasons: ['crl-invalid'],
  },
  {
    name: 'signed with SHA-1',
    answers: () => [answer({ digest: 'sha1' })],
    reasons: ['crl-invalid'],
    openssl: 'differs: has no floor for answers',
  },
  {
    name: 'an unknown critical extension of the response',
    answers: () => [answer({ extensions: [extension('1.2.3', derNull(), true)] })],
    reasons: ['crl-invalid'],
    openssl: 'differs: does not look',
  },
  {
    name: 'an unknown critical extension of the answer',
    answers: () => [answer({ answerExtensions: [extension('1.2.3', derNull(), true)] })],
    reasons: ['crl-invalid'],
    openssl: 'differs: does not look',
  },
  {
    name: 'an unknown extension that is not critical',
    answers: () => [answer({ extensions: [extension('1.2.3', derNull())] })],
    reasons: [],
  },
  // The responder's own status (RFC 6960 4.2.2.2.1).
  {
    name: 'by a delegate without nocheck, of whom nothing says where his status is',
    answers: async () => [delegated(await responder({ extensions: [] }))],
    reasons: [],
  },
  {
    name: 'by a delegate without nocheck, whose list is missing',
    answers: async () => [
      delegated(
        await responder({ extensions: [distributionPoints([pointNames(url('http://x.example/'))])] }),
      ),
    ],
    reasons: ['crl-invalid'],
    remarks: [],
    openssl: 'differs: does not ask for the status of responders',
  },
  // Several.
  {
    name: 'a new answer beside an old one',
    answers: () => [
      answer({ thisUpdate: ago(5 * hour) }),
      answer({ status: 'revoked', revokedAt: ago(2 * hour), thisUpdate: ago(hour) }),
    ],
    reasons: ['revoked'],
    openssl: 'not asked',
  },
  {
    name: 'a hold at the instant judged that was taken back later',
    answers: () => [
      answer({ thisUpdate: ahead(2 * hour) }),
      answer({ status: 'revoked', revokedAt: ago(2 * hour), thisUpdate: ago(hour) }),
    ],
    reasons: ['revoked'],
    openssl: 'not asked',
  },
  {
    name: 'revoked by the answer, not listed',
    answers: () => [answer({ status: 'revoked' })],
    crls: () => [list([])],
    reasons: ['revoked'],
    openssl: 'not asked',
  },
  {
    name: 'good by the answer, listed',
    answers: () => [answer()],
    crls: () => [list([ann])],
    reasons: ['revoked'],
    openssl: 'not asked',
  },
  {
    name: 'good by the answer, the list is out of date',
    answers: () => [answer()],
    crls: () => [list([], ago(30 * day))],
    reasons: [],
    openssl: 'not asked',
  },
  {
    name: 'not listed, the answer is out of date',
    answers: () => [answer({ thisUpdate: ago(3 * day), nextUpdate: ago(day) })],
    crls: () => [list([])],
    reasons: [],
    openssl: 'not asked',
  },
];

describe('OCSP answers', () => {
  it.each(cases)('$name', async ({ answers, crls, reasons, remarks, openssl }) => {
    const ocsp = await answers();
    const evidence = { ocsp, crls: crls?.() ?? [] };
    const hard = validate(evidence, 'hard');
    expect(hard.reasons).toEqual(reasons);
    const soft = validate(evidence, 'soft');
    const isRevoked = reasons.includes('revoked');
    expect([soft.valid, soft.reasons]).toEqual([!isRevoked, isRevoked ? ['revoked'] : []]);
    expect(soft.remarks).toEqual(isRevoked ? [] : (remarks ?? reasons));
    if (openssl === 'not asked') return;
    const said = await opensslGood(ocsp[0] as Buffer);
    if (openssl === undefined) expect(said.good, said.words).toBe(hard.valid);
    else expect(said.good, `OpenSSL ${openssl}`).not.toBe(hard.valid);
  });

  it('whatever octet is changed, nobody who is revoked becomes good', () => {
    const whole = delegated(delegate, { status: 'revoked', revokedAt: ago(day) });
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const changed = Buffer.from(whole);
        changed[at] = (changed[at] ?? 0) ^ change;
        expect(validate({ ocsp: [changed], crls: [] }, 'hard').valid).toBe(false);
      }),
      { numRuns: 300 },
    );
  });

  it('does not believe a delegate who was revoked', async () => {
    const lost = await responder({ extensions: [] });
    const evidence = { ocsp: [delegated(lost)], crls: [] };
    expect(validate(evidence, 'hard').valid).toBe(true);
    const scope = [derContextPrimitive(3, Buffer.from('0640', 'hex'))];
    // For one reason only, so that the list leaves the question about Ann open.
    const some = makeList({
      issuerDer: root.subjectDer,
      signer: root.key,
      thisUpdate: ago(hour),
      scope,
      lines: [{ serial: lost.serial, at: ago(day) }],
    });
    const result = validate({ ...evidence, crls: [some] }, 'soft');
    expect([result.valid, result.remarks]).toEqual([true, ['crl-invalid']]);
  });
});

describe('with the responder of OpenSSL', () => {
  /** An index of one line each: V good, R revoked. */
  async function respond(state: 'V' | 'R', extra: string[] = []): Promise<Buffer> {
    const folder = tempFolder();
    const at = (name: string, content: string | Uint8Array) => {
      writeFileSync(join(folder, name), content);
      return join(folder, name);
    };
    const utc = (date: Date) => `${date.toISOString().slice(2, 19).replace(/[-:T]/g, '')}Z`;
    const serial = ann.serial.toString('hex').toUpperCase();
    const line = [
      state,
      utc(ahead(300 * day)),
      state === 'R' ? `${utc(ago(day))},keyCompromise` : '',
      serial,
    ];
    const request = ocspRequest(parseCertificate(ann.certDer), parseCertificate(root.certDer));
    await mustRun('openssl', [
      ...['ocsp', '-index', at('index', `${line.join('\t')}\tunknown\t/CN=Ann\n`), '-CA', root.certPath],
      ...['-rsigner', delegate.certPath, '-rkey', delegate.keyPath, '-ndays', '1', ...extra],
      ...['-reqin', at('request', request), '-respout', join(folder, 'response')],
    ]);
    return readFileSync(join(folder, 'response'));
  }

  it.each([
    ['V', [], []],
    ['R', [], ['revoked']],
    ['V', ['-resp_key_id'], []],
    ['V', ['-resp_no_certs'], ['crl-invalid']],
  ] as const)('%s %j', async (state, extra, reasons) => {
    const response = await respond(state, [...extra]);
    // Its clock is the real one: an answer may be a second younger than this file.
    expect(validate({ ocsp: [response], crls: [] }, 'hard').reasons).toEqual(reasons);
  });

  it('asks what OpenSSL would ask', async () => {
    const mine = ocspRequest(parseCertificate(ann.certDer), parseCertificate(root.certDer));
    const theirs = join(tempFolder(), 'request');
    await mustRun('openssl', [
      ...['ocsp', '-no_nonce', '-issuer', root.certPath, '-cert', ann.certPath, '-reqout', theirs],
    ]);
    expect(mine.toString('hex')).toBe(readFileSync(theirs).toString('hex'));
  });
});

describe('parseOcspResponse', () => {
  const codeOf = (octets: Uint8Array): string => {
    try {
      parseOcspResponse(octets);
      return 'read';
    } catch (error) {
      return isFault(error) ? `${error.code}: ${error.message}` : String(error);
    }
  };

  it('tells a refusal from nonsense', () => {
    const refusal = (status: number) => derSequence(der(10, Buffer.from([status])));
    expect(codeOf(refusal(6))).toBe(
      'ocsp-refused: the OCSP responder did not answer the question (unauthorized)',
    );
    expect(codeOf(refusal(3))).toMatch(/^ocsp-refused: .*tryLater/);
    expect(codeOf(refusal(99))).toMatch(/^ocsp-refused: .*status 99/);
    expect(codeOf(refusal(0))).toMatch(/^ocsp-malformed/);
    expect(codeOf(Buffer.from('<html>'))).toMatch(/^ocsp-malformed/);
    expect(codeOf(Buffer.alloc(300_000))).toMatch(/^ocsp-malformed: .*too large/);
  });

  it('throws nothing but its own faults on mutated answers', () => {
    const whole = answer({ status: 'revoked', certificates: [delegate] });
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.nat(255), (at, value) => {
        const mutated = Buffer.from(whole);
        mutated[at] = value;
        expect(codeOf(mutated)).toMatch(/^(read|ocsp-malformed|ocsp-refused)/);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('what to fetch', () => {
  const access = (...entries: [method: string, location: Buffer][]): Extension => ({
    oid: '1.3.6.1.5.5.7.1.1',
    valueDer: derSequence(...entries.map(([method, location]) => derSequence(derOid(method), location))),
  });
  const ocspAt = (text: string): [string, Buffer] => ['1.3.6.1.5.5.7.48.1', url(text)];
  const issuerAt = (text: string): [string, Buffer] => ['1.3.6.1.5.5.7.48.2', url(text)];
  const withAccess = (extensions: readonly Extension[]) =>
    root.issue({ name: 'Ann', address: 'ann@example.org', key: 'p256', extensions });
  const addresses = [
    access(
      issuerAt('http://ca.example/root.cer'),
      ocspAt('http://ocsp.example/'),
      ocspAt('https://two.example/'),
    ),
    distributionPoints(
      [pointNames(url('http://crl.example/a.crl'))],
      [pointNames(url('http://crl.example/a.crl'))],
    ),
  ];

  it('asks the responders first, with the request', async () => {
    const leaf = await withAccess(addresses);
    const certificate = parseCertificate(leaf.certDer);
    const request = ocspRequest(certificate, parseCertificate(root.certDer));
    const wanted = wantedFor(validate({ ocsp: [], crls: [] }, 'hard', leaf));
    expect(wanted).toEqual([
      { kind: 'ocsp', url: 'http://ocsp.example/', request, certificate: certificate.sha256 },
      { kind: 'ocsp', url: 'https://two.example/', request, certificate: certificate.sha256 },
      { kind: 'crl', url: 'http://crl.example/a.crl' },
    ]);
  });

  it("asks for the issuer's certificate where the path ends", async () => {
    const leaf = parseCertificate((await withAccess(addresses)).certDer);
    const result = validatePath(leaf, {
      ...request('hard', { ocsp: [], crls: [] }),
      anchors: { certificates: [] },
    });
    expect(wantedFor(result)).toEqual([{ kind: 'issuer', url: 'http://ca.example/root.cer' }]);
  });

  it.each([
    ['another scheme', 'ldap://ocsp.example/'],
    ['a file', 'file:///etc/passwd'],
    ['a line break', 'http://ocsp.example/\r\nHost: x'],
    ['no host', 'http://'],
    ['far too long', `http://ocsp.example/${'x'.repeat(600)}`],
  ])('leaves out %s', async (_what, text) => {
    const certificate = parseCertificate((await withAccess([access(ocspAt(text), issuerAt(text))])).certDer);
    expect([certificate.ocspUrls, certificate.issuerUrls]).toEqual([[], []]);
  });

  it('leaves out what is broken, and takes four of each', async () => {
    const many = Array.from({ length: 9 }, (_, i) => ocspAt(`http://ocsp.example/${i}`));
    const broken = { oid: '2.5.29.31', valueDer: derContext(5, derNull()) };
    const certificate = parseCertificate((await withAccess([access(...many), broken])).certDer);
    expect(certificate.ocspUrls).toHaveLength(4);
    expect(certificate.crlUrls).toEqual([]);
  });
});

type Given = { readonly crls: readonly Buffer[]; readonly ocsp: readonly Buffer[] };

function request(mode: 'soft' | 'hard', evidence: Given): PathRequest {
  return {
    anchors: { certificates: [parseCertificate(root.certDer)] },
    intermediates: [],
    at: now,
    purpose: 'any',
    floor: defaultFloor,
    revocation: { mode, evidence },
  };
}

function validate(evidence: Given, mode: 'soft' | 'hard', leaf: Identity = ann): PathResult {
  return validatePath(parseCertificate(leaf.certDer), request(mode, evidence));
}

/** Whether OpenSSL believes the answer, and it says `good`. */
async function opensslGood(response: Buffer): Promise<{ good: boolean; words: string }> {
  const path = join(tempFolder(), 'response');
  writeFileSync(path, response);
  const { stdout, stderr } = await runProgram('openssl', [
    ...['ocsp', '-respin', path, '-issuer', root.certPath, '-cert', ann.certPath],
    // Answers with SHA-256 in the id are asked for alike.
    ...['-issuer', root.certPath, '-sha256', '-cert', ann.certPath, '-CAfile', root.certPath, '-no_nonce'],
  ]);
  const words = stdout.toString() + stderr;
  return {
    good: words.includes('Response verify OK') && /: good$/m.test(words) && !/not valid|expired/i.test(words),
    words,
  };
}
