import {
  createCipheriv,
  createDecipheriv,
  createHash,
  type KeyObject,
  pbkdf2Sync,
  randomBytes,
} from 'node:crypto';
import { faultsOf } from '../base/errors.ts';
import {
  type AlgorithmIdentifier,
  cipherOf,
  contentCipherOf,
  derAlgorithm,
  readAlgorithm,
} from './algorithms.ts';
import { type Ber, expect, isUniversal, octetsOf, smallIntegerOf, tag } from './ber.ts';
import { derInteger, derNull, derOctets, derSequence } from './der.ts';
import { toPem } from './pem.ts';
import { decryptRc2 } from './rc2.ts';

export const pbeFault = faultsOf({
  'pbe-unsupported': (d: { what: string }) => `it is encrypted in a way that reseal does not read: ${d.what}`,
  'pbe-budget': (d: { most: number }) =>
    `it asks for more than ${d.most} rounds of key derivation, which is more than reseal does`,
});

/** Rounds that one file may still cost: they are counted before they are done. About ten seconds of work. */
export interface Rounds {
  left: number;
}

const mostRounds = 5_000_000;
export const newRounds = (): Rounds => ({ left: mostRounds });

function spend(rounds: Rounds, count: number): void {
  rounds.left -= count;
  if (rounds.left < 0 || count < 1) throw pbeFault('pbe-budget', { most: mostRounds });
}

/** A passphrase as the PKCS#12 derivation takes it: UTF-16, big endian, with two zero octets at the end (RFC 7292 B.1). */
function bmpOf(passphrase: Buffer): Buffer {
  return Buffer.from(`${passphrase.toString('utf8')}\0`, 'utf16le').swap16();
}

/** Digests with their block length in octets, which the derivation goes by. */
const blockLengths = { sha1: 64, sha224: 64, sha256: 64, sha384: 128, sha512: 128 } as const;
export type KdfDigest = keyof typeof blockLengths;
export const isKdfDigest = (name: string | null): name is KdfDigest =>
  name !== null && Object.hasOwn(blockLengths, name);

/**
 * The key derivation of PKCS#12 (RFC 7292 B.2): `purpose` 1 gives a key, 2 an IV, 3 a key for the MAC. `password` is
 * as `bmpOf` makes it, or of no octets.
 */
function pkcs12Derive(d: {
  readonly digest: KdfDigest;
  readonly purpose: 1 | 2 | 3;
  readonly password: Buffer;
  readonly salt: Buffer;
  readonly iterations: number;
  readonly length: number;
  readonly rounds: Rounds;
}): Buffer {
  const v = blockLengths[d.digest];
  const filled = (text: Buffer): Buffer =>
    text.length === 0 ? text : Buffer.alloc(v * Math.ceil(text.length / v), text);
  const i = Buffer.concat([filled(d.salt), filled(d.password)]);
  const pieces: Buffer[] = [];
  for (let made = 0; made < d.length; ) {
    spend(d.rounds, d.iterations);
    let a = createHash(d.digest).update(Buffer.alloc(v, d.purpose)).update(i).digest();
    for (let round = 1; round < d.iterations; round++) a = createHash(d.digest).update(a).digest();
    pieces.push(a);
    made += a.length;
    addToEach(i, Buffer.alloc(v, a));
  }
  i.fill(0);
  return Buffer.concat(pieces).subarray(0, d.length);
}

/** I_j = (I_j + B + 1) mod 2^v for each block of I (RFC 7292 B.2, step 6C). */
function addToEach(i: Buffer, b: Buffer): void {
  for (let start = 0; start < i.length; start += b.length) {
    let carry = 1;
    for (let at = b.length - 1; at >= 0; at--) {
      carry += (i[start + at] as number) + (b[at] as number);
      i[start + at] = carry & 0xff;
      carry >>= 8;
    }
  }
}

/** The key of a PKCS#12 file's MAC; null for `passphrase` derives with none at all, which is not the empty one. */
export function pkcs12MacKey(d: {
  readonly digest: KdfDigest;
  readonly passphrase: Buffer | null;
  readonly salt: Buffer;
  readonly iterations: number;
  readonly length: number;
  readonly rounds: Rounds;
}): Buffer {
  const password = d.passphrase === null ? Buffer.alloc(0) : bmpOf(d.passphrase);
  return pkcs12Derive({ ...d, purpose: 3, password });
}

