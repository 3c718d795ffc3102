import { deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { openCompressed } from '../../src/cms/compressed-data.ts';
import { parseContentInfo } from '../../src/cms/content-info.ts';
import { cmsLimits } from '../../src/cms/limits.ts';
import { derAlgorithm } from '../../src/pki/algorithms.ts';
import * as w from '../../src/pki/der.ts';
import { runModule } from './compiled.ts';
import { contentInfo, oid } from './forge.ts';

const text = Buffer.from(`Content-Type: text/plain\r\n\r\n${'Again and again.\r\n'.repeat(50)}`);
const compressedData = '1.2.840.113549.1.9.16.1.9';
const zlib = '1.2.840.113549.1.9.16.3.8';

const compressed = (octets: Buffer, algorithm = zlib): Buffer =>
  contentInfo(
    compressedData,
    w.derSequence(
      w.derInteger(0),
      derAlgorithm(algorithm),
      w.derSequence(w.derOid(oid.data), w.derContext(0, w.derOctets(octets))),
    ),
  );
const open = (der: Buffer, openedSize = cmsLimits.openedSize) => {
  const info = parseContentInfo(der);
  expect(info.kind).toBe('compressed-data');
  return openCompressed(info.content, { ...cmsLimits, openedSize });
};
const failing = (code: string) => expect.objectContaining({ code });

describe('CompressedData (RFC 3274)', () => {
  it('opens', () => {
    const { algorithm, contentType, content } = open(compressed(deflateSync(text)));
    expect({ algorithm, contentType, content: content.toString() }).toEqual({
      algorithm: 'zlib',
      contentType: oid.data,
      content: text.toString(),
    });
  });

  it('opens with no content', () => {
    expect(open(compressed(deflateSync(Buffer.alloc(0)))).content).toHaveLength(0);
  });

  it('opens in BER with indefinite lengths and segments', () => {
    const octets = deflateSync(text);
    const indefinite = (head: number, ...content: Buffer[]) =>
      Buffer.concat([Buffer.from([head, 0x80]), ...content, Buffer.alloc(2)]);
    const segments = indefinite(0x24, w.derOctets(octets.subarray(0, 20)), w.derOctets(octets.subarray(20)));
    const encapsulated = indefinite(0x30, w.derOid(oid.data), indefinite(0xa0, segments));
    const data = indefinite(0x30, w.derInteger(0), derAlgorithm(zlib), encapsulated);
    const der = indefinite(0x30, w.derOid(compressedData), indefinite(0xa0, data));
    expect(open(der).content.equals(text)).toBe(true);
  });

  it.each<[string, () => Buffer]>([
    ['nothing', () => Buffer.alloc(0)],
    ['text', () => Buffer.from('not compressed at all')],
    ['gzip', () => gzipSync(text)],
    ['deflate without the head of zlib', () => deflateRawSync(text)],
    ['a stream that ends too early', () => deflateSync(text).subarray(0, -5)],
    ['a wrong checksum', () => Buffer.concat([deflateSync(text).subarray(0, -4), Buffer.alloc(4)])],
    ['a stream that needs a dictionary', () => deflateSync(text, { dictionary: Buffer.from('Again') })],
  ])('%s is cms-malformed', (_, octets) => {
    expect(() => open(compressed(octets()))).toThrowError(failing('cms-malformed'));
  });

  it.each<[string, () => Buffer]>([
    ['without its algorithm', () => w.derSequence(w.derInteger(0))],
    [
      'without its content',
      () => w.derSequence(w.derInteger(0), derAlgorithm(zlib), w.derSequence(w.derOid(oid.data))),
    ],
    ['that is none', () => w.derNull()],
  ])('a structure %s is cms-malformed', (_, content) => {
    expect(() => open(contentInfo(compressedData, content()))).toThrowError(failing('cms-malformed'));
  });

  it('another algorithm is cms-unsupported and named', () => {
    expect(() => open(compressed(deflateSync(text), '1.2.3.4'))).toThrowError(
      expect.objectContaining({ code: 'cms-unsupported', message: expect.stringContaining('1.2.3.4') }),
    );
  });

  it('the limit itself is within the limit', () => {
    const der = compressed(deflateSync(text));
    expect(open(der, text.length).content.equals(text)).toBe(true);
    expect(() => open(der, text.length - 1)).toThrowError(failing('cms-budget'));
  });

  it('a gigabyte of zeros in a megabyte is cms-budget, and takes no more memory than the limit', () => {
    // In a process of its own: the peak of this one has other reasons.
    const result = runModule<{ size: number; code: string; grown: number }>(`
      const { createDeflate } = await import('node:zlib');
      const { openCompressed } = await import(src + '/cms/compressed-data.js');
      const { cmsLimits } = await import(src + '/cms/limits.js');
      const { readBer } = await import(src + '/pki/ber.js');
      const { derInteger, derOctets, derOid, derContext, derSequence } = await import(src + '/pki/der.js');
      const deflate = createDeflate();
      const pieces = [];
      deflate.on('data', (piece) => pieces.push(piece));
      const megabyte = Buffer.alloc(1 << 20);
      for (let i = 0; i < 1024; i++) await new Promise((done) => deflate.write(megabyte, done));
      await new Promise((done) => deflate.end(done));
      const content = derSequence(derOid('${oid.data}'), derContext(0, derOctets(Buffer.concat(pieces))));
      const data = readBer(derSequence(derInteger(0), derSequence(derOid('${zlib}')), content));
      const before = peak();
      let code = 'opened';
      try { openCompressed(data, { ...cmsLimits, openedSize: 32 << 20 }); } catch (error) { code = error.code; }
      console.log(JSON.stringify({ size: data.end, code, grown: peak() - before }));
    `);
    expect(result.code).toBe('cms-budget');
    expect(result.size).toBeLessThan(1_100_000);
    expect(result.grown).toBeLessThan(64 << 20);
  }, 60_000);
});
