import type { Certificate } from '../../pki/certificate.ts';
import { bind } from '../../store/bindings.ts';
import { certificateRow } from '../../store/certificate-row.ts';
import { setCertificateState, upsertCertificate } from '../../store/certificates.ts';
import type { Queries } from '../../store/database.ts';
import { record } from '../../store/ledger.ts';
import type { CertificateSource, Purpose } from '../../store/schema.ts';
import { purposeWords } from './purposes.ts';
import { releaseCopies } from './release.ts';

/** Brings a certificate in use for one purpose of an address, with a ledger line. */
export async function useFor(
  tx: Queries,
  d: {
    readonly address: string;
    readonly purpose: Purpose;
    readonly certificate: Pick<Certificate, 'sha256' | 'subject'>;
    readonly source: CertificateSource;
    readonly now: number;
    readonly by: string;
    /** Spool id of the message that settled it. */
    readonly messageId?: string;
    /** As in `bind`. */
    readonly othersMayReturn?: boolean;
  },
): Promise<void> {
  const { address, purpose, certificate, source, now, by, messageId = null, othersMayReturn = false } = d;
  const { sha256 } = certificate;
  const row = { address, purpose, sha256, state: 'in-use', since: now, source, signingTime: null } as const;
  const replaced = await bind(tx, row, { by, messageId, othersMayReturn });
  await record(tx, {
    at: now,
    messageId,
    member: address,
    event: 'certificate-in-use',
    reason: source,
    detail: `${purposeWords(purpose)} certificate of ${certificate.subject}, ${by}`,
    data: { sha256, purpose, replaced },
  });
}

/** Keeps a certificate that a person brought, and the authorities that its path needs; what was refused is good again. */
export async function keepBrought(
  tx: Queries,
  d: {
    readonly certificate: Certificate;
    readonly chain: readonly Certificate[];
    readonly source: CertificateSource;
    readonly now: number;
  },
): Promise<void> {
  const { certificate, source, now: at } = d;
  for (const one of [certificate, ...d.chain])
    await upsertCertificate(tx, certificateRow(one, { source, at, signingTime: null }));
  await setCertificateState(tx, certificate.sha256, 'good');
}

/**
 * `useFor` for each of these purposes, and lets the copies go that waited for it, to be tried for `lifetimeMs`. Gives the
 * number of copies.
 */
export async function useAndRelease(
  tx: Queries,
  d: Omit<Parameters<typeof useFor>[1], 'purpose'> & {
    readonly purposes: readonly Purpose[];
    readonly lifetimeMs: number;
  },
): Promise<number> {
  const { purposes, lifetimeMs, ...use } = d;
  const { address, now } = use;
  for (const purpose of purposes) await useFor(tx, { ...use, purpose });
  return purposes.includes('enc') ? releaseCopies(tx, address, { now, expiresAt: now + lifetimeMs }) : 0;
}
