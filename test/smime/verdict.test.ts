import { describe, expect, it } from 'vitest';
import type { SignerReport } from '../../src/cms/verify.ts';
import type { Certificate } from '../../src/pki/certificate.ts';
import type { Reason } from '../../src/pki/reasons.ts';
import type { JudgedSigner, Pin } from '../../src/smime/judge.ts';
import { type Claim, judgeClaim } from '../../src/smime/verdict.ts';

// What signers prove about From, as a table. A signer is written by name: `who` signed, and what is wrong with him.

interface Written {
  readonly intact?: boolean;
  readonly trusted?: boolean;
  readonly pinned?: boolean;
  readonly addresses?: readonly string[];
  readonly reasons?: readonly Reason[];
  readonly certificate?: string | null;
}

function signer(who: string, d: Written = {}): JudgedSigner {
  const {
    intact = true,
    trusted = intact,
    pinned = false,
    addresses = [`${who}@a.example`],
    reasons = [],
  } = d;
  const certificate = d.certificate === undefined ? who : d.certificate;
  const serialDer = Buffer.from(who);
  const found =
    certificate === null
      ? null
      : ({
          issuerDer: Buffer.from('3000', 'hex'),
          serialDer,
          subjectKeyId: null,
          sha256: who,
        } as unknown as Certificate);
  const verdict = {
    subject: who,
    issuer: 'CA',
    certificate,
    addresses,
    digest: 'sha256',
    algorithm: 'rsa-sha256',
    intact,
    trusted,
    signingTime: 0,
    reasons,
    flaws: [],
    remarks: [],
    missingIssuer: null,
  };
  const id = { kind: 'issuer-serial', issuerDer: Buffer.from('3000', 'hex'), serialDer } as const;
  return {
    report: { id, certificate: found } as unknown as SignerReport,
    certificate: found,
    verdict,
    path: null,
    pinned,
  };
}

const alice = signer('alice');
const mallory = signer('mallory');
const bad = signer('mallory', { intact: false, reasons: ['bad-signature'] });
const unknown = signer('carol', {
  intact: false,
  certificate: null,
  addresses: [],
  reasons: ['signer-unknown'],
});
const odd = (who: string) =>
  signer(who, { intact: false, certificate: null, addresses: [], reasons: ['unsupported'] });
const untrusted = signer('alice', { trusted: false, reasons: ['no-path'] });
const weak = signer('alice', { trusted: false, reasons: ['weak-digest'] });
const nameless = signer('bob', { addresses: [] });
const pinned = signer('bob', { addresses: ['alice@a.example'], pinned: true });

const claim = (d: Partial<Claim> = {}): Claim => ({
  from: 'alice@a.example',
  sender: null,
  protectedFrom: null,
  ...d,
});
const protectedFrom = (address: string | null) => claim({ protectedFrom: { address } });
const pin = (address: string) => [{ sha256: 'bob', address }];

