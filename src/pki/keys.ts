import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { constants, type FileHandle, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, type Fault, faultsOf, isFault } from '../base/errors.ts';
import { mostRsaBits } from './algorithms.ts';
import { type Certificate, publicKeyOf } from './certificate.ts';
import { certificatesFromPem } from './pem.ts';

/** No sentence here may hold anything of a key file's content, nor OpenSSL's words about it. */
export const keyFault = faultsOf({
  'key-mode': (d: { path: string; what: string }) =>
    `the private key ${d.path} ${d.what}: it is not used until this is mended`,
  'key-unreadable': (d: { path: string; errno: string }) =>
    `the file ${d.path} cannot be read (${d.errno}): ${
      d.errno === 'ENOENT' || d.errno === 'ELOOP'
        ? 'bring it back, or mend the link'
        : 'let the user that runs reseal own it'
    }`,
  'key-passphrase': (d: { path: string; what: string }) =>
    `the private key ${d.path} cannot be decrypted: ${d.what}`,
  'key-malformed': (d: { path: string; what: string }) =>
    `the private key ${d.path} cannot be used: ${d.what}`,
  'key-mismatch': (d: { certificate: string; key: string }) =>
    `${d.certificate} and ${d.key} do not belong together: no certificate in the one has the public key of the other`,
  'key-pair-incomplete': (d: { path: string; missing: string }) =>
    `${d.path} is not used, because there is no ${d.missing} beside it`,
  'key-waits': (d: { path: string; missing: string }) =>
    `${d.path} is not used yet: it waits for its certificate (${d.missing})`,
  'key-certificate': (d: { path: string; what: string }) =>
    `no certificate can be read from ${d.path}: ${d.what}`,
});

/** A list's certificate with its private key. */
export interface KeyPair {
  readonly certificate: Certificate;
  /** Other certificates of the same file, to be sent along with signatures. */
  readonly chain: readonly Certificate[];
  readonly key: KeyObject;
  /** What follows `cert.pem` and `private_key` in the file names: '', `.sign`, `.enc`, `.2025`. */
  readonly suffix: string;
}

/** Key files are a few kilobytes; more than this is something else. */
const mostOctets = 1_000_000;

/**
 * Reads a private key in PEM (PKCS#8, or the traditional forms of OpenSSL), encrypted or not.
 * Faults: `key-mode` (others may read or replace it), `key-unreadable`, `key-passphrase`, `key-malformed`.
 */
export async function loadPrivateKey(path: string, passphrase: Buffer | null): Promise<KeyObject> {
  const pem = await readKeyFile(path, checkMode);
  try {
    return privateKeyFromPem(pem, passphrase, path);
  } finally {
    pem.fill(0);
  }
}

/** Checks the file that is open, not its name, so that it cannot be exchanged in between. */
async function checkMode(path: string, handle: FileHandle): Promise<void> {
  const { mode, uid } = await handle.stat();
  if ((mode & 0o077) !== 0)
    throw keyFault('key-mode', { path, what: `may be read or changed by other users (chmod 600 ${path})` });
  const own = process.geteuid?.() ?? uid;
  if (own !== 0 && uid !== own && uid !== 0)
    throw keyFault('key-mode', { path, what: `belongs to another user (chown it to user ${own})` });
}

async function readKeyFile(
  path: string,
  check: (path: string, handle: FileHandle) => Promise<void>,
): Promise<Buffer> {
  let handle: FileHandle | null = null;
  try {
    // Opening a pipe waits for its writer, for ever.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stat = await handle.stat();
    if (!stat.isFile()) throw keyFault('key-malformed', { path, what: 'it is no file' });
    if (stat.size > mostOctets)
      throw keyFault('key-malformed', { path, what: `it has ${stat.size} octets: that is no key` });
    await check(path, handle);
    return await handle.readFile();
  } catch (error) {
    if (isFault(error)) throw error;
    throw keyFault('key-unreadable', { path, errno: errnoOf(error) ?? 'unknown error' });
  } finally {
    await handle?.close();
  }
}

const anyKey = 'PRIVATE KEY-----';
const supported = ['rsa', 'rsa-pss', 'ec', 'ed25519', 'ed448', 'x25519', 'x448'];

/**
 * The first private key of a PEM text. `path` names it in faults: `key-passphrase` (missing or wrong), `key-malformed`.
 */
export function privateKeyFromPem(pem: Buffer, passphrase: Buffer | null, path = 'in PEM'): KeyObject {
  const block = firstKeyBlock(pem);
  if (!block) throw keyFault('key-malformed', { path, what: 'it holds no private key in PEM' });
  const encrypted = block.includes('-----BEGIN ENCRYPTED ') || block.includes('Proc-Type: 4,ENCRYPTED');
  if (encrypted && passphrase === null)
    throw keyFault('key-passphrase', { path, what: 'it needs a passphrase and none is set' });
  const key = importKey(block, encrypted ? passphrase : null);
  if (!key && encrypted)
    throw keyFault('key-passphrase', {
      path,
      what: 'the passphrase is wrong, or it is encrypted in a way that OpenSSL does not read any more',
    });
  if (!key) throw keyFault('key-malformed', { path, what: 'it is broken: bring it back from a backup' });
  return usableKey(key, path);
}

