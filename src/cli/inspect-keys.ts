import type { KeyObject } from 'node:crypto';
import { isFault } from '../base/errors.ts';
import { readSecret } from '../config/secrets.ts';
import { belongsTo, type KeyPair, privateKeyFromPem } from '../pki/keys.ts';
import { toPem } from '../pki/pem.ts';
import { inspectFault, readCertificates, readFileOf } from './inspect-files.ts';
import { askPassphrase } from './inspect-passphrase.ts';

/** Which key pairs a person gives: files in pairs, and where their passphrase is. */
export interface KeyPairFiles {
  readonly keys: readonly string[];
  readonly certificates: readonly string[];
  readonly passphraseFile: string | null;
}

/**
 * The key pairs of the files, the n-th key with the n-th certificate. The modes of the files are not looked at: these
 * are copies that a person works with, not the keys that a list holds. A passphrase is read from its file, else asked
 * on the terminal. Faults 'usage-key-pairs', 'usage-key', those of `readCertificates` and `readSecret`.
 */
export async function readKeyPairs(files: KeyPairFiles): Promise<KeyPair[]> {
  const { keys, certificates, passphraseFile } = files;
  if (keys.length !== certificates.length)
    throw inspectFault('usage-key-pairs', { keys: keys.length, certificates: certificates.length });
  const passphrase = passphraseFile === null ? null : await readSecret(passphraseFile);
  const pairs: KeyPair[] = [];
  for (const [n, path] of keys.entries()) {
    const key = await readKey(path, passphrase);
    pairs.push(await pairOf(key, path, certificates[n] as string));
  }
  passphrase?.fill(0);
  return pairs;
}

async function pairOf(key: KeyObject, keyPath: string, path: string): Promise<KeyPair> {
  const { certificates } = await readCertificates([path]);
  const certificate = certificates.find((one) => belongsTo(one, key));
  if (certificate) return { certificate, key, chain: [], suffix: '' };
  const named = certificates.map((one) => one.subject).join('; ');
  const why = `the private key in ${keyPath} does not belong to the certificate in ${path} (${named}): give the two of one pair`;
  throw inspectFault('usage-key', { why });
}

async function readKey(path: string, passphrase: Buffer | null): Promise<KeyObject> {
  const text = await readFileOf(path);
  const pem = text[0] === 0x30 ? pemOf(text, path) : text;
  try {
    return await importKey(pem, passphrase, path);
  } finally {
    text.fill(0);
    pem.fill(0);
  }
}

async function importKey(pem: Buffer, given: Buffer | null, path: string): Promise<KeyObject> {
  try {
    return privateKeyFromPem(pem, given, path);
  } catch (error) {
    const isWanted = isFault(error, 'key-passphrase') && given === null;
    const asked = isWanted ? await askPassphrase(`Passphrase of ${path}: `) : null;
    if (asked === null) {
      const hint = isWanted ? ' (no terminal to ask on: give --passphrase-file FILE)' : '';
      throw isFault(error) ? inspectFault('usage-key', { why: `${error.message}${hint}` }) : error;
    }
    try {
      return privateKeyFromPem(pem, asked, path);
    } catch (second) {
      throw isFault(second) ? inspectFault('usage-key', { why: second.message }) : second;
    } finally {
      asked.fill(0);
    }
  }
}

/** PKCS#8 in DER as PEM. PKCS#12 begins with version 3 (RFC 7292 4), PKCS#8 with 0 or 1 (RFC 5958 2). */
function pemOf(der: Buffer, path: string): Buffer {
  if (der.subarray(0, 10).includes(Buffer.from([0x02, 0x01, 0x03]))) {
    const why = `the private key ${path} cannot be used: it is PKCS#12, which \`openssl pkcs12 -in ${path} -nodes -out both.pem\` turns into PEM`;
    throw inspectFault('usage-key', { why });
  }
  return Buffer.from(toPem(der, 'PRIVATE KEY'));
}
