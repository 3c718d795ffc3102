import { describe, expect, it } from 'vitest';
import { brandSealed, Plaintext } from '../../src/base/bytes.ts';
import { type FatalCertificates, sealPosting } from '../../src/flow/delivery/seal-copies.ts';
import type { SealRecipient } from '../../src/smime/jobs.ts';
import type { Phase } from '../../src/smime/seal.ts';
import { type Addressed, type CryptoWorkers, workerFault } from '../../src/smime/workers.ts';

const to = (...names: string[]): SealRecipient[] =>
  names.map((sha256) => ({ sha256, transport: 'rsa' as const }));
const eight = to('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h');
const d = { findKeys: async () => [] };
const died = (job: string) => workerFault('worker-died', { job, cause: 'it ended' });
const restarted = workerFault('worker-restarted', { job: 'address' });

/**
 * Workers whose `address` does what `fate` says, and what it was asked: one letter for each recipient; and the encodings that
 * were asked for.
 */
function workersWith(
  fate: (asked: string, n: number) => Error | null,
  phaseOf: (name: string) => Phase = () => 0,
) {
  const asked: string[] = [];
  const encodings: Phase[] = [];
  let sessions = 0;
  const seal: CryptoWorkers['seal'] = async () => {
    sessions++;
    return {
      contentType: 'sealed',
      address: async (recipients) => {
        const names = recipients.map((one) => one.sha256).join('');
        asked.push(names);
        const error = fate(names, asked.length);
        if (error) throw error;
        return recipients.map(
          ({ sha256 }, at): Addressed => ({
            at: [at],
            head: brandSealed(Buffer.from('head')),
            phase: phaseOf(sha256),
          }),
        );
      },
      lines: async (phase) => {
        encodings.push(phase);
        return brandSealed(Buffer.from('lines'));
      },
      end: async () => {},
    };
  };
  return { count: 2, seal, asked, encodings, sessions: () => sessions };
}

function sealing(
  workers: Pick<CryptoWorkers, 'seal' | 'count'>,
  fatal: FatalCertificates = new Map(),
  octets = 4,
) {
  return { fatal, seal: sealPosting(workers, async () => new Plaintext(Buffer.alloc(octets)), fatal) };
}

describe('a certificate that kills the worker', () => {
  it('is found by halves, alone with it a second time; the others get their copies', async () => {
    const workers = workersWith((asked) => (asked.includes('g') ? died('address') : null));
    const { seal, fatal } = sealing(workers);
    const copies = await seal.address('aes-256-cbc', eight, d);
    expect(workers.asked).toEqual(['abcdefgh', 'abcdefgh', 'abcd', 'efgh', 'ef', 'gh', 'g', 'h', 'abcdefh']);
    expect([...fatal.keys()]).toEqual(['g']);
    const none = copies.filter((copy) => 'unusable' in copy);
    expect(none).toEqual([{ at: [6], unusable: expect.stringMatching(/died twice.*it ended/) }]);
    expect(copies.flatMap((copy) => ('head' in copy ? copy.at : []))).toEqual([0, 1, 2, 3, 4, 5, 7]);
  });

  it('is not tried again, by other postings neither', async () => {
    const workers = workersWith((asked) => (asked.includes('a') ? died('address') : null));
    const { seal, fatal } = sealing(workers);
    await seal.address('aes-256-cbc', to('a'), d);
    expect(workers.asked).toEqual(['a', 'a']);
    const other = sealing(workers, fatal);
    const copies = await other.seal.address('aes-256-cbc', to('a', 'b'), d);
    expect(workers.asked.slice(2)).toEqual(['b']);
    expect(copies.map((copy) => [copy.at, 'unusable' in copy])).toEqual([
      [[0], true],
      [[1], false],
    ]);
    expect(await other.seal.address('aes-256-cbc', to('a'), d)).toHaveLength(1);
    expect(workers.asked).toHaveLength(3);
  });

  it.each([
    ['together', true],
    ['alone', false],
  ])('two of them are found both, and asked for %s', async (_, together) => {
    const workers = workersWith((asked) => (/[bh]/.test(asked) ? died('address') : null));
    const { seal, fatal } = sealing(workers);
    await seal.address('aes-256-cbc', eight, { ...d, together });
    expect([...fatal.keys()].sort()).toEqual(['b', 'h']);
    expect(workers.asked.at(-1)).toBe('acdefg');
  });
});

