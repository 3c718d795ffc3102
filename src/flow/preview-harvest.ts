import type { Certificate } from '../pki/certificate.ts';
import type { Findings } from '../smime/open.ts';
import type { Queries } from '../store/database.ts';
import type { Purpose } from '../store/schema.ts';
import { decideHarvest } from './decide-harvest.ts';
import { certificateRow } from './file-certificates.ts';
import type { Filing, FilingReason } from './harvest.ts';
import { isHarvested, trustFor } from './harvest-post.ts';
import type { ListContext } from './list-context.ts';
import type { Brought } from './member-certificate.ts';
import type { FlowParts } from './posting-work.ts';

/** What would become of one certificate for one purpose of one address. */
export interface PreviewFiling {
  readonly address: string;
  readonly purpose: Purpose;
  readonly action: Filing['action'];
  readonly reason: FilingReason;
  /** In words, without a full stop. */
  readonly why: string;
  readonly certificate: Pick<Certificate, 'sha256' | 'subject' | 'issuer' | 'notAfter'>;
}

export interface PreviewHarvest {
  readonly filings: readonly PreviewFiling[];
  /** Why no certificate of it would be looked at, in words; null if one would. */
  readonly none: string | null;
}

/**
 * What a post's certificates would become if it came now (RULES 15, 16), and what would then be encrypted to. Writes
 * nothing, and asks nobody to confirm.
 */
export async function previewHarvest(
  parts: Pick<FlowParts, 'keyring' | 'intermediates' | 'revocation' | 'defaults'> & { readonly q: Queries },
  list: ListContext,
  { author: address, signature: given }: Findings,
  at: number,
): Promise<{ readonly harvest: PreviewHarvest; readonly brought: Brought }> {
  const { q } = parts;
  const nothing = (none: string) => ({ harvest: { filings: [], none }, brought: new Map() });
  if (address === null || given === null) return nothing('no signature in it proves who wrote it');
  if (!(await isHarvested(q, list, address))) return nothing(`${address} is no member and has no role here`);
  const { signature, filings, further } = await decideHarvest(q, {
    ...(await trustFor(parts, list, given)),
    list,
    address,
    signature: given,
    receivedAt: at,
    defaults: parts.defaults,
  });
  const all = [{ address, filings }, ...further];
  const brought = new Map(
    all.flatMap((one) => {
      const taken = one.filings.find(({ purpose, action }) => purpose === 'enc' && action === 'use');
      if (!taken) return [];
      const { signingTime, capabilities } = signature;
      const row = certificateRow(taken.certificate, { source: 'harvested', at, signingTime });
      const signed = capabilities && Buffer.from(capabilities);
      return [[one.address, { row: { ...row, boundBy: taken.source }, capabilities: signed }] as const];
    }),
  );
  const told = all.flatMap((one) => one.filings.map((filing) => filingValue(one.address, filing)));
  const none = told.length === 0 ? 'its certificate may neither sign nor be encrypted to' : null;
  return { harvest: { filings: told, none }, brought };
}

function filingValue(address: string, filing: Filing): PreviewFiling {
  const { purpose, action, reason, certificate } = filing;
  const { sha256, subject, issuer, notAfter } = certificate;
  return {
    address,
    purpose,
    action,
    reason,
    why: words[reason],
    certificate: { sha256, subject, issuer, notAfter },
  };
}

const words: Readonly<Record<FilingReason, string>> = {
  first: 'it is the first that is known',
  'same-key': 'it renews the one in use, for the same key',
  'signed-by-old': 'the key that is known signed the same mail',
  newer: 'it is newer than the one in use (harvest: verified)',
  further: 'nothing is known for this address yet',
  'already-known': 'it is in use already',
  'changed-key':
    'it has another key than the one that is known, so the member is asked to confirm it, else an owner to approve it',
  'refused-before': 'an owner refused or removed it before: `reseal cert approve` takes it all the same',
  'owner-decides': 'an owner decides about the first one (harvest.first: owner)',
  candidate: 'nothing signed names it, so an owner decides',
  older: 'a newer one is known',
  'too-many': 'too many wait for this address already: `reseal cert pending` lists them',
  future: 'its signature is dated in the future',
  off: 'the list takes no certificate from mail (harvest, harvest.first)',
};
