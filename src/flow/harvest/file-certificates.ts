import { parseCertificate } from '../../pki/certificate.ts';
import type { AuthorSignature } from '../../smime/author-signature.ts';
import { bind, bindingsOf } from '../../store/bindings.ts';
import { certificateRow } from '../../store/certificate-row.ts';
import { inUse, saveCapabilities, upsertCertificate } from '../../store/certificates.ts';
import type { Queries } from '../../store/database.ts';
import { record } from '../../store/ledger.ts';
import type { BindingState, Purpose } from '../../store/schema.ts';
import { purposeWords } from '../certificates/purposes.ts';
import { releaseCopies } from '../certificates/release.ts';
import type { ListContext } from '../lists/list-context.ts';
import type { Filing, HarvestFacts, InUse } from './harvest.ts';

/** What filing a verified signature's certificates changed. */
export interface Filed {
  readonly filings: readonly Filing[];
  /** Copies that were held for this member and now go out. */
  readonly released: number;
}

/** What is known for an address, as `filingsFor` asks for it. */
export async function knownFor(
  q: Queries,
  address: string,
): Promise<Pick<HarvestFacts, 'inUse' | 'known' | 'waiting' | 'replaced' | 'refused'>> {
  const bindings = await bindingsOf(q, address);
  const current = async (purpose: Purpose): Promise<InUse | null> => {
    const row = await inUse(q, address, purpose);
    const binding = bindings.find((one) => one.purpose === purpose && one.sha256 === row?.sha256);
    if (!row) return null;
    const { sha256, spkiSha256, notAfter } = row;
    // What a person or a confirmation brought is as new as that: an older mail must not undo it. Mails have whole seconds.
    const since = Math.floor((binding?.since ?? 0) / 1000) * 1000;
    return { sha256, spkiSha256, notAfter, signingTime: binding?.signingTime ?? since, source: row.boundBy };
  };
  // One that an owner refused was known too: the same again is no first contact.
  const everKnown = (purpose: Purpose) =>
    bindings.some((one) => one.purpose === purpose && one.state !== 'pending');
  const inState = (purpose: Purpose, ...states: readonly BindingState[]) =>
    bindings.filter((one) => one.purpose === purpose && states.includes(one.state));
  const waiting = (purpose: Purpose) => inState(purpose, 'pending').map((one) => one.sha256);
  const refused = (purpose: Purpose) => inState(purpose, 'refused', 'removed').map((one) => one.sha256);
  const replaced = (purpose: Purpose) =>
    new Map(inState(purpose, 'replaced').map((one) => [one.sha256, one.since]));
  return {
    inUse: { sign: await current('sign'), enc: await current('enc') },
    known: { sign: everKnown('sign'), enc: everKnown('enc') },
    waiting: { sign: waiting('sign'), enc: waiting('enc') },
    refused: { sign: refused('sign'), enc: refused('enc') },
    replaced: { sign: replaced('sign'), enc: replaced('enc') },
  };
}

/**
 * Files what `filingsFor` decided: certificate, binding, capabilities and the release of held copies in one
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
  for (const { certificate, purpose, action, reason, source, chain } of d.filings) {
    if (action === 'skip') continue;
    const signingTime = signature.signingTime;
    await upsertCertificate(tx, certificateRow(certificate, { source: 'harvested', at, signingTime }));
    const state = action === 'use' ? 'in-use' : 'pending';
    for (const authority of chain)
      await upsertCertificate(tx, certificateRow(authority, { source: 'harvested', at, signingTime: null }));
    const { sha256, subject, issuer } = certificate;
    const binding = { address, purpose, sha256, state, since: at, source, signingTime } as const;
    await bind(tx, binding, { by: `a mail that ${address} signed`, messageId: d.messageId });
    await record(tx, {
      ...base,
      event: action === 'use' ? 'harvested' : 'certificate-pending',
      reason,
      detail: `${purposeWords(purpose)} certificate of ${subject}, issued by ${issuer}`,
      data: { sha256, purpose, subject, issuer },
    });
  }
  await keepCapabilities(tx, signature, d.filings);
  return { filings: d.filings, released: await releaseFor(tx, d) };
}

/** They are read for each copy; those of real programs have some hundred octets. */
const mostCapabilityOctets = 8 * 1024;

/** Keeps what the signature says of its holder's program, for the keys that it speaks of. */
export async function keepCapabilities(
  q: Queries,
  signature: AuthorSignature,
  filings: readonly Filing[],
): Promise<void> {
  const { capabilities, signingTime } = signature;
  if (capabilities === null || capabilities.length > mostCapabilityOctets) return;
  const der = Buffer.from(capabilities);
  for (const spkiSha256 of keysSpokenOf({ signature, filings }))
    await saveCapabilities(q, { spkiSha256, signingTime: signingTime ?? 0, der });
}

/** Files what a harvest decided for other addresses that the certificates name. What the signature says of algorithms is the author's. */
export async function fileFurther(
  tx: Queries,
  d: Omit<Parameters<typeof fileHarvest>[1], 'address' | 'filings'> & {
    readonly further: readonly { readonly address: string; readonly filings: readonly Filing[] }[];
  },
): Promise<number> {
  const { further, ...base } = d;
  const signature = { ...d.signature, capabilities: null };
  let released = 0;
  for (const one of further) released += (await fileHarvest(tx, { ...base, ...one, signature })).released;
  return released;
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
function keysSpokenOf(d: {
  readonly signature: AuthorSignature;
  readonly filings: readonly Filing[];
}): Set<string> {
  const signer = parseCertificate(Buffer.from(d.signature.certificate));
  const taken = d.filings
    .filter((filing) => filing.action === 'use' || filing.reason === 'already-known')
    .map(({ certificate }) => certificate.spkiSha256);
  // Who is not in use himself has no say about the certificate that is.
  return new Set([signer.spkiSha256, ...(taken.includes(signer.spkiSha256) ? taken : [])]);
}
