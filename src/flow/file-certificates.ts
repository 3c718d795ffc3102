import { type Certificate, mayServe, parseCertificate, publicKeyOf } from '../pki/certificate.ts';
import { toPem } from '../pki/pem.ts';
import type { AuthorSignature } from '../smime/open.ts';
import { bind, bindingsOf } from '../store/bindings.ts';
import { type CertificateRow, inUse, saveCapabilities, upsertCertificate } from '../store/certificates.ts';
import type { Queries } from '../store/database.ts';
import { writeCertificate } from '../store/directory.ts';
import { record } from '../store/ledger.ts';
import type { CertificateSource, Purpose } from '../store/schema.ts';
import type { Filing, HarvestFacts, InUse } from './harvest.ts';
import type { ListContext } from './list-context.ts';
import { releaseCopies } from './release.ts';

/** What filing a verified signature's certificates changed. */
export interface Filed {
  readonly filings: readonly Filing[];
  /** Copies that were held for this member and now go out. */
  readonly released: number;
}

/** What is known for an address, as `fileCertificates` asks for it. */
export async function knownFor(q: Queries, address: string): Promise<Pick<HarvestFacts, 'inUse' | 'known'>> {
  const bindings = await bindingsOf(q, address);
  const current = async (purpose: Purpose): Promise<InUse | null> => {
    const row = await inUse(q, address, purpose);
    const binding = bindings.find((one) => one.purpose === purpose && one.sha256 === row?.sha256);
    return row && { sha256: row.sha256, spkiSha256: row.spkiSha256, signingTime: binding?.signingTime ?? 0 };
  };
  // One that an owner refused was known too: the same again is no first contact.
  const everKnown = (purpose: Purpose) =>
    bindings.some((one) => one.purpose === purpose && one.state !== 'pending');
  return {
    inUse: { sign: await current('sign'), enc: await current('enc') },
    known: { sign: everKnown('sign'), enc: everKnown('enc') },
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
    await bind(tx, {
      address,
      purpose,
      sha256: certificate.sha256,
      state,
      since: at,
      source: 'harvested',
      signingTime,
    });
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
  const sign = await inUse(q, address, 'sign');
  const enc = await inUse(q, address, 'enc');
  if (sign && enc && sign.sha256 === enc.sha256)
    return writeCertificate(folder, address, 'both', toPem(enc.der));
  if (sign) await writeCertificate(folder, address, 'sign', toPem(sign.der));
  if (enc) await writeCertificate(folder, address, 'enc', toPem(enc.der));
}
