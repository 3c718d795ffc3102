import type { Certificate } from '../../pki/certificate.ts';
import { bind } from '../../store/bindings.ts';
import type { Queries } from '../../store/database.ts';
import { record } from '../../store/ledger.ts';
import type { CertificateSource, Purpose } from '../../store/schema.ts';

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
    detail: `${purpose === 'sign' ? 'signing' : 'encryption'} certificate of ${certificate.subject}, ${by}`,
    data: { sha256, purpose, replaced },
  });
}
