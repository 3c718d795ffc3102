import { getHeapStatistics } from 'node:v8';
import { parentPort } from 'node:worker_threads';
import { Fault, wordsOf } from '../base/errors.ts';
import type { DecryptionKey } from '../cms/enveloped-data.ts';
import { addressAll, type KnownKeys } from './address-job.ts';
import { anchorCache, type ReadAnchors } from './anchors.ts';
import type { AddressAnswer, Answers, Job, OpenAnswer, Question, Reply } from './jobs.ts';
import { openMessage } from './open.ts';
import { type Sealing, startSealing } from './seal.ts';
import { signAs } from './sign-job.ts';
import { wrapEntity } from './wrap.ts';

/** What a worker keeps from job to job. */
interface Kept {
  readonly sealings: Map<number, Sealing>;
  readonly keys: KnownKeys;
  readonly read: ReadAnchors;
}

/**
 * The crypto worker: one job at a time from its port, until terminated. Its state is the sealings in progress and
 * what it has read of keys and anchors; a worker that is killed loses nothing that cannot be made again.
 */
function serve(port: NonNullable<typeof parentPort>): void {
  const sealings = new Map<number, Sealing>();
  const keys: KnownKeys = new Map();
  const read = anchorCache();
  const collect = collector();
  port.on('message', ({ id, job }: Question) => {
    let reply: Reply;
    let moved: ArrayBuffer[] = [];
    try {
      const answer = perform(job, { sealings, keys, read });
      if (job.kind === 'open') moved = movable((answer as OpenAnswer).entity);
      if (job.kind === 'address') moved = movable(headsIn(answer as AddressAnswer));
      if (job.kind === 'sign') moved = movable(answer as Uint8Array);
      reply = { id, answer };
    } catch (error) {
      const code = error instanceof Fault ? error.code : 'worker-failed';
      reply = { id, fault: { code, message: wordsOf(error) } };
    }
    port.postMessage(reply, moved);
    // Later, for until this ends the job itself is in use.
    setImmediate(collect);
  });
}

/** Octets outside the heap that jobs may leave behind. */
const mostLeft = 8 * 1024 * 1024;

/**
 * Gives back what large messages left behind. V8 counts such octets but looks at them only when something is allocated, and
 * a worker whose last job is done allocates nothing: it would hold four times the message while the copies go out.
 */
function collector(): () => void {
  const octets = () => getHeapStatistics().external_memory;
  let kept = 0;
  return () => {
    if (octets() - kept < mostLeft) return;
    globalThis.gc?.();
    kept = octets();
  };
}

function perform(job: Job, { sealings, keys, read }: Kept): Answers[keyof Answers] {
  switch (job.kind) {
    case 'open': {
      const report = openMessage({ ...job.request, keys: job.request.keys.map(withBuffers) }, read);
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
    case 'address':
      return addressAll(sealingOf(sealings, job.session), job, keys);
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

const headsIn = (answer: AddressAnswer): Uint8Array | null => ('heads' in answer ? answer.heads : null);

/** Content is moved, not copied: its buffer is its own (RULES 21). */
function movable(content: Uint8Array | null): ArrayBuffer[] {
  const buffer = content?.buffer;
  return buffer instanceof ArrayBuffer ? [buffer] : [];
}

if (parentPort) serve(parentPort);
