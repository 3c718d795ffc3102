import { createPrivateKey, type KeyObject } from 'node:crypto';
import { isFault } from '../base/errors.ts';
import { readBer } from './ber.ts';
import type { Certificate } from './certificate.ts';
import { keyFault, privateKeyFromPem, usableKey } from './keys.ts';
import { newRounds } from './pbe.ts';
import { certificatesFromPem, pemBlocks, toPem } from './pem.ts';
import { decryptPkcs8, isPkcs12, pkcs12Fault, readPkcs12 } from './pkcs12.ts';

/** What one file that a person brings along holds, not yet paired. */
export interface KeyMaterial {
  readonly keys: readonly KeyObject[];
  readonly certificates: readonly Certificate[];
  /** Of what in it cannot be read: a sentence each. */
  readonly problems: readonly string[];
}

/** More than these are no list's: its pairs of many years. */
const mostKeys = 20;

/** Whether the fault says that a passphrase is needed, or the one given is wrong. */
export function asksForPassphrase(error: unknown): boolean {
  return isFault(error, 'key-passphrase') || isFault(error, 'pkcs12-passphrase');
}

/**
 * The private keys and certificates of a file: PKCS#12, PEM with any number of both (as Tattler has them: key, then
 * certificate), or one of them in DER (PKCS#8, PKCS#1, SEC 1). `path` names the file in faults: those of `readPkcs12` and
 * `privateKeyFromPem`. A file with neither gives nothing but problems.
 */
export function readKeyMaterial(file: Buffer, passphrase: Buffer | null, path: string): KeyMaterial {
  if (file[0] === 0x30) return fromDer(file, passphrase, path);
  const wrapped = pemBlocks(file).find(({ label }) => label === 'PKCS12');
  if (wrapped) return usable(readPkcs12(wrapped.der, passphrase), path);
  const keys = keyBlocks(file).map((block) => keyFromBlock(block, passphrase, path));
  const { certificates, problems } = certificatesFromPem(file);
  const isWithout = certificates.length === 0 && keys.length > 0 && !file.includes('CERTIFICATE-----');
  return { keys, certificates, problems: isWithout ? [] : problems };
}

function usable(material: KeyMaterial, path: string): KeyMaterial {
  return { ...material, keys: material.keys.map((key) => usableKey(key, path)) };
}

function fromDer(file: Buffer, passphrase: Buffer | null, path: string): KeyMaterial {
  if (isPkcs12(file)) return usable(readPkcs12(file, passphrase), path);
  for (const label of ['PRIVATE KEY', 'RSA PRIVATE KEY', 'EC PRIVATE KEY']) {
    const key = keyOrNull(() => privateKeyFromPem(Buffer.from(toPem(file, label)), null, path));
    if (key) return { keys: [key], certificates: [], problems: [] };
  }
  const certificate = certificatesFromPem(file);
  if (certificate.certificates.length > 0) return { keys: [], ...certificate };
  const encrypted = Buffer.from(toPem(file, 'ENCRYPTED PRIVATE KEY'));
  if (!isEncryptedKey(file)) return { keys: [], ...certificate };
  return { keys: [keyFromBlock(encrypted, passphrase, path)], certificates: [], problems: [] };
}

function isEncryptedKey(der: Buffer): boolean {
  try {
    const [algorithm, octets] = readBer(der).children;
    return algorithm?.tag === 16 && octets?.tag === 4;
  } catch {
    return false;
  }
}

/** Each private key of a PEM text; a list's file may have several. */
function keyBlocks(file: Buffer): Buffer[] {
  const blocks = file
    .toString('latin1')
    .match(/-----BEGIN ([A-Z ]*PRIVATE KEY)-----[\s\S]*?-----END \1-----/g);
  return (blocks ?? []).slice(0, mostKeys).map((block) => Buffer.from(`${block}\n`, 'latin1'));
}

/** OpenSSL 3 reads what its default provider knows; what older ones encrypted with DES or RC2 is left to us. */
function keyFromBlock(block: Buffer, passphrase: Buffer | null, path: string): KeyObject {
  try {
    return privateKeyFromPem(block, passphrase, path);
  } catch (error) {
    if (!isFault(error, 'key-passphrase') || passphrase === null) throw error;
    const key = keyOrNull(() => oldKey(block, passphrase));
    if (!key) throw error;
    return usableKey(key, path);
  } finally {
    block.fill(0);
  }
}

function oldKey(block: Buffer, passphrase: Buffer): KeyObject {
  const [pem] = pemBlocks(block);
  if (pem?.label !== 'ENCRYPTED PRIVATE KEY')
    throw keyFault('key-malformed', { path: 'in PEM', what: 'it is not PKCS#8' });
  const plain = decryptPkcs8(readBer(pem.der), { passphrase, rounds: newRounds() });
  if (plain === null) throw pkcs12Fault('pkcs12-passphrase', { what: 'the passphrase is wrong' });
  try {
    return createPrivateKey({ key: plain, format: 'der', type: 'pkcs8' });
  } finally {
    plain.fill(0);
  }
}

function keyOrNull(read: () => KeyObject): KeyObject | null {
  try {
    return read();
  } catch {
    return null;
  }
}
