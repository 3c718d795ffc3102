import { describe, expect, it } from 'vitest';
import { isFault } from '../../src/base/errors.ts';
import { Positions } from '../../src/pki/positions.ts';

function read(hex: string, identifier?: number, limit?: number): string {
  const source = Buffer.from(hex, 'hex');
  const at = new Positions(source);
  try {
    at.read(0, limit ?? source.length, identifier);
    return `${at.contentStart}-${at.contentEnd} ${at.end}`;
  } catch (error) {
    return isFault(error) ? error.code : String(error);
  }
}

describe('Positions', () => {
  it.each([
    ['a short length', '020101', '2-3 3'],
    ['a long length', '0481020102', '3-5 5'],
    ['a length of four octets', '0484000000020102', '6-8 8'],
    ['an indefinite length', '308002010100000500', '2-5 7'],
    ['indefinite inside indefinite', '30803080000002010100000500', '2-9 11'],
    ['nothing', '', 'ber-malformed'],
    ['no length', '02', 'ber-malformed'],
    ['a length beyond the end', '02020101'.slice(0, 6), 'ber-malformed'],
    ['a length of five octets', '04850000000001ff', 'ber-malformed'],
    ['length octets beyond the end', '048201', 'ber-malformed'],
    ['a high tag number', '1f810101ff', 'ber-malformed'],
    ['a primitive of indefinite length', '04800000', 'ber-malformed'],
    ['an indefinite length without an end', '3080020101', 'ber-malformed'],
    ['too much nesting', `${'3080'.repeat(20)}${'0000'.repeat(20)}`, 'ber-malformed'],
  ])('%s', (_what, hex, expected) => {
    expect(read(hex)).toBe(expected);
  });

  it('keeps to the limit and to the type asked for', () => {
    expect(read('020101', 0x02, 2)).toBe('ber-malformed');
    expect(read('020101', 0x30)).toBe('ber-malformed');
    expect(read('020101', 0x02)).toBe('2-3 3');
  });
});
