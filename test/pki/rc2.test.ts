import { expect, it } from 'vitest';
import { decryptRc2 } from '../../src/pki/rc2.ts';

/** RFC 2268 5, all that have keys of at most 128 octets: key, effective bits, plaintext, ciphertext. */
const vectors: readonly (readonly [key: string, bits: number, plain: string, cipher: string])[] = [
  ['0000000000000000', 63, '0000000000000000', 'ebb773f993278eff'],
  ['ffffffffffffffff', 64, 'ffffffffffffffff', '278b27e42e2f0d49'],
  ['3000000000000000', 64, '1000000000000001', '30649edf9be7d2c2'],
  ['88', 64, '0000000000000000', '61a8a244adacccf0'],
  ['88bca90e90875a', 64, '0000000000000000', '6ccf4308974c267f'],
  ['88bca90e90875a7f0f79c384627bafb2', 64, '0000000000000000', '1a807d272bbe5db1'],
  ['88bca90e90875a7f0f79c384627bafb2', 128, '0000000000000000', '2269552ab0f85ca6'],
  [
    '88bca90e90875a7f0f79c384627bafb216f80a6f85920584c42fceb0be255daf1e',
    129,
    '0000000000000000',
    '5b78d3a43dfff1f1',
  ],
];

it.each(vectors)('RC2 with key %s, %i bits', (key, effectiveBits, plain, cipher) => {
  const d = { key: Buffer.from(key, 'hex'), iv: Buffer.alloc(8), effectiveBits };
  expect(decryptRc2(Buffer.from(cipher, 'hex'), d).toString('hex')).toBe(plain);
});

it('chains blocks: CBC', () => {
  const d = { key: Buffer.alloc(8, 0xff), iv: Buffer.alloc(8, 0xff) };
  const twice = Buffer.from('278b27e42e2f0d49'.repeat(2), 'hex');
  expect(decryptRc2(twice, d).toString('hex')).toBe('0000000000000000d874d81bd1d0f2b6');
});
