import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Fault } from '../../src/base/errors.ts';
import { parseCapabilities } from '../../src/cms/capabilities.ts';
import { parseContentInfo } from '../../src/cms/content-info.ts';
import { cmsLimits } from '../../src/cms/limits.ts';
import { readRecipients } from '../../src/cms/recipients.ts';
import { parseSignedData } from '../../src/cms/signed-data.ts';
import { canonicalAddress, mailboxesOf, theMailbox } from '../../src/mime/address.ts';
import { parseContentType, parseDisposition } from '../../src/mime/content-type.ts';
import { type Entity, parseEntity, partsOf } from '../../src/mime/entity.ts';
import { parseFields } from '../../src/mime/header.ts';
import { decodeWords } from '../../src/mime/words.ts';
import { type Ber, readBer } from '../../src/pki/ber.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { crlsFromPem, parseCrl } from '../../src/pki/crl.ts';
import * as w from '../../src/pki/der.ts';
import { parseOcspResponse } from '../../src/pki/ocsp.ts';
import { certificatesFromPem } from '../../src/pki/pem.ts';
import { forgeSignedData } from '../cms/forge.ts';
import { makeCa } from '../kit/pki.ts';

// The parsers never throw anything but their own errors, and never exceed their budget.

const seed = 1313;
const runs = { numRuns: 400, seed };

/** What `read` gives, or its Fault; anything else that is thrown fails the test. */
function faultOf(read: () => unknown): Fault | null {
  try {
    read();
    return null;
  } catch (error) {
    if (error instanceof Fault) return error;
    throw error;
  }
}

const anyOctets = fc.uint8Array({ maxLength: 400 }).map((octets) => Buffer.from(octets));

/** ASN.1 that is well formed, of any types and depth, definite and indefinite. */
const { asn1 } = fc.letrec<{ asn1: Buffer; primitive: Buffer; constructed: Buffer; endless: Buffer }>(
  (tie) => ({
    asn1: fc.oneof({ maxDepth: 6 }, tie('primitive'), tie('constructed'), tie('endless')),
    primitive: fc
      .tuple(
        fc.constantFrom(1, 2, 3, 4, 5, 6, 10, 12, 19, 23, 24, 30, 0x80, 0x81),
        fc.uint8Array({ maxLength: 12 }),
      )
      .map(([tag, content]) => w.der(tag, content)),
    constructed: fc
      .tuple(fc.constantFrom(0x30, 0x31, 0x24, 0xa0, 0xa1, 0xa3), fc.array(tie('asn1'), { maxLength: 5 }))
      .map(([tag, children]) => w.der(tag, ...children)),
    endless: fc
      .tuple(fc.constantFrom(0x30, 0x31, 0x24, 0xa0), fc.array(tie('asn1'), { maxLength: 3 }))
      .map(([tag, children]) => Buffer.concat([Buffer.from([tag, 0x80]), ...children, Buffer.from([0, 0])])),
  }),
);
const headerText = fc
  .array(
    fc.oneof(
      fc.string({ maxLength: 40 }),
      fc.constantFrom(
        'From: a@b.example',
        'Content-Type: multipart/mixed; boundary=b',
        '--b',
        '--b--',
        '',
        ' folded',
      ),
      fc.constantFrom('=?utf-8?q?=00?=', '"', '(', '<', '@', ';', ',', '\0', 'charset*0*=', "''%"),
    ),
    { maxLength: 20 },
  )
  .chain((lines) => fc.constantFrom('\r\n', '\n', '', '; ').map((end) => lines.join(end)));