const hmac = '1.2.840.113549.2';
const pbkdf2 = '1.2.840.113549.1.5.12';
const pbes2 = '1.2.840.113549.1.5.13';
const prfs: Readonly<Record<string, KdfDigest>> = {
  [`${hmac}.7`]: 'sha1',
  [`${hmac}.8`]: 'sha224',
  [`${hmac}.9`]: 'sha256',
  [`${hmac}.10`]: 'sha384',
  [`${hmac}.11`]: 'sha512',
};
/** The digest of an HMAC's object identifier (RFC 8018 B.1.2), or null. */
export const hmacDigestOf = (oid: string): KdfDigest | null => prfs[oid] ?? null;

/** Octets of a MAC's key: shorter ones can be tried out, none needs longer ones (RFC 9579). */
const macKeyLengths = { least: 20, most: 64 };

/**
 * PBKDF2 (RFC 8018 5.2, A.2) by its AlgorithmIdentifier. `length`: octets of the key that a cipher needs; null for that
 * of a MAC, which the parameters have to name (RFC 9579).
 */
export function pbkdf2Key(
  node: Ber | undefined,
  passphrase: Buffer,
  d: { readonly length: number | null; readonly rounds: Rounds },
): Buffer {
  const { oid, parameters } = readAlgorithm(node);
  if (oid !== pbkdf2) throw pbeFault('pbe-unsupported', { what: `derivation ${oid}` });
  const [saltNode, iterationNode, ...optional] = parameters?.children ?? [];
  const salt = octetsOf(expect(saltNode, tag.octetString, 'the salt'));
  const prfNode = optional.find((one) => isUniversal(one, tag.sequence));
  const prf = prfNode ? readAlgorithm(prfNode).oid : `${hmac}.7`;
  const digest = hmacDigestOf(prf);
  if (digest === null) throw pbeFault('pbe-unsupported', { what: `derivation with ${prf}` });
  const iterations = smallIntegerOf(iterationNode);
  const lengthNode = optional.find((one) => isUniversal(one, tag.integer));
  const length = d.length ?? (lengthNode ? smallIntegerOf(lengthNode) : 0);
  if (d.length === null && (length < macKeyLengths.least || length > macKeyLengths.most))
    throw pbeFault('pbe-unsupported', { what: `a MAC with a key of ${length} octets` });
  spend(d.rounds, iterations);
  return pbkdf2Sync(passphrase, salt, iterations, length, digest);
}

const exportRounds = 600_000;

/**
 * A private key as encrypted PKCS#8 in PEM (RFC 5958 3, PBES2 with AES-256) that may leave the machine: OpenSSL's own
 * 2048 rounds are soon tried out for a passphrase that people type.
 */
export function exportedKeyPem(key: KeyObject, passphrase: Buffer): string {
  const [salt, iv] = [randomBytes(16), randomBytes(16)];
  const plain = key.export({ type: 'pkcs8', format: 'der' });
  const derived = pbkdf2Sync(passphrase, salt, exportRounds, 32, 'sha256');
  const cipher = createCipheriv('aes-256-cbc', derived, iv);
  const encrypted = Buffer.concat([cipher.update(plain), cipher.final()]);
  for (const secret of [plain, derived]) secret.fill(0);
  const derivation = derAlgorithm(
    pbkdf2,
    derSequence(derOctets(salt), derInteger(exportRounds), derAlgorithm(`${hmac}.9`, derNull())),
  );
  const scheme = derSequence(derivation, derAlgorithm(cipherOf('aes-256-cbc').oid, derOctets(iv)));
  return toPem(derSequence(derAlgorithm(pbes2, scheme), derOctets(encrypted)), 'ENCRYPTED PRIVATE KEY');
}

interface OldScheme {
  readonly cipher: 'des-ede3-cbc' | 'rc2';
  /** Octets that are derived. */
  readonly length: number;
}

