import { inUseMany } from '../../store/certificates.ts';
import type { Queries } from '../../store/database.ts';
import { forgetNotice } from '../../store/notices.ts';
import { releaseHeld } from '../../store/outcomes.ts';
import { membersWaiting } from '../../store/waiting.ts';

/** Why held copies go out: the ledger's words. */
export const certificateCame = 'a certificate that can be used has come';

/**
 * Lets the copies go that wait for a member's certificate, on all lists, and makes the next notice to him due again.
 * What RULES 17 asks is asked again when each copy is attempted. Gives the number of copies released.
 */
export async function releaseCopies(
  tx: Queries,
  address: string,
  d: { now: number; expiresAt: number },
): Promise<number> {
  await forgetNotice(tx, { member: address, kind: 'missing' });
  return releaseHeld(tx, { member: address, why: certificateCame, ...d });
}

/** Releases the copies of members whose certificate was not valid yet and is now. Gives their number. */
export async function releaseNowValid(tx: Queries, d: { now: number; expiresAt: number }): Promise<number> {
  const waiting = await membersWaiting(tx, ['not-yet-valid']);
  const inUse = await inUseMany(tx, waiting, 'enc');
  let released = 0;
  for (const [address, { notBefore }] of inUse)
    if (notBefore <= d.now) released += await releaseCopies(tx, address, d);
  return released;
}
