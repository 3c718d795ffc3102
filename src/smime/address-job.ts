import { createPublicKey } from 'node:crypto';
import { wordsOf } from '../base/errors.ts';
import type { KeyWrap, Recipient } from '../cms/encrypt.ts';
import type { AddressAnswer, SealKey, SealRecipient } from './jobs.ts';
import type { Sealing } from './seal.ts';

type ReadyKey = Omit<Recipient, 'transport'>;

/** Keys ready for use, by SHA-256 of the certificate; those met last come last. */
export type KnownKeys = Map<string, ReadyKey>;

/** Ten thousand take 12 MB. */
const mostKnown = 20_000;

/**
 * Addresses a sealed entity to members, or says whose keys are not known. A certificate that can not be used, or that
 * is not among the `keys` asked for, fails its own copy and no other.
 */
export function addressAll(
  sealing: Pick<Sealing, 'address' | 'wrap' | 'headOf'>,
  job: {
    readonly recipients: readonly SealRecipient[];
    readonly together: boolean;
    readonly keys: readonly SealKey[] | null;
  },
  known: KnownKeys,
): AddressAnswer {
  const unusable = new Map<string, string>();
  for (const key of job.keys ?? []) {
    try {
      keep(known, readyKey(key));
    } catch (error) {
      unusable.set(key.sha256, wordsOf(error));
    }
  }
  if (job.keys === null) {
    const needs = job.recipients.map((one) => one.sha256).filter((sha256) => !known.has(sha256));
    if (needs.length > 0) return { needs };
  }
  if (job.together) return addressTogether(sealing, job.recipients, known, unusable);
  const heads: Buffer[] = [];
  const ends = new Uint32Array(job.recipients.length);
  const phases = new Uint8Array(job.recipients.length);
  const words = new Map<number, string>();
  let end = 0;
  for (const [at, { sha256, transport }] of job.recipients.entries()) {
    try {
      const { head, phase } = sealing.address(recipientIn(known, unusable, { sha256, transport }));
      heads.push(head);
      end += head.length;
      phases[at] = phase;
    } catch (error) {
      words.set(at, wordsOf(error));
    }
    ends[at] = end;
  }
  return { heads: inOne(heads, end), ends, phases, unusable: words };
}

/** One copy for all whose certificates can be used. */
function addressTogether(
  sealing: Pick<Sealing, 'wrap' | 'headOf'>,
  recipients: readonly SealRecipient[],
  known: KnownKeys,
  unusable: ReadonlyMap<string, string>,
): AddressAnswer {
  const wraps: KeyWrap[] = [];
  const words = new Map<number, string>();
  for (const [at, recipient] of recipients.entries()) {
    try {
      wraps.push(sealing.wrap(recipientIn(known, unusable, recipient)));
    } catch (error) {
      words.set(at, wordsOf(error));
    }
  }
  if (wraps.length === 0)
    return { heads: new Uint8Array(0), ends: new Uint32Array(0), phases: new Uint8Array(0), unusable: words };
  const { head, phase } = sealing.headOf(wraps);
  return {
    heads: inOne([head], head.length),
    ends: Uint32Array.of(head.length),
    phases: Uint8Array.of(phase),
    unusable: words,
  };
}

function recipientIn(
  known: KnownKeys,
  unusable: ReadonlyMap<string, string>,
  { sha256, transport }: SealRecipient,
): Recipient {
  const key = known.get(sha256);
  if (!key) throw new Error(unusable.get(sha256) ?? 'its certificate is not stored any more');
  return { ...key, transport };
}

/** In memory of its own, which can be moved to the thread that asked. */
function inOne(heads: readonly Buffer[], length: number): Uint8Array {
  const all = new Uint8Array(length);
  let at = 0;
  for (const head of heads) {
    all.set(head, at);
    at += head.length;
  }
  return all;
}

/** Importing a key takes longer than using it: PKCS #1 10 µs, SPKI 300 µs. */
function readyKey({ publicKey, issuerDer, serialDer, ...rest }: SealKey): ReadyKey {
  const { form, der } = publicKey;
  const key = createPublicKey({ key: Buffer.from(der), format: 'der', type: form });
  return { ...rest, issuerDer: Buffer.from(issuerDer), serialDer: Buffer.from(serialDer), publicKey: key };
}

function keep(known: KnownKeys, key: ReadyKey): void {
  if (known.size >= mostKnown) known.delete(known.keys().next().value ?? '');
  known.set(key.sha256, key);
}
