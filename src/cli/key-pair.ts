import { composeHere } from '../app/compose-here.ts';
import { announceKeys, planAnnouncement } from '../flow/care/key-announcement.ts';
import { certificatePath, keySuffixes, waitingFolder } from '../flow/lists/key-files.ts';
import { keyProblem } from '../flow/lists/keyring.ts';
import type { KeyPair } from '../pki/keys.ts';
import type { Queries } from '../store/database.ts';
import { record } from '../store/ledger.ts';
import { touch } from '../store/meta.ts';
import { cliFault } from './faults.ts';
import { keyHolder } from './key-generate.ts';
import type { Session } from './site-command.ts';

/** The key pairs of a list as a command works with them. */
export interface ListPairs {
  readonly address: string;
  readonly folder: string;
  readonly pairs: readonly KeyPair[];
  /** Each with its remedy. */
  readonly problems: readonly string[];
  /** A new key waits beside the one in use until an authority's certificate for it is imported. */
  readonly isRequested: boolean;
  readonly signing: KeyPair | null;
  readonly encryption: KeyPair | null;
}

/** The pairs of a list or of the service address, as they are on the disk now. Faults of `keyHolder`. */
export async function pairsOf(session: Session, name: string): Promise<ListPairs> {
  const { keyring, folderOf } = session;
  const address = await keyHolder(session, name);
  keyring.reload();
  const { pairs, problems } = await keyring.keysOf({ address });
  return {
    address,
    folder: folderOf(address),
    pairs,
    problems: problems.map((problem) => keyProblem(problem, address)),
    isRequested: (await keySuffixes(waitingFolder(folderOf(address)))).length > 0,
    signing: await keyring.signingPair({ address }),
    encryption: await keyring.encryptionPair({ address }),
  };
}

/** The pair meant by its file's name, its suffix, or the first digits of its fingerprint. Fault 'key-unknown'. */
export function pairNamed({ address, pairs }: ListPairs, name: string): KeyPair {
  const byFile = pairs.find((pair) => [`cert.pem${pair.suffix}`, pair.suffix].includes(name));
  const isFingerprint = /^[0-9a-f]{4,64}$/i.test(name);
  const bySha = pairs.filter(
    (pair) => isFingerprint && pair.certificate.sha256.startsWith(name.toLowerCase()),
  );
  const pair = byFile ?? (bySha.length === 1 ? bySha[0] : undefined);
  if (!pair) {
    const known = pairs.map((one) => `cert.pem${one.suffix}`);
    throw cliFault('key-unknown', { list: address, name, known });
  }
  return pair;
}

export const isInUse = ({ signing, encryption }: ListPairs, pair: KeyPair): boolean =>
  pair === signing || pair === encryption;

export const fileOf = ({ folder }: Pick<ListPairs, 'folder'>, pair: KeyPair): string =>
  certificatePath(folder, pair.suffix);

/** The ledger's line about a list's key; the daemon reads the keys again. */
export async function recordKey(
  session: Session,
  d: { readonly address: string; readonly detail: string; readonly sha256: string | null },
  more: (tx: Queries) => Promise<void> = async () => {},
): Promise<void> {
  const { database, now, who } = session;
  await database.write(async (tx) => {
    await record(tx, {
      at: now,
      list: d.address,
      event: 'list-key',
      detail: `${d.detail}, by ${who}`,
      data: d.sha256 === null ? null : { sha256: d.sha256 },
    });
    await more(tx);
    await touch(tx, 'keys');
  });
}

/**
 * Records that a list has new keys and tells its members: one signed mail to each. `compromised`: the old key must not
 * vouch for the new one. Gives how many were told; the daemon tells those who are left.
 */
export async function announceFrom(
  session: Session,
  before: ListPairs,
  d: { readonly detail: string; readonly compromised: boolean; readonly announce: boolean },
): Promise<{ now: ListPairs; told: number }> {
  const { site, database } = session;
  const now = await pairsOf(session, before.address);
  const certificate = (now.encryption ?? now.signing)?.certificate.sha256 ?? null;
  const signedBy = d.compromised ? null : (before.signing?.certificate.sha256 ?? null);
  // A new key to sign with alone needs no words: every signature brings its certificate.
  const isNews = now.encryption?.certificate.sha256 !== before.encryption?.certificate.sha256;
  const isList = before.address !== site['service.address'];
  await recordKey(session, { address: before.address, detail: d.detail, sha256: certificate }, async (tx) => {
    if (d.announce && isList && isNews && certificate !== null)
      await planAnnouncement(tx, before.address, { certificate, signedBy });
  });
  const told = await announceKeys({
    ...session,
    compose: composeHere(session),
    defaults: site.defaults,
    node: site.node,
    lifetimeMs: site['queue.lifetime'],
  });
  // The copies are due; the daemon looks when something changed.
  if (told > 0) await database.write((tx) => touch(tx));
  return { now, told };
}
