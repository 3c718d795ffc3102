import { createHash, sign } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import type { SignerInfo } from '../../src/cms/signed-data.ts';
import { type SignerReport, verifySigner } from '../../src/cms/verify.ts';
import { defaultFloor, derAlgorithm, derDigest, keyOid } from '../../src/pki/algorithms.ts';
import { contentOf, readBer } from '../../src/pki/ber.ts';
import * as w from '../../src/pki/der.ts';
import { type Identity, makeCa, makeSelfSigned } from '../kit/pki.ts';
import {
  attribute,
  contentTypeAttribute,
  digestAttribute,
  type Forgery,
  forgeSignedData,
  oid,
  readSigned,
  sha256,
} from './forge.ts';

const content = Buffer.from('Content-Type: text/plain\r\n\r\nPay the bill.\r\n');
let alice: Identity;
let bob: Identity;

beforeAll(async () => {
  const ca = await makeCa('Attribute Root');
  alice = await ca.issue({ name: 'Alice', address: 'alice@a.example' });
  bob = await ca.issue({ name: 'Bob', address: 'bob@a.example' });
});

function report(forgery: Partial<Forgery> = {}): SignerReport {
  const usual = { signer: alice, content, attributes: [contentTypeAttribute(), digestAttribute(content)] };
  const data = readSigned(forgeSignedData({ ...usual, ...forgery }));
  return verifySigner(data, data.signers[0] as SignerInfo, data.content ?? [], [], defaultFloor);
}

const essCertIdV2 = (hash: Buffer, algorithm?: Buffer) =>
  attribute(
    oid.signingCertificateV2,
    w.derSequence(w.derSequence(w.derSequence(...(algorithm ? [algorithm] : []), w.derOctets(hash)))),
  );
const essCertId = (hash: Buffer) =>
  attribute(oid.signingCertificate, w.derSequence(w.derSequence(w.derSequence(w.derOctets(hash)))));
const hashOf = (name: string, identity: Identity) => createHash(name).update(identity.certDer).digest();
const protection = (digest: Buffer, signatureOid: string) =>
  attribute(
    oid.algorithmProtection,
    w.derSequence(digest, w.derContext(1, w.derOid(signatureOid), w.derNull())),
  );
const both = () => [contentTypeAttribute(), digestAttribute(content)];

