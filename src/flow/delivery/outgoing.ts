import { type ClearBytes, Plaintext } from '../../base/bytes.ts';
import type { Clock } from '../../base/clock.ts';
import { faultsOf } from '../../base/errors.ts';
import { type Entity, parseEntity } from '../../mime/entity.ts';
import type { ClearPermit } from '../../policy/clear.ts';
import { withoutEnvelopeFields } from '../../smime/content.ts';
import type { SignerData } from '../../smime/jobs.ts';
import type { CryptoWorkers, SignOptions } from '../../smime/workers.ts';
import type { Database } from '../../store/database.ts';
import { record } from '../../store/ledger.ts';
import type { PostingRow } from '../../store/postings.ts';
import type { SpooledMessage } from '../../store/spool.ts';
import type { Keyring } from '../lists/keyring.ts';
import type { ListContext } from '../lists/list-context.ts';
import { signatureLine } from '../post/crypto-lines.ts';
import { signerOf, wrapperFor } from '../post/list-signature.ts';
import type { OpenCache } from '../post/open-cache.ts';
import { reopen } from '../post/open-posting.ts';
import { clearCopy, type Prepared, signedClearCopy } from '../post/prepare.ts';
import { cameEncrypted } from '../post/verdict-record.ts';
import { distributionHeader } from './distribution-header.ts';

export const outgoingFault = faultsOf({
  'key-locked': (d: { list: string }) => `the private key of ${d.list} cannot be used now`,
});

export interface OutgoingParts {
  readonly database: Database;
  readonly workers: CryptoWorkers;
  readonly keyring: Keyring;
  readonly cache: OpenCache;
  readonly clock: Clock;
  readonly openedSize: number;
}

/** What the copies of one posting carry; signed by the list if that was decided, once for all copies. */
export interface Outgoing {
  /** The outer header of the sealed copies. */
  readonly header: Buffer;
  /** The entity to seal; the open cache owns it. Fault: 'key-locked'. */
  toSeal(): Promise<Plaintext>;
  /** How large that will be; `opened`: the size of what was inside, if the post came encrypted. Fault: 'key-locked'. */
  octetsToSeal(opened: number | null): Promise<number>;
  /** Head and body of the clear copies. Fault: 'key-locked'. */
  inClear(permit: ClearPermit): Promise<{ readonly head: Buffer; readonly body: ClearBytes }>;
}

/** As good as any other to see how much a signature adds. */
const anyEntity = Buffer.from('Content-Type: text/plain\r\n\r\nx\r\n');

/** With what and how the list signs, and the certificate (SHA-256) for the ledger. */
interface Signing {
  readonly how: readonly [SignerData, SignOptions];
  readonly certificate: string;
}

/** Prepares what a posting's copies carry; nothing is opened or signed before it is asked for. */
export function outgoingOf(
  parts: OutgoingParts,
  d: {
    readonly posting: PostingRow;
    readonly list: ListContext;
    readonly spooled: SpooledMessage;
    readonly prepared: Prepared;
  },
): Outgoing {
  const { posting, list, spooled, prepared } = d;
  const message = parseEntity(spooled.bytes);
  const header = distributionHeader(message, list, prepared, 'sealed');
  const clearHeader = distributionHeader(message, list, prepared, 'clear');
  /** What the list signed and the cache holds: the cache may drop it, or hold the entity as it was opened. */
  let signed: Plaintext | null = null;
  let signedClear: Promise<Buffer> | null = null;

  /** With what and how the list signs now. */
  const signing = async (encrypted: boolean): Promise<Signing> => {
    const pair = await parts.keyring.signingPair(list);
    // Decided when there was a key: From may name the list, whose signature is then owed.
    if (pair === null) throw outgoingFault('key-locked', { list: list.address });
    const signer = signerOf(pair, await parts.keyring.encryptionPair(list));
    const options = { boundary: `=_list_${prepared.spoolId}`, at: parts.clock.now() };
    const { sha256: certificate } = pair.certificate;
    if (prepared.sign !== 'as-list') return { how: [signer, options], certificate };
    const hidesSubject = prepared.hidesSubject && encrypted;
    const wrapper = wrapperFor(list, message, { header: clearHeader, encrypted, hidesSubject });
    return { how: [signer, { ...options, wrapper }], certificate };
  };
  /** One line each time it signs, which is once for all copies unless the cache lost it; never one a copy. */
  const noteSigned = async ({ certificate }: Signing): Promise<void> => {
    const { messageId, id: postingId } = posting;
    const about = { at: parts.clock.now(), messageId, postingId, list: list.address };
    await parts.database.write((tx) =>
      record(tx, signatureLine(about, { certificate, what: 'what the copies carry' })),
    );
  };
  const signClear = async (): Promise<Buffer> => {
    const ours = await signing(false);
    const clear = await parts.workers.sign(withoutEnvelopeFields(message), ...ours.how);
    await noteSigned(ours);
    return clear;
  };

  return {
    header,
    async toSeal() {
      const ready = parts.cache.get(posting.id);
      if (ready && (prepared.sign === 'none' || ready === signed)) return ready;
      // Before the cache is asked again: between its answer and the signature it might wipe the entity.
      const ours = prepared.sign === 'none' ? null : await signing(true);
      const opened =
        parts.cache.get(posting.id) ?? (await openedAgain(parts, posting, list, message, spooled.bytes));
      if (ours) {
        const made = await parts.workers.signPlaintext(opened, ...ours.how).finally(() => opened.wipe());
        // Before it is the cache's, which may wipe it while this waits.
        await noteSigned(ours).catch((error: unknown) => {
          made.wipe();
          throw error;
        });
        signed = made;
      }
      const entity = signed ?? opened;
      parts.cache.put(posting.id, entity);
      return entity;
    },
    async octetsToSeal(opened) {
      const entity = opened === null ? withoutEnvelopeFields(message) : null;
      if (prepared.sign === 'none') return entity?.length ?? opened ?? 0;
      // What came encrypted is not signed twice for its size: a signature adds as much to any other entity of 7 bit.
      const content = entity ?? anyEntity;
      const made = await parts.workers.sign(content, ...(await signing(true)).how);
      return made.length + (opened === null ? 0 : opened - content.length);
    },
    async inClear(permit) {
      if (prepared.sign === 'none') return clearCopy(message, clearHeader, permit);
      signedClear ??= signClear();
      signedClear.catch(() => {
        signedClear = null;
      });
      return signedClearCopy(await signedClear, clearHeader, permit);
    },
  };
}

/** The entity of the post itself: what its layers held, or its own content. Fault: 'key-locked'. */
async function openedAgain(
  parts: OutgoingParts,
  posting: PostingRow,
  list: ListContext,
  message: Entity,
  bytes: Buffer,
): Promise<Plaintext> {
  if (!cameEncrypted(posting)) return new Plaintext(withoutEnvelopeFields(message));
  const opened = await reopen({ ...parts, q: parts.database.q }, list, bytes);
  if (opened === null) throw outgoingFault('key-locked', { list: list.address });
  return opened;
}
