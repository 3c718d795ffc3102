import type { Plaintext, SealedBytes } from '../base/bytes.ts';
import type { ContentCipher } from '../pki/algorithms.ts';
import type { SealRecipient } from '../smime/jobs.ts';
import type { Phase } from '../smime/seal.ts';
import type { Addressed, CryptoWorkers, FindSealKeys, SealSession } from '../smime/workers.ts';

/**
 * The member's own lines of a sealed copy and how to get the shared rest, or why his key could not be used. `at` is his
 * place among the recipients.
 */
export type SealedCopy =
  | { readonly at: number; readonly head: Buffer; readonly lines: () => Promise<SealedBytes> }
  | { readonly at: number; readonly unusable: string };

/** One posting being sealed: one encryption per cipher, kept while its batches go on. */
export interface PostingSeal {
  contentType(cipher: ContentCipher): Promise<string>;
  /**
   * Addresses the sealed content to members of one cipher. The copies come grouped by phase, to be sent in this order:
   * those who share an encoding follow each other, from batch to batch too (RULES 12). `findKeys` is asked for what sealing needs of
   * certificates that were not met lately.
   */
  address(
    cipher: ContentCipher,
    recipients: readonly SealRecipient[],
    findKeys: FindSealKeys,
  ): Promise<SealedCopy[]>;
  end(): Promise<void>;
}

interface Open {
  readonly session: SealSession;
  /** The encoding asked for last: copies come grouped by phase, so one at a time is alive (RULES 12). */
  current: { readonly phase: Phase; readonly lines: Promise<SealedBytes> } | null;
  /** The phase that the batch before ends with: its encoding is there when the next one begins. */
  last: Phase;
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
      last: 0 as const,
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
    async address(cipher, recipients, findKeys) {
      const opened = await open(cipher);
      try {
        const addressed = await opened.session.address(recipients, findKeys);
        const phaseOf = (one: Addressed): number =>
          'unusable' in one ? -2 : one.phase === opened.last ? -1 : one.phase;
        const inOrder = [...addressed.entries()].sort(([, a], [, b]) => phaseOf(a) - phaseOf(b));
        const end = inOrder.at(-1)?.[1];
        if (end && 'phase' in end) opened.last = end.phase;
        return inOrder.map(([at, one]) =>
          'unusable' in one
            ? { at, unusable: one.unusable }
            : { at, head: one.head, lines: () => linesOf(opened, one.phase) },
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
