import { wordsOf } from '../../base/errors.ts';
import { type Certificate, parseCertificate } from '../../pki/certificate.ts';
import { validatePath } from '../../pki/path.ts';
import type { Roles } from '../../policy/scenario.ts';
import type { AuthorSignature } from '../../smime/author-signature.ts';
import type { Findings } from '../../smime/open.ts';
import { certificatesOfKeys, inUseFor } from '../../store/certificates.ts';
import type { Queries } from '../../store/database.ts';
import { record } from '../../store/ledger.ts';
import type { Purpose } from '../../store/schema.ts';
import { mirrorAddresses } from '../certificates/mirror.ts';
import { purposeWords } from '../certificates/purposes.ts';
import { bringsNothing } from '../harvest/brings-nothing.ts';
import { decideHarvest } from '../harvest/decide-harvest.ts';
import { fileFurther, fileHarvest, keepCapabilities } from '../harvest/file-certificates.ts';
import type { Filing, HarvestFacts } from '../harvest/harvest.ts';
import { whyFiled } from '../harvest/not-taken.ts';
import type { ListContext } from '../lists/list-context.ts';
import type { FlowParts, PostingWork } from './posting-work.ts';
import { tellOfChange } from './tell-of-change.ts';

/**
 * Files the certificates of a post's author, who has these `roles` on the list (RULES 15, 16). A side branch: what cannot
 * be filed is logged and keeps no post from being decided.
 */
export async function harvestPost(
  parts: FlowParts,
  work: PostingWork,
  report: Findings,
  roles: Roles,
): Promise<void> {
  if (report.author === null || !isHarvested(roles)) return;
  try {
    if (!(await isKnown(parts, work, report))) await harvestFor(parts, work, report);
  } catch (error) {
    parts.log.error('harvest-failed', {
      id: work.message.id,
      address: report.author,
      detail: wordsOf(error),
    });
  }
}

/** RULES 16: members and senders to -sendcert; who holds a role writes to the list as well. */
export function isHarvested({ member, owner, moderator, suspended }: Roles): boolean {
  return member || owner || moderator || suspended;
}

/** Whether there is nothing to file; what his key can read is kept as it was signed last (RFC 8551 2.5.2). */
async function isKnown(
  { database }: Pick<FlowParts, 'database'>,
  { spooled: { receivedAt } }: PostingWork,
  { author: address, signature }: Findings,
): Promise<boolean> {
  if (address === null || signature === null) return true;
  const inUse = await inUseFor(database.q, address);
  if (!bringsNothing({ address, signature, inUse, receivedAt })) return false;
  await keepCapabilities(database.hasty, signature, []);
  return true;
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
  const trust = await trustFor(parts, parts.database.q, list, given);
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
    if (work.posting.kind === 'post' || filings.some(isTaken))
      await recordRefusals(tx, { filings, address, at, messageId: message.id, list: list.address });
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

/** Whether a certificate is in use after it was filed. */
export const isTaken = ({ action, reason }: Filing): boolean =>
  action === 'use' || reason === 'already-known';

/** Why certificates of a mail were not taken: one line in all, for each post may bring them again. */
async function recordRefusals(
  tx: Queries,
  d: {
    readonly filings: readonly Filing[];
    readonly address: string;
    readonly at: number;
    readonly messageId: string;
    readonly list: string;
  },
): Promise<void> {
  const { filings, address: member, ...base } = d;
  const refused = filings.filter((filing) => filing.action === 'skip' && !isTaken(filing));
  const [first] = refused;
  if (!first) return;
  const uses = new Map<string, Purpose[]>();
  for (const filing of refused) {
    const { subject, issuer } = filing.certificate;
    const words = `certificate of ${subject}, issued by ${issuer}: ${whyFiled(filing)}`;
    uses.set(words, [...(uses.get(words) ?? []), filing.purpose]);
  }
  const detail = [...uses].map(([words, purposes]) => `${purposeWords(...purposes)} ${words}`).join('; ');
  const data = { sha256: first.certificate.sha256, purpose: first.purpose };
  await record(tx, { ...base, member, event: 'certificate-not-taken', reason: first.reason, detail, data });
}

/** By what the certificates of a signature are judged: what the opening found out is kept, and used here too. */
export async function trustFor(
  parts: Pick<FlowParts, 'revocation' | 'keyring' | 'intermediates'>,
  q: Queries,
  list: ListContext,
  signature: AuthorSignature,
): Promise<Pick<HarvestFacts, 'anchors' | 'intermediates' | 'revocation' | 'revokedKeys'>> {
  const all = [signature.certificate, ...signature.bag].map((der) => parseCertificate(Buffer.from(der)));
  const [signer] = all;
  const known = (
    await certificatesOfKeys(
      q,
      all.map((one) => one.spkiSha256),
    )
  ).map((row) => parseCertificate(row.der));
  const answers = await parts.revocation.answersAbout([...all, ...known].map((one) => one.sha256));
  const trust = {
    anchors: await parts.keyring.anchorsOf(list),
    intermediates: signer ? await parts.intermediates(signer) : [],
    revocation: await parts.revocation.policyOf(list, answers),
  };
  const revoked = known.filter((one) => wasRevoked(list, trust, one));
  return { ...trust, revokedKeys: new Set(revoked.map((one) => one.spkiSha256)) };
}

/** Of an expired one, what was said of it before counts on. */
function wasRevoked(
  { floor }: ListContext,
  trust: Pick<HarvestFacts, 'anchors' | 'intermediates' | 'revocation'>,
  one: Certificate,
): boolean {
  if (trust.revocation.mode === 'off') return false;
  const path = validatePath(one, { ...trust, at: one.notAfter, purpose: 'any', floor });
  return path.reasons.includes('revoked');
}
