/**
 * RC2 (RFC 2268), decryption only: OpenSSL 3 has it no more, and old PKCS#12 files are encrypted with it. It protects
 * nothing; never encrypt with it.
 */

// RFC 2268 2: a permutation of 0 to 255 from the digits of pi.
const pi = Buffer.from(
  'd978f9c419ddb5ed28e9fd794aa0d89dc67e37832b76538e624c6488448bfba2' +
    '179a59f587b34f1361456d8d09817d32bd8f40eb86b77b0bf09521225c6b4e82' +
    '54d66593ce60b21c7356c014a78cf1dc1275ca1f3bbee4d1423dd430a33cb626' +
    '6fbf0eda4669075727f21d9bbc944303f811c7f690ef3ee706c3d52fc8661ed7' +
    '08e8eade8052eef784aa72ac354d6a2a961ad2715a1549744b9fd05e0418a4ec' +
    'c2e0416e0f51cbcc2491af50a1f47039997c3a8523b8b47afc02365b25559731' +
    '2d5dfa98e38a92ae05df2910676cbac9d300e6cfe19ea82c6316013f58e289a9' +
    '0d38341bab33ffb0bb480c5fb9b1cd2ec5f3db47e5a59c770aa62068fe7fc1ad',
  'hex',
);

/** Key expansion (RFC 2268 2): 64 words of 16 bits from a key of 1 to 128 octets. */
function expandKey(key: Buffer, effectiveBits: number): Uint16Array {
  const l = Buffer.alloc(128);
  key.copy(l);
  const at = (index: number): number => pi[index & 0xff] as number;
  const octet = (index: number): number => l[index] as number;
  for (let i = key.length; i < 128; i++) l[i] = at(octet(i - 1) + octet(i - key.length));
  const octets = Math.ceil(effectiveBits / 8);
  const mask = 0xff >> (8 * octets - effectiveBits);
  l[128 - octets] = at(octet(128 - octets) & mask);
  for (let i = 127 - octets; i >= 0; i--) l[i] = at(octet(i + 1) ^ octet(i + octets));
  return Uint16Array.from({ length: 64 }, (_, i) => l.readUInt16LE(2 * i));
}

const rotations = [1, 2, 3, 5] as const;

/** One block in place (RFC 2268 4): 5 mixing rounds, mashing, 6, mashing, 5, all backwards. */
function decryptBlock(r: Uint16Array, k: Uint16Array): void {
  const word = (i: number): number => r[i & 3] as number;
  for (let round = 15; round >= 0; round--) {
    for (let i = 3; i >= 0; i--) {
      const s = rotations[i] as number;
      const rotated = ((word(i) >>> s) | (word(i) << (16 - s))) & 0xffff;
      const mixed = (word(i + 3) & word(i + 2)) + (~word(i + 3) & word(i + 1));
      r[i] = rotated - (k[4 * round + i] as number) - mixed;
    }
    if (round === 11 || round === 5)
      for (let i = 3; i >= 0; i--) r[i] = word(i) - (k[word(i + 3) & 63] as number);
  }
}

/**
 * Decrypts RC2 in CBC mode, the padding still on it. `content` has whole blocks of 8 octets, `iv` 8. The key's
 * effective bits are its length unless given.
 */
export function decryptRc2(
  content: Buffer,
  d: { readonly key: Buffer; readonly iv: Buffer; readonly effectiveBits?: number },
): Buffer {
  const k = expandKey(d.key, d.effectiveBits ?? d.key.length * 8);
  const plain = Buffer.alloc(content.length);
  const r = new Uint16Array(4);
  let before = d.iv;
  for (let at = 0; at + 8 <= content.length; at += 8) {
    const block = content.subarray(at, at + 8);
    for (let i = 0; i < 4; i++) r[i] = block.readUInt16LE(2 * i);
    decryptBlock(r, k);
    for (let i = 0; i < 4; i++)
      plain.writeUInt16LE((r[i] as number) ^ before.readUInt16LE(2 * i), at + 2 * i);
    before = block;
  }
  k.fill(0);
  return plain;
}
