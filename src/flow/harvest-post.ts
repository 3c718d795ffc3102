import { dayMs } from '../base/day.ts';
import { wordsOf } from '../base/errors.ts';
import { parseCertificate } from '../pki/certificate.ts';
import type { AuthorSignature, Findings } from '../smime/open.ts';
import { fileHarvest, knownFor, mirrorAddress } from './file-certificates.ts';
import { type Filing, fileCertificates, type HarvestFacts } from './harvest.ts';
import { type ListContext, rolesOn } from './list-context.ts';
import type { FlowParts, PostingWork } from './posting-work.ts';
import { alertOwners } from './report-mails.ts';

/**
 * Files the certificates of a post's author (RULES 15, 16). A side branch: what cannot be filed is logged and keeps no
 * post from being decided.
 */
export async function harvestPost(parts: FlowParts, work: PostingWork, report: Findings): Promise<void> {
  const { list } = work;
  if (report.author === null) return;
  const roles = await rolesOn(parts.database.q, list, report.author);
  // RULES 16: members and senders to -sendcert; who holds a role writes to the list as well.
  if (!roles.member && !roles.owner && !roles.moderator && !roles.suspended) return;
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
  const { author: address, signature } = report;
  if (address === null || signature === null) return { filings: [], released: 0 };
  const trust = await trustFor(parts, list, signature);
  const { receivedAt } = spooled;
  const at = parts.clock.now();
  // Decided in the transaction that files it: of two first certificates that come at once, the second is a change.
  const filed = await parts.database.write(async (tx) => {
    const known = await knownFor(tx, address);
    const filings = fileCertificates(list, { address, signature, ...known, ...trust, receivedAt });
    const expiresAt = at + parts.lifetimeMs;
    return fileHarvest(tx, { list, messageId: message.id, address, filings, signature, at, expiresAt });
  });
  if (filed.filings.some((filing) => filing.action === 'use')) {
    await mirrorAddress(parts.database.q, parts.certificates, address);
    parts.log.event('harvested', { id: message.id, address, list: list.address, released: filed.released });
  }
  await tellOfPending(parts, work, address, filed.filings);
  if (filed.released > 0) parts.wakeDelivery();
  return filed;
}

/** By what the certificates of a signature are judged: what the opening found out is kept, and used here too. */
async function trustFor(
  parts: FlowParts,
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

/** RULES 15: a change waits for the owner, who has to know of it. */
async function tellOfPending(
  parts: FlowParts,
  work: PostingWork,
  address: string,
  filings: readonly Filing[],
): Promise<void> {
  const [pending] = filings.filter((filing) => filing.action === 'pending');
  if (!pending) return;
  const { sha256, issuer } = pending.certificate;
  const how = `reseal cert approve ${address} ${sha256.slice(0, 16)}`;
  const reasonText = `${address} signed with a certificate that waits for your approval (issued by ${issuer}). Ask ${address} by another way than mail whether it is right, then: ${how}`;
  const event = 'a certificate waits for your approval';
  const told = { event, reason: pending.reason, reasonText, member: address, everyMs: dayMs };
  const mails = await alertOwners(parts, work, told);
  await parts.database.write(async (tx) => {
    for (const mail of mails) await mail.queue(tx);
  });
  if (mails.length > 0) parts.wakeDelivery();
}
