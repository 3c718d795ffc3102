import { dayOf } from '../base/day.ts';
import { type Certificate, mayServe } from '../pki/certificate.ts';
import { type TrustAnchors, validatePath } from '../pki/path.ts';
import { type Reason, sentenceOf } from '../pki/reasons.ts';
import { keyWeakness } from '../pki/signatures.ts';
import { bind, bindingsOf } from '../store/bindings.ts';
import {
  findCertificate,
  setCertificateSource,
  setCertificateState,
  upsertCertificate,
} from '../store/certificates.ts';
import type { Database, Queries } from '../store/database.ts';
import { record } from '../store/ledger.ts';
import { touch } from '../store/meta.ts';
import type { CertificateSource, Purpose } from '../store/schema.ts';
import { certificateRow, mirrorAddress } from './file-certificates.ts';
import type { Keyring } from './keyring.ts';
import type { ListContext } from './list-context.ts';
import { releaseCopies } from './release.ts';

/** What an operator's import made, or would make, of one certificate. */
export interface ImportVerdict {
  readonly certificate: Certificate;
  readonly outcome: 'imported' | 'known' | 'refused';
  /** The addresses that it is bound to. */
  readonly addresses: readonly string[];
  readonly purposes: readonly Purpose[];
  /** Why it was refused, in words; null if it was not. */
  readonly why: string | null;
  /** Authorities of the same import between it and an anchor: needed to encrypt to it later. */
  readonly chain: readonly Certificate[];
}

export interface ImportOrder {
  readonly certificates: readonly Certificate[];
  /** Bind to this address only; the certificates must name it. */
  readonly address: string | null;
  /** Bind to this address whatever the certificate names and whoever issued it. */
  readonly pin: string | null;
  readonly who: string;
  readonly now: number;
}

export interface ImportParts {
  readonly database: Database;
  readonly keyring: Pick<Keyring, 'anchorsOf'>;
  readonly lists: readonly ListContext[];
}

/**
 * Judges certificates that an operator brings, each on its own: address, validity, usage, strength, and a path to an
 * anchor of some list (the others of the import may be intermediates). Writes nothing. Oldest first, so that of several
 * for one address the newest comes into use.
 */
export async function judgeImports(parts: ImportParts, order: ImportOrder): Promise<ImportVerdict[]> {
  const trust = await Promise.all(
    parts.lists.map(async (list) => ({ list, anchors: await parts.keyring.anchorsOf(list) })),
  );
  const unique = [...new Map(order.certificates.map((one) => [one.sha256, one])).values()];
  unique.sort((a, b) => a.notBefore - b.notBefore);
  const verdicts: ImportVerdict[] = [];
  for (const certificate of unique) {
    const addresses = addressesFor(certificate, order);
    const purposes = purposesOf(certificate);
    const why = objectionTo(certificate, order, addresses, trust, unique);
    const chain = why === null ? chainAbove(certificate, order.now, trust, unique) : [];
    const base = { certificate, addresses, purposes, why, chain };
    if (why !== null) verdicts.push({ ...base, outcome: 'refused' });
    else {
      const known = await isInUse(parts.database.q, certificate, addresses, purposes, order.pin !== null);
      verdicts.push({ ...base, outcome: known ? 'known' : 'imported' });
    }
  }
  return verdicts;
}

function addressesFor(certificate: Certificate, { pin, address }: ImportOrder): readonly string[] {
  if (pin !== null) return [pin];
  return address === null ? certificate.addresses : certificate.addresses.filter((one) => one === address);
}

function purposesOf(certificate: Certificate): Purpose[] {
  const purposes: Purpose[] = [];
  if (mayServe(certificate, 'sign')) purposes.push('sign');
  if (mayServe(certificate, 'encrypt')) purposes.push('enc');
  return purposes;
}

type Trust = readonly { readonly list: ListContext; readonly anchors: TrustAnchors }[];

function objectionTo(
  certificate: Certificate,
  order: ImportOrder,
  addresses: readonly string[],
  trust: Trust,
  others: readonly Certificate[],
): string | null {
  if (certificate.isCa)
    return "it is an authority's: trusted authorities belong in trust.cafile or trust.capath";
  if (certificate.addresses.length === 0 && order.pin === null)
    return 'it names no mail address (--pin ADDRESS binds it all the same)';
  if (addresses.length === 0)
    return `it does not name ${order.address}, but ${certificate.addresses.join(', ')}`;
  if (order.now > certificate.notAfter) return `it expired on ${dayOf(certificate.notAfter)}`;
  if (order.now < certificate.notBefore) return `it is not valid before ${dayOf(certificate.notBefore)}`;
  if (purposesOf(certificate).length === 0) return 'its key usage allows neither signing nor encrypting mail';
  return (
    weakness(certificate, trust) ??
    (order.pin === null ? distrust(certificate, order.now, trust, others) : null)
  );
}

