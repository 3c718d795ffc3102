import { beforeAll, describe, expect, it } from 'vitest';
import { parseContentInfo } from '../../src/cms/content-info.ts';
import { parseSignedData, type SignedData } from '../../src/cms/signed-data.ts';
import { type SignerReport, verifySigner } from '../../src/cms/verify.ts';
import { defaultFloor, type Floor } from '../../src/pki/algorithms.ts';
import { type Certificate, parseCertificate } from '../../src/pki/certificate.ts';
import { hasProgram, needs } from '../kit/needs.ts';
import { cmsSign, type SignOptions } from '../kit/openssl.ts';
import { type Identity, type KeyKind, makeCa, makeSelfSigned, type TestCa } from '../kit/pki.ts';

const entity = Buffer.from('Content-Type: text/plain\r\n\r\nI agree to the minutes.\r\n');
const people = new Map<KeyKind, Identity>();
let ca: TestCa;
const person = (kind: KeyKind): Identity => people.get(kind) as Identity;
const certificateOf = (identity: Identity): Certificate => parseCertificate(identity.certDer);

beforeAll(async () => {
  ca = await makeCa('Verifying Root');
  for (const key of ['rsa', 'rsa1024', 'rsa4096', 'rsa-pss', 'p256', 'p384', 'p521', 'brainpool256'] as const)
    people.set(key, await ca.issue({ name: `Owner of ${key}`, address: 'o@a.example', key }));
});

const parse = (der: Buffer): SignedData => parseSignedData(parseContentInfo(der).content);

function verify(
  der: Buffer,
  d: { content?: Buffer | null; more?: Certificate[]; floor?: Floor; replace?: Partial<SignedData> } = {},
): SignerReport[] {
  const data = { ...parse(der), ...d.replace };
  const content = d.content ? [d.content] : (data.content ?? [entity]);
  return data.signers.map((s) => verifySigner(data, s, content, d.more ?? [], d.floor ?? defaultFloor));
}
const verifyOne = (...args: Parameters<typeof verify>): SignerReport => verify(...args)[0] as SignerReport;

