import { createHash } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { defaultFloor } from '../../src/pki/algorithms.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { type PathResult, validatePath } from '../../src/pki/path.ts';
import { noEvidence } from '../../src/pki/revocation.ts';
import { type Identity, makeCa, type TestCa } from '../kit/pki.ts';
import { derLine, makeList } from './lists.ts';

const now = Math.floor(Date.now() / 1000) * 1000;
let ca: TestCa;
let good: Identity;
let gone: Identity;
/** Of 100,000 entries; `gone` is the last of them. */
let crl: Buffer;

beforeAll(async () => {
  ca = await makeCa('Large');
  good = await ca.issue({ name: 'Good', address: 'good@example.org', key: 'p256' });
  gone = await ca.issue({ name: 'Gone', address: 'gone@example.org', key: 'p256' });
  const at = new Date(now - 86_400_000);
  const template = derLine({ serial: Buffer.alloc(16, 0x5a), at, reason: 1 });
  const lines = Array.from({ length: 99_999 }, (_, i) => {
    const line = Buffer.from(template);
    createHash('sha256').update(String(i)).digest().copy(line, 5, 0, 15);
    return line;
  });
  crl = makeList({
    issuerDer: ca.subjectDer,
    signer: ca.key,
    thisUpdate: at,
    linesDer: Buffer.concat([...lines, derLine({ serial: gone.serial, at, reason: 1 })]),
  });
});

/** The whole of it: the list is read, its signature verified, the certificate looked for. */
function validate(leaf: Identity): PathResult {
  return validatePath(parseCertificate(leaf.certDer), {
    anchors: { certificates: [parseCertificate(ca.certDer)] },
    intermediates: [],
    at: now,
    purpose: 'sign',
    floor: defaultFloor,
    revocation: { mode: 'hard', evidence: { ...noEvidence, crls: [crl] } },
  });
}

// How long that takes stands in the bench.
describe('a revocation list of 100,000 entries', () => {
  it.each([
    ['who is not on it is valid', () => good, []],
    ['who is the last on it is revoked', () => gone, ['revoked']],
  ] as const)('%s', (_, leaf, reasons) => {
    expect(validate(leaf()).reasons).toEqual(reasons);
  });
});