/** Strong enough for one list is enough: each list looks again when it encrypts. */
function weakness(certificate: Certificate, trust: Trust): string | null {
  const floors = trust.map(({ list }) => list.floor);
  if (floors.length === 0 || floors.some((floor) => keyWeakness(certificate, floor).length === 0))
    return null;
  return 'its key is weaker than every list accepts (minimum.rsa)';
}

function distrust(
  certificate: Certificate,
  at: number,
  trust: Trust,
  others: readonly Certificate[],
): string | null {
  if (trust.length === 0)
    return 'there is no list yet whose authorities could vouch for it: make one first, or --pin ADDRESS';
  if (trust.every(({ anchors }) => anchors.certificates.length === 0)) {
    return 'no authority is trusted here yet: set trust.cafile or trust.capath, or --pin ADDRESS';
  }
  const purpose = mayServe(certificate, 'encrypt') ? 'encrypt' : 'sign';
  let best: { reasons: readonly Reason[]; missingIssuer: string | null } | null = null;
  for (const { list, anchors } of trust) {
    const result = validatePath(certificate, {
      anchors,
      intermediates: others,
      at,
      purpose,
      floor: list.floor,
    });
    if (result.valid) return null;
    if (best === null || result.reasons.length < best.reasons.length) best = result;
  }
  const data = { subject: certificate.subject, issuer: best?.missingIssuer ?? null };
  const words = (best?.reasons ?? []).map((reason) => sentenceOf(reason, data));
  return `no list trusts it: ${words.join('; ')} (--pin ADDRESS binds it all the same)`;
}

function chainAbove(
  certificate: Certificate,
  at: number,
  trust: Trust,
  others: readonly Certificate[],
): readonly Certificate[] {
  for (const { list, anchors } of trust) {
    const d = { anchors, intermediates: others, at, purpose: 'any', floor: list.floor } as const;
    const result = validatePath(certificate, d);
    if (result.valid) return result.path.slice(1, -1);
  }
  return [];
}

async function isInUse(
  q: Queries,
  { sha256 }: Certificate,
  addresses: readonly string[],
  purposes: readonly Purpose[],
  pinned: boolean,
): Promise<boolean> {
  const row = await findCertificate(q, sha256);
  if (row === null || row.state !== 'good' || (pinned && row.source !== 'pinned')) return false;
  for (const address of addresses) {
    const bound = (await bindingsOf(q, address)).filter(
      (one) => one.sha256 === sha256 && one.state === 'in-use',
    );
    if (purposes.some((purpose) => !bound.some((one) => one.purpose === purpose))) return false;
  }
  return true;
}

/**
 * Takes an accepted certificate into use for its addresses, releases the copies that waited for it and writes the
 * directory. Gives the number of copies released. `lifetimeMs` is how long released copies are tried.
 */
export async function importCertificate(
  parts: { readonly database: Database; readonly folder: string; readonly lifetimeMs: number },
  verdict: ImportVerdict,
  order: Pick<ImportOrder, 'pin' | 'who' | 'now'>,
): Promise<number> {
  const { certificate, addresses, purposes } = verdict;
  const { now } = order;
  const source: CertificateSource = order.pin === null ? 'imported' : 'pinned';
  const released = await parts.database.write(async (tx) => {
    await upsertCertificate(tx, certificateRow(certificate, { source, at: now, signingTime: null }));
    for (const authority of verdict.chain)
      await upsertCertificate(
        tx,
        certificateRow(authority, { source: 'imported', at: now, signingTime: null }),
      );
    await setCertificateState(tx, certificate.sha256, 'good');
    if (order.pin !== null) await setCertificateSource(tx, certificate.sha256, 'pinned');
    let count = 0;
    for (const address of addresses) {
      for (const purpose of purposes)
        await useFor(tx, { address, purpose, certificate, source, now, by: `${source} by ${order.who}` });
      if (purposes.includes('enc'))
        count += await releaseCopies(tx, address, { now, expiresAt: now + parts.lifetimeMs });
    }
    await touch(tx);
    return count;
  });
  for (const address of addresses) await mirrorAddress(parts.database.q, parts.folder, address);
  return released;
}

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
  },
): Promise<void> {
  const { address, purpose, certificate, source, now } = d;
  const { sha256 } = certificate;
  const replaced = await bind(tx, {
    address,
    purpose,
    sha256,
    state: 'in-use',
    since: now,
    source,
    signingTime: null,
  });
  await record(tx, {
    at: now,
    member: address,
    event: 'certificate-in-use',
    reason: source,
    detail: `${purpose === 'sign' ? 'signing' : 'encryption'} certificate of ${certificate.subject}, ${d.by}`,
    data: { sha256, purpose, replaced },
  });
}
