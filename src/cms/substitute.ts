import { createHash, createHmac, hkdfSync, type KeyObject } from 'node:crypto';

/**
 * The content key that stands in for one which cannot be recovered, so that a wrong encrypted key is found out only
 * by the content's not decrypting, as it is with any wrong key (RFC 3218 2.3.2, RFC 8017 7.2.2 note). Nobody without
 * the private key can foresee it, and the same encrypted key always gives the same one (RULES 6): a random one
 * would let AES-CBC unpad once in some 256 tries of the same message, which is an oracle.
 * `length` in octets.
 */
export function substituteKey(key: KeyObject, encryptedKey: Uint8Array, length: number): Buffer {
  // Made anew each time: exporting costs 0.1 ms beside a private-key operation of 1 to 8 ms, and nothing is kept.
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
  const secret = createHash('sha256').update('reseal: substitute content key\0').update(pkcs8).digest();
  const seed = createHmac('sha256', secret).update(encryptedKey).digest();
  // Node 22 and later refuse to make no octets at all.
  const made = Buffer.from(hkdfSync('sha256', seed, '', 'content key', Math.max(1, length)));
  for (const bytes of [pkcs8, secret, seed]) bytes.fill(0);
  return made.subarray(0, length);
}

/** `key` if `bad` is 0, else `substitute`, of the same length; chosen without a branch. */
export function choose(bad: number, key: Uint8Array, substitute: Uint8Array): Buffer {
  const mask = ((bad | -bad) >> 31) & 0xff;
  const chosen = Buffer.alloc(substitute.length);
  for (let i = 0; i < chosen.length; i++)
    chosen[i] = ((key[i] as number) & ~mask) | ((substitute[i] as number) & mask);
  return chosen;
}
