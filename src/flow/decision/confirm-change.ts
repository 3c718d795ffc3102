import { parseCertificate } from '../../pki/certificate.ts';
import type { Findings } from '../../smime/open.ts';
import { bindingsOf } from '../../store/bindings.ts';
import { type BoundCertificate, findCertificate, inUse } from '../../store/certificates.ts';
import type { Queries } from '../../store/database.ts';
import type { Purpose } from '../../store/schema.ts';
import { useToken } from '../../store/tokens.ts';
import { mirrorAddress } from '../certificates/mirror.ts';
import { releaseCopies } from '../certificates/release.ts';
import { useFor } from '../certificates/use-certificate.ts';
import { oldCertificate } from './old-certificate.ts';
import type { FlowParts, PostingWork } from './posting-work.ts';

/** What an answer confirmed. */
export interface Confirmed {
  readonly sha256s: readonly string[];
  readonly released: number;
}

/**
 * Follows an answer to a token: the certificates that wait come into use. It counts once, in time, from the address it
 * was sent to, signed by the key that brought the change, and while the certificate that the token was encrypted to is
 * still the one in use: so the holder of the new key has the old one as well. Null if it does not count.
 */
export async function confirmChange(
  parts: FlowParts,
  work: PostingWork,
  report: Pick<Findings, 'author' | 'signature'>,
  token: string,
): Promise<Confirmed | null> {
  const { author: address, signature } = report;
  if (address === null || signature === null) return null;
  // Revoked since it was asked, it vouches for nothing any more: another may have read the token.
  const asked = await oldCertificate(parts, work.list, address);
  if (asked === null) return null;
  const at = parts.clock.now();
  // The old key may have signed the answer too.
  const signers = [signature, ...signature.others.filter((one) => one.trusted)];
  const keys = signers.map((one) => parseCertificate(Buffer.from(one.certificate)).spkiSha256);
  const confirmed = await parts.database.write(async (tx) => {
    const old = await inUse(tx, address, 'enc');
    const sha256s: string[] = [];
    const purposes = new Set<Purpose>();
    for (const signerSpki of keys) {
      for (const row of await useToken(tx, token, { address, signerSpki, at })) {
        if (old === null || row.oldSha256 !== old.sha256 || row.oldSha256 !== asked.sha256) continue;
        for (const purpose of await takeWaiting(tx, work, { address, sha256: row.newSha256, old, at }))
          purposes.add(purpose);
        sha256s.push(row.newSha256);
      }
    }
    if (purposes.size === 0) return null;
    const expiresAt = at + parts.lifetimeMs;
    const released = purposes.has('enc') ? await releaseCopies(tx, address, { now: at, expiresAt }) : 0;
    return { sha256s, released };
  });
  if (!confirmed) return null;
  await mirrorAddress(parts.database.q, parts.certificates, address);
  parts.log.event('certificate-confirmed', { id: work.message.id, address, released: confirmed.released });
  if (confirmed.released > 0) parts.wakeDelivery();
  return confirmed;
}

async function takeWaiting(
  tx: Queries,
  work: PostingWork,
  d: {
    readonly address: string;
    readonly sha256: string;
    readonly old: Pick<BoundCertificate, 'boundBy'>;
    readonly at: number;
  },
): Promise<Purpose[]> {
  const { address, sha256, at: now } = d;
  const certificate = await findCertificate(tx, sha256);
  if (certificate === null) return [];
  const rows = (await bindingsOf(tx, address)).filter(
    (row) => row.sha256 === sha256 && row.state === 'pending',
  );
  const by = 'confirmed by the answer to a token that was encrypted to the certificate before';
  // Whoever vouched for the old key's holder vouches for him still.
  const source = d.old.boundBy === 'harvested' ? 'harvested' : 'approved';
  for (const { purpose } of rows)
    await useFor(tx, { address, purpose, certificate, source, now, by, messageId: work.message.id });
  return rows.map((row) => row.purpose);
}