describe.skipIf(!needs('openssl', hasProgram('openssl')))('what OpenSSL signs, verified', () => {
  const forms: SignOptions[] = [
    {},
    { opaque: true },
    { opaque: true, stream: true },
    { keyId: true },
    { noAttributes: true },
    { noAttributes: true, opaque: true, stream: true },
  ];
  it.each(forms)('%j', async (form) => {
    const report = verifyOne(await cmsSign(person('rsa'), entity, form));
    expect(report).toMatchObject({
      intact: true,
      weak: false,
      reasons: [],
      digest: 'sha256',
      algorithm: 'rsa-sha256',
    });
    expect(report.certificate?.sha256).toBe(certificateOf(person('rsa')).sha256);
    expect(report.signingTime === null).toBe(form.noAttributes === true);
  });

  const algorithms: [KeyKind, SignOptions, string][] = [
    ['rsa', { digest: 'sha384' }, 'rsa-sha384'],
    ['rsa', { digest: 'sha512' }, 'rsa-sha512'],
    ['rsa4096', { digest: 'sha256' }, 'rsa-sha256'],
    ['rsa', { digest: 'sha256', pss: true }, 'rsa-pss-sha256'],
    ['rsa', { digest: 'sha512', pss: true }, 'rsa-pss-sha512'],
    ['rsa-pss', { digest: 'sha384', pss: true }, 'rsa-pss-sha384'],
    ['p256', { digest: 'sha256' }, 'ecdsa-sha256'],
    ['p384', { digest: 'sha384' }, 'ecdsa-sha384'],
    ['p521', { digest: 'sha512' }, 'ecdsa-sha512'],
    ['brainpool256', { digest: 'sha256' }, 'ecdsa-sha256'],
  ];
  it.each(algorithms)('%s %j', async (key, options, algorithm) => {
    const der = await cmsSign(person(key), entity, options);
    expect(verifyOne(der)).toMatchObject({ intact: true, weak: false, reasons: [], algorithm });
    expect(verifyOne(der, { content: Buffer.from('another text') })).toMatchObject({
      intact: false,
      reasons: ['bad-digest'],
      capabilities: null,
      signingTime: null,
    });
  });

  it.each<[KeyKind, SignOptions, string]>([
    ['rsa', { digest: 'sha1' }, 'weak-digest'],
    ['rsa', { digest: 'md5' }, 'weak-digest'],
    ['rsa1024', { digest: 'sha256' }, 'weak-key'],
  ])('%s %j is intact and weak', async (key, options, reason) => {
    const der = await cmsSign(person(key), entity, options);
    expect(verifyOne(der)).toMatchObject({ intact: true, weak: true, reasons: [reason] });
    expect(verifyOne(der, { floor: { ...defaultFloor, allowWeak: true } })).toMatchObject({
      weak: false,
      reasons: [],
    });
  });

  it('reports several signers apart, the good beside the bad', async () => {
    const der = await cmsSign(person('rsa'), entity, { also: [person('p256')] });
    expect(verify(der).map((report) => report.intact)).toEqual([true, true]);
    const bad = [...parse(der).signers].map((s) =>
      s.signatureAlgorithm.oid.startsWith('1.2.840.10045')
        ? { ...s, signature: Buffer.from('30060201010201010') }
        : s,
    );
    expect(verify(der, { replace: { signers: bad } }).map((report) => report.reasons)).toEqual(
      expect.arrayContaining([[], ['bad-signature']]),
    );
  });

  it('reads capabilities and signing time', async () => {
    const report = verifyOne(await cmsSign(person('rsa'), entity));
    expect(report.capabilities?.[0]).toBe(0x30);
    expect(Math.abs((report.signingTime ?? 0) - Date.now())).toBeLessThan(60_000);
    expect(report.signatureSha256).toMatch(/^[0-9a-f]{64}$/);
  });

  describe('finding the signer', () => {
    it('takes a certificate from the store if the message has none', async () => {
      const der = await cmsSign(person('rsa'), entity, { noCertificates: true });
      expect(verifyOne(der)).toMatchObject({ intact: false, certificate: null, reasons: ['signer-unknown'] });
      expect(verifyOne(der, { more: [certificateOf(person('rsa'))] })).toMatchObject({
        intact: true,
        reasons: [],
      });
    });

    it.each([false, true])(
      'passes over forged ones of the same name and number, by key identifier: %s',
      async (keyId) => {
        const alice = person('rsa');
        const forge = (key: KeyKind) =>
          makeSelfSigned({
            name: 'Forger',
            address: 'boss@a.example',
            key,
            serial: alice.serial,
            issuerDer: ca.subjectDer,
            extensions: [{ oid: '2.5.29.14', valueDer: skiOf(alice) }],
          });
        const forged = await Promise.all([forge('rsa'), forge('p256')]);
        const der = await cmsSign(alice, entity, { keyId });
        const genuine = certificateOf(alice);
        const certificates = [...forged.map(certificateOf), genuine];
        expect(verifyOne(der, { replace: { certificates } })).toMatchObject({
          intact: true,
          certificate: { sha256: genuine.sha256 },
          certificates: [genuine],
        });
        expect(verifyOne(der, { replace: { certificates: certificates.slice(0, 2) } })).toMatchObject({
          intact: false,
          certificate: null,
          reasons: ['bad-signature'],
        });
      },
    );

    it('gives every certificate around the verifying key: only trust can tell them apart', async () => {
      const alice = person('rsa');
      const twin = await makeSelfSigned({
        name: 'Twin',
        address: 'boss@a.example',
        keyFrom: alice,
        serial: alice.serial,
        issuerDer: ca.subjectDer,
      });
      const report = verifyOne(await cmsSign(alice, entity), {
        replace: { certificates: [certificateOf(twin), certificateOf(alice)] },
      });
      expect(report.certificates.map((c) => c.sha256)).toEqual(
        [twin, alice].map((i) => certificateOf(i).sha256),
      );
    });
  });

  it('notices every changed octet of content, attributes and signature', async () => {
    const der = await cmsSign(person('p256'), entity, { opaque: true });
    const data = parse(der);
    const attrs = data.signers[0]?.signedAttrs;
    if (!attrs || !data.content) throw new Error('not as expected');
    const offsetOf = (part: Buffer) => part.byteOffset - der.byteOffset;
    const regions: [string, number, number][] = [
      ['content', offsetOf(data.content[0] as Buffer), (data.content[0] as Buffer).length],
      ['attributes', attrs.contentStart, attrs.contentEnd - attrs.contentStart],
      [
        'signature',
        offsetOf(data.signers[0]?.signature as Buffer),
        data.signers[0]?.signature.length as number,
      ],
    ];
    for (const [name, start, length] of regions) {
      for (let at = start; at < start + length; at++) {
        const changed = Buffer.from(der);
        changed[at] = (changed[at] as number) ^ 0x01;
        expect(intactOrFault(changed), `octet ${at - start} of ${name}`).toBe(false);
      }
    }
  });
});

/** Whether the first signature is intact; a structure that is refused is not. */
function intactOrFault(der: Buffer): boolean {
  try {
    return verifyOne(der).intact;
  } catch (error) {
    expect(error).toMatchObject({ code: expect.stringMatching(/^cms-/) });
    return false;
  }
}

/** The subjectKeyIdentifier extension's value. */
function skiOf(identity: Identity): Buffer {
  const id = certificateOf(identity).subjectKeyId as Buffer;
  return Buffer.concat([Buffer.from([4, id.length]), id]);
}
