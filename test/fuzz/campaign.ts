import { Fault } from '../../src/base/errors.ts';
import { openAuthEnveloped } from '../../src/cms/auth-enveloped-data.ts';
import { parseCapabilities } from '../../src/cms/capabilities.ts';
import { parseContentInfo } from '../../src/cms/content-info.ts';
import { type DecryptionKey, openEnveloped } from '../../src/cms/enveloped-data.ts';
import { parseSignedData } from '../../src/cms/signed-data.ts';
import { canonicalAddress, mailboxesOf, theMailbox } from '../../src/mime/address.ts';
import { decodedBody, type Entity, parseEntity, partsOf } from '../../src/mime/entity.ts';
import { decodeWords } from '../../src/mime/words.ts';
import { defaultFloor } from '../../src/pki/algorithms.ts';
import { parseCertificate, publicKeyOf } from '../../src/pki/certificate.ts';
import { parseCrl } from '../../src/pki/crl.ts';
import { parseOcspResponse } from '../../src/pki/ocsp.ts';
import { noEvidence } from '../../src/pki/revocation.ts';
import { type OpenReport, openMessage } from '../../src/smime/open.ts';
import { cmsEntity, mailOf, signedEntity } from '../kit/smime-mime.ts';
import { mutate } from './mutate.ts';
import { randomOf } from './random.ts';
import { personOf, type Sample, type Samples } from './samples.ts';

/** What went wrong with one case. */
export interface Failure {
  readonly index: number;
  readonly sample: string;
  /** The changes, in words. */
  readonly changes: string;
  readonly problem: string;
  /** The whole input as the reader got it, hexadecimal. */
  readonly input: string;
}

export interface Tally {
  cases: number;
  /** How often each outcome was, such as `message signed` or `certificate certificate-malformed`. */
  readonly outcomes: Map<string, number>;
  /** Milliseconds of the slowest case, and which it was. */
  slowest: { readonly ms: number; readonly index: number };
  readonly failures: Failure[];
}

/** What one input may cost. A machine that is busy with other things makes slow ones slower, so there is room. */
export interface CaseLimits {
  readonly milliseconds: number;
  /** Of the whole process, looked at now and then. */
  readonly residentOctets: number;
}

export const caseLimits: CaseLimits = { milliseconds: 5_000, residentOctets: 1_500_000_000 };

/** The readers, ready to run cases of one seed over one set of samples. */
export interface Campaign {
  /** Runs the cases from `first` on, every `step`-th, `count` of them; calls `tick` now and then. */
  run(d: { first: number; step: number; count: number; tick?: (tally: Tally) => void }): Tally;
}

export const emptyTally = (): Tally => ({
  cases: 0,
  outcomes: new Map(),
  slowest: { ms: 0, index: -1 },
  failures: [],
});

/** Failures kept of one run; the rest is only more of the same. */
const mostFailures = 20;

export function startCampaign(samples: Samples, seed: number, limits: CaseLimits = caseLimits): Campaign {
  const world = { ...worldOf(samples), limits };
  return {
    run({ first, step, count, tick }) {
      const tally = emptyTally();
      for (let n = 0; n < count && tally.failures.length < mostFailures; n++) {
        runCase(world, seed, first + n * step, tally);
        if (tick && n % 100 === 99) tick(tally);
      }
      return tally;
    },
  };
}

interface World {
  readonly samples: readonly (Sample & { readonly octets: Buffer })[];
  readonly keys: readonly DecryptionKey[];
  readonly anchor: Buffer;
  readonly at: number;
  /** Author and content of every sample that is signed as it stands: nothing else may ever be `signed`. */
  readonly signed: ReadonlySet<string>;
  readonly limits: CaseLimits;
}

function worldOf({ samples, lists, anchor, at }: Samples): Omit<World, 'limits'> {
  const keys = lists.map((list) => {
    const { key, certDer } = personOf(list);
    return { key, certificate: parseCertificate(certDer) };
  });
  const decoded = samples.map((sample) => ({ ...sample, octets: Buffer.from(sample.bytes, 'base64') }));
  const bare = { samples: decoded, keys, anchor: Buffer.from(anchor, 'base64'), at };
  const signed = new Set<string>();
  for (const sample of decoded) {
    if (sample.target !== 'message') continue;
    const report = openIn(bare, inputOf(sample, sample.octets));
    if (report.verdict === 'signed') signed.add(proofOf(report));
  }
  return { ...bare, signed };
}

