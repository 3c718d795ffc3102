import type { KeyObject } from 'node:crypto';
import { mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errnoOf, faultsOf } from '../../base/errors.ts';
import { ensureFolder, syncFolder, writeDurably } from '../../base/files.ts';
import { type Certificate, parseCertificate } from '../../pki/certificate.ts';
import { type KeyKind, type KeyUse, makeCsr, makeKey, privateKeyPem, selfSigned } from '../../pki/issue.ts';
import { loadKeyPairs, loadPrivateKey } from '../../pki/keys.ts';
import { toPem } from '../../pki/pem.ts';
import {
  keyPath,
  keySuffixes,
  type NewPair,
  onFolder,
  placeWaiting,
  requestFile,
  suffixOf,
  useOf,
  waitingFolder,
  writePair,
} from './key-files.ts';

export const listKeyFault = faultsOf({
  'keys-exist': (d: { folder: string; why: string }) =>
    `${d.folder} is there already and cannot be used (${d.why}): mend that first; move the folder away only if its keys are lost for good`,
  'keys-none': (d: { folder: string }) =>
    `there is no private key in ${d.folder}: \`reseal key generate\` makes one`,
  'keys-usable': (d: { address: string; folder: string; sha256: string }) =>
    `${d.address} has a key pair already, in ${d.folder}, with the certificate ${d.sha256.slice(0, 8)}: \`reseal key rotate ${d.address}\` makes a new one that takes its place, \`reseal key csr ${d.address}\` asks for a new certificate`,
});

/** Which keys to make: one for both uses, or one for each. */
export type KeyPlan = readonly { readonly use: KeyUse; readonly kind: KeyKind }[];

/** Kinds of keys that a list may ask for; `ed25519` brings X25519 along, as neither can do both. */
export type PairKind = Exclude<KeyKind, 'x25519'>;
export const pairKinds: readonly PairKind[] = [
  'rsa-2048',
  'rsa-3072',
  'rsa-4096',
  'p-256',
  'p-384',
  'ed25519',
];

/** One key of this kind for both uses, or a pair for each if `separate` or the kind asks for it. */
export function planOf(kind: PairKind, separate: boolean): KeyPlan {
  if (kind !== 'ed25519' && !separate) return [{ use: 'both', kind }];
  return [
    { use: 'sign', kind },
    { use: 'encrypt', kind: kind === 'ed25519' ? 'x25519' : kind },
  ];
}

/**
 * Which programs cannot encrypt to a key of this kind, in a sentence, or null for RSA. From the live matrix
 * (docs/interop.md: "The other program signs or encrypts") and what its programs are in.
 */
export function encryptionRemark(plan: KeyPlan): string | null {
  const kind = plan.find((one) => one.use !== 'sign')?.kind ?? '';
  if (kind === 'x25519')
    return 'hardly any mail program can encrypt to X25519 yet: not Thunderbird, Evolution, KMail, Claws Mail, nor what uses OpenSSL or Bouncy Castle 1.72';
  if (kind.startsWith('p-'))
    return 'some mail programs cannot encrypt to an EC key: not Thunderbird and Evolution (NSS), nor KMail and Claws Mail with gpgsm 2.2';
  return null;
}

/** A list's keys as `makeListKeys` left them. */
export interface ListKeyFiles {
  readonly folder: string;
  /** `kept`: the folder was there with a key that can be used. */
  readonly made: 'certificate' | 'request' | 'kept';
  /** The one to encrypt to. */
  readonly certificate: Certificate | null;
  /** PEM of the requests for the authority. */
  readonly request: string | null;
  /** Takes back what was made, if the list cannot be made after all. */
  undo(): Promise<void>;
}

export interface KeyOrder {
  readonly folder: string;
  readonly address: string;
  readonly plan: KeyPlan;
  readonly days: number;
  readonly passphrase: Buffer | null;
  readonly now: number;
}

export interface ListKeyOrder extends KeyOrder {
  /** A request for an authority instead of a self-signed certificate. */
  readonly csr: boolean;
}

/**
 * Makes the folder of a list's keys (mode 0700) with private keys and certificates or requests, all at once: they
 * are written beside it and renamed. A folder that is there already with a key pair of this address is kept: of a
 * creation that was interrupted, or brought along from Sympa. Faults: 'keys-exist', 'keys-not-writable', those of `pki/issue`.
 */
export async function makeListKeys(order: ListKeyOrder): Promise<ListKeyFiles> {
  const { folder } = order;
  return onFolder(folder, async () => {
    if (await isThere(folder)) return keepKeys(order);
    const made = await beside(folder, async (made) => {
      const keys = await writeKeys(made, order);
      await rename(made, folder);
      await syncFolder(dirname(folder));
      return keys;
    });
    return { ...made, folder, undo: () => rm(folder, { recursive: true, force: true }) };
  });
}

/** How the names of folders begin in which keys are made; a command that is killed leaves its own. */
export const unfinished = '.new-';

/** Makes a folder beside another one and fills it; it goes if that fails. */
async function beside<T>(folder: string, fill: (made: string) => Promise<T>): Promise<T> {
  await ensureFolder(dirname(folder));
  const made = await mkdtemp(join(dirname(folder), unfinished));
  try {
    return await fill(made);
  } catch (error) {
    await rm(made, { recursive: true, force: true });
    throw error;
  }
}

