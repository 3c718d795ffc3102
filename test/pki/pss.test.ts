import {
  constants,
  createHash,
  generateKeyPairSync,
  type KeyObject,
  privateEncrypt,
  randomBytes,
} from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { verifyPss } from '../../src/pki/pss.ts';

/** What an encoding may do wrong (RFC 8017 9.1.1). */
interface Fault {
  /** Octet of the padding, as it is before it is masked. */
  readonly padding?: number;
  readonly separator?: number;
  /** Or-ed into the first octet after masking: bits that must be zero. */
  readonly topBits?: number;
  readonly trailer?: number;
  readonly saltLength?: number;
}

const message = Buffer.from('a message');
const parameters = { digest: 'sha256', mask: 'sha1', saltLength: 32 } as const;
const hash = (name: string, ...pieces: Buffer[]) => createHash(name).update(Buffer.concat(pieces)).digest();

/** EMSA-PSS-ENCODE with SHA-256, mask SHA-1, and faults. */
function encode(bits: number, fault: Fault): Buffer {
  const length = Math.ceil(bits / 8);
  const salt = randomBytes(fault.saltLength ?? 32);
  const digest = hash('sha256', Buffer.alloc(8), hash('sha256', message), salt);
  const block = Buffer.alloc(length - 33);
  salt.copy(block, block.length - salt.length);
  block[block.length - salt.length - 1] = fault.separator ?? 1;
  block[block.length - salt.length - 3] = fault.padding ?? 0;
  for (let i = 0; i < block.length; i++) {
    const counter = Buffer.alloc(4);
    counter.writeUInt32BE(Math.floor(i / 20));
    block[i] = (block[i] ?? 0) ^ (hash('sha1', digest, counter)[i % 20] ?? 0);
  }
  block[0] = ((block[0] ?? 0) & (0xff >> (8 * length - bits))) | (fault.topBits ?? 0);
  return Buffer.concat([block, digest, Buffer.from([fault.trailer ?? 0xbc])]);
}

/** The raw private operation; another salt where the number is larger than the modulus. */
function signRaw(key: KeyObject, bits: number, fault: Fault): Buffer {
  const octets = Math.ceil((bits + 1) / 8);
  for (let tries = 0; tries < 100; tries++) {
    const encoded = encode(bits, fault);
    const whole = Buffer.concat([Buffer.alloc(octets - encoded.length), encoded]);
    try {
      return privateEncrypt({ key, padding: constants.RSA_NO_PADDING }, whole);
    } catch {
      // Too large for this modulus.
    }
  }
  throw new Error('no salt makes a number below the modulus');
}

describe('verifyPss', () => {
  it.each<[what: string, modulusBits: number, fault: Fault, expected: boolean]>([
    ['a right signature', 2048, {}, true],
    ['padding that is not zero', 2048, { padding: 1 }, false],
    ['no separator', 2048, { separator: 0 }, false],
    ['another separator', 2048, { separator: 2 }, false],
    ['a bit set that must not be', 2048, { topBits: 0x80 }, false],
    ['another trailer', 2048, { trailer: 0xcc }, false],
    ['a longer salt', 2048, { saltLength: 33 }, false],
    ['a shorter salt', 2048, { saltLength: 31 }, false],
  ])('%s', (_what, modulusLength, fault, expected) => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength });
    const signature = signRaw(privateKey, modulusLength - 1, fault);
    expect(verifyPss(parameters, publicKey, [message], signature)).toBe(expected);
    expect(verifyPss(parameters, publicKey, [message, message], signature)).toBe(false);
  });

  it('a salt that does not fit, and a signature of another length', () => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const signature = signRaw(privateKey, 2047, {});
    expect(verifyPss({ ...parameters, saltLength: 1024 }, publicKey, [message], signature)).toBe(false);
    expect(verifyPss(parameters, publicKey, [message], signature.subarray(1))).toBe(false);
    expect(verifyPss(parameters, publicKey, [message], Buffer.concat([Buffer.alloc(1), signature]))).toBe(
      false,
    );
  });
});
