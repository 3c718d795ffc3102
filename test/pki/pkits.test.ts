import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { defaultFloor } from '../../src/pki/algorithms.ts';
import { type Certificate, parseCertificate } from '../../src/pki/certificate.ts';
import { validatePath } from '../../src/pki/path.ts';
import { toPem } from '../../src/pki/pem.ts';
import { type RevocationPolicy, revocationOff } from '../../src/pki/revocation.ts';
import { runProgram } from '../kit/client.ts';
import { needs } from '../kit/needs.ts';
import { tempFolder } from '../kit/tmp.ts';

const pkits = '../shared/corpora/pkits';

interface Expectation {
  readonly test: string;
  readonly title: string;
  readonly endEntity: string;
  readonly valid: boolean;
}

/** DSA parameters taken from the issuer's certificate: neither OpenSSL 3 nor reseal reads such keys. */
const unsupported = /^4\.1\.5$/;

/** PKITS 4.14 and 4.15 in their order: end entity, and whether the path is valid. */
const scopesAndDeltas: readonly (readonly [test: string, endEntity: string, valid: boolean])[] = [
  ['4.14.1', 'ValiddistributionPointTest1', true],
  ['4.14.2', 'InvaliddistributionPointTest2', false],
  ['4.14.3', 'InvaliddistributionPointTest3', false],
  ['4.14.4', 'ValiddistributionPointTest4', true],
  ['4.14.5', 'ValiddistributionPointTest5', true],
  ['4.14.6', 'InvaliddistributionPointTest6', false],
  ['4.14.7', 'ValiddistributionPointTest7', true],
  ['4.14.8', 'InvaliddistributionPointTest8', false],
  ['4.14.9', 'InvaliddistributionPointTest9', false],
  ['4.14.10', 'ValidNoissuingDistributionPointTest10', true],
  ['4.14.11', 'InvalidonlyContainsUserCertsTest11', false],
  ['4.14.12', 'InvalidonlyContainsCACertsTest12', false],
  ['4.14.13', 'ValidonlyContainsCACertsTest13', true],
  ['4.14.14', 'InvalidonlyContainsAttributeCertsTest14', false],
  ['4.14.15', 'InvalidonlySomeReasonsTest15', false],
  ['4.14.16', 'InvalidonlySomeReasonsTest16', false],
  ['4.14.17', 'InvalidonlySomeReasonsTest17', false],
  ['4.14.18', 'ValidonlySomeReasonsTest18', true],
  ['4.14.19', 'ValidonlySomeReasonsTest19', true],
  ['4.14.20', 'InvalidonlySomeReasonsTest20', false],
  ['4.14.21', 'InvalidonlySomeReasonsTest21', false],
  ['4.14.22', 'ValidIDPwithindirectCRLTest22', true],
  ['4.14.23', 'InvalidIDPwithindirectCRLTest23', false],
  ['4.14.24', 'ValidIDPwithindirectCRLTest24', true],
  ['4.14.25', 'ValidIDPwithindirectCRLTest25', true],
  ['4.14.26', 'InvalidIDPwithindirectCRLTest26', false],
  ['4.14.27', 'InvalidcRLIssuerTest27', false],
  ['4.14.28', 'ValidcRLIssuerTest28', true],
  ['4.14.29', 'ValidcRLIssuerTest29', true],
  ['4.14.30', 'ValidcRLIssuerTest30', true],
  ['4.14.31', 'InvalidcRLIssuerTest31', false],
  ['4.14.32', 'InvalidcRLIssuerTest32', false],
  ['4.14.33', 'ValidcRLIssuerTest33', true],
  ['4.14.34', 'InvalidcRLIssuerTest34', false],
  ['4.14.35', 'InvalidcRLIssuerTest35', false],
  ['4.15.1', 'InvaliddeltaCRLIndicatorNoBaseTest1', false],
  ['4.15.2', 'ValiddeltaCRLTest2', true],
  ['4.15.3', 'InvaliddeltaCRLTest3', false],
  ['4.15.4', 'InvaliddeltaCRLTest4', false],
  ['4.15.5', 'ValiddeltaCRLTest5', true],
  ['4.15.6', 'InvaliddeltaCRLTest6', false],
  ['4.15.7', 'ValiddeltaCRLTest7', true],
  ['4.15.8', 'ValiddeltaCRLTest8', true],
  ['4.15.9', 'InvaliddeltaCRLTest9', false],
  ['4.15.10', 'InvaliddeltaCRLTest10', false],
];

