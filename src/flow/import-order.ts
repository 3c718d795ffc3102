import { dayOf } from '../base/day.ts';
import type { Certificate } from '../pki/certificate.ts';
import { bindingsOf, bindingsOfCertificate } from '../store/bindings.ts';
import { inUse } from '../store/certificates.ts';
import type { Queries } from '../store/database.ts';
import type { Purpose } from '../store/schema.ts';

/** What an operator wants of an import. */
export interface ImportOrder {
  /** Bind to this address only; the certificates must name it. */
  readonly address: string | null;
  /** Bind to this address whatever the certificate names and whoever issued it. */
  readonly pin: string | null;
  readonly who: string;
  readonly now: number;
}

/** What an owner refused or removed does not come back with a heap of others, only if it is named: that in words, or null. */
export async function refusedBefore(
  q: Queries,
  { sha256 }: Certificate,
  order: ImportOrder,
  addresses: readonly string[],
): Promise<string | null> {
  if (order.pin !== null || order.address !== null) return null;
  for (const row of await bindingsOfCertificate(q, sha256)) {
    if (!addresses.includes(row.address) || (row.state !== 'refused' && row.state !== 'removed')) continue;
    return `it was ${row.state} for ${row.address} on ${dayOf(row.since)} (--address ${row.address} takes it all the same)`;
  }
  return null;
}

/**
 * What a certificate is to become for one address and purpose: `take` the place of the one in use, stand `beside` it
 * because that one is newer and valid, or it is `known` as what it would become.
 */
export async function standing(
  q: Queries,
  d: { certificate: Certificate; address: string; purpose: Purpose; order: ImportOrder },
): Promise<'take' | 'beside' | 'known'> {
  const { certificate, address, purpose, order } = d;
  const current = await inUse(q, address, purpose);
  const isPinned = order.pin === null || current?.boundBy === 'pinned';
  if (current?.sha256 === certificate.sha256) return isPinned ? 'known' : 'take';
  const isNamed = order.pin !== null || order.address !== null;
  const isNewer =
    current !== null && current.notBefore > certificate.notBefore && current.notAfter >= order.now;
  if (isNamed || !isNewer) return 'take';
  const bindings = await bindingsOf(q, address);
  const own = bindings.find((one) => one.purpose === purpose && one.sha256 === certificate.sha256);
  return own?.state === 'superseded' ? 'known' : 'beside';
}
