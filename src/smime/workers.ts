import { setFlagsFromString } from 'node:v8';
import { Worker } from 'node:worker_threads';
import { Plaintext, type SealedBytes } from '../base/bytes.ts';
import { Fault, faultsOf } from '../base/errors.ts';
import type { ContentCipher } from '../pki/algorithms.ts';
import type {
  AddressAnswer,
  Answers,
  Job,
  OpenAnswer,
  Reply,
  SealKey,
  SealRecipient,
  SignerData,
} from './jobs.ts';
import { copyOfId, type OpenReport, type OpenRequest } from './open.ts';
import { type Phase, sealedElsewhere } from './seal.ts';
import type { Wrapper } from './wrap.ts';

export const workerFault = faultsOf({
  'worker-died': (d: { job: string; cause: string }) =>
    `the crypto worker died while it was to ${d.job} (${d.cause}); it is tried again`,
  'worker-timeout': (d: { job: string; seconds: number }) =>
    `it took more than ${d.seconds} s to ${d.job}; the crypto worker was stopped`,
  'worker-restarted': (d: { job: string }) =>
    `the crypto worker was restarted for another job before it could ${d.job}; it is tried again`,
  'worker-closed': (d: { job: string }) => `reseal is stopping and does not ${d.job} any more`,
});

/** A head and whom it is for, by their places among the recipients; or whose certificate could not be used, and why. */
export type Addressed = { readonly at: readonly number[] } & (
  | { readonly head: SealedBytes; readonly phase: Phase }
  | { readonly unusable: string }
);

/** Gives what sealing needs of certificates, by their SHA-256; those that are not stored any more are left out. */
export type FindSealKeys = (sha256s: readonly string[]) => Promise<readonly SealKey[]>;

/** One entity being sealed in one worker, for batch after batch of members. */
export interface SealSession {
  readonly contentType: string;
  /**
   * A copy for each, in the order of `recipients`; or one for all of them `together`. `findKeys` is asked for the
   * certificates that the worker has not met yet.
   */
  address(
    recipients: readonly SealRecipient[],
    findKeys: FindSealKeys,
    together?: boolean,
  ): Promise<readonly Addressed[]>;
  /** The shared base64 lines of one phase, in memory shared between threads. */
  lines(phase: Phase): Promise<SealedBytes>;
  /** Forgets the content key. Safe to call more than once. */
  end(): Promise<void>;
}

export interface SignOptions {
  readonly boundary: string;
  /** The signing time, ms. */
  readonly at: number;
  readonly wrapper?: Wrapper;
}

/** The crypto workers as the flow sees them. Every promise rejects with a Fault only. */
export interface CryptoWorkers {
  /** How many threads there are. */
  readonly count: number;
  open(request: OpenRequest): Promise<OpenReport>;
  /** In the worker that has the least to do, and of equals the one with the fewest sealings: several begun in turn are spread. */
  seal(entity: Plaintext, cipher: ContentCipher): Promise<SealSession>;
  /** The list's signature around mail of its own or a post in clear. */
  sign(entity: Uint8Array, signer: SignerData, d: SignOptions): Promise<Buffer>;
  /** The same around what came encrypted. Throws, and signs nothing, if it was wiped. */
  signPlaintext(entity: Plaintext, signer: SignerData, d: SignOptions): Promise<Plaintext>;
  close(): Promise<void>;
}

interface Task {
  /** In the order of asking. */
  readonly id: number;
  readonly job: Job;
  readonly resolve: (answer: Answers[keyof Answers]) => void;
  readonly reject: (fault: Fault) => void;
}

/** One thread, its own queue (jobs of its sealings) and what it is doing. */
interface Lane {
  worker: Worker | null;
  current: { readonly task: Task; readonly timer: NodeJS.Timeout } | null;
  readonly own: Task[];
  readonly sealings: Set<number>;
  /** Grows with each restart: sealings of an earlier thread are gone. */
  generation: number;
}

/**
 * Starts `count` crypto workers (threads start with their first job). One job at a time each: a worker over its
 * time is terminated, its job rejected with `worker-timeout`, and the next job starts a new thread.
 * `script` is the compiled `worker.js`.
 */
