import type { Plaintext, SealedBytes } from '../../base/bytes.ts';
import { isFault, wordsOf } from '../../base/errors.ts';
import type { ContentCipher } from '../../pki/algorithms.ts';
import type { SealRecipient } from '../../smime/jobs.ts';
import type { Phase } from '../../smime/seal.ts';
import type { Addressed, CryptoWorkers, FindSealKeys, SealSession } from '../../smime/workers.ts';
import { isLarge } from '../../smtp/large.ts';

/**
 * The own lines of a sealed copy and how to get the shared rest, which is as long for all of one cipher and phase; or why a
 * key could not be used. `at` are the places of those whom it is for among the recipients.
 */
export type SealedCopy = { readonly at: readonly number[] } & (
  | { readonly head: Buffer; readonly phase: Phase; readonly lines: () => Promise<SealedBytes> }
  | { readonly unusable: string }
);

/** Certificates that cost a crypto worker its life twice, by their SHA-256, and how; known as long as the daemon runs. */
export type FatalCertificates = Map<string, string>;

/**
 * One posting being sealed: one encryption per cipher, kept while its batches go on; of a small one to members with costly keys
 * one in each worker, so that the wraps are spread.
 */
export interface PostingSeal {
  contentType(cipher: ContentCipher): Promise<string>;
  /**
   * Addresses the sealed content to members of one cipher: a copy for each, or one for all of them `together`. The copies come
   * grouped by phase, to be sent in this order: those who share an encoding follow each other, from batch to batch too
   * (RULES 12). `findKeys` is asked for what sealing needs of certificates that were not met lately.
   */
  address(cipher: ContentCipher, recipients: readonly SealRecipient[], d: Asking): Promise<SealedCopy[]>;
  end(): Promise<void>;
}

/** Whom a copy of which cipher is for: what `address` is asked, and the place of the sealing that answers. */
interface Share {
  readonly cipher: ContentCipher;
  /** 0 is the first sealing of this cipher; the others are in other workers, each with a key of its own (RULES 9). */
  readonly place: number;
}

interface Asking {
  readonly findKeys: FindSealKeys;
  readonly together?: boolean;
}

interface Open {
  readonly session: SealSession;
  /** Of the entity. */
  readonly octets: number;
  /** The encoding asked for last: copies come grouped by phase, so one of each sealing is alive at a time (RULES 12). */
  current: { readonly phase: Phase; readonly lines: Promise<SealedBytes> } | null;
  /** The phase that the batch before ends with: its encoding is there when the next one begins. */
  last: Phase;
}

/** How often a batch is addressed when workers are restarted meanwhile. */
const mostTries = 3;
/** Members with costly keys that are worth a sealing of their own in another worker: it takes about a millisecond. */
const worthASealing = 10;