const pkcs12Pbe = '1.2.840.113549.1.12.1';
/** RFC 7292 C: SHA-1 and the derivation of PKCS#12. */
const oldSchemes: Readonly<Record<string, OldScheme>> = {
  [`${pkcs12Pbe}.3`]: { cipher: 'des-ede3-cbc', length: 24 },
  [`${pkcs12Pbe}.4`]: { cipher: 'des-ede3-cbc', length: 16 },
  [`${pkcs12Pbe}.5`]: { cipher: 'rc2', length: 16 },
  [`${pkcs12Pbe}.6`]: { cipher: 'rc2', length: 5 },
};
/** RFC 8018 A.3: single DES with PBKDF1, as OpenSSL wrote PKCS#8 before 1.1. */
const desSchemes: Readonly<Record<string, 'md5' | 'sha1'>> = {
  '1.2.840.113549.1.5.3': 'md5',
  '1.2.840.113549.1.5.10': 'sha1',
};

/**
 * Decrypts what a passphrase protects (PKCS#8, PKCS#12): PBES2 with PBKDF2 and AES or 3DES (RFC 8018 6.2), the schemes
 * of PKCS#12 with 3DES or RC2 (RFC 7292 C), and DES of old. Null if the padding is wrong: so is the passphrase, most likely.
 * Faults 'pbe-unsupported', 'pbe-budget', those of `readBer`.
 */
export function decryptPbe(
  algorithm: AlgorithmIdentifier,
  encrypted: Buffer,
  d: { readonly passphrase: Buffer; readonly rounds: Rounds },
): Buffer | null {
  const { oid, parameters } = algorithm;
  if (oid === pbes2) return decryptPbes2(parameters, encrypted, d);
  const [saltNode, iterationNode] = parameters?.children ?? [];
  const old = oldSchemes[oid];
  const des = desSchemes[oid];
  if (!old && !des) throw pbeFault('pbe-unsupported', { what: `algorithm ${oid}` });
  const salt = octetsOf(expect(saltNode, tag.octetString, 'the salt'));
  const iterations = smallIntegerOf(iterationNode);
  if (des) {
    spend(d.rounds, iterations);
    // RFC 8018 5.1, PBKDF1.
    let derived = createHash(des).update(d.passphrase).update(salt).digest();
    for (let round = 1; round < iterations; round++) derived = createHash(des).update(derived).digest();
    const key = derived.subarray(0, 8);
    // OpenSSL 3 has single DES no more; 3DES with one key thrice is the same.
    return unpadded('des-ede3-cbc', Buffer.concat([key, key, key]), derived.subarray(8, 16), encrypted);
  }
  const { cipher, length } = old as OldScheme;
  const common = {
    digest: 'sha1',
    password: bmpOf(d.passphrase),
    salt,
    iterations,
    rounds: d.rounds,
  } as const;
  const key = pkcs12Derive({ ...common, purpose: 1, length });
  const iv = pkcs12Derive({ ...common, purpose: 2, length: 8 });
  // Two-key 3DES uses the first key again.
  const whole = cipher === 'rc2' || length === 24 ? key : Buffer.concat([key, key.subarray(0, 8)]);
  return unpadded(cipher, whole, iv, encrypted);
}

function decryptPbes2(
  parameters: Ber | null,
  encrypted: Buffer,
  d: { readonly passphrase: Buffer; readonly rounds: Rounds },
): Buffer | null {
  const [derivation, encryption] = parameters?.children ?? [];
  const { oid, parameters: ivNode } = readAlgorithm(encryption);
  const name = contentCipherOf(oid);
  if (name === null || !name.endsWith('-cbc')) throw pbeFault('pbe-unsupported', { what: `cipher ${oid}` });
  const iv = octetsOf(expect(ivNode ?? undefined, tag.octetString, 'the IV'));
  const key = pbkdf2Key(derivation, d.passphrase, { length: cipherOf(name).keyLength, rounds: d.rounds });
  return unpadded(name, key, iv, encrypted);
}

function unpadded(cipher: string, key: Buffer, iv: Buffer, content: Buffer): Buffer | null {
  const block = cipher.startsWith('aes') ? 16 : 8;
  if (content.length === 0 || content.length % block !== 0 || iv.length !== block) return null;
  let plain: Buffer;
  if (cipher === 'rc2') plain = decryptRc2(content, { key, iv });
  else {
    const decipher = createDecipheriv(cipher, key, iv).setAutoPadding(false);
    plain = Buffer.concat([decipher.update(content), decipher.final()]);
  }
  key.fill(0);
  const count = plain.at(-1) as number;
  const isPadding = count >= 1 && count <= block && plain.subarray(-count).every((one) => one === count);
  return isPadding ? plain.subarray(0, -count) : null;
}
