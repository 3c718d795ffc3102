import type { Certificate } from '../../pki/certificate.ts';
import type { Findings } from '../../smime/open.ts';
import { certificateRow } from '../../store/certificate-row.ts';
import type { Queries } from '../../store/database.ts';
import type { Purpose } from '../../store/schema.ts';
import type { Brought } from '../certificates/member-certificate.ts';
import { isHarvested, trustFor } from '../decision/harvest-post.ts';
import type { FlowParts } from '../decision/posting-work.ts';
import { decideHarvest } from '../harvest/decide-harvest.ts';
import type { Filing } from '../harvest/harvest.ts';
import { whyFiled } from '../harvest/not-taken.ts';
import { type ListContext, rolesOn } from '../lists/list-context.ts';

/** What would become of one certificate for one purpose of one address. */
export interface PreviewFiling {
  readonly address: string;
  readonly purpose: Purpose;
  readonly action: Filing['action'];
  readonly reason: Filing['reason'];
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
  if (!isHarvested(await rolesOn(q, list, address)))
    return nothing(`${address} is no member and has no role here`);
  const { signature, filings, further } = await decideHarvest(q, {
    ...(await trustFor(parts, q, list, given)),
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
    why: whyFiled(filing),
    certificate: { sha256, subject, issuer, notAfter },
  };
}
