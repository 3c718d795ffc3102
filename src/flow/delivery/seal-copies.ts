import type { Plaintext, SealedBytes } from '../../base/bytes.ts';
import { isFault, wordsOf } from '../../base/errors.ts';
import type { ContentCipher } from '../../pki/algorithms.ts';
import type { SealRecipient } from '../../smime/jobs.ts';
import type { Phase } from '../../smime/seal.ts';
import type { Addressed, CryptoWorkers, FindSealKeys, SealSession } from '../../smime/workers.ts';

/**
 * The own lines of a sealed copy and how to get the shared rest, or why a key could not be used. `at` are the places of
 * those whom it is for among the recipients.
 */
export type SealedCopy = { readonly at: readonly number[] } & (
  | { readonly head: Buffer; readonly lines: () => Promise<SealedBytes> }
  | { readonly unusable: string }
);

/** Certificates that cost a crypto worker its life twice, by their SHA-256, and how; known as long as the daemon runs. */
export type FatalCertificates = Map<string, string>;

/** One posting being sealed: one encryption per cipher, kept while its batches go on. */
export interface PostingSeal {
  contentType(cipher: ContentCipher): Promise<string>;
  /**
   * Addresses the sealed content to members of one cipher: a copy for each, or one for all of them `together`. The copies come
   * grouped by phase, to be sent in this order: those who share an encoding follow each other, from batch to batch too
   * (RULES 12). `findKeys` is asked for what sealing needs of certificates that were not met lately.
   */
  address(
    cipher: ContentCipher,
    recipients: readonly SealRecipient[],
    d: { readonly findKeys: FindSealKeys; readonly together?: boolean },
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

/** How often a batch is addressed when workers are restarted meanwhile. */
const mostTries = 3;

/** Starts sealing one posting. `entity` is asked for when a cipher is used first; what it gives is not kept. */
export function sealPosting(
  workers: Pick<CryptoWorkers, 'seal'>,
  entity: () => Promise<Plaintext>,
  fatal: FatalCertificates,
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

  const ask = async (
    cipher: ContentCipher,
    recipients: readonly SealRecipient[],
    d: { readonly findKeys: FindSealKeys; readonly together?: boolean },
  ): Promise<{ opened: Open; addressed: readonly Addressed[] }> => {
    const opened = await open(cipher);
    try {
      return { opened, addressed: await opened.session.address(recipients, d.findKeys, d.together) };
    } catch (error) {
      // The worker was restarted and the key with it is gone: what comes next encrypts afresh.
      sessions.delete(cipher);
      throw error;
    }
  };

  /** Which of the recipients cost the worker its life, found by halves: who is alone with it at its death. */
  const findFatal = async (
    cipher: ContentCipher,
    recipients: readonly SealRecipient[],
    findKeys: FindSealKeys,
  ): Promise<void> => {
    try {
      await ask(cipher, recipients, { findKeys });
    } catch (error) {
      if (!isDeath(error)) throw error;
      const [one] = recipients;
      const half = Math.ceil(recipients.length / 2);
      if (recipients.length === 1 && one) fatal.set(one.sha256, wordsOf(error));
      else
        for (const part of [recipients.slice(0, half), recipients.slice(half)])
          await findFatal(cipher, part, findKeys);
    }
  };

  const addressOnce: PostingSeal['address'] = async (cipher, recipients, d) => {
    const places = [...recipients.keys()];
    const spared = places.filter((at) => fatal.has(recipients[at]?.sha256 ?? ''));
    const asked = places.filter((at) => !spared.includes(at));
    const none = spared.map((at) => ({ at: [at], unusable: fatalWords(fatal, recipients[at]) }));
    if (asked.length === 0) return none;
    const { opened, addressed } = await ask(
      cipher,
      asked.flatMap((at) => recipients[at] ?? []),
      d,
    );
    const phaseOf = (one: Addressed): number =>
      'unusable' in one ? -2 : one.phase === opened.last ? -1 : one.phase;
    const inOrder = [...addressed].sort((a, b) => phaseOf(a) - phaseOf(b));
    const end = inOrder.at(-1);
    if (end && 'phase' in end) opened.last = end.phase;
    const copies = inOrder.map((one): SealedCopy => {
      const at = one.at.map((place) => asked[place] ?? -1);
      if ('unusable' in one) return { at, unusable: one.unusable };
      return { at, head: one.head, lines: () => linesOf(opened, one.phase) };
    });
    return [...none, ...copies];
  };

  return {
    contentType: async (cipher) => (await open(cipher)).session.contentType,
    async address(cipher, recipients, d) {
      for (let tries = 1; ; tries++) {
        try {
          return await addressOnce(cipher, recipients, d);
        } catch (error) {
          const isOver = tries >= mostTries || !(isDeath(error) || isFault(error, 'worker-restarted'));
          if (isOver) throw error;
          const suspects = recipients.filter((one) => !fatal.has(one.sha256));
          if (isDeath(error)) await findFatal(cipher, suspects, d.findKeys);
        }
      }
    },
    async end() {
      const all = [...sessions.values()];
      sessions.clear();
      for (const opened of all) await opened.then((one) => one.session.end()).catch(() => undefined);
    },
  };
}

/** The worker died of this very job, not of what was encrypted. */
const isDeath = (error: unknown): boolean =>
  (isFault(error, 'worker-died') || isFault(error, 'worker-timeout')) && error.data.job === 'address';

function fatalWords(fatal: FatalCertificates, recipient: SealRecipient | undefined): string {
  const words = fatal.get(recipient?.sha256 ?? '') ?? '';
  return `the crypto worker died twice while it encrypted to this certificate (${words})`;
}