describe('never anything but a Fault', () => {
  const readers: readonly (readonly [string, (octets: Buffer) => unknown])[] = [
    ['readBer', (octets) => readBer(octets)],
    ['parseCertificate', parseCertificate],
    ['parseCrl', parseCrl],
    ['parseOcspResponse', parseOcspResponse],
    ['parseCapabilities', parseCapabilities],
    ['parseContentInfo', (octets) => parseContentInfo(octets)],
    ['parseSignedData', (octets) => parseSignedData(readBer(octets))],
    ['readRecipients', (octets) => readRecipients(readBer(octets), cmsLimits)],
    ['certificatesFromPem', certificatesFromPem],
    ['crlsFromPem', crlsFromPem],
    ['parseEntity and partsOf', (octets) => walk(parseEntity(octets))],
  ];
  it.each(readers)('%s, on any octets and on any ASN.1', (_, read) => {
    fc.assert(
      fc.property(fc.oneof(anyOctets, asn1), (octets) => void faultOf(() => read(octets))),
      runs,
    );
  });

  const textReaders: readonly (readonly [string, (text: string) => unknown])[] = [
    ['decodeWords', decodeWords],
    ['canonicalAddress', canonicalAddress],
    ['parseContentType', parseContentType],
    ['parseDisposition', parseDisposition],
    ['mailboxesOf', (text) => mailboxesOf(fieldsOf(`From: ${text}`), 'From')],
    ['theMailbox', (text) => theMailbox(fieldsOf(`From: ${text}`), 'From')],
    ['parseEntity and partsOf', (text) => walk(parseEntity(Buffer.from(text)))],
  ];
  it.each(textReaders)('%s, on any text', (_, read) => {
    fc.assert(
      fc.property(
        fc.oneof(headerText, fc.string({ unit: 'binary' })),
        (text) => void faultOf(() => read(text)),
      ),
      runs,
    );
  });

  const fieldsOf = (text: string) => parseEntity(Buffer.from(`${text}\r\n\r\n`)).fields;
  function walk(entity: Entity, depth = 0): void {
    if (depth < 5) for (const part of partsOf(entity)) walk(part, depth + 1);
  }
});

describe('never more than the budget', () => {
  const countOf = (node: Ber): number => 1 + node.children.reduce((sum, child) => sum + countOf(child), 0);
  const depthOf = (node: Ber): number => 1 + Math.max(0, ...node.children.map(depthOf));

  it('of ASN.1 elements and levels', () => {
    const limits = { elements: 12, depth: 3 };
    let refused = 0;
    fc.assert(
      fc.property(asn1, (octets) => {
        const fault = faultOf(() => {
          const node = readBer(octets, 0, limits);
          expect(countOf(node)).toBeLessThanOrEqual(limits.elements);
          // The outermost element is level 0.
          expect(depthOf(node)).toBeLessThanOrEqual(limits.depth + 1);
        });
        if (fault?.code === 'ber-budget') refused++;
      }),
      runs,
    );
    expect(refused).toBeGreaterThan(10);
  });

  it('of header fields and octets', () => {
    const limits = { fields: 5, octets: 60 };
    fc.assert(
      fc.property(headerText, (text) => {
        const octets = Buffer.from(text);
        const fault = faultOf(() => {
          const { fields } = parseFields(octets, 0, octets.length, limits);
          expect(fields.length).toBeLessThanOrEqual(limits.fields);
          expect(fields.at(-1)?.end ?? 0).toBeLessThanOrEqual(limits.octets);
        });
        expect([undefined, 'mime-budget']).toContain(fault?.code);
      }),
      runs,
    );
  });

  it('of parts', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('--b', '--b--', 'x', '', '--bb'), { maxLength: 30 }), (lines) => {
        const octets = Buffer.from(
          `Content-Type: multipart/mixed; boundary=b\r\n\r\n${lines.join('\r\n')}\r\n`,
        );
        const fault = faultOf(() => {
          expect(partsOf(parseEntity(octets), { parts: 4 }).length).toBeLessThanOrEqual(4);
        });
        expect([undefined, 'mime-budget']).toContain(fault?.code);
      }),
      runs,
    );
  });

  it('of certificates, signers and attributes, whatever the number asked for', async () => {
    const signer = await makeCa('Property Root', { key: 'rsa' });
    const content = Buffer.from('x');
    fc.assert(
      fc.property(fc.nat(40), fc.nat(8), (certificates, repeat) => {
        const der = forgeSignedData({
          signer,
          content,
          attributes: null,
          certificates: Array<Buffer>(certificates).fill(signer.certDer),
          repeat,
          signature: Buffer.alloc(256),
        });
        const fault = faultOf(() => parseSignedData(parseContentInfo(der).content));
        const over = certificates > cmsLimits.certificates || repeat > cmsLimits.signers;
        expect(fault?.code).toBe(over ? 'cms-budget' : undefined);
      }),
      { numRuns: 60, seed },
    );
  });
});
