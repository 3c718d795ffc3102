import { wordsOf } from '../base/errors.ts';
import { parseCertificate } from '../pki/certificate.ts';
import type { AuthorSignature } from '../smime/author-signature.ts';
import type { Findings } from '../smime/open.ts';
import type { Queries } from '../store/database.ts';
import { tellOfChange } from './confirm-change.ts';
import { decideHarvest } from './decide-harvest.ts';
import { fileFurther, fileHarvest, mirrorAddresses } from './file-certificates.ts';
import type { Filing, HarvestFacts } from './harvest.ts';
import { type ListContext, rolesOn } from './list-context.ts';
import type { FlowParts, PostingWork } from './posting-work.ts';

/**
 * Files the certificates of a post's author (RULES 15, 16). A side branch: what cannot be filed is logged and keeps no
 * post from being decided.
 */
export async function harvestPost(parts: FlowParts, work: PostingWork, report: Findings): Promise<void> {
  const { list } = work;
  if (report.author === null || !(await isHarvested(parts.database.q, list, report.author))) return;
  try {
    await harvestFor(parts, work, report);
  } catch (error) {
    parts.log.error('harvest-failed', {
      id: work.message.id,
      address: report.author,
      detail: wordsOf(error),
    });
  }
}

/** RULES 16: members and senders to -sendcert; who holds a role writes to the list as well. */
export async function isHarvested(q: Queries, list: ListContext, author: string): Promise<boolean> {
  const { member, owner, moderator, suspended } = await rolesOn(q, list, author);
  return member || owner || moderator || suspended;
}

/**
 * What a signed mail's certificates became, and how many held copies that released; [] and 0 without a signature that
 * makes an author. Rejects with what the store throws.
 */
export async function harvestFor(
  parts: FlowParts,
  work: PostingWork,
  report: Findings,
): Promise<{ filings: readonly Filing[]; released: number }> {
  const { list, message, spooled } = work;
  const { author: address, signature: given } = report;
  if (address === null || given === null) return { filings: [], released: 0 };
  const trust = await trustFor(parts, list, given);
  const { receivedAt } = spooled;
  const at = parts.clock.now();
  const expiresAt = at + parts.lifetimeMs;
  const base = { list, messageId: message.id, at, expiresAt };
  // Decided in the transaction that files it: of two first certificates that come at once, the second is a change.
  const { filed, others, signature } = await parts.database.write(async (tx) => {
    const decided = await decideHarvest(tx, {
      ...trust,
      list,
      address,
      signature: given,
      receivedAt,
      defaults: parts.defaults,
    });
    const { signature, filings, further } = decided;
    const filed = await fileHarvest(tx, { ...base, address, filings, signature });
    const released = filed.released + (await fileFurther(tx, { ...base, further, signature }));
    return { filed: { ...filed, released }, others: further.map((one) => one.address), signature };
  });
  const isUsed = filed.filings.some((filing) => filing.action === 'use');
  if (isUsed || others.length > 0)
    await mirrorAddresses(parts.database.q, parts.certificates, [...(isUsed ? [address] : []), ...others]);
  if (isUsed)
    parts.log.event('harvested', { id: message.id, address, list: list.address, released: filed.released });
  await tellOfChange(parts, work, { address, filings: filed.filings, signature });
  if (filed.released > 0) parts.wakeDelivery();
  return filed;
}

/** By what the certificates of a signature are judged: what the opening found out is kept, and used here too. */
export async function trustFor(
  parts: Pick<FlowParts, 'revocation' | 'keyring' | 'intermediates'>,
  list: ListContext,
  signature: AuthorSignature,
): Promise<Pick<HarvestFacts, 'anchors' | 'intermediates' | 'revocation'>> {
  const all = [signature.certificate, ...signature.bag].map((der) => parseCertificate(Buffer.from(der)));
  const [signer] = all;
  const answers = await parts.revocation.answersAbout(all.map((one) => one.sha256));
  return {
    anchors: await parts.keyring.anchorsOf(list),
    intermediates: signer ? await parts.intermediates(signer) : [],
    revocation: await parts.revocation.policyOf(list, answers),
  };
}