/** RFC 8550 6: invalid list, outdated list and no list are told apart. */
const reasonsOf44 = {
  InvalidMissingCRLTest1: 'crl-missing',
  InvalidRevokedCATest2: 'revoked',
  InvalidRevokedEETest3: 'revoked',
  InvalidBadCRLSignatureTest4: 'crl-invalid',
  InvalidBadCRLIssuerNameTest5: 'crl-missing',
  InvalidWrongCRLTest6: 'crl-missing',
  InvalidUnknownCRLEntryExtensionTest8: 'crl-invalid',
  InvalidUnknownCRLExtensionTest9: 'crl-invalid',
  InvalidUnknownCRLExtensionTest10: 'crl-invalid',
  InvalidOldCRLnextUpdateTest11: 'crl-expired',
  Invalidpre2000CRLnextUpdateTest12: 'crl-expired',
  InvalidNegativeSerialNumberTest15: 'revoked',
  InvalidLongSerialNumberTest18: 'revoked',
  InvalidSeparateCertificateandCRLKeysTest20: 'revoked',
  InvalidSeparateCertificateandCRLKeysTest21: 'crl-invalid',
};

describe.skipIf(!needs('shared/corpora/pkits', existsSync(pkits)))('NIST PKITS', () => {
  const read = (file: string) => parseCertificate(readFileSync(`${pkits}/certs/${file}`));
  const authorities = () =>
    readdirSync(`${pkits}/certs`)
      .filter((f) => !f.endsWith('EE.crt'))
      .map(read);
  const expectations = (): Expectation[] =>
    readFileSync(`${pkits}/expected.tsv`, 'utf8')
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => {
        const [test = '', title = '', endEntity = '', verdict] = line.split('\t');
        return { test, title, endEntity, valid: verdict === 'valid' };
      });

  /** All lists of PKITS at once, as a site's folder of lists would have them. */
  const allCrls = () => ({
    crls: readdirSync(`${pkits}/crls`).map((file) => readFileSync(`${pkits}/crls/${file}`)),
    ocsp: [],
  });
  /** Those that sign lists for other authorities stand above nobody. */
  const indirect = () =>
    readdirSync(`${pkits}/certs`)
      .filter((f) => f.startsWith('indirectCRL'))
      .map(read);
  const judge = (leaf: Certificate, all: readonly Certificate[], revocation: RevocationPolicy) =>
    validatePath(leaf, {
      anchors: { certificates: [read('TrustAnchorRootCertificate.crt')] },
      intermediates: [...above(leaf, all), ...indirect()],
      at: Date.parse('2010-12-10'),
      purpose: 'any',
      floor: { ...defaultFloor, allowWeak: true },
      revocation,
    });

  it('4.1 to 4.7: agrees in all 76 cases but that of inherited DSA parameters', () => {
    const all = authorities();
    const evidence = allCrls();
    const disagreeing: string[] = [];
    const list = expectations();
    for (const { test, title, endEntity, valid } of list) {
      const result = judge(read(endEntity), all, { mode: 'hard', evidence });
      if (result.valid !== (valid && !unsupported.test(test)))
        disagreeing.push(`${test} ${title}: ${result.reasons.join(' ') || 'valid'}`);
    }
    expect(disagreeing).toEqual([]);
    expect(list).toHaveLength(76);
  });

  it('4.4: says why', () => {
    const all = authorities();
    const evidence = allCrls();
    const told = Object.entries(reasonsOf44).map(([endEntity]) => [
      endEntity,
      judge(read(`${endEntity}EE.crt`), all, { mode: 'hard', evidence }).reasons.join(' '),
    ]);
    expect(Object.fromEntries(told)).toEqual(reasonsOf44);
  });

  it('4.14 and 4.15: agrees in all 45 cases of scopes, indirect and delta lists', () => {
    const all = authorities();
    const evidence = allCrls();
    const disagreeing: string[] = [];
    for (const [test, endEntity, valid] of scopesAndDeltas) {
      const result = judge(read(`${endEntity}EE.crt`), all, { mode: 'hard', evidence });
      if (result.valid !== valid) disagreeing.push(`${test}: ${result.reasons.join(' ') || 'valid'}`);
    }
    expect(disagreeing).toEqual([]);
    expect(scopesAndDeltas).toHaveLength(45);
  });

  it('4.8 to 4.13 and 4.16: lists that revoke nobody change no verdict', () => {
    const all = authorities();
    const evidence = allCrls();
    const judged = new Set([
      ...expectations().map(({ endEntity }) => endEntity),
      ...scopesAndDeltas.map(([, endEntity]) => `${endEntity}EE.crt`),
    ]);
    const files = readdirSync(`${pkits}/certs`).filter((f) => f.endsWith('EE.crt') && !judged.has(f));
    const changed = files.filter((file) => {
      const leaf = read(file);
      return judge(leaf, all, revocationOff).valid !== judge(leaf, all, { mode: 'hard', evidence }).valid;
    });
    expect(changed).toEqual([]);
    expect(files).toHaveLength(102);
  });

  it('4.8 to 4.16, policies and name constraints: agrees with OpenSSL', { timeout: 120_000 }, async () => {
    const all = authorities();
    const anchor = read('TrustAnchorRootCertificate.crt');
    const known = new Set(expectations().map(({ endEntity }) => endEntity));
    const files = readdirSync(`${pkits}/certs`).filter((f) => f.endsWith('EE.crt') && !known.has(f));
    const folder = tempFolder();
    const write = (name: string, certificates: readonly Certificate[]) => {
      writeFileSync(join(folder, name), certificates.map((c) => toPem(c.der)).join(''));
      return join(folder, name);
    };
    const at = Date.parse('2010-12-10');
    const floor = { ...defaultFloor, allowWeak: true };
    const disagreeing: string[] = [];
    for (const file of files) {
      const leaf = read(file);
      const intermediates = above(leaf, all);
      const anchors = { certificates: [anchor] };
      const result = validatePath(leaf, { anchors, intermediates, at, purpose: 'any', floor });
      const { code } = await runProgram('openssl', [
        ...['verify', '-attime', String(at / 1000), '-auth_level', '0'],
        // RFC 5280 6.1.1 (c): any policy will do; without saying so OpenSSL wants none.
        ...['-policy_check', '-policy', '2.5.29.32.0'],
        ...['-CAfile', write('anchor.pem', [anchor]), '-untrusted', write('bag.pem', intermediates)],
        write('leaf.pem', [leaf]),
      ]);
      if (result.valid !== (code === 0)) disagreeing.push(`${file}: ${result.reasons.join(' ') || 'valid'}`);
    }
    expect(disagreeing).toEqual([]);
    expect(files).toHaveLength(147);
  });
});

/** The certificates that may stand above a leaf: PKITS as a whole has more than a message would. */
function above(leaf: Certificate, all: readonly Certificate[]): Certificate[] {
  const found = new Set<Certificate>();
  const waiting = [leaf];
  for (let one = waiting.pop(); one; one = waiting.pop()) {
    for (const other of all) {
      if (other.subjectName !== one.issuerName || found.has(other)) continue;
      found.add(other);
      waiting.push(other);
    }
  }
  return [...found];
}
