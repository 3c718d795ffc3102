import { dayOf } from '../../base/day.ts';
import type { Certificate } from '../../pki/certificate.ts';
import { bindingsOf, bindingsOfCertificate } from '../../store/bindings.ts';
import { inUse } from '../../store/certificates.ts';
import type { Queries } from '../../store/database.ts';
import type { BindingState, Purpose } from '../../store/schema.ts';

/** What an operator wants of an import. */
export interface ImportOrder {
  /** Bind to this address only; the certificates must name it. */
  readonly address: string | null;
  /** Bind to this address whatever the certificate names and whoever issued it. */
  readonly pin: string | null;
  readonly who: string;
  readonly now: number;
}

/** What a heap of certificates does not change. */
const settled: readonly BindingState[] = ['refused', 'removed', 'replaced'];

/**
 * What an owner refused or removed, or a certificate with another key replaced, does not come back with a heap of others,
 * only if it is named: that in words, or null.
 */
export async function refusedBefore(
  q: Queries,
  { sha256 }: Certificate,
  order: ImportOrder,
  addresses: readonly string[],
): Promise<string | null> {
  if (order.pin !== null || order.address !== null) return null;
  const rows = await bindingsOfCertificate(q, sha256);
  for (const row of rows) {
    if (!addresses.includes(row.address) || !settled.includes(row.state)) continue;
    if (rows.some((one) => one.address === row.address && one.state === 'in-use')) continue;
    return `it was ${row.state} for ${row.address} on ${dayOf(row.since)} (--address ${row.address} takes it all the same)`;
  }
  return null;
}

/**
 * What a certificate is to become for one address and purpose: `take` the place of the one in use, stand `beside` it
 * because that one is newer and valid, or it is `known` as what it would become, or shall not become.
 */
export async function standing(
  q: Queries,
  d: { certificate: Certificate; address: string; purpose: Purpose; order: ImportOrder },
): Promise<'take' | 'beside' | 'known'> {
  const { certificate, address, purpose, order } = d;
  const current = await inUse(q, address, purpose);
  if (current?.sha256 === certificate.sha256) {
    // What came by mail is vouched for now.
    const isSaid = order.pin === null ? current.boundBy !== 'harvested' : current.boundBy === 'pinned';
    return isSaid ? 'known' : 'take';
  }
  const isNamed = order.pin !== null || order.address !== null;
  if (isNamed) return 'take';
  const bindings = await bindingsOf(q, address);
  const own = bindings.find((one) => one.purpose === purpose && one.sha256 === certificate.sha256);
  if (own && settled.includes(own.state)) return 'known';
  const isNewer =
    current !== null && current.notBefore > certificate.notBefore && current.notAfter >= order.now;
  if (!isNewer) return 'take';
  return own?.state === 'superseded' ? 'known' : 'beside';
}