describe('judgeClaim', () => {
  it.each<
    [
      string,
      readonly JudgedSigner[] | null,
      Claim,
      string,
      readonly string[],
      { pins?: readonly Pin[]; layer?: readonly Reason[] }?,
    ]
  >([
    ['no signature', null, claim(), 'unsigned', []],
    ['a signature without signers', [], claim(), 'unsigned', ['no-signers']],
    ['the signer is From', [alice], claim(), 'signed', []],
    ['two signers, one of them From', [mallory, alice], claim(), 'signed', []],
    [
      'two signers, From untrusted, the other trusted',
      [mallory, untrusted],
      claim(),
      'untrusted',
      ['no-path'],
    ],
    ['another signed', [mallory], claim(), 'mismatch', ['no-address-match']],
    [
      'another signed, without a path',
      [signer('mallory', { trusted: false, reasons: ['no-path'] })],
      claim(),
      'mismatch',
      ['no-path', 'no-address-match'],
    ],
    ['Sender signed', [mallory], claim({ sender: 'mallory@a.example' }), 'mismatch', ['signed-by-sender']],
    ['From signed, Sender is another', [alice], claim({ sender: 'mallory@a.example' }), 'signed', []],
    ['no one From', [alice], claim({ from: null }), 'mismatch', ['two-from']],
    [
      'From in other letters is canonical already',
      [alice],
      claim({ from: 'ALICE@a.example' }),
      'mismatch',
      ['no-address-match'],
    ],
    ['the protected From is the same', [alice], protectedFrom('alice@a.example'), 'signed', []],
    [
      'the protected From is another',
      [alice],
      protectedFrom('mallory@a.example'),
      'mismatch',
      ['header-mismatch'],
    ],
    ['the protected From is not one', [alice], protectedFrom(null), 'mismatch', ['header-mismatch']],
    [
      'the outer From is the attacker, the protected one the signer',
      [alice],
      { ...protectedFrom('alice@a.example'), from: 'mallory@a.example' },
      'mismatch',
      ['header-mismatch'],
    ],
    ['a bad signature', [bad], claim(), 'invalid', ['bad-signature']],
    ['a bad one beside a good one', [alice, bad], claim(), 'invalid', ['bad-signature']],
    ['an unknown signer', [unknown], claim(), 'untrusted', ['signer-unknown']],
    ['an unknown signer beside a good one', [alice, unknown], claim(), 'untrusted', ['signer-unknown']],
    [
      'an unknown signer beside a bad one',
      [unknown, bad],
      claim(),
      'invalid',
      ['signer-unknown', 'bad-signature'],
    ],
    ['an unsupported algorithm', [odd('alice')], claim(), 'untrusted', ['unsupported']],
    // RFC 5752: the same signer signed with a newer algorithm as well.
    ['the same signer with an unsupported algorithm too', [alice, odd('alice')], claim(), 'signed', []],
    [
      'another signer with an unsupported algorithm',
      [alice, odd('carol')],
      claim(),
      'untrusted',
      ['unsupported'],
    ],
    ['no path', [untrusted], claim(), 'untrusted', ['no-path']],
    ['weak', [weak], claim(), 'untrusted', ['weak-digest']],
    ['no address in the certificate', [nameless], claim(), 'mismatch', ['no-address']],
    ['no address, pinned to From', [nameless], claim(), 'signed', [], { pins: pin('alice@a.example') }],
    [
      'no address, pinned to another',
      [nameless],
      claim(),
      'mismatch',
      ['no-address'],
      { pins: pin('carol@a.example') },
    ],
    [
      'trusted by a pin for bob alone, names Alice itself',
      [pinned],
      claim(),
      'mismatch',
      ['no-address-match'],
      { pins: pin('bob@a.example') },
    ],
    [
      'trusted by a pin for bob, From is bob',
      [pinned],
      claim({ from: 'bob@a.example' }),
      'signed',
      [],
      { pins: pin('bob@a.example') },
    ],
    [
      'a content beside the detached one',
      [alice],
      claim(),
      'invalid',
      ['content-beside-detached'],
      { layer: ['content-beside-detached'] },
    ],
    ['no CMS signature', [], claim(), 'invalid', ['malformed'], { layer: ['malformed'] }],
    [
      'content of another type',
      [alice],
      claim(),
      'invalid',
      ['content-type-mismatch'],
      { layer: ['content-type-mismatch'] },
    ],
    [
      'a bad signature, and another protected From',
      [bad],
      protectedFrom('x@a.example'),
      'invalid',
      ['bad-signature'],
    ],
    [
      'an unknown signer, and another protected From',
      [unknown],
      protectedFrom('x@a.example'),
      'mismatch',
      ['signer-unknown', 'header-mismatch'],
    ],
    [
      'an unknown signer, and no one From',
      [unknown],
      claim({ from: null }),
      'mismatch',
      ['signer-unknown', 'two-from'],
    ],
    [
      'no signature, and another protected From',
      null,
      protectedFrom('x@a.example'),
      'mismatch',
      ['header-mismatch'],
    ],
    ['no signature, and the same protected From', null, protectedFrom('alice@a.example'), 'unsigned', []],
    ['no signature, and no one From', null, claim({ from: null }), 'unsigned', []],
    ['three signers, the last one bad', [alice, mallory, bad], claim(), 'invalid', ['bad-signature']],
    [
      'From trusted, another untrusted',
      [alice, signer('bob', { trusted: false, reasons: ['no-path'] })],
      claim(),
      'signed',
      [],
    ],
    ['two certificates of From, one of them trusted', [untrusted, alice], claim(), 'signed', []],
    [
      'revoked',
      [signer('alice', { trusted: false, reasons: ['revoked'] })],
      claim(),
      'untrusted',
      ['revoked'],
    ],
  ])('%s', (_, signers, about, verdict, reasons, more = {}) => {
    const judged = judgeClaim(signers, more.layer ?? [], about, more.pins ?? []);
    expect({ verdict: judged.verdict, reasons: judged.reasons }).toEqual({ verdict, reasons });
    // Rights come from these two only.
    expect(judged.author).toBe(verdict === 'signed' ? about.from : null);
    expect(judged.signer !== null).toBe(verdict === 'signed');
    // Only for these is anything worth fetching: all others cannot become `signed`.
    if (judged.speaking.length > 0) expect(['signed', 'untrusted']).toContain(verdict);
  });
});