describe('the rules for signed attributes', () => {
  const rows: [string, () => Partial<Forgery>, string[]][] = [
    ['contentType and messageDigest are enough', () => ({}), []],
    [
      'without contentType (RFC 5652 5.3)',
      () => ({ attributes: [digestAttribute(content)] }),
      ['missing-attribute'],
    ],
    ['without messageDigest', () => ({ attributes: [contentTypeAttribute()] }), ['missing-attribute']],
    ['with no attribute at all', () => ({ attributes: [] }), ['missing-attribute']],
    [
      'contentType twice (11.1)',
      () => ({ attributes: [...both(), contentTypeAttribute()] }),
      ['duplicate-attribute', 'missing-attribute'],
    ],
    [
      'messageDigest twice, one right and one wrong',
      () => ({ attributes: [...both(), digestAttribute(Buffer.from('other'))] }),
      ['duplicate-attribute', 'missing-attribute'],
    ],
    [
      'messageDigest with two values',
      () => ({
        attributes: [
          contentTypeAttribute(),
          attribute(
            oid.messageDigest,
            w.derOctets(sha256(content)),
            w.derOctets(sha256(Buffer.from('other'))),
          ),
        ],
      }),
      ['duplicate-attribute', 'missing-attribute'],
    ],
    [
      'messageDigest without a value',
      () => ({ attributes: [contentTypeAttribute(), attribute(oid.messageDigest)] }),
      ['duplicate-attribute', 'missing-attribute'],
    ],
    [
      'capabilities twice (RFC 8551 2.5.2)',
      () => ({ attributes: [...both(), ...Array(2).fill(attribute(oid.capabilities, w.derSequence()))] }),
      ['duplicate-attribute'],
    ],
    [
      'signing time with two values',
      () => ({ attributes: [...both(), attribute(oid.signingTime, w.derTime(0), w.derTime(1000))] }),
      ['duplicate-attribute'],
    ],
    [
      'contentType of another content (5.3)',
      () => ({ attributes: [contentTypeAttribute(oid.signedData), digestAttribute(content)] }),
      ['content-type-mismatch'],
    ],
    [
      'digest of another content',
      () => ({ attributes: [contentTypeAttribute(), digestAttribute(Buffer.from('other'))] }),
      ['bad-digest'],
    ],
    [
      'an empty messageDigest',
      () => ({
        attributes: [contentTypeAttribute(), attribute(oid.messageDigest, w.derOctets(Buffer.alloc(0)))],
      }),
      ['bad-digest'],
    ],
    [
      'signed by another key',
      () => ({ signer: { certDer: alice.certDer, key: bob.key } }),
      ['bad-signature'],
    ],
    ['an empty signature', () => ({ signature: Buffer.alloc(0) }), ['bad-signature']],
    ['no attributes, id-data (5.3)', () => ({ attributes: null }), []],
    [
      'no attributes, other content',
      () => ({ attributes: null, eContentType: oid.signedData }),
      ['missing-attribute'],
    ],
    [
      'unknown attributes (RFC 8551 2.5)',
      () => ({ attributes: [...both(), attribute('1.2.3.4', w.derNull())] }),
      [],
    ],
    [
      'signingCertificateV2 of the signer',
      () => ({ attributes: [...both(), essCertIdV2(hashOf('sha256', alice))] }),
      [],
    ],
    [
      'signingCertificateV2 with SHA-512',
      () => ({ attributes: [...both(), essCertIdV2(hashOf('sha512', alice), derDigest('sha512'))] }),
      [],
    ],
    [
      'signingCertificateV2 of somebody else (RFC 5035 3)',
      () => ({ attributes: [...both(), essCertIdV2(hashOf('sha256', bob))] }),
      ['certificate-binding'],
    ],
    [
      'signingCertificate of the signer',
      () => ({ attributes: [...both(), essCertId(hashOf('sha1', alice))] }),
      [],
    ],
    [
      'signingCertificate of somebody else beside a right V2',
      () => ({
        attributes: [...both(), essCertId(hashOf('sha1', bob)), essCertIdV2(hashOf('sha256', alice))],
      }),
      ['certificate-binding'],
    ],
    [
      'a broken signingCertificateV2',
      () => ({ attributes: [...both(), attribute(oid.signingCertificateV2, w.derNull())] }),
      ['certificate-binding'],
    ],
    [
      'algorithm protection that fits (RFC 6211)',
      () => ({ attributes: [...both(), protection(derDigest('sha256'), keyOid.rsa)] }),
      [],
    ],
    [
      'algorithm protection for another digest',
      () => ({ attributes: [...both(), protection(derDigest('sha512'), keyOid.rsa)] }),
      ['bad-signature'],
    ],
    [
      'algorithm protection for another signature algorithm',
      () => ({ attributes: [...both(), protection(derDigest('sha256'), keyOid.rsaPss)] }),
      ['bad-signature'],
    ],
    [
      'an algorithm with another digest inside than beside it (RFC 5754 3.2)',
      () => ({ algorithm: derAlgorithm('1.2.840.113549.1.1.13', w.derNull()) }),
      ['unsupported'],
    ],
    ['an unknown signature algorithm', () => ({ algorithm: derAlgorithm('1.2.3.4') }), ['unsupported']],
  ];
  it.each(rows)('%s', (_, forgery, reasons) => {
    const made = report(forgery());
    expect(made).toMatchObject({ intact: reasons.length === 0, reasons });
  });

  it('attributes out of order are right whether the sender signed them so or in DER', () => {
    const attributes = both().sort((a, b) => Buffer.compare(b, a));
    expect(report({ attributes }).reasons).toEqual([]);
    expect(report({ attributes, covered: w.derSetOf(...attributes) }).reasons).toEqual([]);
  });

  it('attributes in BER are right if the sender signed the DER', () => {
    const attributes = both();
    const ber = attributes.map((a) =>
      Buffer.concat([Buffer.from([0x30, 0x80]), a.subarray(2), Buffer.alloc(2)]),
    );
    expect(report({ attributes: ber, covered: w.derSetOf(...attributes) }).reasons).toEqual([]);
  });

  it('the attributes of one message are not the text of another', () => {
    const first = readSigned(forgeSignedData({ signer: alice, content, attributes: both() }));
    const attributes = w.derSetOf(...both());
    const signature = first.signers[0]?.signature;
    if (!signature) throw new Error('no signature');
    const covered = w.der(0x31, ...both());
    expect(covered.equals(attributes)).toBe(true);
    expect(report({ attributes: null, content: covered, signature }).reasons).toEqual(['missing-attribute']);
    // Text that only begins like a SET is text.
    expect(report({ attributes: null, content: Buffer.from('1 apple\r\n') }).reasons).toEqual([]);
  });

  it('an ECDSA signature is known again when somebody put n - s for s, which verifies too (RULES 4)', async () => {
    const carol = await makeSelfSigned({ name: 'Carol', key: 'p256' });
    const forgery = { signer: carol, attributes: both(), algorithm: derAlgorithm('1.2.840.10045.4.3.2') };
    const signature = sign('sha256', w.der(0x31, ...both()), carol.key);
    const [r, s] = readBer(signature).children.map((node) => BigInt(`0x${contentOf(node).toString('hex')}`));
    const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
    const integer = (value = 0n) => w.derInteger(Buffer.from(value.toString(16).padStart(64, '0'), 'hex'));
    const twin = w.derSequence(integer(r), integer(order - (s ?? 0n)));
    const [first, second] = [signature, twin].map((value) => report({ ...forgery, signature: value }));
    expect([first?.intact, second?.intact]).toEqual([true, true]);
    expect(second?.signatureSha256).toBe(first?.signatureSha256);
    const another = sign('sha256', w.der(0x31, ...both()), carol.key);
    expect(report({ ...forgery, signature: another }).signatureSha256).not.toBe(first?.signatureSha256);
  });

  it('gives nothing that was claimed by a signature which is not intact', () => {
    const claims = [
      attribute(oid.capabilities, w.derSequence()),
      attribute(oid.signingTime, w.derTime(1_700_000_000_000)),
      attribute(oid.preference, w.derContextPrimitive(2, Buffer.from('0102', 'hex'))),
    ];
    const good = report({ attributes: [...both(), ...claims] });
    expect(good).toMatchObject({ signingTime: 1_700_000_000_000, preference: { kind: 'key-id' } });
    expect(good.capabilities).not.toBeNull();
    const bad = report({ attributes: [...both(), ...claims], signature: Buffer.alloc(256, 1) });
    expect(bad).toMatchObject({ signingTime: null, preference: null, capabilities: null });
  });

  it.each<[string, () => Buffer, object]>([
    [
      'issuer and serial',
      () => w.derContext(0, alice.subjectDer, w.der(2, Buffer.from([7]))),
      { kind: 'issuer-serial', serialDer: Buffer.from([7]) },
    ],
    [
      'recipientKeyId',
      () => w.derContext(1, w.derOctets(Buffer.from([1, 2])), w.der(24, Buffer.from('20260101000000Z'))),
      { kind: 'key-id', keyId: Buffer.from([1, 2]) },
    ],
    [
      'key identifier',
      () => w.derContextPrimitive(2, Buffer.from([3])),
      { kind: 'key-id', keyId: Buffer.from([3]) },
    ],
  ])('reads an encryption key preference by %s', (_, value, expected) => {
    const preference = attribute(oid.preference, value());
    expect(report({ attributes: [...both(), preference] }).preference).toMatchObject(expected);
  });

  it('a broken preference or time is as if absent', () => {
    const attributes = [
      ...both(),
      attribute(oid.preference, w.derNull()),
      attribute(oid.signingTime, w.derNull()),
    ];
    expect(report({ attributes })).toMatchObject({ intact: true, preference: null, signingTime: null });
  });
});
