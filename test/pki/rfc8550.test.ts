import { beforeAll, describe, expect, it } from 'vitest';
import { defaultFloor } from '../../src/pki/algorithms.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { derContextPrimitive, derSequence } from '../../src/pki/der.ts';
import { type PathResult, validatePath } from '../../src/pki/path.ts';
import { pemBlocks } from '../../src/pki/pem.ts';
import { noEvidence } from '../../src/pki/revocation.ts';
import { contentTypeAttribute, digestAttribute, forgeSignedData, readSigned } from '../cms/forge.ts';
import type { Extension } from '../kit/issue.ts';
import { type Identity, type KeyKind, makeCa, type TestCa } from '../kit/pki.ts';

// Requirements of RFC 8550 that no other test is about.

let ca: TestCa;
let alice: Identity;
beforeAll(async () => {
  ca = await makeCa('Root', { key: 'p256' });
  alice = await ca.issue({ name: 'Alice', address: 'alice@example.org' });
});

const validate = (leaf: Identity, anchor: Identity, crls: readonly Buffer[] | null = null): PathResult =>
  validatePath(parseCertificate(leaf.certDer), {
    anchors: { certificates: [parseCertificate(anchor.certDer)] },
    intermediates: [],
    at: Date.now(),
    purpose: 'sign',
    floor: defaultFloor,
    ...(crls ? { revocation: { mode: 'hard', evidence: { ...noEvidence, crls } } } : {}),
  });

describe('a revocation list is verified (RFC 8550 4.3)', () => {
  it.each<[string, KeyKind, readonly string[]]>([
    ['RSA with SHA-256', 'rsa', []],
    ['RSASSA-PSS with SHA-256', 'rsa-pss', []],
    ['ECDSA on P-256', 'p256', []],
    ['Ed25519', 'ed25519', []],
    ['RSA of 1024 bits', 'rsa1024', ['weak', 'weak-key']],
  ])('by %s', async (_, key, reasons) => {
    const authority = await makeCa('Lists', { key });
    const forger = await makeCa('Lists', { key });
    const bob = await authority.issue({ name: 'Bob', address: 'bob@example.org', key: 'p256' });
    const list = (by: TestCa, revoked: Identity[]) =>
      pemBlocks(Buffer.from(by.crl({ revoked }))).map(({ der }) => der);
    const judged = (by: TestCa, revoked: Identity[]) => validate(bob, authority, list(by, revoked));
    expect(judged(authority, [alice]).reasons).toEqual(reasons);
    expect(judged(authority, [bob]).valid).toBe(false);
    expect(judged(forger, [alice]).valid).toBe(false);
  });
});

describe('names (RFC 8550 3, RFC 5280 4.1.2.6)', () => {
  const empty = derSequence();
  const critical = (address: string): Extension => ({
    oid: '2.5.29.17',
    critical: true,
    valueDer: derSequence(derContextPrimitive(1, Buffer.from(address))),
  });

  it('a person with an empty subject has his address in a critical alternative name', async () => {
    const nameless = await ca.issue({
      name: 'Nameless',
      subjectDer: empty,
      extensions: [critical('nameless@example.org')],
    });
    expect(validate(nameless, ca)).toMatchObject({ valid: true, reasons: [] });
    expect(parseCertificate(nameless.certDer).addresses).toEqual(['nameless@example.org']);
  });
});

describe('the certificates of a message (RFC 8550 2.2)', () => {
  it.each([
    ['PKCS #6 extended certificates', 0],
    ['attribute certificates of version 1', 1],
    ['attribute certificates of version 2', 2],
    ['other formats', 3],
  ])('%s are passed over, and the others read', (_, number) => {
    const content = Buffer.from('hello');
    const attributes = [contentTypeAttribute(), digestAttribute(content)];
    const certificates = [derContextPrimitive(number, Buffer.from('anything')), alice.certDer];
    const data = readSigned(forgeSignedData({ signer: alice, content, attributes, certificates }));
    expect(data).toMatchObject({ certificates: [{ subject: 'CN=Alice' }], badCertificates: 0 });
  });
});
