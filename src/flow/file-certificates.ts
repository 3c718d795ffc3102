import { wordsOf } from '../base/errors.ts';
import { ensureFolder, syncFolder } from '../base/files.ts';
import { type Certificate, mayServe, parseCertificate, publicKeyOf } from '../pki/certificate.ts';
import { toPem } from '../pki/pem.ts';
import type { AuthorSignature } from '../smime/author-signature.ts';
import { bind, bindingsOf } from '../store/bindings.ts';
import {
  type CertificateRow,
  findCertificate,
  inUse,
  saveCapabilities,
  upsertCertificate,
} from '../store/certificates.ts';
import type { Queries } from '../store/database.ts';
import { type MirrorFile, writeCertificates } from '../store/directory.ts';
import { changesOf, type FileStamp, saveFileStamps, settleChanges } from '../store/directory-files.ts';
import { record } from '../store/ledger.ts';
import { listsOfAddress } from '../store/members.ts';
import type { CertificateSource, Purpose } from '../store/schema.ts';
import { type Filing, furtherFilings, type HarvestFacts, type InUse } from './harvest.ts';
import type { ListContext } from './list-context.ts';
import { releaseCopies } from './release.ts';

/** What filing a verified signature's certificates changed. */
export interface Filed {
  readonly filings: readonly Filing[];
  /** Copies that were held for this member and now go out. */
  readonly released: number;
}

/** What is known for an address, as `fileCertificates` asks for it. */
export async function knownFor(
  q: Queries,
  address: string,
): Promise<Pick<HarvestFacts, 'inUse' | 'known' | 'waiting'>> {
  const bindings = await bindingsOf(q, address);
  const current = async (purpose: Purpose): Promise<InUse | null> => {
    const row = await inUse(q, address, purpose);
    const binding = bindings.find((one) => one.purpose === purpose && one.sha256 === row?.sha256);
    if (!row) return null;
    const { sha256, spkiSha256, notAfter } = row;
    return { sha256, spkiSha256, notAfter, signingTime: binding?.signingTime ?? 0 };
  };
  // One that an owner refused was known too: the same again is no first contact.
  const everKnown = (purpose: Purpose) =>
    bindings.some((one) => one.purpose === purpose && one.state !== 'pending');
  const waiting = (purpose: Purpose) =>
    bindings.filter((one) => one.purpose === purpose && one.state === 'pending').map((one) => one.sha256);
  return {
    inUse: { sign: await current('sign'), enc: await current('enc') },
    known: { sign: everKnown('sign'), enc: everKnown('enc') },
    waiting: { sign: waiting('sign'), enc: waiting('enc') },
  };
}

/** A certificate as the store keeps it. */
export function certificateRow(
  certificate: Certificate,
  d: { source: CertificateSource; at: number; signingTime: number | null },
): CertificateRow {
  const keyForm = certificate.keyType === 'rsa' ? 'pkcs1' : 'spki';
  const publicKey =
    keyForm === 'pkcs1'
      ? publicKeyOf(certificate).export({ type: 'pkcs1', format: 'der' })
      : certificate.spkiDer;
  return {
    sha256: certificate.sha256,
    der: certificate.der,
    spkiSha256: certificate.spkiSha256,
    subject: certificate.subject,
    issuer: certificate.issuer,
    issuerDer: certificate.issuerDer,
    serialDer: certificate.serialDer,
    subjectKeyId: certificate.subjectKeyId,
    notBefore: certificate.notBefore,
    notAfter: certificate.notAfter,
    addresses: certificate.addresses,
    keyType: certificate.keyType,
    maySign: mayServe(certificate, 'sign'),
    mayEncrypt: mayServe(certificate, 'encrypt'),
    publicKey,
    keyForm,
    source: d.source,
    state: 'good',
    firstSeen: d.at,
    signingTime: d.signingTime,
  };
}

/**
 * Files what `fileCertificates` decided: certificate, binding, capabilities and the release of held copies in one
 * transaction, a ledger line each. Repeated, it gives the same rows. The directory follows after the commit
 * (`mirrorAddress`).
 */
export async function fileHarvest(
  tx: Queries,
  d: {
    readonly list: ListContext;
    readonly messageId: string;
    readonly address: string;
    readonly filings: readonly Filing[];
    readonly signature: AuthorSignature;
    readonly at: number;
    /** When released copies are given up. */
    readonly expiresAt: number;
  },
): Promise<Filed> {
  const { list, address, signature, at } = d;
  const base = { at, messageId: d.messageId, list: list.address, member: address };
  for (const { certificate, purpose, action, reason, chain } of d.filings) {
    if (action === 'skip') continue;
    const signingTime = signature.signingTime;
    await upsertCertificate(tx, certificateRow(certificate, { source: 'harvested', at, signingTime }));
    const state = action === 'use' ? 'in-use' : 'pending';
    for (const authority of chain)
      await upsertCertificate(tx, certificateRow(authority, { source: 'harvested', at, signingTime: null }));
    const { sha256 } = certificate;
    const binding = { address, purpose, sha256, state, since: at, source: 'harvested', signingTime } as const;
    await bind(tx, binding, { by: `a mail that ${address} signed`, messageId: d.messageId });
    await record(tx, {
      ...base,
      event: action === 'use' ? 'harvested' : 'certificate-pending',
      reason,
      detail: `${purpose === 'sign' ? 'signing' : 'encryption'} certificate of ${certificate.subject}, issued by ${certificate.issuer}`,
      data: { sha256: certificate.sha256, purpose },
    });
  }
  if (signature.capabilities) {
    const der = Buffer.from(signature.capabilities);
    for (const spkiSha256 of keysSpokenOf(d)) {
      await saveCapabilities(tx, { spkiSha256, signingTime: signature.signingTime ?? 0, der });
    }
  }
  return { filings: d.filings, released: await releaseFor(tx, d) };
}

