import type { Plaintext } from '../base/bytes.ts';
import type { OpenReport } from '../smime/open.ts';
import type { CryptoWorkers } from '../smime/workers.ts';
import { signersBy } from '../store/certificates.ts';
import type { Queries } from '../store/database.ts';
import { decryptionKeys, type Keyring } from './keyring.ts';
import type { ListContext } from './list-context.ts';

export interface OpenParts {
  readonly q: Queries;
  readonly workers: Pick<CryptoWorkers, 'open'>;
  readonly keyring: Keyring;
  /** Octets that one message may unfold to. */
  readonly openedSize: number;
}

/**
 * Opens a message with a list's keys, in a worker. A signer whose certificate is not in the message is looked up in
 * the store and the message opened once more with what was found. `at` is when the spool received it (RULES 18).
 * Rejects with a Fault when the worker died or ran out of time; everything else is in the report.
 */
export async function openPosting(
  parts: OpenParts,
  list: ListContext,
  message: Buffer,
  at: number,
): Promise<OpenReport> {
  const { pairs } = await parts.keyring.keysOf(list);
  const anchors = await parts.keyring.anchorsOf(list);
  const request = {
    message,
    keys: decryptionKeys(pairs),
    anchors: anchors.certificates.map((one) => one.der),
    known: [] as readonly Uint8Array[],
    pins: [],
    at,
    floor: list.floor,
    openedSize: parts.openedSize,
  };
  const report = await parts.workers.open(request);
  if (report.needs.length === 0) return report;
  const known = await lookUp(parts.q, report.needs);
  if (known.length === 0) return report;
  report.entity?.wipe();
  return parts.workers.open({ ...request, known });
}

async function lookUp(q: Queries, needs: OpenReport['needs']): Promise<Uint8Array[]> {
  const found = await Promise.all(needs.map((id) => signersBy(q, id)));
  return found.flat().map((row) => row.der);
}

/** Removes the layers again for an attempt: verdict and trust were settled before (RULES 18). Null if that fails now. */
export async function reopen(
  parts: OpenParts,
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
  });
  return entity;
}
