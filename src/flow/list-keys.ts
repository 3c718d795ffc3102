import { createHash, type KeyObject } from 'node:crypto';
import { mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { dayOf } from '../base/day.ts';
import { errnoOf, faultsOf } from '../base/errors.ts';
import { ensureFolder, readIfPresent, removeIfPresent, syncFolder, writeDurably } from '../base/files.ts';
import { type Certificate, mayServe, parseCertificate } from '../pki/certificate.ts';
import { type KeyKind, makeCsr, makeKey, privateKeyPem, selfSigned } from '../pki/issue.ts';
import { belongsTo, loadKeyPairs, loadPrivateKey } from '../pki/keys.ts';
import { certificatesFromPem, toPem } from '../pki/pem.ts';

export const listKeyFault = faultsOf({
  'keys-exist': (d: { folder: string; why: string }) =>
    `${d.folder} is there already and cannot be used (${d.why}): mend it, or move it away`,
  'keys-not-writable': (d: { folder: string; why: string }) =>
    `the keys cannot be written to ${d.folder} (${d.why}): it must belong to reseal's user`,
  'keys-none': (d: { folder: string }) =>
    `there is no private key in ${d.folder}: \`reseal key create\` makes one`,
  'keys-usable': (d: { address: string; folder: string; sha256: string }) =>
    `${d.address} has a key pair already, in ${d.folder}, with the certificate ${d.sha256.slice(0, 8)}: \`reseal key csr ${d.address}\` asks for a new certificate; to give the key up, move the folder away`,
  'certificate-not-read': (d: { what: string }) =>
    `the file holds no certificate that can be read: ${d.what}`,
  'certificate-of-other-key': (d: { folder: string }) =>
    `the certificate does not belong to any private key in ${d.folder}: it was made for another request`,
  'certificate-of-other-address': (d: { list: string; addresses: readonly string[] }) =>
    `the certificate does not name ${d.list}, but ${d.addresses.join(', ') || 'no mail address'}: ask the authority for one with the list's address`,
  'certificate-not-usable': (d: { why: string }) => `the certificate cannot serve a list: ${d.why}`,
});

/** A list's key as `makeListKeys` left it. */
export interface ListKeyFiles {
  readonly folder: string;
  /** `kept`: the folder was there with a key that can be used. */
  readonly made: 'certificate' | 'request' | 'kept';
  readonly certificate: Certificate | null;
  /** PEM of the request for the authority. */
  readonly request: string | null;
  /** Takes back what was made, if the list cannot be made after all. */
  undo(): Promise<void>;
}

export interface ListKeyOrder {
  readonly folder: string;
  readonly address: string;
  readonly kind: KeyKind;
  /** A request for an authority instead of a self-signed certificate. */
  readonly csr: boolean;
  readonly days: number;
  readonly passphrase: Buffer | null;
  readonly now: number;
}

const requestFile = 'request.csr';

/**
 * Makes the folder of a list's keys (mode 0700) with a private key and a certificate or a request, all at once: they
 * are written beside it and renamed. A folder that is there already with a key pair of this address is kept: of a
 * creation that was interrupted, or brought along from Sympa. Faults: 'keys-exist', 'keys-not-writable'.
 */
export async function makeListKeys(order: ListKeyOrder): Promise<ListKeyFiles> {
  const { folder } = order;
  const parent = dirname(folder);
  try {
    if (await isThere(folder)) return await keepKeys(order);
    await ensureFolder(parent);
    const beside = await mkdtemp(join(parent, '.new-'));
    try {
      const made = await writeKeys(beside, order);
      await rename(beside, folder);
      await syncFolder(parent);
      return { ...made, folder, undo: () => rm(folder, { recursive: true, force: true }) };
    } catch (error) {
      await rm(beside, { recursive: true, force: true });
      throw error;
    }
  } catch (error) {
    const why = errnoOf(error);
    throw why === null ? error : listKeyFault('keys-not-writable', { folder, why }, { cause: error });
  }
}

async function isThere(folder: string): Promise<boolean> {
  const names = await readdir(folder).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  });
  return names !== null && names.length > 0;
}

async function writeKeys(
  folder: string,
  order: ListKeyOrder,
): Promise<Pick<ListKeyFiles, 'made' | 'certificate' | 'request'>> {
  const key = await makeKey(order.kind);
  await writeDurably(join(folder, 'private_key'), privateKeyPem(key, order.passphrase));
  if (order.csr)
    return { made: 'request', certificate: null, request: await writeRequest(folder, key, order.address) };
  const { address, now: from, days } = order;
  const der = selfSigned({ key, commonName: commonNameOf(address), address, from, days });
  await writeDurably(join(folder, 'cert.pem'), toPem(der));
  return { made: 'certificate', certificate: parseCertificate(der), request: null };
}

async function keepKeys({ folder, address, csr, passphrase }: ListKeyOrder): Promise<ListKeyFiles> {
  const { pairs, problems } = await loadKeyPairs(folder, passphrase);
  const kept = { folder, undo: async () => {} };
  const pair = pairs.find((one) => one.certificate.addresses.includes(address));
  if (pair) return { ...kept, made: 'kept', certificate: pair.certificate, request: null };
  if (csr && pairs.length === 0) {
    const key = await loadPrivateKey(join(folder, 'private_key'), passphrase);
    return { ...kept, made: 'request', certificate: null, request: await writeRequest(folder, key, address) };
  }
  const other = pairs.length > 0 ? `its certificates do not name ${address}` : 'it holds no key pair';
  throw listKeyFault('keys-exist', { folder, why: problems[0]?.message ?? other });
}

