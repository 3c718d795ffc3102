import { createHmac, createPrivateKey, type KeyObject, timingSafeEqual } from 'node:crypto';
import { Fault, faultsOf, isFault, wordsOf } from '../base/errors.ts';
import { digestOf, readAlgorithm } from './algorithms.ts';
import {
  type Ber,
  bytesOf,
  expect,
  isContext,
  isUniversal,
  octetsOf,
  oidOf,
  readBer,
  smallIntegerOf,
  tag,
} from './ber.ts';
import { type Certificate, parseCertificate } from './certificate.ts';
import { derInteger, derSequence } from './der.ts';
import {
  decryptPbe,
  hmacDigestOf,
  isKdfDigest,
  newRounds,
  pbeFault,
  pbkdf2Key,
  pkcs12MacKey,
  type Rounds,
} from './pbe.ts';

export const pkcs12Fault = faultsOf({
  'pkcs12-malformed': (d: { what: string }) => `the PKCS#12 file is broken: ${d.what}`,
  'pkcs12-passphrase': (d: { what: string }) => `the PKCS#12 file cannot be opened: ${d.what}`,
  'pkcs12-unsupported': (d: { what: string }) =>
    `the PKCS#12 file cannot be read: ${d.what}; \`openssl pkcs12 -in FILE -out both.pem\` turns it into PEM`,
});

/** What a PKCS#12 file holds: keys and certificates, in its order, not yet paired. */
export interface Pkcs12 {
  readonly keys: readonly KeyObject[];
  readonly certificates: readonly Certificate[];
  /** Of certificates that cannot be read: a sentence each. */
  readonly problems: readonly string[];
}

/** RULES 8: a file with key pairs of one list, and its chain. */
const most = { octets: 1_000_000, bags: 100, depth: 4 };
const limits = { elements: 20_000, depth: 30 };

const pkcs7 = '1.2.840.113549.1.7';
const bagOid = '1.2.840.113549.1.12.10.1';
const x509 = '1.2.840.113549.1.9.22.1';
const pbmac1 = '1.2.840.113549.1.5.14';

/** Whether it begins as a PFX does (RFC 7292 4: version 3); PKCS#8 has 0 or 1 there, a certificate no number. */
export function isPkcs12(der: Buffer): boolean {
  return der[0] === 0x30 && der.subarray(0, 10).includes(Buffer.from([0x02, 0x01, 0x03]));
}

interface Reading {
  /** Null: none was given, and the empty one is tried. */
  readonly given: Buffer | null;
  readonly passphrase: Buffer;
  readonly rounds: Rounds;
  readonly keys: KeyObject[];
  readonly certificates: Certificate[];
  readonly problems: string[];
  bags: number;
}

/**
 * Reads a PKCS#12 file that a passphrase protects (RFC 7292), old (SHA-1, 3DES, RC2) and new (PBES2, PBMAC1 of RFC 9579).
 * The MAC is checked first, if there is one. What one file may cost is bounded. Faults 'pkcs12-malformed',
 * 'pkcs12-passphrase' (wrong, or none given and one needed), 'pkcs12-unsupported'.
 */
export function readPkcs12(file: Buffer, passphrase: Buffer | null): Pkcs12 {
  if (file.length > most.octets) throw pkcs12Fault('pkcs12-malformed', { what: 'it is too large' });
  try {
    return read(file, passphrase);
  } catch (error) {
    if (isFault(error) && error.code.startsWith('pkcs12-')) throw error;
    if (isFault(error, 'pbe-unsupported') || isFault(error, 'pbe-budget'))
      throw pkcs12Fault('pkcs12-unsupported', { what: error.message }, { cause: error });
    throw pkcs12Fault('pkcs12-malformed', { what: wordsOf(error) }, { cause: error });
  }
}