async function isThere(folder: string): Promise<boolean> {
  const names = await readdir(folder).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  });
  return names !== null && names.length > 0;
}

type Written = Pick<ListKeyFiles, 'made' | 'certificate' | 'request'>;

async function writeKeys(folder: string, order: ListKeyOrder): Promise<Written> {
  const { passphrase } = order;
  if (order.csr) return { made: 'request', certificate: null, request: await writeWaiting(folder, order) };
  const pairs = await makePairs(order);
  for (const { use, key, certificates } of pairs)
    await writePair(folder, suffixOf[use], { key, certificates, passphrase });
  return { made: 'certificate', certificate: encryptionOf(pairs), request: null };
}

/** Of pairs, the certificate to encrypt to. */
export function encryptionOf(pairs: readonly NewPair[]): Certificate | null {
  return pairs.find((pair) => pair.use !== 'sign')?.certificates[0] ?? null;
}

/** New keys with certificates that the list signs itself; nothing is written. Faults of `selfSigned`. */
export async function makePairs(order: Omit<KeyOrder, 'folder' | 'passphrase'>): Promise<NewPair[]> {
  const { address, now: from, days } = order;
  const pairs: NewPair[] = [];
  for (const { use, kind } of order.plan) {
    const key = await makeKey(kind);
    // X25519 cannot sign: its certificate is issued by the list's signing key.
    const signer = kind === 'x25519' ? pairs[0]?.key : undefined;
    const der = selfSigned({ key, commonName: commonNameOf(address), address, use, from, days, signer });
    pairs.push({ use, key, certificates: [parseCertificate(der)] });
  }
  return pairs;
}

/** Writes new keys and a request for each, and gives the requests. Faults of `makeCsr`. */
async function writeWaiting(folder: string, order: Omit<KeyOrder, 'folder'>): Promise<string> {
  const requests: string[] = [];
  for (const { use, kind } of order.plan) {
    const key = await makeKey(kind);
    requests.push(requestOf(key, use, order.address));
    await writeDurably(keyPath(folder, suffixOf[use]), privateKeyPem(key, order.passphrase));
  }
  return writeRequests(folder, requests);
}

async function writeRequests(folder: string, requests: readonly string[]): Promise<string> {
  await writeDurably(join(folder, requestFile), requests.join(''));
  return requests.join('');
}

function requestOf(key: KeyObject, use: KeyUse, address: string): string {
  const der = makeCsr({ key, commonName: commonNameOf(address), address, use });
  return toPem(der, 'CERTIFICATE REQUEST');
}

/**
 * Makes keys for a list that has some, and requests for them: until their certificates are imported they wait aside and
 * the old ones go on. Others that waited are given up. Gives the requests, PEM. Faults of `makeListKeys`.
 */
export function requestNewKeys(order: KeyOrder): Promise<string> {
  const { folder } = order;
  return onFolder(folder, () =>
    beside(waitingFolder(folder), async (made) => {
      const requests = await writeWaiting(made, order);
      await placeWaiting(made, folder);
      return requests;
    }),
  );
}

async function keepKeys({ folder, address, csr, passphrase }: ListKeyOrder): Promise<ListKeyFiles> {
  const { pairs, problems } = await loadKeyPairs(folder, passphrase);
  const kept = { folder, undo: async () => {} };
  const pair = pairs.find((one) => one.certificate.addresses.includes(address));
  if (pair) return { ...kept, made: 'kept', certificate: pair.certificate, request: null };
  if (csr && pairs.length === 0) {
    const request = await requestFor({ folder, address, passphrase });
    return { ...kept, made: 'request', certificate: null, request };
  }
  const other = pairs.length > 0 ? `its certificates do not name ${address}` : 'it holds no key pair';
  throw listKeyFault('keys-exist', { folder, why: problems[0]?.message ?? other });
}

/** A common name has 64 characters at most (RFC 5280 A.1). */
function commonNameOf(address: string): string {
  return address.length <= 64 ? address : (address.split('@')[0] ?? address);
}

/**
 * Writes requests for the keys that wait for a certificate, else for the list's present ones, anew and gives their PEM.
 * Faults: 'keys-none', those of `loadPrivateKey` and `makeCsr`.
 */
export async function requestFor(d: {
  folder: string;
  address: string;
  passphrase: Buffer | null;
}): Promise<string> {
  for (const folder of [waitingFolder(d.folder), d.folder]) {
    const requests: string[] = [];
    for (const suffix of presentIn(await keySuffixes(folder))) {
      const key = await loadPrivateKey(keyPath(folder, suffix), d.passphrase);
      requests.push(requestOf(key, useOf(suffix) ?? 'both', d.address));
    }
    if (requests.length > 0) return writeRequests(folder, requests);
  }
  throw listKeyFault('keys-none', { folder: d.folder });
}

/** Those in use: `.sign` and `.enc` where they are, the plain one for what they leave. */
function presentIn(suffixes: readonly string[]): string[] {
  const special = suffixes.filter((one) => one === suffixOf.sign || one === suffixOf.encrypt);
  return special.length === 2 ? special : suffixes.filter((one) => useOf(one) !== null);
}