/** Starts sealing one posting. `entity` is asked for when a cipher is used first in a worker; what it gives is not kept. */
export function sealPosting(
  workers: Pick<CryptoWorkers, 'seal' | 'count'>,
  entity: () => Promise<Plaintext>,
  fatal: FatalCertificates,
): PostingSeal {
  const sessions = new Map<string, Promise<Open>>();
  const nameOf = ({ cipher, place }: Share): string => `${cipher} ${place}`;

  const open = (share: Share): Promise<Open> => {
    const { cipher, place } = share;
    const name = nameOf(share);
    const known = sessions.get(name);
    if (known) return known;
    // One after the other: what is opened for the first is in the cache for the next, and each goes to another worker.
    const before = place === 0 ? Promise.resolve() : open({ cipher, place: place - 1 });
    const made = before.then(entity).then(
      async (content): Promise<Open> => ({
        octets: content.length,
        session: await workers.seal(content, cipher),
        current: null,
        last: 0,
      }),
    );
    sessions.set(name, made);
    made.catch(() => sessions.delete(name));
    return made;
  };

  const linesOf = (opened: Open, phase: Phase): Promise<SealedBytes> => {
    if (opened.current?.phase !== phase) opened.current = { phase, lines: opened.session.lines(phase) };
    return opened.current.lines;
  };

  const ask = async (
    share: Share,
    recipients: readonly SealRecipient[],
    d: Asking,
  ): Promise<{ opened: Open; addressed: readonly Addressed[] }> => {
    const opened = await open(share);
    try {
      return { opened, addressed: await opened.session.address(recipients, d.findKeys, d.together) };
    } catch (error) {
      // The worker was restarted and the key with it is gone: what comes next encrypts afresh.
      sessions.delete(nameOf(share));
      throw error;
    }
  };

  /** Which of the recipients cost the worker its life, found by halves: who is alone with it at its death. */
  const findFatal = async (
    share: Share,
    recipients: readonly SealRecipient[],
    findKeys: FindSealKeys,
  ): Promise<void> => {
    try {
      await ask(share, recipients, { findKeys });
    } catch (error) {
      if (!isDeath(error)) throw error;
      const [one] = recipients;
      const half = Math.ceil(recipients.length / 2);
      if (recipients.length === 1 && one) fatal.set(one.sha256, wordsOf(error));
      else
        for (const part of [recipients.slice(0, half), recipients.slice(half)])
          await findFatal(share, part, findKeys);
    }
  };

  const addressOnce = async (
    share: Share,
    recipients: readonly SealRecipient[],
    d: Asking,
  ): Promise<SealedCopy[]> => {
    const places = [...recipients.keys()];
    const spared = places.filter((at) => fatal.has(recipients[at]?.sha256 ?? ''));
    const asked = places.filter((at) => !spared.includes(at));
    const none = spared.map((at) => ({ at: [at], unusable: fatalWords(fatal, recipients[at]) }));
    if (asked.length === 0) return none;
    const { opened, addressed } = await ask(
      share,
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
      const { head, phase } = one;
      return { at, head, phase, lines: () => linesOf(opened, phase) };
    });
    return [...none, ...copies];
  };

  const addressShare = async (
    share: Share,
    recipients: readonly SealRecipient[],
    d: Asking,
  ): Promise<SealedCopy[]> => {
    for (let tries = 1; ; tries++) {
      try {
        return await addressOnce(share, recipients, d);
      } catch (error) {
        const isOver = tries >= mostTries || !(isDeath(error) || isFault(error, 'worker-restarted'));
        if (isOver) throw error;
        const suspects = recipients.filter((one) => !fatal.has(one.sha256));
        if (isDeath(error)) await findFatal(share, suspects, d.findKeys);
      }
    }
  };

  /** How many sealings wrap for these: of a large entity there is one, for each holds the ciphertext and an encoding. */
  const sealingsFor = async (
    cipher: ContentCipher,
    recipients: readonly SealRecipient[],
    d: Asking,
  ): Promise<number> => {
    const costly = recipients.filter((one) => one.costly).length;
    const worth = Math.min(workers.count, Math.floor(costly / worthASealing));
    if (d.together || worth < 2) return 1;
    // What fails here is tried again by who wraps, and told of there.
    const first = await open({ cipher, place: 0 }).catch(() => null);
    return first === null || isLarge(first.octets) ? 1 : worth;
  };

  return {
    contentType: async (cipher) => (await open({ cipher, place: 0 })).session.contentType,
    async address(cipher, recipients, d) {
      const dealt = deal(recipients, await sealingsFor(cipher, recipients, d));
      const copies = await Promise.all(
        dealt.map(async (places, place) => {
          const theirs = places.flatMap((at) => recipients[at] ?? []);
          const made = await addressShare({ cipher, place }, theirs, d);
          return made.map((copy) => ({ ...copy, at: copy.at.map((at) => places[at] ?? -1) }));
        }),
      );
      return copies.flat();
    },
    async end() {
      const all = [...sessions.values()];
      sessions.clear();
      for (const opened of all) await opened.then((one) => one.session.end()).catch(() => undefined);
    },
  };
}

/** The places of recipients in so many shares: those with costly keys evenly, the others all in the first. */
function deal(recipients: readonly SealRecipient[], shares: number): number[][] {
  const places = [...recipients.keys()];
  if (shares === 1) return [places];
  const costly = places.filter((at) => recipients[at]?.costly);
  const size = Math.ceil(costly.length / shares);
  const dealt = Array.from({ length: shares }, (_, n) => costly.slice(n * size, (n + 1) * size));
  dealt[0]?.push(...places.filter((at) => !recipients[at]?.costly));
  return dealt;
}

/** The worker died of this very job, not of what was encrypted. */
const isDeath = (error: unknown): boolean =>
  (isFault(error, 'worker-died') || isFault(error, 'worker-timeout')) && error.data.job === 'address';

function fatalWords(fatal: FatalCertificates, recipient: SealRecipient | undefined): string {
  const words = fatal.get(recipient?.sha256 ?? '') ?? '';
  return `the crypto worker died twice while it encrypted to this certificate (${words})`;
}