/** Addresses of one certificate that are looked at. */
const mostAddresses = 20;

/** What a harvest does for the other addresses of a member that the certificates name (RULES 16): it fills gaps. */
export async function fileFurther(
  tx: Queries,
  d: Omit<Parameters<typeof fileHarvest>[1], 'address' | 'signature'> & { readonly facts: HarvestFacts },
): Promise<{ readonly addresses: readonly string[]; readonly released: number }> {
  const { facts, filings, ...base } = d;
  const named = new Set(filings.flatMap(({ certificate }) => certificate.addresses.slice(0, mostAddresses)));
  named.delete(facts.address);
  const addresses: string[] = [];
  let released = 0;
  for (const address of named) {
    if ((await listsOfAddress(tx, address)).length === 0) continue;
    const bound = new Set((await bindingsOf(tx, address)).map((one) => one.purpose));
    const gaps = (['sign', 'enc'] as const).filter((purpose) => !bound.has(purpose));
    const further = furtherFilings(d.list, facts, { filings, address, gaps });
    if (further.length === 0) continue;
    const signature = { ...facts.signature, capabilities: null };
    released += (await fileHarvest(tx, { ...base, address, filings: further, signature })).released;
    addresses.push(address);
  }
  return { addresses, released };
}

async function releaseFor(
  tx: Queries,
  d: { address: string; filings: readonly Filing[]; at: number; expiresAt: number },
): Promise<number> {
  const { address, filings, at: now, expiresAt } = d;
  const came = filings.some((filing) => filing.purpose === 'enc' && filing.action === 'use');
  return came ? releaseCopies(tx, address, { now, expiresAt }) : 0;
}

/** The keys that signed SMIMECapabilities speak of: the signer's own, and the one he wants mail encrypted to. */
function keysSpokenOf(d: { signature: AuthorSignature; filings: readonly Filing[] }): Set<string> {
  const taken = d.filings.filter((filing) => filing.action === 'use' || filing.reason === 'already-known');
  const signer = parseCertificate(Buffer.from(d.signature.certificate));
  return new Set([signer.spkiSha256, ...taken.map((filing) => filing.certificate.spkiSha256)]);
}

/** Writes the directory's files for one address from the bindings now in use (Sympa's names). */
export async function mirrorAddress(q: Queries, folder: string, address: string): Promise<void> {
  await mirrorAddresses(q, folder, [address]);
}

/** Files written at once: their fsyncs go together. */
const atOnce = 16;

/**
 * The same for many addresses, durable together. With `failed`, what cannot be written (a name that no file may have)
 * is told there and does not stop the others.
 */
export async function mirrorAddresses(
  q: Queries,
  folder: string,
  addresses: readonly string[],
  failed?: (words: string) => void,
): Promise<void> {
  if (addresses.length > 0) await ensureFolder(folder);
  let rest: readonly string[] = [...new Set(addresses)];
  while (rest.length > 0) {
    const changes = await changesOf(q, rest);
    const stamps = await writeAll(q, folder, rest, failed);
    await syncFolder(folder);
    // A start that finds them so need not read them.
    await saveFileStamps(q, { seen: stamps, gone: [] });
    await settleChanges(q, changes);
    // What another changed while these were written is written again: the last word is the database's.
    rest = [...(await changesOf(q, rest)).keys()];
  }
}

async function writeAll(
  q: Queries,
  folder: string,
  addresses: readonly string[],
  failed: ((words: string) => void) | undefined,
): Promise<FileStamp[]> {
  const stamps: FileStamp[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    for (let address = addresses[next++]; address !== undefined; address = addresses[next++]) {
      try {
        stamps.push(...(await writeCertificates(folder, address, await mirrorOf(q, address))));
      } catch (error) {
        if (!failed) throw error;
        failed(wordsOf(error));
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return stamps;
}

async function mirrorOf(q: Queries, address: string): Promise<MirrorFile[]> {
  const bindings = (await bindingsOf(q, address)).filter((one) => one.state === 'in-use');
  const fileFor = async (purpose: Purpose) => {
    const binding = bindings.find((one) => one.purpose === purpose);
    const row = binding && (await findCertificate(q, binding.sha256));
    return row?.state === 'good' ? { use: purpose, pem: toPem(row.der), since: binding?.since ?? 0 } : null;
  };
  const sign = await fileFor('sign');
  const enc = await fileFor('enc');
  if (sign && sign.pem === enc?.pem)
    return [{ use: 'both', pem: sign.pem, since: Math.max(sign.since, enc.since) }];
  return [sign, enc].filter((one) => one !== null);
}