export function startWorkers(d: { count: number; timeoutMs: number; script: URL }): CryptoWorkers {
  const lanes: Lane[] = Array.from({ length: d.count }, () => ({
    worker: null,
    current: null,
    own: [],
    sealings: new Set(),
    generation: 0,
  }));
  const shared: Task[] = [];
  let nextId = 1;
  let closed = false;

  const ask = <K extends Job['kind']>(job: Job & { kind: K }, lane: Lane | null): Promise<Answers[K]> =>
    new Promise((resolve, reject) => {
      if (closed) return reject(workerFault('worker-closed', { job: job.kind }));
      const task: Task = { id: nextId++, job, resolve: (answer) => resolve(answer as Answers[K]), reject };
      (lane ? lane.own : shared).push(task);
      for (const one of lane ? [lane] : lanes) advance(one);
    });

  const advance = (lane: Lane): void => {
    if (lane.current) return;
    const task = longestWaiting(lane.own, shared).shift();
    if (!task) return;
    const worker = lane.worker ?? start(lane);
    const timer = setTimeout(
      () => stop(lane, workerFault('worker-timeout', { job: task.job.kind, seconds: d.timeoutMs / 1000 })),
      d.timeoutMs,
    );
    lane.current = { task, timer };
    worker.ref();
    worker.postMessage({ id: task.id, job: task.job }, movable(task.job));
  };

  const start = (lane: Lane): Worker => {
    // For `collector` in worker.ts: threads that begin after this have `gc`.
    setFlagsFromString('--expose-gc');
    const worker = new Worker(d.script, { resourceLimits: { maxOldGenerationSizeMb: 512 } });
    lane.worker = worker;
    worker.on('message', (reply: Reply) => settle(lane, reply));
    // Last words of a thread that was stopped must not stop the one that took its place.
    const end = (cause: string) => lane.worker === worker && stop(lane, died(lane, cause));
    worker.on('error', (error) => end(error.message));
    worker.on('exit', () => end('it ended'));
    return worker;
  };

  const died = (lane: Lane, cause: string): Fault =>
    workerFault('worker-died', { job: lane.current?.task.job.kind ?? 'wait', cause: cause.slice(0, 200) });

  const stop = (lane: Lane, fault: Fault): void => {
    const { worker, current } = lane;
    lane.worker = null;
    lane.current = null;
    lane.sealings.clear();
    lane.generation++;
    void worker?.terminate();
    if (current) clearTimeout(current.timer);
    current?.task.reject(fault);
    // What belonged to sealings of the dead thread can not go on; jobs in the shared queue wait for the next one.
    for (const task of lane.own.splice(0))
      task.reject(workerFault(closed ? 'worker-closed' : 'worker-restarted', { job: task.job.kind }));
    if (!closed) advance(lane);
  };

  const settle = (lane: Lane, reply: Reply): void => {
    const { current } = lane;
    if (!current || current.task.id !== reply.id) return;
    clearTimeout(current.timer);
    lane.current = null;
    lane.worker?.unref();
    if ('fault' in reply) current.task.reject(new Fault(reply.fault.code, reply.fault.message, {}));
    else current.task.resolve(reply.answer);
    advance(lane);
  };

  let nextSession = 1;
  const leastBusy = (): Lane => lanes.reduce((best, lane) => (isLess(lane, best) ? lane : best));

  const signed = (entity: Uint8Array, signer: SignerData, { boundary, at, wrapper }: SignOptions) =>
    ask(
      { kind: 'sign', entity: new Uint8Array(entity), signer, boundary, at, wrapper: wrapper ?? null },
      null,
    );

  return {
    count: d.count,
    async open(request) {
      const answer = await ask({ kind: 'open', request }, null);
      return { ...withBuffers(answer), entity: answer.entity && new Plaintext(answer.entity) };
    },
    async seal(entity, cipher) {
      const lane = leastBusy();
      const session = nextSession++;
      const copy = new Uint8Array(entity.expose());
      lane.sealings.add(session);
      const sealed = ask({ kind: 'seal', session, entity: copy, cipher }, lane);
      sealed.catch(() => lane.sealings.delete(session));
      const { contentType } = await sealed;
      const { generation } = lane;
      const here = (job: string): Lane => {
        if (lane.generation !== generation) throw workerFault('worker-restarted', { job });
        return lane;
      };
      return {
        contentType,
        address: async (recipients, findKeys, together = false) => {
          const job = { kind: 'address', session, recipients, together } as const;
          const first = await ask({ ...job, keys: null }, here('address'));
          if (!('needs' in first)) return together ? sharedIn(first, recipients.length) : addressedIn(first);
          const keys = await findKeys(first.needs);
          const second = await ask({ ...job, keys }, here('address'));
          if ('needs' in second) return [];
          return together ? sharedIn(second, recipients.length) : addressedIn(second);
        },
        lines: async (phase) => {
          const lines = await ask({ kind: 'lines', session, phase }, here('lines'));
          return sealedElsewhere(lines);
        },
        end: async () => {
          lane.sealings.delete(session);
          if (lane.generation === generation)
            await ask({ kind: 'end', session }, lane).catch(() => undefined);
        },
      };
    },
    async sign(entity, signer, d) {
      const made = await signed(entity, signer, d);
      return Buffer.from(made.buffer, made.byteOffset, made.length);
    },
    async signPlaintext(entity, signer, d) {
      return new Plaintext(await signed(entity.expose(), signer, d));
    },
    async close() {
      closed = true;
      const closing = (task: Task) => workerFault('worker-closed', { job: task.job.kind });
      for (const task of shared.splice(0)) task.reject(closing(task));
      const ended = lanes.map((lane) => lane.worker?.terminate());
      for (const lane of lanes) if (lane.current) stop(lane, closing(lane.current.task));
      await Promise.all(ended);
    },
  };
}