function read(file: Buffer, given: Buffer | null): Pkcs12 {
  const [version, contentNode, macData] = expect(readBer(file, 0, limits), tag.sequence, 'the file').children;
  if (smallIntegerOf(version) !== 3) throw new Error('its version is not 3');
  const { type, content } = contentInfo(contentNode);
  if (type !== `${pkcs7}.1`)
    throw pkcs12Fault('pkcs12-unsupported', { what: 'it is protected by a signature, not by a passphrase' });
  const safes = octetsOf(expect(content, tag.octetString, 'its content'));
  const passphrase = given ?? Buffer.alloc(0);
  const rounds = newRounds();
  if (macData && !isMacRight(macData, safes, passphrase, rounds)) throw wrongPassphrase(given);
  const reading: Reading = { given, passphrase, rounds, keys: [], certificates: [], problems: [], bags: 0 };
  for (const node of expect(readBer(safes, 0, limits), tag.sequence, 'its parts').children)
    readSafe(reading, node);
  return { keys: reading.keys, certificates: reading.certificates, problems: reading.problems };
}

const wrongPassphrase = (given: Buffer | null): Fault =>
  pkcs12Fault('pkcs12-passphrase', {
    what:
      given === null
        ? 'it needs a passphrase and none is given'
        : 'the passphrase is wrong, or the file was changed',
  });

function contentInfo(node: Ber | undefined): { type: string; content: Ber | undefined } {
  const [type, wrapped] = expect(node, tag.sequence, 'a content').children;
  return { type: oidOf(type), content: isContext(wrapped, 0) ? wrapped.children[0] : undefined };
}

/** RFC 7292 5.1 and B.4; RFC 9579 4 for PBMAC1. */
function isMacRight(macData: Ber, content: Buffer, passphrase: Buffer, rounds: Rounds): boolean {
  const [digestInfo, saltNode, iterationNode] = expect(macData, tag.sequence, 'the MAC').children;
  const [algorithmNode, valueNode] = expect(digestInfo, tag.sequence, 'the MAC').children;
  const value = octetsOf(expect(valueNode, tag.octetString, 'the MAC'));
  const { oid, parameters } = readAlgorithm(algorithmNode);
  const matches = (digest: string, key: Buffer): boolean => {
    const made = createHmac(digest, key).update(content).digest();
    return made.length === value.length && timingSafeEqual(made, value);
  };
  if (oid === pbmac1) {
    const [derivation, mac] = parameters?.children ?? [];
    const digest = hmacDigestOf(readAlgorithm(mac).oid);
    if (digest === null) throw pbeFault('pbe-unsupported', { what: `MAC ${readAlgorithm(mac).oid}` });
    return matches(digest, pbkdf2Key(derivation, passphrase, { length: null, rounds }));
  }
  const digest = digestOf(oid);
  if (!isKdfDigest(digest)) throw pbeFault('pbe-unsupported', { what: `MAC with ${oid}` });
  const salt = octetsOf(expect(saltNode, tag.octetString, 'the salt'));
  const iterations = iterationNode ? smallIntegerOf(iterationNode) : 1;
  const derived = (from: Buffer | null) =>
    pkcs12MacKey({ digest, passphrase: from, salt, iterations, length: value.length, rounds });
  if (matches(digest, derived(passphrase))) return true;
  // Without a passphrase some programs derive from nothing, others from the empty text.
  return passphrase.length === 0 && matches(digest, derived(null));
}

function readSafe(reading: Reading, node: Ber): void {
  const { type, content } = contentInfo(node);
  if (type === `${pkcs7}.1`) {
    readBags(reading, readBer(octetsOf(expect(content, tag.octetString, 'a part')), 0, limits), 0);
  } else if (type === `${pkcs7}.6`) {
    const plain = decrypted(reading, encryptedContent(content));
    readBags(reading, readBer(plain, 0, limits), 0);
    plain.fill(0);
  } else {
    throw pkcs12Fault('pkcs12-unsupported', {
      what: `a part of the type ${type} needs more than a passphrase`,
    });
  }
}