async function writeRequest(folder: string, key: KeyObject, address: string): Promise<string> {
  const request = toPem(makeCsr({ key, commonName: commonNameOf(address), address }), 'CERTIFICATE REQUEST');
  await writeDurably(join(folder, requestFile), request);
  return request;
}

/** A common name has 64 characters at most (RFC 5280 A.1). */
function commonNameOf(address: string): string {
  return address.length <= 64 ? address : (address.split('@')[0] ?? address);
}

/** Writes the request for the list's present key anew and gives its PEM. Faults: 'keys-none' and those of `loadPrivateKey`. */
export async function requestFor(d: {
  folder: string;
  address: string;
  passphrase: Buffer | null;
}): Promise<string> {
  const [first] = await keySuffixes(d.folder);
  if (first === undefined) throw listKeyFault('keys-none', { folder: d.folder });
  const key = await loadPrivateKey(join(d.folder, `private_key${first}`), d.passphrase);
  return writeRequest(d.folder, key, d.address);
}

async function keySuffixes(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  return names
    .filter((name) => /^private_key(\.|$)/.test(name))
    .map((name) => name.slice('private_key'.length))
    .sort();
}

export interface ImportedCertificate {
  readonly certificate: Certificate;
  /** The file it was written to. */
  readonly path: string;
  /** Where the certificate that was there before, and a copy of the key, are now; null if there was none. */
  readonly keptAs: string | null;
  /** What a person should know all the same. */
  readonly warnings: readonly string[];
}

/**
 * Puts a certificate that an authority issued beside the private key it belongs to. It must name the list's address
 * and be good for signing or encrypting mail now. A certificate that it replaces stays, with a copy of the key, as a
 * pair of its own: mail names the certificate that it is encrypted to. Faults: `listKeyFault`, those of `loadPrivateKey`.
 */
export async function importListCertificate(d: {
  readonly folder: string;
  readonly address: string;
  readonly passphrase: Buffer | null;
  readonly file: Buffer;
  readonly chain: Buffer | null;
  readonly now: number;
}): Promise<ImportedCertificate> {
  const { certificates, problems } = certificatesFromPem(d.file);
  if (certificates.length === 0) throw listKeyFault('certificate-not-read', { what: problems.join('; ') });
  const { certificate, suffix } = await matchingKey(d, certificates);
  checkCertificate(certificate, d);
  const more = [...certificates, ...(d.chain ? certificatesFromPem(d.chain).certificates : [])];
  const chain = [...new Map(more.map((one) => [one.sha256, one])).values()].filter(
    (one) => one.sha256 !== certificate.sha256,
  );
  const path = join(d.folder, `cert.pem${suffix}`);
  const keptAs = await keepOldPair(d.folder, suffix, certificate);
  await writeDurably(path, [certificate, ...chain].map((one) => toPem(one.der)).join(''));
  await removeIfPresent(join(d.folder, requestFile));
  return { certificate, path, keptAs, warnings: [...problems, ...warningsAbout(certificate, d.now)] };
}

async function matchingKey(
  d: { folder: string; passphrase: Buffer | null },
  certificates: readonly Certificate[],
): Promise<{ certificate: Certificate; suffix: string }> {
  const suffixes = await keySuffixes(d.folder);
  if (suffixes.length === 0) throw listKeyFault('keys-none', { folder: d.folder });
  for (const suffix of suffixes) {
    const key = await loadPrivateKey(join(d.folder, `private_key${suffix}`), d.passphrase);
    const certificate = certificates.find((one) => belongsTo(one, key));
    if (certificate) return { certificate, suffix };
  }
  throw listKeyFault('certificate-of-other-key', { folder: d.folder });
}

function checkCertificate(certificate: Certificate, d: { address: string; now: number }): void {
  if (!certificate.addresses.includes(d.address)) {
    throw listKeyFault('certificate-of-other-address', { list: d.address, addresses: certificate.addresses });
  }
  const refuse = (why: string) => listKeyFault('certificate-not-usable', { why });
  if (d.now > certificate.notAfter) throw refuse(`it expired on ${dayOf(certificate.notAfter)}`);
  if (certificate.isCa) throw refuse("it is an authority's");
  if (!mayServe(certificate, 'sign') && !mayServe(certificate, 'encrypt')) {
    throw refuse('its key usage allows neither signing nor encrypting mail');
  }
}

function warningsAbout(certificate: Certificate, now: number): string[] {
  const warnings: string[] = [];
  if (now < certificate.notBefore) {
    warnings.push(`it is valid only from ${new Date(certificate.notBefore).toISOString()} on`);
  }
  if (!mayServe(certificate, 'encrypt'))
    warnings.push('its key usage does not allow encryption: members cannot encrypt to it');
  if (!mayServe(certificate, 'sign'))
    warnings.push('its key usage does not allow signing: notices cannot be signed with it');
  return warnings;
}

async function keepOldPair(folder: string, suffix: string, certificate: Certificate): Promise<string | null> {
  const old = await readIfPresent(join(folder, `cert.pem${suffix}`));
  if (old === null || certificatesFromPem(old).certificates[0]?.sha256 === certificate.sha256) return null;
  const kept = `.${createHash('sha256').update(old).digest('hex').slice(0, 12)}`;
  const key = await readIfPresent(join(folder, `private_key${suffix}`));
  if (key === null) return null;
  await writeDurably(join(folder, `private_key${kept}`), key);
  key.fill(0);
  await writeDurably(join(folder, `cert.pem${kept}`), old);
  return join(folder, `cert.pem${kept}`);
}