const openIn = (world: Omit<World, 'signed' | 'limits'>, message: Buffer): OpenReport =>
  openMessage({
    message,
    keys: world.keys,
    anchors: [world.anchor],
    known: [],
    pins: [],
    at: world.at,
    floor: defaultFloor,
    openedSize: 2_000_000,
    // The revocation lists that messages bring are read and believed where they are right.
    revocation: { mode: 'soft', evidence: noEvidence },
  });

/** Who said what: of a report that is `signed`. */
const proofOf = ({ author, contentSha256 }: OpenReport): string => `${author} ${contentSha256}`;

/** The message around a CMS structure or a signature, or the octets as they are. */
function inputOf(sample: Sample, octets: Buffer): Buffer {
  const mail = (entity: Buffer) => mailOf([['From', 'alice@example.org']], entity);
  if (sample.form === 'cms') return mail(cmsEntity(octets, 'signed-data'));
  if (sample.form === 'signature')
    return mail(signedEntity(Buffer.from(sample.content ?? '', 'base64'), octets, 'sha-256', '=_fuzz'));
  return octets;
}

function runCase(world: World, seed: number, index: number, tally: Tally): void {
  const random = randomOf(seed, index);
  const sample = random.pick(world.samples);
  const other = random.pick(world.samples).octets;
  const { bytes, words } = mutate(sample.octets, sample.shape, other, random);
  const input = inputOf(sample, bytes);
  const began = performance.now();
  const { outcome, problem } = judge(world, sample, input);
  const ms = performance.now() - began;
  tally.cases++;
  const key = `${sample.target} ${outcome}`;
  tally.outcomes.set(key, (tally.outcomes.get(key) ?? 0) + 1);
  if (ms > tally.slowest.ms) tally.slowest = { ms, index };
  const resident = index % 64 === 0 ? process.memoryUsage.rss() : 0;
  const found =
    problem ??
    (ms > world.limits.milliseconds ? `it took ${Math.round(ms)} ms` : null) ??
    (resident > world.limits.residentOctets ? `the process has ${resident} octets in memory` : null);
  if (found !== null)
    tally.failures.push({
      index,
      sample: sample.name,
      changes: words,
      problem: found,
      input: input.toString('hex'),
    });
}

interface Outcome {
  readonly outcome: string;
  readonly problem: string | null;
}

function judge(world: World, sample: Sample, input: Buffer): Outcome {
  try {
    if (sample.target !== 'message') {
      readers[sample.target](input);
      return { outcome: 'read', problem: null };
    }
    const report = openIn(world, input);
    return { outcome: report.verdict, problem: problemOf(world, report) };
  } catch (error) {
    const words = error instanceof Error ? (error.stack ?? error.message) : String(error);
    // Opening a message has an answer for everything; the readers below it may end in a Fault, and in nothing else.
    if (error instanceof Fault && sample.target !== 'message') return { outcome: error.code, problem: null };
    return { outcome: 'threw', problem: `it threw ${words}` };
  }
}

function problemOf(world: World, report: OpenReport): string | null {
  const { verdict, author, signature, entity } = report;
  if (verdict === 'signed' && !world.signed.has(proofOf(report)))
    return `it is signed by ${author}, who never signed that`;
  if (verdict !== 'signed' && (author !== null || signature !== null))
    return `it is ${verdict} and has an author`;
  if ((verdict === 'malformed' || verdict === 'unopened') !== (entity === null))
    return `it is ${verdict} and ${entity === null ? 'has no' : 'has an'} entity`;
  return null;
}

const readers: Record<Exclude<Sample['target'], 'message'>, (input: Buffer) => void> = {
  certificate(input) {
    publicKeyOf(parseCertificate(input));
  },
  crl: (input) => void parseCrl(input),
  ocsp: (input) => void parseOcspResponse(input),
  cms(input) {
    const info = parseContentInfo(input);
    if (info.kind === 'enveloped-data') openEnveloped(info.content, []);
    if (info.kind === 'auth-enveloped-data') openAuthEnveloped(info.content, []);
    if (info.kind !== 'signed-data') return;
    for (const { capabilities } of parseSignedData(info.content).signers)
      if (capabilities) parseCapabilities(capabilities);
  },
  entity(input) {
    const walk = (entity: Entity, depth: number) => {
      decodedBody(entity);
      for (const field of entity.fields) decodeWords(field.value);
      if (depth < 4) for (const part of partsOf(entity)) walk(part, depth + 1);
    };
    walk(parseEntity(input), 0);
  },
  addresses(input) {
    canonicalAddress(input.toString('utf8'));
    const { fields } = parseEntity(Buffer.concat([Buffer.from('From: '), input, Buffer.from('\r\n\r\n')]));
    theMailbox(fields, 'From');
    mailboxesOf(fields, 'From');
  },
};