/** RFC 5652 8: EncryptedData. */
function encryptedContent(node: Ber | undefined): { algorithm: Ber | undefined; encrypted: Buffer } {
  const [, info] = expect(node, tag.sequence, 'the encrypted part').children;
  const [, algorithm, content] = expect(info, tag.sequence, 'the encrypted part').children;
  if (!isContext(content, 0)) throw new Error('an encrypted part is empty');
  return { algorithm, encrypted: octetsOf(content) };
}

function decrypted(
  reading: Reading,
  { algorithm, encrypted }: { algorithm: Ber | undefined; encrypted: Buffer },
): Buffer {
  const plain = decryptPbe(readAlgorithm(algorithm), encrypted, reading);
  // Without a MAC a wrong passphrase shows here; now and then its padding is right by chance.
  if (plain === null || plain[0] !== 0x30) throw wrongPassphrase(reading.given);
  return plain;
}

function readBags(reading: Reading, contents: Ber, depth: number): void {
  for (const bag of expect(contents, tag.sequence, 'the bags').children) {
    if (++reading.bags > most.bags || depth > most.depth)
      throw new Error(`it has more than ${most.bags} bags, or bags in bags`);
    const [type, wrapped] = expect(bag, tag.sequence, 'a bag').children;
    const value = isContext(wrapped, 0) ? wrapped.children[0] : undefined;
    readBag(reading, oidOf(type), value, depth);
  }
}

/** RFC 7292 4.2. Revocation lists and secrets are left alone. */
function readBag(reading: Reading, type: string, value: Ber | undefined, depth: number): void {
  if (value === undefined) throw new Error('a bag is empty');
  if (type === `${bagOid}.1`) addKey(reading, bytesOf(value));
  if (type === `${bagOid}.2`) {
    const plain = decryptPkcs8(value, reading);
    if (plain === null || plain[0] !== 0x30) throw wrongPassphrase(reading.given);
    addKey(reading, plain);
    plain.fill(0);
  }
  if (type === `${bagOid}.3`) addCertificate(reading, value);
  if (type === `${bagOid}.6`) readBags(reading, value, depth + 1);
}

/** EncryptedPrivateKeyInfo (RFC 5958 3) as PKCS#8, DER; null for a wrong passphrase. Faults of `decryptPbe`. */
export function decryptPkcs8(
  node: Ber,
  d: { readonly passphrase: Buffer; readonly rounds: Rounds },
): Buffer | null {
  const [algorithm, encrypted] = expect(node, tag.sequence, 'an encrypted key').children;
  const octets = octetsOf(expect(encrypted, tag.octetString, 'an encrypted key'));
  return decryptPbe(readAlgorithm(algorithm), octets, d);
}

function addKey(reading: Reading, pkcs8: Buffer): void {
  try {
    // Attributes and a public key may follow (RFC 5958 2), which OpenSSL 3.0 does not read with every kind of key.
    const [, algorithm, octets] = expect(readBer(pkcs8, 0, limits), tag.sequence, 'a key').children;
    const whole = [expect(algorithm, tag.sequence, 'a key'), expect(octets, tag.octetString, 'a key')];
    const bare = derSequence(derInteger(0), ...whole.map(bytesOf));
    reading.keys.push(createPrivateKey({ key: bare, format: 'der', type: 'pkcs8' }));
    bare.fill(0);
  } catch {
    // OpenSSL's words could hold something of the key.
    throw pkcs12Fault('pkcs12-malformed', { what: 'a private key in it is broken' });
  }
}

function addCertificate(reading: Reading, value: Ber): void {
  const [type, wrapped] = expect(value, tag.sequence, 'a certificate').children;
  if (oidOf(type) !== x509 || !isContext(wrapped, 0)) return;
  const octets = wrapped.children[0];
  try {
    if (isUniversal(octets, tag.octetString)) reading.certificates.push(parseCertificate(octetsOf(octets)));
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    reading.problems.push(error.message);
  }
}
