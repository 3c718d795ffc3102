import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { defaultFloor } from '../../src/pki/algorithms.ts';
import { type Certificate, parseCertificate } from '../../src/pki/certificate.ts';
import { validatePath } from '../../src/pki/path.ts';
import { toPem } from '../../src/pki/pem.ts';
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

/** Cases that turn on revocation: the path alone is valid. */
const revocation = /^4\.4\.([1-6]|8|9|1[0-25]|18|20|21)$|^4\.5\.[257]$|^4\.7\.[45]$/;
/** DSA parameters taken from the issuer's certificate: neither OpenSSL 3 nor reseal reads such keys. */
const unsupported = /^4\.1\.5$/;

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

  it('4.1 to 4.7: agrees in all 76 cases but those of revocation and inherited DSA parameters', () => {
    const all = authorities();
    const anchor = read('TrustAnchorRootCertificate.crt');
    const disagreeing: string[] = [];
    const list = expectations();
    for (const { test, title, endEntity, valid } of list) {
      const leaf = read(endEntity);
      const result = validatePath(leaf, {
        anchors: { certificates: [anchor] },
        intermediates: above(leaf, all),
        at: Date.parse('2010-12-10'),
        purpose: 'sign',
        floor: { ...defaultFloor, allowWeak: true },
      });
      const expected = revocation.test(test) ? true : unsupported.test(test) ? false : valid;
      if (result.valid !== expected)
        disagreeing.push(`${test} ${title}: ${result.reasons.join(' ') || 'valid'}`);
    }
    expect(disagreeing).toEqual([]);
    expect(list).toHaveLength(76);
    expect(list.filter(({ test }) => revocation.test(test))).toHaveLength(20);
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
