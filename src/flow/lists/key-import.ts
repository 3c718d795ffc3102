import type { KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { dayOf } from '../../base/day.ts';
import { type Fault, faultsOf, isFault } from '../../base/errors.ts';
import { removeIfPresent } from '../../base/files.ts';
import { defaultFloor } from '../../pki/algorithms.ts';
import { type Certificate, mayServe } from '../../pki/certificate.ts';
import type { KeyUse } from '../../pki/issue.ts';
import type { KeyMaterial } from '../../pki/key-material.ts';
import { belongsTo, loadPrivateKey } from '../../pki/keys.ts';
import {
  addRetired,
  certificatePath,
  hasCertificate,
  keyPath,
  keySuffixes,
  leaveWaiting,
  type NewPair,
  renewPair,
  replacePairs,
  requestFile,
  suffixOf,
  useOf,
  waitingFolder,
} from './key-files.ts';
import { listKeyFault } from './list-keys.ts';

export const keyImportFault = faultsOf({
  'certificate-not-read': (d: { what: string }) =>
    `the file holds no certificate that can be read: ${d.what}`,
  'certificate-of-other-key': (d: { folder: string }) =>
    `the certificate does not belong to any private key in ${d.folder}: it was made for another request`,
  'key-of-no-certificate': (d: { type: string; certificates: readonly string[] }) =>
    d.certificates.length === 0
      ? `the file holds a private key and no certificate: give the certificate too, with --cert FILE`
      : `key and certificate do not belong together: the private key (${d.type}) is of none of these certificates: ${d.certificates.join('; ')}`,
  'certificate-of-other-address': (d: { list: string; addresses: readonly string[] }) =>
    `the certificate does not name ${d.list}, but ${d.addresses.join(', ') || 'no mail address'}: ask the authority for one with the list's address; a pair that shall only open old mail is taken with --retired`,
  'certificate-not-usable': (d: { why: string }) => `the certificate cannot serve a list: ${d.why}`,
});

/** One pair as it was taken. */
export interface ImportedPair {
  readonly certificate: Certificate;
  /** The file of the certificate. */
  readonly path: string;
  readonly suffix: string;
}

export interface Imported {
  readonly pairs: readonly ImportedPair[];
  /** Files of the certificates that were in use before; they still open. */
  readonly retired: readonly string[];
  /** Whether a key was put into use that was not before: members are to be told. */
  readonly isNewKey: boolean;
  /** False if all of it was there already. */
  readonly isChange: boolean;
  /** What a person should know all the same. */
  readonly warnings: readonly string[];
}

export interface ImportOrder {
  readonly folder: string;
  readonly address: string;
  /** Of the list's keys at rest. */
  readonly passphrase: Buffer | null;
  readonly material: KeyMaterial;
  /** Take the pairs to open old mail with, whatever their certificates say. */
  readonly retired: boolean;
  readonly now: number;
}

/**
 * Takes certificates for keys that are there, or whole key pairs. They must name the list's address and be good for
 * signing or encrypting mail now. A pair that is succeeded stays to open with. Faults: `keyImportFault`, 'keys-none',
 * 'keys-not-writable', those of `loadPrivateKey`.
 */
export async function importKeys(order: ImportOrder): Promise<Imported> {
  if (order.material.keys.length === 0) return importCertificate(order);
  const pairs = order.material.keys.map((key) => pairWith(key, order));
  return order.retired ? importRetired(order, pairs) : importPairs(order, pairs);
}

type Loose = Pick<NewPair, 'key' | 'certificates'>;

/** A key with its certificate (the latest of several) and everything above it in the file. */
function pairWith(key: KeyObject, { material, address }: ImportOrder): Loose {
  const { certificates } = material;
  const rank = (one: Certificate) => (one.addresses.includes(address) ? 1e15 : 0) + one.notAfter;
  const [own] = certificates.filter((one) => belongsTo(one, key)).sort((a, b) => rank(b) - rank(a));
  if (!own) {
    const type = key.asymmetricKeyType ?? 'unknown';
    throw keyImportFault('key-of-no-certificate', {
      type,
      certificates: certificates.map((one) => one.subject),
    });
  }
  return { key, certificates: [own, ...chainOf(own, certificates)] };
}

/** The certificates that lead up from this one, by name; others in the file are somebody else's. */
function chainOf(certificate: Certificate, others: readonly Certificate[]): Certificate[] {
  const chain: Certificate[] = [];
  for (let below = certificate; ; ) {
    const above = others.find(
      (one) => one.subjectName === below.issuerName && one !== below && !chain.includes(one) && one.isCa,
    );
    if (!above) return chain;
    chain.push(above);
    below = above;
  }
}

async function importRetired(order: ImportOrder, pairs: readonly Loose[]): Promise<Imported> {
  const { folder, passphrase, now } = order;
  const taken: ImportedPair[] = [];
  for (const { key, certificates } of pairs) {
    const suffix = await addRetired(folder, { use: 'both', key, certificates, passphrase, now });
    taken.push({ certificate: certificates[0], suffix, path: certificatePath(folder, suffix) });
  }
  return { pairs: taken, retired: [], isNewKey: false, isChange: true, warnings: order.material.problems };
}

async function importPairs(order: ImportOrder, pairs: readonly Loose[]): Promise<Imported> {
  const { folder, passphrase, now, material } = order;
  // A file may bring pairs of earlier years along: the latest serve, the others open.
  const byAge = [...pairs].sort((a, b) => b.certificates[0].notAfter - a.certificates[0].notAfter);
  const usable = byAge.filter((pair) => reasonAgainst(pair.certificates[0], order) === null);
  const [latest] = byAge;
  if (usable.length === 0 && latest) throw reasonAgainst(latest.certificates[0], order);
  const chosen = choose(usable);
  const isNewKey = !(await areThere(folder, chosen));
  const replaced = isNewKey ? await replacePairs(folder, chosen, { passphrase, now }) : [];
  const taken = chosen.map(({ use, certificates }) => ({
    certificate: certificates[0],
    suffix: suffixOf[use],
    path: certificatePath(folder, suffixOf[use]),
  }));
  const rest = byAge.filter((pair) => !chosen.some(({ key }) => key === pair.key));
  const older = await importRetired(order, rest);
  return {
    pairs: [...taken, ...older.pairs],
    retired: replaced.map((suffix) => certificatePath(folder, suffix)),
    isNewKey,
    isChange: isNewKey || rest.length > 0,
    warnings: [
      ...material.problems,
      ...chosen.flatMap(({ certificates: [own], use }) =>
        warningsAbout(own, now, chosen.length === 1 ? 'both' : use),
      ),
    ],
  };
}

/** Whether these very pairs are in use already. */
async function areThere(folder: string, pairs: readonly NewPair[]): Promise<boolean> {
  for (const { use, certificates } of pairs)
    if (!(await hasCertificate(folder, suffixOf[use], certificates[0]))) return false;
  return true;
}

/** Who signs and who is encrypted to: one pair if it can do both, else the latest for each. */
function choose(usable: readonly Loose[]): NewPair[] {
  const first = (purpose: 'sign' | 'encrypt') =>
    usable.find((pair) => mayServe(pair.certificates[0], purpose)) ?? null;
  const [signing, encrypting] = [first('sign'), first('encrypt')];
  if (signing && signing === encrypting) return [{ ...signing, use: 'both' }];
  return [
    ...(signing ? [{ ...signing, use: 'sign' as const }] : []),
    ...(encrypting ? [{ ...encrypting, use: 'encrypt' as const }] : []),
  ];
}

async function importCertificate(order: ImportOrder): Promise<Imported> {
  const { folder, now, passphrase } = order;
  const { certificates, problems } = order.material;
  if (certificates.length === 0) throw keyImportFault('certificate-not-read', { what: problems.join('; ') });
  const found = await matchingKey(order, certificates);
  const { certificate, suffix, key } = found;
  const refusal = reasonAgainst(certificate, order);
  if (refusal) throw refusal;
  const chain = certificates.filter((one) => one.sha256 !== certificate.sha256);
  const whole = [certificate, ...chain] as const;
  let retired: string[];
  if (found.waits) {
    const use = useOf(suffix) ?? 'both';
    retired = await replacePairs(folder, [{ use, key, certificates: whole }], { passphrase, now });
    await leaveWaiting(folder, suffix);
  } else {
    const kept = await renewPair(folder, suffix, { certificates: whole, now });
    retired = kept === null ? [] : [kept];
    await removeIfPresent(join(folder, requestFile));
  }
  return {
    pairs: [{ certificate, suffix, path: certificatePath(folder, suffix) }],
    retired: retired.map((one) => certificatePath(folder, one)),
    isNewKey: found.waits,
    isChange: true,
    warnings: [...problems, ...warningsAbout(certificate, now, useOf(suffix) ?? 'both')],
  };
}

interface Match {
  readonly certificate: Certificate;
  readonly suffix: string;
  readonly key: KeyObject;
  /** Whether the key waited for this certificate. */
  readonly waits: boolean;
}

/** The key that a certificate is for; those in use before the retired ones. One that cannot be read hides no other. */
async function matchingKey(
  d: { folder: string; passphrase: Buffer | null },
  certificates: readonly Certificate[],
): Promise<Match> {
  let problem: Fault | null = null;
  let count = 0;
  for (const folder of [d.folder, waitingFolder(d.folder)]) {
    const suffixes = await keySuffixes(folder);
    const rank = (suffix: string) => (useOf(suffix) === null ? 1 : 0);
    for (const suffix of suffixes.sort((a, b) => rank(a) - rank(b))) {
      count++;
      try {
        const key = await loadPrivateKey(keyPath(folder, suffix), d.passphrase);
        const certificate = certificates.find((one) => belongsTo(one, key));
        if (certificate) return { certificate, suffix, key, waits: folder !== d.folder };
      } catch (error) {
        if (!isFault(error)) throw error;
        problem ??= error;
      }
    }
  }
  if (count === 0) throw listKeyFault('keys-none', { folder: d.folder });
  throw problem ?? keyImportFault('certificate-of-other-key', { folder: d.folder });
}

/** Why a certificate may not sign for a list or be encrypted to, or null. */
function reasonAgainst(certificate: Certificate, d: { address: string; now: number }): Fault | null {
  if (!certificate.addresses.includes(d.address)) {
    const { addresses } = certificate;
    return keyImportFault('certificate-of-other-address', { list: d.address, addresses });
  }
  const refuse = (why: string) => keyImportFault('certificate-not-usable', { why });
  if (d.now > certificate.notAfter) return refuse(`it expired on ${dayOf(certificate.notAfter)}`);
  if (certificate.isCa) return refuse("it is an authority's");
  if (!mayServe(certificate, 'sign') && !mayServe(certificate, 'encrypt'))
    return refuse('its key usage allows neither signing nor encrypting mail');
  if ((certificate.rsaBits ?? defaultFloor.rsaBits) < defaultFloor.rsaBits)
    return refuse(`its RSA key has only ${certificate.rsaBits} bits: take ${defaultFloor.rsaBits} or more`);
  return null;
}

/** What is wrong with a certificate that is used so, a sentence each. */
export function problemsOf(
  certificate: Certificate,
  d: { address: string; now: number; use: KeyUse },
): string[] {
  const refusal = reasonAgainst(certificate, d);
  return [...(refusal ? [refusal.message] : []), ...warningsAbout(certificate, d.now, d.use)];
}

function warningsAbout(certificate: Certificate, now: number, use: KeyUse): string[] {
  const warnings: string[] = [];
  if (now < certificate.notBefore)
    warnings.push(`it is valid only from ${new Date(certificate.notBefore).toISOString()} on`);
  if (use !== 'sign' && !mayServe(certificate, 'encrypt'))
    warnings.push('its key usage does not allow encryption: members cannot encrypt to it');
  if (use !== 'encrypt' && !mayServe(certificate, 'sign'))
    warnings.push('its key usage does not allow signing: notices cannot be signed with it');
  return warnings;
}
