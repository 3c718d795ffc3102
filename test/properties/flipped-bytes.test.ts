import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { signDetached } from '../../src/cms/sign.ts';
import { type Ber, readBer } from '../../src/pki/ber.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { withContent } from '../fuzz/samples.ts';
import { cmsEncrypt } from '../kit/openssl.ts';
import type { Identity } from '../kit/pki.ts';
import { cmsEntity, signedEntity } from '../kit/smime-mime.ts';
import { makePeople, openEntity, type People, plain, signed } from '../smime/messages.ts';

// Any flipped octet in what is signed is noticed; one in what is encrypted gives nothing else to read.

const seed = 1312;
const signerKinds = ['rsa', 'p256', 'ed25519'] as const;
const signers = new Map<string, Identity>();
let people: People;
beforeAll(async () => {
  people = await makePeople();
  for (const key of signerKinds)
    signers.set(key, await people.ca.issue({ name: key, address: 'alice@example.org', key }));
});

function flipped(bytes: Buffer, at: number, mask: number): Buffer {
  const changed = Buffer.from(bytes);
  changed[at] = (changed[at] as number) ^ mask;
  return changed;
}
const mask = fc.integer({ min: 1, max: 255 });

/** Where in a SignedData the signed attributes and the signature value of the one SignerInfo are, headers and all. */
function coveredIn(der: Buffer): readonly (readonly [start: number, end: number])[] {
  const signer = readBer(der).children[1]?.children[0]?.children.at(-1)?.children[0];
  const found = (signer?.children ?? []).filter(
    (node) => (node.class === 'context' && node.tag === 0) || (node.class === 'universal' && node.tag === 4),
  );
  if (found.length !== 2) throw new Error('not one SignerInfo with attributes and a signature');
  return found.map(({ start, end }) => [start, end] as const);
}

/** The octets of the eContent. */
function contentIn(der: Buffer): readonly [start: number, end: number] {
  const wrapper = readBer(der).children[1]?.children[0]?.children[2]?.children[1] as Ber;
  const content = wrapper.children[0] as Ber;
  return [content.contentStart, content.contentEnd];
}

const positions = (...spans: readonly (readonly [number, number])[]) =>
  fc.oneof(...spans.map(([start, end]) => fc.integer({ min: start, max: end - 1 })));

describe.each(signerKinds)('a flipped octet under a signature by %s', (kind) => {
  const unsigned = (entity: Buffer) => {
    const report = openEntity(people, entity);
    expect(report.verdict).not.toBe('signed');
    expect([report.author, report.signature]).toEqual([null, null]);
  };
  // By our own signer: OpenSSL 3.0 cannot sign CMS with Ed25519.
  const signature = () => {
    const { key, certDer } = signers.get(kind) as Identity;
    const certificate = parseCertificate(certDer);
    return signDetached(plain, { key, certificate, chain: [], at: Date.now() - 1000 });
  };

  it('in the content of a detached one', () => {
    const der = signature();
    expect(openEntity(people, signedEntity(plain, der)).verdict).toBe('signed');
    fc.assert(
      fc.property(fc.nat(plain.length - 1), mask, (at, by) =>
        unsigned(signedEntity(flipped(plain, at, by), der)),
      ),
      { numRuns: 200, seed },
    );
  });

  it('in the attributes or the signature of a detached one', () => {
    const der = signature();
    fc.assert(
      fc.property(positions(...coveredIn(der)), mask, (at, by) =>
        unsigned(signedEntity(plain, flipped(der, at, by))),
      ),
      { numRuns: 300, seed },
    );
  });

  it('in the content, the attributes or the signature of an opaque one', () => {
    const der = withContent(signature(), plain);
    expect(openEntity(people, cmsEntity(der, 'signed-data')).verdict).toBe('signed');
    fc.assert(
      fc.property(positions(contentIn(der), ...coveredIn(der)), mask, (at, by) =>
        unsigned(cmsEntity(flipped(der, at, by), 'signed-data')),
      ),
      { numRuns: 400, seed },
    );
  });

  it('anywhere in the CMS: what stays signed is what was signed', () => {
    const der = signature();
    const original = openEntity(people, signedEntity(plain, der));
    fc.assert(
      fc.property(fc.nat(der.length - 1), mask, (at, by) => {
        const report = openEntity(people, signedEntity(plain, flipped(der, at, by)));
        if (report.verdict !== 'signed') return;
        expect(report.author).toBe(original.author);
        expect(report.signature?.signatureSha256).toBe(original.signature?.signatureSha256);
        expect(report.signature?.signingTime).toBe(original.signature?.signingTime);
        expect(report.signature?.certificate).toEqual(original.signature?.certificate);
      }),
      { numRuns: 300, seed },
    );
  });
});

describe('a flipped octet of ciphertext', () => {
  const entity = () => signed(signers.get('p256') as Identity, plain);

  it('in GCM opens to the same, or not at all', async () => {
    const inner = await entity();
    const der = await cmsEncrypt([people.list], inner, { cipher: 'aes-256-gcm' });
    fc.assert(
      fc.property(fc.nat(der.length - 1), mask, (at, by) => {
        const report = openEntity(people, cmsEntity(flipped(der, at, by), 'authEnveloped-data'));
        const opened = report.layers.some((layer) => layer.kind === 'encrypted' && layer.opened);
        if (opened) expect(report.entity?.expose().equals(inner)).toBe(true);
        else expect(report.verdict).not.toBe('signed');
      }),
      { numRuns: 500, seed },
    );
  });

  it('in CBC has an answer, and is signed only where the content is the same', async () => {
    const inner = await entity();
    const der = await cmsEncrypt([people.list], inner, { cipher: 'aes-256-cbc' });
    fc.assert(
      fc.property(fc.nat(der.length - 1), mask, (at, by) => {
        const report = openEntity(people, cmsEntity(flipped(der, at, by), 'enveloped-data'));
        expect(['signed', 'unsigned', 'invalid', 'untrusted', 'mismatch', 'unopened', 'malformed']).toContain(
          report.verdict,
        );
        if (report.verdict === 'signed') expect(report.entity?.expose().includes(plain)).toBe(true);
        if (report.verdict === 'unopened' || report.verdict === 'malformed') expect(report.entity).toBe(null);
      }),
      { numRuns: 500, seed },
    );
  });
});
