import type { Plaintext } from '../../base/bytes.ts';
import type { Clock } from '../../base/clock.ts';
import { isFault, orNone } from '../../base/errors.ts';
import { theMailbox } from '../../mime/address.ts';
import { parseEntity } from '../../mime/entity.ts';
import { type Certificate, parseCertificate } from '../../pki/certificate.ts';
import { parseCrl } from '../../pki/crl.ts';
import { type TrustAnchors, validatePath } from '../../pki/path.ts';
import { revocationOff } from '../../pki/revocation.ts';
import type { OpenReport } from '../../smime/open.ts';
import type { CryptoWorkers } from '../../smime/workers.ts';
import { pinnedTo } from '../../store/bindings.ts';
import { certificatesNamed, signersBy } from '../../store/certificates.ts';
import type { Queries } from '../../store/database.ts';
import { decryptionKeys, type Keyring } from '../lists/keyring.ts';
import type { ListContext } from '../lists/list-context.ts';
import { isNothing, merged, nothingObtained, type Obtained } from '../revocation/obtained.ts';
import type { RevocationBook } from '../revocation/revocation-book.ts';

export interface OpenParts {
  readonly q: Queries;
  readonly workers: Pick<CryptoWorkers, 'open'>;
  readonly keyring: Pick<Keyring, 'keysOf' | 'anchorsOf'>;
  readonly revocation: RevocationBook;
  readonly clock: Clock;
  /** Octets that one message may unfold to. */
  readonly openedSize: number;
}

/** A signer that is looked up may want a list, and an authority that is fetched has one of its own. */
const mostRounds = 3;

/**
 * Opens a message with a list's keys, in a worker. What the verdict lacks is looked up in the store or fetched (signers'
 * certificates, authorities, revocation lists and answers), and the message opened again with what was found. `at` is
 * when the spool received it (RULES 18). Rejects with a Fault when the worker died or ran out of time; everything else
 * is in the report.
 */
export async function openPosting(
  parts: OpenParts,
  list: ListContext,
  message: Buffer,
  at: number,
): Promise<OpenReport> {
  const { pairs } = await parts.keyring.keysOf(list);
  const anchors = await parts.keyring.anchorsOf(list);
  let known: readonly Uint8Array[] = [];
  let obtained = nothingObtained;
  const claimed = claimedIn(message);
  // RULES 3: who is pinned to the address that From names. Others' pins have no say.
  const pins = claimed === null ? [] : await pinnedTo(parts.q, claimed);
  const open = async (): Promise<OpenReport> =>
    parts.workers.open({
      message,
      keys: decryptionKeys(pairs),
      anchors: anchors.certificates.map((one) => one.der),
      known: [...known, ...obtained.issuers.map((one) => one.der)],
      pins,
      at,
      floor: list.floor,
      openedSize: parts.openedSize,
      revocation: await parts.revocation.policyOf(list, obtained),
    });
  let report = await open();
  for (let round = 0; round < mostRounds; round++) {
    const stored = await lookUp(parts.q, report);
    const news = stored.filter((der) => !known.some((one) => Buffer.compare(one, der) === 0));
    // What is here need not be fetched.
    const wanted = news.length > 0 ? [] : report.wanted;
    const more = await parts.revocation.obtain(wanted, obtained);
    if (news.length === 0 && isNothing(more)) break;
    known = [...known, ...news];
    obtained = merged(obtained, more);
    report.entity?.wipe();
    report = await open();
  }
  await keepWhatProved(parts, list, { anchors, report, known, obtained, at });
  return report;
}

/** The one mailbox of the outer From, or null. */
function claimedIn(message: Buffer): string | null {
  try {
    return theMailbox(parseEntity(message).fields, 'From')?.address ?? null;
  } catch (error) {
    if (!isFault(error)) throw error;
    return null;
  }
}

/** Certificates from the store: signers that are not in the message, and the authority that a path lacks. */
async function lookUp(q: Queries, report: OpenReport): Promise<Uint8Array[]> {
  const signers = await Promise.all(report.needs.map((id) => signersBy(q, id)));
  const authorities = report.missingIssuer === null ? [] : await certificatesNamed(q, report.missingIssuer);
  return [...signers, authorities].flat().map((row) => row.der);
}

/** RFC 8550 2.1, 4.1: lists that came with mail, and what was fetched, serve later mail too. */
async function keepWhatProved(
  parts: OpenParts,
  list: ListContext,
  d: {
    readonly anchors: TrustAnchors;
    readonly report: OpenReport;
    readonly known: readonly Uint8Array[];
    readonly obtained: Obtained;
    readonly at: number;
  },
): Promise<void> {
  const { anchors, report, known } = d;
  if (list.policy.revocation === 'off' && isNothing(d.obtained)) return;
  const brought = report.crls.flatMap((der) => orNone(() => ({ crl: parseCrl(der), url: null })));
  const obtained = merged(d.obtained, { ...nothingObtained, crls: brought });
  if (isNothing(obtained)) return;
  const others = [...report.certificates, ...known].flatMap((der) =>
    orNone(() => parseCertificate(Buffer.from(der))),
  );
  others.push(...obtained.issuers);
  await parts.revocation.keep(obtained, {
    authorities: { list, anchors, others, at: parts.clock.now() },
    open: new Set(report.wanted.flatMap((one) => (one.kind === 'ocsp' ? [one.certificate] : []))),
    path: signerPath(report, list, { anchors, intermediates: others, at: d.at }),
  });
}

/** The path above the signer that made the verdict `signed`; empty for every other verdict. */
function signerPath(
  { signature }: OpenReport,
  list: ListContext,
  d: { anchors: TrustAnchors; intermediates: readonly Certificate[]; at: number },
): readonly Certificate[] {
  if (signature === null) return [];
  const signer = parseCertificate(Buffer.from(signature.certificate));
  const { valid, path } = validatePath(signer, { ...d, purpose: 'any', floor: list.floor });
  return valid ? path : [];
}

/** Removes the layers again for an attempt: verdict and trust were settled before (RULES 18). Null if that fails now. */
export async function reopen(
  parts: Omit<OpenParts, 'revocation' | 'clock'>,
  list: ListContext,
  message: Buffer,
): Promise<Plaintext | null> {
  const { pairs } = await parts.keyring.keysOf(list);
  const { entity } = await parts.workers.open({
    message,
    keys: decryptionKeys(pairs),
    anchors: [],
    known: [],
    pins: [],
    at: 0,
    floor: list.floor,
    openedSize: parts.openedSize,
    revocation: revocationOff,
  });
  return entity;
}
