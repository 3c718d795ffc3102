import { createPublicKey, type KeyObject } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import { Fault, wordsOf } from '../base/errors.ts';
import type { Recipient } from '../cms/encrypt.ts';
import type { DecryptionKey } from '../cms/enveloped-data.ts';
import type { Addressed, Answers, Job, OpenAnswer, Question, Reply, SealRecipient } from './jobs.ts';
import { openMessage } from './open.ts';
import { type Sealing, startSealing } from './seal.ts';
import { signAs } from './sign-job.ts';
import { wrapEntity } from './wrap.ts';

/** Public keys kept ready, by SHA-256 of the certificate; ten thousand take 11 MB. */
const cachedKeys = 20_000;

/**
 * The crypto worker: one job at a time from its port, until terminated. Its state is the sealings in progress and
 * the key cache; a worker that is killed loses nothing that cannot be made again.
 */
function serve(port: NonNullable<typeof parentPort>): void {
  const sealings = new Map<number, Sealing>();
  const keys = new Map<string, KeyObject>();
  port.on('message', ({ id, job }: Question) => {
    let reply: Reply;
    let moved: ArrayBuffer[] = [];
    try {
      const answer = perform(job, sealings, keys);
      if (job.kind === 'open') moved = movable((answer as OpenAnswer).entity);
      if (job.kind === 'sign') moved = movable(answer as Uint8Array);
      reply = { id, answer };
    } catch (error) {
      const code = error instanceof Fault ? error.code : 'worker-failed';
      reply = { id, fault: { code, message: wordsOf(error) } };
    }
    port.postMessage(reply, moved);
  });
}

function perform(
  job: Job,
  sealings: Map<number, Sealing>,
  keys: Map<string, KeyObject>,
): Answers[keyof Answers] {
  switch (job.kind) {
    case 'open': {
      const report = openMessage({ ...job.request, keys: job.request.keys.map(withBuffers) });
      return { ...report, entity: report.entity?.expose() ?? null };
    }
    case 'seal': {
      const sealing = startSealing(
        Buffer.from(job.entity.buffer, job.entity.byteOffset, job.entity.length),
        job.cipher,
      );
      sealings.set(job.session, sealing);
      job.entity.fill(0);
      return { contentType: sealing.contentType };
    }
    case 'address': {
      const sealing = sealingOf(sealings, job.session);
      return job.recipients.map((recipient) => addressOne(sealing, recipient, keys));
    }
    case 'lines':
      return sealingOf(sealings, job.session).sharedLines(job.phase);
    case 'end':
      sealings.get(job.session)?.dispose();
      sealings.delete(job.session);
      return null;
    case 'sign':
      return signed(job);
  }
}

/** Wrapped if that is asked for, then signed; the entity may be plaintext, so what came is overwritten (RULES 21). */
function signed(job: Job & { kind: 'sign' }): Uint8Array {
  const { at, boundary, wrapper } = job;
  const bytes = Buffer.from(job.entity.buffer, job.entity.byteOffset, job.entity.length);
  const entity = wrapper ? wrapEntity(bytes, wrapper, `${boundary}_mixed`) : bytes;
  const made = signAs(job.signer, entity, { at, boundary });
  const answer = new Uint8Array(made);
  for (const one of [bytes, entity, made]) one.fill(0);
  return answer;
}

/** Buffers arrive as plain Uint8Arrays. */
function withBuffers({ key, certificate }: DecryptionKey): DecryptionKey {
  const { issuerDer, serialDer, subjectKeyId, spkiDer, sha256 } = certificate;
  return {
    key,
    certificate: {
      issuerDer: Buffer.from(issuerDer),
      serialDer: Buffer.from(serialDer),
      subjectKeyId: subjectKeyId && Buffer.from(subjectKeyId),
      spkiDer: Buffer.from(spkiDer),
      sha256,
    },
  };
}

function sealingOf(sealings: Map<number, Sealing>, session: number): Sealing {
  const sealing = sealings.get(session);
  if (!sealing) throw new Fault('sealing-gone', 'the worker that sealed this message was restarted', {});
  return sealing;
}

/** One member's certificate that can not be used fails this member's copy, not the batch. */
function addressOne(sealing: Sealing, recipient: SealRecipient, keys: Map<string, KeyObject>): Addressed {
  try {
    const addressed = sealing.address({ ...pick(recipient), publicKey: keyOf(recipient, keys) });
    return { head: new Uint8Array(addressed.head), phase: addressed.phase };
  } catch (error) {
    return { unusable: wordsOf(error) };
  }
}

function pick(recipient: SealRecipient): Omit<Recipient, 'publicKey'> {
  const { issuerDer, serialDer, publicKey: _, ...rest } = recipient;
  return { ...rest, issuerDer: Buffer.from(issuerDer), serialDer: Buffer.from(serialDer) };
}

function keyOf(recipient: SealRecipient, keys: Map<string, KeyObject>): KeyObject {
  const cached = keys.get(recipient.sha256);
  if (cached) return cached;
  const { form, der } = recipient.publicKey;
  const key = createPublicKey({ key: Buffer.from(der), format: 'der', type: form });
  if (keys.size >= cachedKeys) keys.delete(keys.keys().next().value ?? '');
  keys.set(recipient.sha256, key);
  return key;
}

/** Content is moved, not copied: its buffer is its own (RULES 21). */
function movable(content: Uint8Array | null): ArrayBuffer[] {
  const buffer = content?.buffer;
  return buffer instanceof ArrayBuffer ? [buffer] : [];
}

if (parentPort) serve(parentPort);