/** Whether a lane has less to do than another one, and of equals fewer sealings to come back to. */
function isLess(lane: Lane, than: Lane): boolean {
  const jobs = (one: Lane): number => one.own.length + (one.current ? 1 : 0);
  return jobs(lane) === jobs(than) ? lane.sealings.size < than.sealings.size : jobs(lane) < jobs(than);
}

/** First come, first served: else a posting whose key wraps fill the workers would keep mail from being opened. */
function longestWaiting(own: Task[], shared: Task[]): Task[] {
  return (shared[0]?.id ?? Infinity) < (own[0]?.id ?? Infinity) ? shared : own;
}

/** The copy of an entity to seal or sign is moved, not copied once more: the worker overwrites it (RULES 21). */
function movable(job: Job): ArrayBuffer[] {
  const moves = job.kind === 'seal' || job.kind === 'sign';
  return moves && job.entity.buffer instanceof ArrayBuffer ? [job.entity.buffer] : [];
}

type Heads = Extract<AddressAnswer, { heads: unknown }>;

/** The heads, cut out of the one piece in which they came. */
function addressedIn({ heads, ends, phases, unusable }: Heads): Addressed[] {
  let from = 0;
  return Array.from(ends, (end, at) => {
    const head = sealedElsewhere(heads.subarray(from, end));
    from = end;
    const why = unusable.get(at);
    return why === undefined ? { at: [at], head, phase: phases[at] as Phase } : { at: [at], unusable: why };
  });
}

/** The one head of all who share a copy, and those of them who cannot. */
function sharedIn({ heads, phases, unusable }: Heads, recipients: number): Addressed[] {
  const at = Array.from({ length: recipients }, (_, place) => place).filter((place) => !unusable.has(place));
  const none = [...unusable].map(([place, why]) => ({ at: [place], unusable: why }));
  if (at.length === 0) return none;
  return [...none, { at, head: sealedElsewhere(heads), phase: phases[0] as Phase }];
}

/** Buffers arrive as plain Uint8Arrays. */
function withBuffers(answer: OpenAnswer): OpenAnswer {
  const { signature, needs } = answer;
  return {
    ...answer,
    needs: needs.map(copyOfId),
    signature: signature && {
      ...signature,
      preference: signature.preference && copyOfId(signature.preference),
      others: signature.others.map((one) => ({
        ...one,
        preference: one.preference && copyOfId(one.preference),
      })),
    },
  };
}
