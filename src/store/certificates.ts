import { type Selectable, sql } from 'kysely';
import { chunksOf } from './chunks.ts';
import type { Queries } from './database.ts';
import type { CertificateSource, CertificatesTable, Purpose } from './schema.ts';

export interface CertificateRow
  extends Readonly<Omit<Selectable<CertificatesTable>, 'addresses' | 'maySign' | 'mayEncrypt'>> {
  /** Canonical addresses that the certificate names. */
  readonly addresses: readonly string[];
  readonly maySign: boolean;
  readonly mayEncrypt: boolean;
}

/** A certificate as one address uses it. */
export interface BoundCertificate extends CertificateRow {
  /** Who brought it for this address: one that is pinned here is not trusted elsewhere. */
  readonly boundBy: CertificateSource;
}

const certificateOf = (row: Selectable<CertificatesTable>): CertificateRow => ({
  ...row,
  addresses: JSON.parse(row.addresses),
  maySign: row.maySign === 1,
  mayEncrypt: row.mayEncrypt === 1,
});

/**
 * Keeps a certificate; true if it was not known. Of a known one only the newest `signingTime` is taken over: where it
 * came from first, and what an owner decided about it, stay.
 */
export async function upsertCertificate(tx: Queries, row: CertificateRow): Promise<boolean> {
  const result = await tx
    .insertInto('certificates')
    .values({
      ...row,
      addresses: JSON.stringify(row.addresses),
      maySign: row.maySign ? 1 : 0,
      mayEncrypt: row.mayEncrypt ? 1 : 0,
    })
    .onConflict((c) => c.column('sha256').doNothing())
    .executeTakeFirst();
  if (result.numInsertedOrUpdatedRows !== 0n) return true;
  const { signingTime } = row;
  if (signingTime !== null) {
    await tx
      .updateTable('certificates')
      .set({ signingTime })
      .where('sha256', '=', row.sha256)
      .where((e) => e.or([e('signingTime', 'is', null), e('signingTime', '<', signingTime)]))
      .execute();
  }
  return false;
}

/** Certificates that are looked at for the keys of one mail: more of one key are nothing that programs make. */
const mostOfKeys = 50;

/** The certificates that are kept for any of these keys (SHA-256 of the SPKI), the latest first. */
export async function certificatesOfKeys(
  q: Queries,
  spkiSha256s: readonly string[],
): Promise<CertificateRow[]> {
  const rows = await q
    .selectFrom('certificates')
    .selectAll()
    .where('spkiSha256', 'in', [...new Set(spkiSha256s)])
    .orderBy('notAfter', 'desc')
    .limit(mostOfKeys)
    .execute();
  return rows.map(certificateOf);
}

/** The certificate with this SHA-256 (lower-case hex), or null. */
export async function findCertificate(q: Queries, sha256: string): Promise<CertificateRow | null> {
  const row = await q.selectFrom('certificates').selectAll().where('sha256', '=', sha256).executeTakeFirst();
  return row ? certificateOf(row) : null;
}

/** Those of the certificates that are stored, in no order. */
export async function findCertificates(q: Queries, sha256s: readonly string[]): Promise<CertificateRow[]> {
  const found: CertificateRow[] = [];
  for (const chunk of chunksOf(sha256s)) {
    const rows = await q.selectFrom('certificates').selectAll().where('sha256', 'in', chunk).execute();
    found.push(...rows.map(certificateOf));
  }
  return found;
}

/** Marks a certificate as refused (by hand, revoked), or as good again. */
export async function setCertificateState(
  q: Queries,
  sha256: string,
  state: CertificateRow['state'],
): Promise<void> {
  await q.updateTable('certificates').set({ state }).where('sha256', '=', sha256).execute();
}

/** All certificates, by SHA-256, after the one given; for `cert list` and the directory's mirror. */
export async function certificatesAfter(
  q: Queries,
  after: string | null,
  limit: number,
): Promise<CertificateRow[]> {
  const rows = await q
    .selectFrom('certificates')
    .selectAll()
    .where('sha256', '>', after ?? '')
    .orderBy('sha256')
    .limit(limit)
    .execute();
  return rows.map(certificateOf);
}

/** The certificate that the address uses for this purpose, or null. Its validity is for the caller to judge. */
export async function inUse(q: Queries, address: string, purpose: Purpose): Promise<BoundCertificate | null> {
  return (await inUseMany(q, [address], purpose)).get(address) ?? null;
}

/** The same for many addresses; those without a certificate are not in the map. */
export async function inUseMany(
  q: Queries,
  addresses: readonly string[],
  purpose: Purpose,
): Promise<Map<string, BoundCertificate>> {
  const found = new Map<string, BoundCertificate>();
  for (const chunk of chunksOf(addresses)) {
    const rows = await bound(q, chunk, purpose).where('b.state', '=', 'in-use').execute();
    for (const { boundTo, ...row } of rows) found.set(boundTo, { ...row, ...certificateOf(row) });
  }
  return found;
}

/** SHA-256 of the certificate that the address uses for each purpose; of those that are revoked or refused there is none. */
export async function inUseFor(q: Queries, address: string): Promise<Partial<Record<Purpose, string>>> {
  const rows = await q
    .selectFrom('bindings as b')
    .innerJoin('certificates as c', 'c.sha256', 'b.sha256')
    .select(['b.purpose', 'b.sha256'])
    .where('b.address', '=', address)
    .where('b.state', '=', 'in-use')
    .where('c.state', '=', 'good')
    .execute();
  return Object.fromEntries(rows.map(({ purpose, sha256 }) => [purpose, sha256]));
}