describe('a certificate is not blamed', () => {
  it('for a death that does not come again', async () => {
    const workers = workersWith((_, n) => (n === 1 ? died('address') : null));
    const { seal, fatal } = sealing(workers);
    expect(await seal.address('aes-256-cbc', eight, d)).toHaveLength(8);
    expect(fatal.size).toBe(0);
  });

  it('for a worker that another job killed: its copies are addressed again, in a sealing of their own', async () => {
    const workers = workersWith((_, n) => (n === 1 ? restarted : null));
    const { seal, fatal } = sealing(workers);
    expect(await seal.address('aes-256-cbc', eight, d)).toHaveLength(8);
    expect([workers.asked, workers.sessions(), fatal.size]).toEqual([['abcdefgh', 'abcdefgh'], 2, 0]);
  });

  it('for a death of what is encrypted, and such a thing is not tried for ever', async () => {
    const encrypting = workersWith(() => died('seal'));
    const { seal, fatal } = sealing(encrypting);
    await expect(seal.address('aes-256-cbc', eight, d)).rejects.toMatchObject({ code: 'worker-died' });
    const always = sealing(workersWith(() => restarted));
    await expect(always.seal.address('aes-256-cbc', eight, d)).rejects.toMatchObject({
      code: 'worker-restarted',
    });
    expect([fatal.size, always.fatal.size]).toEqual([0, 0]);
  });
});

describe('the encodings of a post', () => {
  it('are alive one at a time: copies come grouped by phase, and a batch begins with the phase of the one before', async () => {
    const phases: Readonly<Record<string, Phase>> = { a: 0, b: 2, c: 1, d: 0, e: 1, f: 2 };
    const workers = workersWith(
      () => null,
      (name) => phases[name] ?? 0,
    );
    const { seal } = sealing(workers);
    const sent: string[] = [];
    for (const batch of ['abcdef', 'fedcba']) {
      const copies = await seal.address('aes-256-cbc', to(...batch), d);
      sent.push(copies.flatMap((copy) => copy.at.map((at) => batch[at])).join(''));
      for (const copy of copies) if ('lines' in copy) await copy.lines();
    }
    expect(sent).toEqual(['adcebf', 'fbdaec']);
    // Twelve copies, five encodings.
    expect(workers.encodings).toEqual([0, 1, 2, 0, 1]);
  });
});

describe('members with costly keys', () => {
  const costly = (count: number): SealRecipient[] =>
    Array.from({ length: count }, (_, n) => ({ sha256: `${n},`, transport: 'ecdh', costly: true }));
  const names = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, n) => `${from + n},`).join('');

  it('are wrapped for by as many sealings as there are workers; the others by the first alone', async () => {
    const workers = workersWith(() => null);
    const { seal } = sealing(workers);
    const copies = await seal.address('aes-256-cbc', [...to('x'), ...costly(21), ...to('y')], d);
    // The costly ones stand at 1 to 21.
    expect(workers.asked).toEqual([`${names(0, 11)}xy`, names(11, 21)]);
    expect(workers.sessions()).toBe(2);
    const places = copies.flatMap((copy) => copy.at);
    expect([...places].sort((a, b) => a - b)).toEqual([...Array(23).keys()]);
    expect(places.slice(0, 13)).toEqual([...Array(11).keys()].map((n) => n + 1).concat(0, 22));
  });

  it.each([
    ['too few to be worth it', costly(19), 4, false],
    ['of a post that is large: each sealing holds it', costly(40), 300 * 1024, false],
    ['who share one copy', costly(40), 4, true],
  ])('%s have one sealing', async (_, recipients, octets, together) => {
    const workers = workersWith(() => null);
    const { seal } = sealing(workers, new Map(), octets);
    await seal.address('aes-256-cbc', recipients, { ...d, together });
    expect([workers.asked.length, workers.sessions()]).toEqual([1, 1]);
  });

  it('one of whom kills the worker: found in his share, and the other share is not asked again', async () => {
    const workers = workersWith((asked) => (/\b13,/.test(asked) ? died('address') : null));
    const { seal, fatal } = sealing(workers);
    const copies = await seal.address('aes-256-cbc', costly(20), d);
    expect([...fatal.keys()]).toEqual(['13,']);
    expect(workers.asked.filter((one) => one === names(0, 10))).toHaveLength(1);
    expect(copies.filter((copy) => 'unusable' in copy).map((copy) => copy.at)).toEqual([[13]]);
    expect(copies).toHaveLength(20);
  });
});
