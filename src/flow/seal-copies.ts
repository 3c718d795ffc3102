import type { Plaintext, SealedBytes } from '../base/bytes.ts';
import type { ContentCipher } from '../pki/algorithms.ts';
import type { SealRecipient } from '../smime/jobs.ts';
import type { Phase } from '../smime/seal.ts';
import type { CryptoWorkers, SealSession } from '../smime/workers.ts';

/** The member's own lines of a sealed copy and how to get the shared rest, or why his key could not be used. */
export type SealedCopy =
  | { readonly head: Buffer; readonly phase: Phase; readonly lines: () => Promise<SealedBytes> }
  | { readonly unusable: string };

/** One posting being sealed: one encryption per cipher, kept while its batches go on. */
export interface PostingSeal {
  contentType(cipher: ContentCipher): Promise<string>;
  /** The phase whose encoding is in memory now, or null. */
  alivePhase(cipher: ContentCipher): Promise<Phase | null>;
  /** Addresses the sealed content to members of one cipher, in their order. */
  address(cipher: ContentCipher, recipients: readonly SealRecipient[]): Promise<SealedCopy[]>;
  end(): Promise<void>;
}

interface Open {
  readonly session: SealSession;
  /** The encoding asked for last: copies come grouped by phase, so one at a time is alive (RULES 12). */
  current: { readonly phase: Phase; readonly lines: Promise<SealedBytes> } | null;
}

/** Starts sealing one posting. `entity` is asked for when a cipher is used first; what it gives is not kept. */
export function sealPosting(
  workers: Pick<CryptoWorkers, 'seal'>,
  entity: () => Promise<Plaintext>,
): PostingSeal {
  const sessions = new Map<ContentCipher, Promise<Open>>();

  const open = (cipher: ContentCipher): Promise<Open> => {
    const known = sessions.get(cipher);
    if (known) return known;
    const made = entity().then(async (content) => ({
      session: await workers.seal(content, cipher),
      current: null,
    }));
    sessions.set(cipher, made);
    made.catch(() => sessions.delete(cipher));
    return made;
  };

  const linesOf = (opened: Open, phase: Phase): Promise<SealedBytes> => {
    if (opened.current?.phase !== phase) opened.current = { phase, lines: opened.session.lines(phase) };
    return opened.current.lines;
  };

  return {
    contentType: async (cipher) => (await open(cipher)).session.contentType,
    alivePhase: async (cipher) => (await open(cipher)).current?.phase ?? null,
    async address(cipher, recipients) {
      const opened = await open(cipher);
      try {
        const addressed = await opened.session.address(recipients);
        return addressed.map((one) =>
          'unusable' in one
            ? one
            : {
                head: Buffer.from(one.head.buffer, one.head.byteOffset, one.head.length),
                phase: one.phase,
                lines: () => linesOf(opened, one.phase),
              },
        );
      } catch (error) {
        // The worker was restarted and the key with it is gone: the next attempt encrypts afresh.
        sessions.delete(cipher);
        throw error;
      }
    },
    async end() {
      const all = [...sessions.values()];
      sessions.clear();
      for (const opened of all) await opened.then((one) => one.session.end()).catch(() => undefined);
    },
  };
}
