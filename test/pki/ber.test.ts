import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isFault } from '../../src/base/errors.ts';
import { bytesOf, octetsOf, oidOf, readBer, smallIntegerOf, textOf, timeOf } from '../../src/pki/ber.ts';
import { der, derInteger, derOid, derSequence, derSetOf, derTime } from '../../src/pki/der.ts';

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');

describe('readBer', () => {
  it.each([
    ['cut off in the length', '30 82 01'],
    ['cut off in the content', '30 03 02 01'],
    ['a child longer than its parent', '30 03 02 05 01 02 03'],
    ['a primitive of indefinite length', '04 80 00 00'],
    ['no end of contents', '30 80 02 01 01'],
    ['a length of seven octets', '04 87 00 00 00 00 00 00 01 00'],
    ['a length without end', '04 ff 00'],
    ['a tag number without end', '1f ff ff ff ff ff 7f 00'],
    ['nothing', ''],
  ])('refuses %s', (_what, octets) => {
    expect(() => readBer(hex(octets))).toThrow(expect.objectContaining({ code: 'ber-malformed' }));
  });

  it('stops at its budget', () => {
    const wide = der(0x30, Buffer.alloc(2000));
    expect(() => readBer(wide, 0, { elements: 1000, depth: 5 })).toThrow(/1000 elements/);
    let deep: Buffer = Buffer.alloc(0);
    for (let i = 0; i < 50; i++) deep = derSequence(deep);
    expect(() => readBer(deep)).toThrow(/40 levels of nesting/);
    expect(() => readBer(Buffer.alloc(1_000_000, hex('30 80')))).toThrow(/levels of nesting/);
  });

  it('reads streamed octet strings as one', () => {
    const node = readBer(hex('24 80 04 02 01 02 24 04 04 02 03 04 04 00 00 00'));
    expect(octetsOf(node)).toEqual(hex('01 02 03 04'));
    expect(node.end).toBe(16);
  });

  it('throws only faults, whatever comes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (octets) => {
        try {
          const node = readBer(Buffer.from(octets));
          return bytesOf(node).length === node.end;
        } catch (error) {
          return isFault(error, 'ber-malformed') || isFault(error, 'ber-budget');
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('values', () => {
  it.each(['1.2.840.113549.1.7.2', '2.5.29.17', '0.9.2342.19200300.100.1.1', '2.999.3'])(
    'reads %s as written',
    (oid) => {
      expect(oidOf(readBer(derOid(oid)))).toBe(oid);
    },
  );

  it('refuses a giant object identifier at once', () => {
    const started = performance.now();
    expect(() => oidOf(readBer(der(6, Buffer.alloc(2_000_000, 0xff))))).toThrow(/too long/);
    expect(performance.now() - started).toBeLessThan(500);
  });

  it.each([
    ['170d3439313233313233353935395a', '2049-12-31T23:59:59Z'],
    ['170d3530303130313030303030305a', '1950-01-01T00:00:00Z'],
    ['180f32303530303130313030303030305a', '2050-01-01T00:00:00Z'],
    ['180f39393939313233313233353935395a', '9999-12-31T23:59:59Z'],
  ])('reads the time %s', (octets, expected) => {
    expect(timeOf(readBer(hex(octets)))).toBe(Date.parse(expected));
    expect(derTime(Date.parse(expected)).toString('hex')).toBe(octets);
  });

  it.each([
    '170b3439313233313233353' + '95a',
    '170d3439313333313233353935395a',
    '17114931323331323335393539' + '2b30303030',
  ])('refuses the time %s', (octets) => {
    expect(() => timeOf(readBer(hex(octets)))).toThrow();
  });

  it('writes integers as short as they can be', () => {
    expect([0, 1, 127, 128, 256].map((n) => derInteger(n).toString('hex'))).toEqual([
      '020100',
      '020101',
      '02017f',
      '02020080',
      '02020100',
    ]);
    expect(derInteger(hex('00 00 80')).toString('hex')).toBe('02020080');
    expect(smallIntegerOf(readBer(derInteger(65537)))).toBe(65537);
  });

  it('sorts SET OF (X.690 11.6)', () => {
    expect(derSetOf(derInteger(2), derInteger(1)).toString('hex')).toBe('3106020101020102');
  });

  it('reads BMPString of an odd length without failing', () => {
    expect(textOf(readBer(der(30, hex('00 41 00'))))).toBe('A');
  });
});