/** Certificates that others took the place of, for one address and purpose: the newest first, at most `limit`. */
export async function supersededFor(
  q: Queries,
  address: string,
  purpose: Purpose,
  limit: number,
): Promise<BoundCertificate[]> {
  const rows = await bound(q, [address], purpose)
    .where('b.state', '=', 'superseded')
    .orderBy('b.since', 'desc')
    .orderBy('c.notAfter', 'desc')
    .limit(limit)
    .execute();
  return rows.map(({ boundTo, ...row }) => ({ ...row, ...certificateOf(row) }));
}

/** Addresses and purposes whose certificate in use is over at `at` though another that they had still holds; at most `limit`. */
export async function outlived(
  q: Queries,
  d: { readonly at: number; readonly limit: number },
): Promise<{ address: string; purpose: Purpose }[]> {
  return q
    .selectFrom('bindings as b')
    .innerJoin('certificates as c', 'c.sha256', 'b.sha256')
    .innerJoin('bindings as o', (j) =>
      j
        .onRef('o.address', '=', 'b.address')
        .onRef('o.purpose', '=', 'b.purpose')
        .on('o.state', '=', 'superseded'),
    )
    .innerJoin('certificates as n', 'n.sha256', 'o.sha256')
    .select(['b.address', 'b.purpose'])
    .where('c.notAfter', '<', d.at)
    .where('b.state', '=', 'in-use')
    .where('n.notAfter', '>=', d.at)
    .where('n.notBefore', '<=', d.at)
    .where('n.state', '=', 'good')
    .distinct()
    .limit(d.limit)
    .execute();
}

function bound(q: Queries, addresses: readonly string[], purpose: Purpose) {
  return q
    .selectFrom('bindings as b')
    .innerJoin('certificates as c', 'c.sha256', 'b.sha256')
    .selectAll('c')
    .select(['b.address as boundTo', 'b.source as boundBy'])
    .where('b.address', 'in', addresses)
    .where('b.purpose', '=', purpose)
    .where('c.state', '=', 'good');
}

/** What an address encrypts with, by name: enough to choose it when the certificate itself was read before. */
export interface EncryptionCertificate {
  readonly sha256: string;
  readonly spkiSha256: string;
  readonly boundBy: CertificateSource;
  /** What was signed with it last about its capabilities, or null. */
  readonly capabilities: Buffer | null;
}

/**
 * The certificates that addresses have in use to be encrypted to; those without are not in the map. Every copy comes by
 * here: of the certificates nothing is read that a copy does not need.
 */
export async function encryptionCertificates(
  q: Queries,
  addresses: readonly string[],
): Promise<Map<string, EncryptionCertificate>> {
  const { rows } = await sql<EncryptionCertificate & { readonly address: string }>`
    SELECT b.address, b.sha256, c.spki_sha256, b.source AS bound_by, k.der AS capabilities
    FROM json_each(${JSON.stringify(addresses)}) AS asked
    JOIN bindings AS b ON b.address = asked.value AND b.purpose = 'enc' AND b.state = 'in-use'
    JOIN certificates AS c ON c.sha256 = b.sha256 AND c.state = 'good'
    LEFT JOIN capabilities AS k ON k.spki_sha256 = c.spki_sha256`.execute(q);
  return new Map(rows.map(({ address, ...one }) => [address, one]));
}

/** How a SignerInfo names its certificate (RFC 5652 5.3): issuer and serial number, or subject key identifier. */
export type SignerQuery =
  | { readonly kind: 'issuer-serial'; readonly issuerDer: Buffer; readonly serialDer: Buffer }
  | { readonly kind: 'key-id'; readonly keyId: Buffer };

/** Good certificates that a SignerInfo may mean: at most 20 (RULES 7), for issuer and serial number can be forged. */
export async function signersBy(q: Queries, id: SignerQuery): Promise<CertificateRow[]> {
  const all = q
    .selectFrom('certificates')
    .selectAll()
    .where('state', '=', 'good')
    .orderBy('firstSeen')
    .limit(20);
  const matching =
    id.kind === 'key-id'
      ? all.where('subjectKeyId', '=', id.keyId)
      : all.where('serialDer', '=', id.serialDer).where('issuerDer', '=', id.issuerDer);
  return (await matching.execute()).map(certificateOf);
}

/** Good certificates of this subject (as `Certificate.subject` renders it), at most 20: for the path above a member's. */
export async function certificatesNamed(q: Queries, subject: string): Promise<CertificateRow[]> {
  const rows = await q
    .selectFrom('certificates')
    .selectAll()
    .where('subject', '=', subject)
    .where('state', '=', 'good')
    .orderBy('notAfter', 'desc')
    .limit(20)
    .execute();
  return rows.map(certificateOf);
}

/** Keeps what a public key's holder can read, unless something signed later, or at the same time, is known. */
export async function saveCapabilities(
  tx: Queries,
  d: { spkiSha256: string; signingTime: number; der: Buffer },
): Promise<void> {
  await tx
    .insertInto('capabilities')
    .values(d)
    .onConflict((c) =>
      c
        .column('spkiSha256')
        .doUpdateSet({ signingTime: d.signingTime, der: d.der })
        .where('capabilities.signingTime', '<', d.signingTime),
    )
    .execute();
}

/** SMIMECapabilities as a key's holder signed them last (RFC 8551 2.5.2). */
export interface SignedCapabilities {
  readonly der: Buffer;
  readonly signingTime: number;
}

/** The capabilities last signed by this key, or null. */
export async function capabilitiesOf(q: Queries, spkiSha256: string): Promise<SignedCapabilities | null> {
  const row = await q
    .selectFrom('capabilities')
    .select(['der', 'signingTime'])
    .where('spkiSha256', '=', spkiSha256)
    .executeTakeFirst();
  return row ?? null;
}