/** `key` itself, if its kind and size are any use here; else `key-malformed`, naming `path`. */
export function usableKey(key: KeyObject, path: string): KeyObject {
  const { asymmetricKeyType = 'unknown', asymmetricKeyDetails } = key;
  if (!supported.includes(asymmetricKeyType))
    throw keyFault('key-malformed', { path, what: `keys of type ${asymmetricKeyType} are not supported` });
  if ((asymmetricKeyDetails?.modulusLength ?? 0) > mostRsaBits)
    throw keyFault('key-malformed', { path, what: `it has more than ${mostRsaBits} bits` });
  return key;
}

/** From BEGIN to END of the first private key; EC PARAMETERS or certificates may stand before it. */
function firstKeyBlock(pem: Buffer): Buffer | null {
  const label = pem.indexOf(anyKey);
  const start = label < 0 ? -1 : pem.lastIndexOf('-----BEGIN ', label);
  const end = label < 0 ? -1 : pem.indexOf(anyKey, label + anyKey.length);
  return start < 0 || end < 0 ? null : pem.subarray(start, end + anyKey.length);
}

function importKey(pem: Buffer, passphrase: Buffer | null): KeyObject | null {
  try {
    return createPrivateKey({ key: pem, format: 'pem', ...(passphrase && { passphrase }) });
  } catch {
    return null;
  }
}

const certificateFile = 'cert.pem';
const keyFile = 'private_key';

/**
 * All key pairs of a list's folder, sorted by suffix: `cert.pem<suffix>` with `private_key<suffix>`, as Sympa has them. A
 * pair that cannot be used does not hinder the others: it is told in `problems` (`key-mismatch`, `key-pair-incomplete`,
 * `key-waits`, `key-certificate` and the faults of `loadPrivateKey`). A folder that is not there has no pairs.
 */
export async function loadKeyPairs(
  folder: string,
  passphrase: Buffer | null,
): Promise<{ pairs: KeyPair[]; problems: Fault[] }> {
  const pairs: KeyPair[] = [];
  const problems: Fault[] = [];
  for (const suffix of await suffixesIn(folder, problems)) {
    try {
      pairs.push(await loadKeyPair(folder, suffix, passphrase));
    } catch (error) {
      if (!isFault(error)) throw error;
      problems.push(error);
    }
  }
  return { pairs, problems };
}

async function suffixesIn(folder: string, problems: Fault[]): Promise<string[]> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno !== 'ENOENT')
      problems.push(keyFault('key-unreadable', { path: folder, errno: errno ?? 'unknown error' }));
    return [];
  }
  const after = (prefix: string) =>
    names.filter((n) => n.startsWith(prefix)).map((n) => n.slice(prefix.length));
  const certificates = new Set(after(certificateFile));
  const keys = new Set(after(keyFile));
  for (const suffix of [...new Set([...certificates, ...keys])].sort()) {
    if (certificates.has(suffix) && keys.has(suffix)) continue;
    const isKey = keys.has(suffix);
    const [present, missing] = isKey ? [keyFile, certificateFile] : [certificateFile, keyFile];
    const path = join(folder, present + suffix);
    problems.push(keyFault(isKey ? 'key-waits' : 'key-pair-incomplete', { path, missing: missing + suffix }));
  }
  return [...certificates].filter((suffix) => keys.has(suffix)).sort();
}

async function loadKeyPair(folder: string, suffix: string, passphrase: Buffer | null): Promise<KeyPair> {
  const certificatePath = join(folder, certificateFile + suffix);
  const keyPath = join(folder, keyFile + suffix);
  const { certificates, problems } = certificatesFromPem(await readKeyFile(certificatePath, async () => {}));
  if (certificates.length === 0)
    throw keyFault('key-certificate', { path: certificatePath, what: problems.join('; ') });
  const key = await loadPrivateKey(keyPath, passphrase);
  const certificate = certificates.find((candidate) => belongsTo(candidate, key));
  if (!certificate) throw keyFault('key-mismatch', { certificate: certificatePath, key: keyPath });
  return { certificate, chain: certificates.filter((other) => other !== certificate), key, suffix };
}

/** Whether the certificate's public key is the private key's. */
export function belongsTo(certificate: Certificate, key: KeyObject): boolean {
  try {
    const [its, ours] = [publicKeyOf(certificate), createPublicKey(key)];
    // Of unlike keys `equals` leaves an error in OpenSSL's queue, and the next import of a key fails by it (Node 20).
    return its.asymmetricKeyType === ours.asymmetricKeyType && its.equals(ours);
  } catch (error) {
    if (isFault(error, 'key-unsupported')) return false;
    throw error;
  }
}

/** The pair to sign or to be encrypted to with: the one marked for that use, else the plain one, else null (Sympa). */
export function pairFor(pairs: readonly KeyPair[], use: 'sign' | 'encrypt'): KeyPair | null {
  const marked = use === 'sign' ? '.sign' : '.enc';
  const find = (suffix: string) => pairs.find((pair) => pair.suffix === suffix);
  return find(marked) ?? find('') ?? null;
}
